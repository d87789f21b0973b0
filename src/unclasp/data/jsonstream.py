"""A streaming JSON reader for files that are too large for memory; it reads a file in one pass, piece by piece.

The caller knows the file's structure and walks through it. Each call of `value`, and each step of `values`, decodes one
value, and the buffer holds little more than that:

    with JsonStream(path) as stream:
        for key in stream.members():          # of the current object
            for item in stream.values():      # of the list that is this member's value
                …
"""

import json
from collections.abc import Callable, Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Final, Self

from unclasp.data.json_file import TOO_DEEP
from unclasp.errors import DataError

_CHUNK: Final = 1 << 20
"""Characters per read."""
_TAIL: Final = 16
"""An error this close to the end of the buffer may be due to a cut token; longer than the tail of any number or
literal."""
_SPACE: Final = " \t\r\n"
_NAMES: Final = {"{": "an object", "[": "a list", '"': "a string", "n": "null", "t": "true", "f": "false"}


class JsonStream:
    """A JSON file, read once from start to end.

    Args:
        path: The file, in UTF-8.
        progress: Called with the number of characters of each read.

    Raises:
        DataError: The file is missing or is not complete JSON (every method may raise this, too), or has another
            structure than the caller expects.
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

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def members(self) -> Iterator[str]:
        """Yield the keys of the current object; the caller must read each member's value before the next key."""
        for _ in self._entries("{", "}", "an object"):
            key = self.value()
            if not isinstance(key, str) or self._peek() != ":":
                raise self._broken("a key is expected")
            self._at += 1
            yield key

    def values(self) -> Iterator[Any]:
        """Yield the decoded elements of the current list."""
        for _ in self._entries("[", "]", "a list"):
            yield self.value()

    def value(self) -> Any:
        """Decode and return the current value."""
        while True:
            self._peek()
            try:
                value, end = self._decode(self._text, self._at)
            except JSONDecodeError as error:
                cut = error.pos + _TAIL >= len(self._text) or error.msg.startswith("Unterminated string")
                if self._ended or not cut:
                    raise self._broken(error.msg) from error
            except (RecursionError, ValueError) as error:
                raise self._broken(TOO_DEEP) from error
            else:
                may_continue = isinstance(value, int | float) and end + _TAIL > len(self._text)  # 1 of 1e+16
                if self._ended or not may_continue:
                    self._at = end
                    return value
            self._read()

    def end(self) -> None:
        """Check that nothing but white space follows.

        Raises:
            DataError: Something follows.
        """
        if self._peek():
            raise self._broken("something follows its end")

    def _entries(self, opening: str, closing: str, name: str) -> Iterator[None]:
        """Iterate over the entries between `opening` and `closing`, with the position before each entry in turn."""
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
            separator = self._peek()
            if separator not in (",", closing) or not separator:
                raise self._broken(f"',' or '{closing}' is expected")
            self._at += 1
            if separator == closing:
                return

    def _peek(self) -> str:
        """Skip white space and return the next character without consuming it; "" at the end of the file."""
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
        """Append a chunk of the file to the unread buffer; chunks grow with the buffer, for large values."""
        unread = self._text[self._at :]
        try:
            chunk = self._file.read(max(_CHUNK, len(unread)))
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise self._broken(str(error)) from error
        self._text, self._at, self._ended = unread + chunk, 0, not chunk
        self._progress(len(chunk))

    def _broken(self, what: str) -> DataError:
        return DataError(f"{self.path} is not whole JSON ({what}); fetch it again")
