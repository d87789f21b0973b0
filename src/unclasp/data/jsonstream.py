"""Reading JSON files that are larger than what one wants in memory: piece by piece, in one pass.

The caller knows the file's outline and walks along it; only what it asks for with `value` or `values` is decoded, and
the buffer holds little more than one such piece:

    with JsonStream(path) as stream:
        for key in stream.members():          # of the object at hand
            for item in stream.values():      # of the list that is this member's value
                …
"""

import json
from collections.abc import Callable, Iterator
from json import JSONDecodeError
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from unclasp.errors import DataError

_CHUNK: Final = 1 << 20
"""Characters per reading."""
_CUT: Final = 16
"""How far before the end of the buffer an error may be due to that end: longer than any number's or word's tail."""
_SPACE: Final = " \t\r\n"
_NAMES: Final = {"{": "an object", "[": "a list", '"': "a string", "n": "null", "t": "true", "f": "false"}


class JsonStream:
    """One file of JSON, read once from its start to its end.

    Args:
        path: The file; UTF-8.
        progress: Called with the number of characters of each reading.

    Raises:
        DataError: The file is missing or is not whole JSON (also from every method), or has another outline than the
            caller walks along.
    """

    def __init__(self, path: Path, progress: Callable[[int], None] | None = None) -> None:
        self.path, self._progress = path, progress or (lambda _: None)
        self._text, self._at, self._ended = "", 0, False
        self._decode = json.JSONDecoder().raw_decode
        try:
            self._file = path.open(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing; fetch it") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def members(self) -> Iterator[str]:
        """Walk through the object at hand; the caller takes each member's value before it asks for the next key."""
        for _ in self._entries("{", "}", "an object"):
            key = self.value()
            if not isinstance(key, str) or self._peek() != ":":
                raise self._broken("a key is expected")
            self._at += 1
            yield key

    def values(self) -> Iterator[Any]:
        """Walk through the list at hand and decode each of its elements."""
        for _ in self._entries("[", "]", "a list"):
            yield self.value()

    def value(self) -> Any:
        """Decode whatever is at hand, whole."""
        while True:
            self._peek()
            try:
                value, end = self._decode(self._text, self._at)
            except JSONDecodeError as error:
                cut = error.pos + _CUT >= len(self._text) or error.msg.startswith("Unterminated string")
                if self._ended or not cut:
                    raise self._broken(error.msg) from error
            except RecursionError as error:
                raise self._broken("it is nested too deeply") from error
            else:
                goes_on = isinstance(value, int | float) and end + _CUT > len(self._text)  # 1 of 1e+16
                if self._ended or not goes_on:
                    self._at = end
                    return value
            self._read()

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self._peek():
            raise self._broken("something follows its end")

    def _entries(self, opening: str, closing: str, name: str) -> Iterator[None]:
        """Walk through what `opening` and `closing` hold, standing before each entry in turn."""
        first = self._peek()
        if not first:
            raise self._broken("it ends too early")
        if first != opening:
            found = _NAMES.get(first, "a number")
            raise DataError(
                f"{self.path.parent}: the annotations do not fit together: {self.path.name} holds {found} "
                f"where {name} is expected"
            )
        self._at += 1
        if self._peek() == closing:
            self._at += 1
            return
        while True:
            yield
            mark = self._peek()
            if mark not in (",", closing) or not mark:
                raise self._broken(f"',' or '{closing}' is expected")
            self._at += 1
            if mark == closing:
                return

    def _peek(self) -> str:
        """Return the next character that is no white space, and stand before it; nothing at the end of the file."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in _SPACE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if self._ended:
                return ""
            self._read()

    def _read(self) -> None:
        """Take more of the file into the buffer, ever more of it for the sake of large pieces."""
        rest = self._text[self._at :]
        try:
            more = self._file.read(max(_CHUNK, len(rest)))
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise self._broken(str(error)) from error
        self._text, self._at, self._ended = rest + more, 0, not more
        self._progress(len(more))

    def _broken(self, what: str) -> DataError:
        return DataError(f"{self.path} is not whole JSON ({what}); fetch it again")
