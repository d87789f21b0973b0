"""Shared by the commands: argument parsing, and checks of values and of required packages."""

import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import is_dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar, get_type_hints

import tyro

from unclasp.errors import UnclaspError, check_seed, renderer_missing
from unclasp.files import check_local, check_writable

_Arguments = TypeVar("_Arguments")
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
"""An optional path; its help text says what happens without it, so tyro adds no hint."""
OptionalInt = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
"""The same for an integer."""
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
"""The same for the name of a split or a preset."""
OptionalData = Annotated[str | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="")]
"""The same for a data set."""
OptionalBox = Annotated[
    tuple[float, float, float, float] | None, tyro.conf.arg(metavar="X1 Y1 X2 Y2", help_behavior_hint="")
]
"""An optional box in px; `with_numbers_last` lets its numbers stand anywhere."""
Files = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH ...", help_behavior_hint="")]
"""Files that are named without an option."""
OptionalFile = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[PATH]", help_behavior_hint="")]
"""The same for one file, which can be left out; its help text says what happens then."""
Sources = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE ...", help_behavior_hint="")]
"""Pictures, videos, folders, patterns and cameras (`sources.find_sources`)."""
DataSet = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
"""A data set that is named without an option."""
Preset = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[PRESET]")]
"""A preset that is named without an option, or left out."""


def parse(kind: type[_Arguments], words: list[str], name: str, default: _Arguments | None = None) -> _Arguments:
    """Parse the words after `unclasp NAME` into the dataclass `kind`, whose docstrings are the help texts."""
    _need_no_dashes(words)
    options: dict[str, Any] = {} if default is None else {"default": default}
    is_help = bool({"-h", "--help"} & set(words))
    if is_help:
        _join_lines(kind)
    with _wrapping(sys.stdout, is_help=is_help):
        parsed: _Arguments = tyro.cli(
            kind, args=words, prog=f"unclasp {name}", config=(tyro.conf.EnumChoicesFromValues,), **options
        )
    return parsed


def _join_lines(kind: type) -> None:
    """Add the help texts of a dataclass's fields to its docstring, each on one line.

    Below the fields their lines are indented, and tyro would keep the breaks before those.
    """
    from docstring_parser import parse_from_object

    texts = parse_from_object(kind).params
    if texts and "\nAttributes:\n" not in (told := inspect.cleandoc(kind.__doc__ or "")):
        lines = (f"    {text.arg_name}: {' '.join((text.description or '').split())}" for text in texts)
        kind.__doc__ = "\n".join([told, "", "Attributes:", *lines])
    for inner in get_type_hints(kind).values():
        if is_dataclass(inner) and isinstance(inner, type):
            _join_lines(inner)


def _need_no_dashes(words: list[str]) -> None:
    """Raise an error if a file is named whose name begins with a dash: it would be taken for an option."""
    for word in words[: words.index("--") if "--" in words else None]:
        if word.startswith("-") and Path(word).suffix and Path(word).exists():
            raise UnclaspError(
                f"{word}: expected an option, as it begins with -, got the name of a file; write ./{word}, "
                "or put -- before all sources"
            )


@contextmanager
def _wrapping(stdout: TextIO | None, *, is_help: bool) -> Iterator[None]:
    """Wrap the help that is printed within the block; drop it if the process was started without stdout."""
    if stdout is not None and not is_help:
        yield
        return
    printed = _Printed(stdout)
    try:
        with redirect_stdout(printed):
            yield
    finally:
        if stdout is not None:
            stdout.write(wrapped(printed.getvalue(), shutil.get_terminal_size().columns))


class _Printed(StringIO):
    """Keeps what is printed, and looks to tyro like the stream that it is for, which decides on colours and boxes."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return "ascii" if self._stream is None else self._stream.encoding

    def isatty(self) -> bool:
        """Tell whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()


