"""What commands share: reading their arguments, checks of them, and what they need to be installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from unclasp.errors import UnclaspError
from unclasp.files import check_writable

_Arguments = TypeVar("_Arguments")
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
"""May be left out, which its help says in words."""
OptionalInt = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
"""The same for a whole number."""


def parse(kind: type[_Arguments], words: list[str], name: str, default: _Arguments | None = None) -> _Arguments:
    """Read the words after `unclasp NAME` into the dataclass `kind`, whose docstrings are the help text."""
    options: dict[str, Any] = {} if default is None else {"default": default}
    parsed: _Arguments = tyro.cli(kind, args=words, prog=f"unclasp {name}", **options)
    return parsed


def need_out(out: Path, *suffixes: str) -> None:
    """Raise an error unless --out names a file that can be written, ending in one of the suffixes in whichever case."""
    if out.suffix.lower() not in suffixes:
        raise UnclaspError(f"--out must end in {' or '.join(suffixes)}, got {out}")
    check_writable(out)


def need_stages(weights: tuple[Path, ...]) -> None:
    """Raise an error unless there are at least two files to average."""
    if len(weights) < 2:
        raise UnclaspError(f"name two weights files or more, got {len(weights)}")


def need_positive(**counts: int) -> None:
    """Raise an error that names the first option whose value is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise UnclaspError(f"--{name} must be at least 1, got {count}")


def need_seed(seed: int) -> None:
    """Raise an error if a seed is negative."""
    if seed < 0:
        raise UnclaspError(f"--seed must be at least 0, got {seed}")


def ready_to_convert(out: Path) -> None:
    """Raise an error unless MediaPipe's files can be converted to what --out names."""
    need_out(out, ".onnx")
    for package in ("onnx", "tflite"):
        if find_spec(package) is None:
            raise UnclaspError(f"this needs the package {package}: pip install 'unclasp[export,weights]'")


def need_synth() -> None:
    """Raise an error that says what to install if the renderer cannot run."""
    try:
        import numba  # noqa: F401
    except ModuleNotFoundError as error:
        raise UnclaspError("rendering needs numba: pip install 'unclasp[synth]'") from error


def with_numbers_last(words: list[str]) -> list[str]:
    """Put --box and --focal, with as many numbers as they take, behind the sources, which may come after them.

    Numbers may be joined by commas, and one focal length stands for both.

    Raises:
        UnclaspError: There are other than so many numbers.
    """
    rest, last = list(words), list[str]()
    for option, names in (("--box", "x1 y1 x2 y2"), ("--focal", "fx fy")):
        count, numbers = len(names.split()), list[str]()
        while (place := _place_of(option, rest)) is not None:  # of several the last one counts
            rest[place : place + 1] = rest[place].split("=", 1)[1:]
            numbers, behind = [], rest[place:]
            while len(numbers) < count and rest[place:] and all(map(_is_number, rest[place].split(","))):
                numbers += rest.pop(place).split(",")
            taken = behind[: max(1, len(behind) - len(rest[place:]))]
            if option == "--focal" and len(numbers) == 1:
                numbers *= 2
            if len(numbers) != count:
                got = " ".join(taken) or "none"
                raise UnclaspError(f"{option} needs {count} numbers {names} in px, got {got}")
        last += [option, *numbers] if numbers else []
    return rest + last


def _place_of(option: str, words: list[str]) -> int | None:
    return next((place for place, word in enumerate(words) if word.split("=", 1)[0] == option), None)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
