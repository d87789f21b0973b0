"""The fields of InterHand2.6M's `images` and `annotations`, and what is wrong with an entry that could not be read.

Finding that out is slow: the reader converts entries in bulk, and asks here only about those that fail.
"""

import reprlib
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final

import numpy as np

from unclasp.data.json_file import MISFITS
from unclasp.hands import NUM_JOINTS

_Check = Callable[[Any], bool]

HAND_TYPES: Final = {"right": (True, False), "left": (False, True), "interacting": (True, True)}


def whole_number(value: Any, bits: int) -> int:
    """Return a whole number that fits into a column of so many bits.

    Raises:
        ValueError: It does not fit, or is no number.
        OverflowError: It is infinite.
        TypeError: It is no number.
    """
    number = int(value)
    if number.bit_length() >= bits:
        raise ValueError(f"a number of {number.bit_length()} bits, where at most {bits - 1} are expected")
    return number


def leaves_folder(name: str) -> bool:
    """Return whether a file name may lead out of the folder that it is relative to, on any system, or is no name."""
    if not (".." in name or ":" in name or "\\" in name or "\0" in name or name[:1] in "/"):
        return False  # all names of the data set end here
    paths = PurePosixPath(name), PureWindowsPath(name)
    return not name or "\0" in name or any(path.anchor or ".." in path.parts for path in paths)


def image_fault(image: Any) -> str:
    """Return what an entry of `images` should hold and does not, in one line."""
    return _fault(image, _IMAGE)


def annotation_fault(annotation: Any) -> str:
    """Return what an entry of `annotations` should hold and does not, in one line."""
    return _fault({"id": 0, **annotation} if isinstance(annotation, dict) else annotation, _ANNOTATION)


def _fault(entry: Any, fields: dict[str, tuple[str, _Check]]) -> str:
    if not isinstance(entry, dict):
        return f"it must be an object with {', '.join(fields)}, got {reprlib.repr(entry)}"
    for key, (expected, is_valid) in fields.items():
        if key not in entry:
            return f"'{key}' is missing"
        if not _holds(is_valid, entry[key]):
            return f"'{key}' must be {expected}, got {_short(entry[key])}"
    return "it cannot be read"


def _holds(is_valid: _Check, value: Any) -> bool:
    try:
        return is_valid(value)
    except MISFITS:
        return False


def _short(value: Any) -> str:
    """Return a value in one short line; of a long list its length, and the first entry that is neither 0 nor 1."""
    if not isinstance(value, list) or len(value) <= reprlib.aRepr.maxlist:
        return reprlib.repr(value)
    odd = [entry for entry in value if entry not in (0, 1, [0], [1])]
    return f"{len(value)}{f', with {reprlib.repr(odd[0])}' if odd else ''}"


def _is_whole(bits: int) -> tuple[str, _Check]:
    return f"a whole number of at most {bits - 1} bits", lambda value: whole_number(value, bits) is not None


def _is_length(value: Any) -> bool:
    return whole_number(value, 32) > 0


def _are_flags(value: Any) -> bool:
    flags = np.array(value, dtype=np.float32).reshape(-1)
    return isinstance(value, list) and len(value) == len(flags) == NUM_JOINTS and bool(np.isin(flags, (0, 1)).all())


_LENGTH: Final = ("a whole number of pixels above 0", _is_length)
_IMAGE: Final[dict[str, tuple[str, _Check]]] = {
    "id": _is_whole(64), "capture": _is_whole(32), "frame_idx": _is_whole(64),
    "file_name": ("a path below the folder of pictures",
                  lambda value: bool(value.encode()) and not leaves_folder(value)),
    "camera": ("a name", lambda _: True), "width": _LENGTH, "height": _LENGTH,
}  # fmt: skip
_ANNOTATION: Final[dict[str, tuple[str, _Check]]] = {
    "image_id": _is_whole(64), "id": _is_whole(64),
    "bbox": ("a list of the 4 numbers x, y, width and height",
             lambda value: isinstance(value, list) and np.array(value, dtype=np.float64).shape == (4,)),
    "joint_valid": (f"a list of {NUM_JOINTS} values of 0 or 1", _are_flags),
    "hand_type": (f"one of {', '.join(HAND_TYPES)}", lambda value: value in HAND_TYPES),
    "hand_type_valid": ("0 or 1", lambda _: True),
}  # fmt: skip