def wrapped(text: str, columns: int) -> str:
    """Wrap the lines of a help text that are too long: tyro wraps only those in boxes.

    Examples:
        >>> print(wrapped("usage: unclasp average PATH ... --out PATH", 30))
        usage: unclasp average PATH
            ... --out PATH
    """
    lines = []
    for line in text.split("\n"):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        indent = " " * 4 if plain.startswith("usage:") else ""
        fits = len(plain) <= columns
        lines.append(line if fits else textwrap.fill(plain, columns, subsequent_indent=indent, break_on_hyphens=False))
    return "\n".join(lines)


def need_out(out: Path, *suffixes: str) -> None:
    """Raise an error unless --out can be written and ends in one of the suffixes, in upper or lower case."""
    if out.suffix.lower() not in suffixes:
        raise UnclaspError(f"--out must end in {' or '.join(suffixes)}, got {out}")
    check_writable(out)


def need_sheet(out: Path) -> None:
    """Raise an error unless --out can be written and is a picture's name."""
    need_out(out, ".png", ".jpg", ".jpeg")


def need_folder(out: Path) -> None:
    """Raise an error if --out is a file, lies below one, is not local, or cannot be written to; it need not exist."""
    check_local(out)
    if out.exists() and not out.is_dir():
        raise UnclaspError(f"--out must be a folder, got the file {out}")
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UnclaspError(f"--out must be a folder, got a path inside the file {existing}")
    try:
        check_writable(existing / ".unclasp")
    except UnclaspError:
        raise UnclaspError(f"{existing}: nothing can be written there; choose another --out") from None


def need_stages(weights: tuple[Path, ...]) -> None:
    """Raise an error unless at least two files are given, as averaging requires."""
    if len(weights) < 2:
        raise UnclaspError(f"name at least two weights files, got {len(weights)}")


def need_positive(**counts: int) -> None:
    """Raise an error if a value is below 1; it names the first such option."""
    for name, count in counts.items():
        if count < 1:
            raise UnclaspError(f"--{name.replace('_', '-')} must be at least 1, got {count}")


def need_seed(seed: int) -> None:
    """Raise an error if a seed is negative or too large."""
    check_seed(seed, "--seed")


def need_synth() -> None:
    """Raise an error that says what to install if numba, which the renderer needs, is missing."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        raise UnclaspError(renderer_missing("rendering", error)) from error


def with_numbers_last(words: list[str]) -> list[str]:
    """Move --box and --focal with their numbers to the end, so that tyro does not take sources after them for numbers.

    Numbers may be joined by commas. A single focal length applies to both axes.

    Raises:
        UnclaspError: An option has the wrong number of numbers.
    """
    end = words.index("--") if "--" in words else len(words)  # what follows it are sources, whatever they look like
    others, moved = words[:end], list[str]()
    for option, names in (("--box", "x1 y1 x2 y2"), ("--focal", "fx fy")):
        numbers: list[str] = []
        while (at := _position_of(option, others)) is not None:  # a repeated option overrides the one before
            others[at : at + 1] = others[at].split("=", 1)[1:]
            numbers = _take_numbers(others, at, option, names)
        moved += [option, *numbers] if numbers else []
    return [*others, *moved, *words[end:]]


def _take_numbers(words: list[str], at: int, option: str, names: str) -> list[str]:
    """Remove the numbers of an option, which begin at the word `at`, and return them."""
    count, end, numbers = len(names.split()), at, list[str]()
    while len(numbers) < count and end < len(words) and all(map(_is_number, words[end].split(","))):
        numbers += words[end].split(",")
        end += 1
    if option == "--focal" and len(numbers) == 1:
        numbers *= 2
    if len(numbers) != count:
        got = " ".join(words[at : max(end, at + 1)]) or "none"
        raise UnclaspError(f"{option} needs {count} numbers {names} in px, got {got}")
    del words[at:end]
    return numbers


def _position_of(option: str, words: list[str]) -> int | None:
    return next((position for position, word in enumerate(words) if word.split("=", 1)[0] == option), None)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
