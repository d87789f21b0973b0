"""The exceptions for errors that users can fix, and checks that raise them.

The command line prints these exceptions as one line, without a traceback.
"""

import errno
import math
import re
from collections.abc import Collection, Hashable
from numbers import Integral
from pathlib import Path
from typing import Final

_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
"""How a URL begins. `pathlib` makes one slash of two, and drives of Windows have one letter."""


class UnclaspError(ValueError):
    """An error that the caller can fix; the message says what was expected, what was given, and what to do."""


class ImageError(UnclaspError):
    """A picture that cannot be read, or is not a picture."""


class VideoError(UnclaspError):
    """A video or camera that cannot be opened, read to its end, or written."""


class BoxError(UnclaspError):
    """A box that is malformed or does not overlap the picture."""


class DataError(UnclaspError):
    """A data set on disk that is missing, incomplete or damaged."""


class CheckpointError(UnclaspError):
    """A weights or training-state file that is missing, damaged or belongs to another model."""


class NonFiniteLossError(UnclaspError):
    """The training loss became infinite or not a number."""


def refusal(expected: str, got: str, advice: str) -> ImageError:
    """Return an error for what is no usable picture, to be raised."""
    return ImageError(f"expected {expected}, got {got}; {advice}")


def write_error(path: Path, error: OSError) -> DataError:
    """Return the error that says that and why a file of a data set could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"the disk is full: {path} could not be written, and nothing of it is left; make room for it")
    return DataError(f"{path} cannot be written ({error.strerror or error})")


def renderer_missing(what: str, error: ImportError) -> str:
    """Return what to install, in words, for something that needs the renderer: numba is missing, or cannot be loaded.

    Examples:
        >>> renderer_missing("rendering", ImportError("Numba needs NumPy 2.3 or less. Got NumPy 2.4."))
        "rendering needs numba (Numba needs NumPy 2.3 or less. Got NumPy 2.4.): pip install 'unclasp[synth]'"
    """
    reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
    return f"{what} needs {error.name or 'numba'}{reason}: pip install 'unclasp[synth]'"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its kind if it has none: engines tell where they failed below it."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def is_address(path: Path | str) -> bool:
    """Tell whether a path is an address, such as https://… or s3://…, none of which is ever opened."""
    return _ADDRESS.match(str(path)) is not None


def advice_on_missing(path: Path | str, otherwise: str = "check the spelling", *, has_frames: bool = False) -> str:
    """Return what to do about the path of an input where nothing is found; `has_frames` if it may be a video's."""
    if is_address(path):
        advice = "addresses are not opened: download the file first"
        return f"{advice}, or read the frames yourself and give them to Predictor.track" if has_frames else advice
    if re.match(r"~[^/\\]*[/\\]", str(path)):
        return "~ is not expanded here: use Path.expanduser() in Python, and a space before it in a shell"
    return otherwise


def check_choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise an error that lists the allowed values, unless `value` is one of them.

    Raises:
        UnclaspError: `value` is not allowed.
    """
    if not isinstance(value, Hashable) or value not in allowed:
        raise UnclaspError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_at_least(least: float, **values: float | None) -> None:
    """Raise an error that names the first value that is below a bound, infinite or NaN; None is always accepted.

    Raises:
        UnclaspError: A value is out of range.
    """
    for name, value in values.items():
        if value is not None and not least <= value < math.inf:
            raise UnclaspError(f"{name} must be at least {least:g}, got {value}")


def check_seed(seed: int, name: str = "seed") -> None:
    """Raise an error unless a seed is one that all random generators take: NumPy's global one takes 32 bits.

    Raises:
        UnclaspError: It is negative or too large.
    """
    if not 0 <= seed < 2**32:
        raise UnclaspError(f"{name} must be from 0 to {2**32 - 1}, got {seed}; choose another one")


def check_whole(least: int, **values: object) -> None:
    """Raise an error that names the first value that is no whole number, or below a bound.

    Raises:
        UnclaspError: A value is not whole, or out of range.
    """
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise UnclaspError(f"{name} must be a whole number, got {value!r}")
        check_at_least(least, **{name: int(value)})
