"""Reads the tables of cameras, frames and MANO fits, each in one pass."""

from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from unclasp.arrays import Array
from unclasp.data.json_file import MISFITS
from unclasp.data.jsonstream import JsonStream
from unclasp.data.problems import Problems
from unclasp.errors import DataError
from unclasp.hands import NUM_JOINTS, SIDES

Columns = dict[str, Array]
OnRead = Callable[[int], None]
"""Called with the number of characters of each read."""

BOTH_HANDS: Final = 3
"""The bits of the right hand, 1, and of the left one, 2, in the columns `hand_type` and `frame_mano`."""
MANO_KEY: Final = 4
"""Bit of `frame_mano`: the MANO file has an entry for the frame. The hands' bits are set for those with a fit."""
_CAMERA_SHAPES: Final = {"camrot": (3, 3), "campos": (3,), "focal": (2,), "princpt": (2,)}
_ROTATION_TOLERANCE: Final = 0.01
"""Of a rotation times its transpose, to the identity; the published matrices are exact to 1e-7."""
_FIT: Final = {"pose": 48, "shape": 10, "trans": 3}
"""The parts of a hand's MANO fit, and how many numbers each has."""
FIT_SIZE: Final = sum(_FIT.values())


def read_cameras(path: Path, on_read: OnRead) -> tuple[dict[str, int | str], Columns]:
    """Read camera.json.

    Returns:
        The table row, or a description of the fault, of each CAPTURE/CAMERA; and the table.
    """
    rows: dict[str, int | str] = {}
    table: dict[str, list[Array]] = {key: [] for key in _CAMERA_SHAPES}
    with JsonStream(path, on_read) as stream:
        for capture in stream.members():
            cameras = stream.value()
            known = isinstance(cameras, dict) and all(isinstance(cameras.get(key), dict) for key in _CAMERA_SHAPES)
            if not known:
                raise misfit(path, f"capture '{capture}' must hold {', '.join(_CAMERA_SHAPES)}")
            for name in dict.fromkeys(name for key in _CAMERA_SHAPES for name in cameras[key]):
                try:
                    row = {key: _numbers(cameras[key], key, name) for key in _CAMERA_SHAPES}
                except ValueError as error:
                    rows[f"{capture}/{name}"] = str(error)
                    continue
                rows[f"{capture}/{name}"] = len(table["camrot"])
                for key, values in row.items():
                    table[key].append(values)
        stream.end()
    arrays = {key: np.array(values).reshape(-1, *_CAMERA_SHAPES[key]) for key, values in table.items()}
    return rows, arrays


def _numbers(table: dict[str, Any], key: str, name: str) -> Array:
    shape = _CAMERA_SHAPES[key]
    try:
        values = np.asarray(table[name], dtype=np.float64)
    except KeyError:
        raise ValueError(f"'{key}' lacks it") from None
    except MISFITS:
        raise ValueError(f"'{key}' holds no numbers for it") from None
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"'{key}' must hold {shape} finite numbers for it, got {values.shape}")
    if key == "camrot" and not _is_rotation(values):
        raise ValueError(f"'camrot' must hold a rotation for it, got {values.round(3).tolist()}")
    if key == "focal" and not (values > 0).all():
        raise ValueError(f"'focal' must hold positive numbers for it, got {values.tolist()}")
    return values


def _is_rotation(matrix: Array) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        close = np.abs(matrix @ matrix.T - np.eye(3)).max() < _ROTATION_TOLERANCE  # False for NaN, too
    return bool(close and np.linalg.det(matrix) > 0)


def entries_by_frame(path: Path, on_read: OnRead | None = None) -> Iterator[tuple[str, str, Any]]:
    """Yield capture, frame and entry of a file that is an object of captures, each an object of frames."""
    with JsonStream(path, on_read) as stream:
        for capture in stream.members():
            for frame in stream.members():
                yield capture, frame, stream.value()
        stream.end()


def read_frames(path: Path, problems: Problems, on_read: OnRead) -> tuple[dict[str, int | str], Columns, Array]:
    """Read joint_3d.json.

    Returns:
        The table row, or a description of the fault, of each CAPTURE/FRAME; the table; and which joints are finite,
        (frames, 42).
    """
    rows: dict[str, int | str] = {}
    worlds = array("d")
    for capture, frame, entry in entries_by_frame(path, on_read):
        key = f"{capture}/{frame}"
        try:
            world = np.asarray(entry["world_coord"], dtype=np.float64)
        except MISFITS:
            rows[key] = "'world_coord' must hold 42 points"
            continue
        if world.shape != (NUM_JOINTS, 3):
            rows[key] = f"'world_coord' must hold (42, 3) numbers, got {world.shape}"
            continue
        if not np.isfinite(world).all():
            problems.add("joints", f"capture {capture} frame {frame}")
        rows[key] = len(worlds) // world.size
        worlds.frombytes(world.tobytes())
    table = np.array(worlds, dtype=np.float64).reshape(-1, NUM_JOINTS, 3)
    finite = np.asarray(np.isfinite(table).all(axis=2))
    # Joints that are not finite get the placeholder of joints without annotation, so that they cannot spoil a sum.
    return rows, {"world": table if finite.all() else np.where(finite[..., None], table, 1.0)}, finite


def read_mano(path: Path, rows: dict[str, int | str], count: int, problems: Problems, on_read: OnRead) -> Array:
    """Return the column `frame_mano`: for each frame, the bits of the hands that have a fit, and `MANO_KEY`."""
    flags = np.zeros(count, dtype=np.uint8)
    if not path.exists():
        return flags
    for capture, frame, hands in entries_by_frame(path, on_read):
        row = rows.get(f"{capture}/{frame}")
        if not isinstance(row, int):
            problems.add("mano frame", f"capture {capture} frame {frame}")
            continue
        flags[row] = MANO_KEY
        for bit, side in enumerate(SIDES):
            hand = hands.get(side) if isinstance(hands, dict) else 0
            if hand is not None and fit_of(hand) is not None:
                flags[row] |= 1 << bit
            elif hand is not None:
                problems.add("mano", f"capture {capture} frame {frame} {side}")
    return flags


def fit_of(hand: Any) -> Array | None:
    """Return the pose, shape and translation of a MANO fit as (`FIT_SIZE`,); None if it is missing or damaged."""
    try:
        arrays = [np.asarray(hand[key], dtype=np.float64).ravel() for key in _FIT]
    except MISFITS:
        return None
    if any(values.size != size for values, size in zip(arrays, _FIT.values(), strict=True)):
        return None
    joined: Array = np.concatenate(arrays)
    return joined if np.isfinite(joined).all() else None


def parts_of_fit(fit: Array) -> list[Array]:
    """Split a result of `fit_of` into pose (48,), shape (10,) and translation (3,)."""
    return np.split(fit, np.cumsum(list(_FIT.values()))[:-1])


def file_names(columns: Columns) -> Iterator[bytes]:
    """Yield the file name of each image, in UTF-8, from the columns `names` and `name_starts`."""
    data = columns["names"].tobytes()
    return (data[start:end] for start, end in pairwise(columns["name_starts"].tolist()))


def misfit(path: Path, what: str) -> DataError:
    """Return the error for annotations whose structure differs from InterHand2.6M's."""
    return DataError(f"{path.parent}: the annotations do not fit together: {path.name}: {what}; fetch it again")
