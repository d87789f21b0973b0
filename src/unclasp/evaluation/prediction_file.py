"""Reads and writes the prediction files of `unclasp evaluate --predictions`: npz, or JSON with the same fields.

docs/evaluation.md describes the format. Nothing in a file is ever executed: object arrays are rejected.
"""

import json
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Array, Doubles, Pixels
from unclasp.config import DepthAxis
from unclasp.data.json_file import MISFITS, parse_json
from unclasp.errors import DataError, UnclaspError
from unclasp.evaluation.predictions import PosePredictions
from unclasp.files import whole, write_text
from unclasp.hands import HAND_ORDERS, JOINTS_PER_HAND, NUM_JOINTS, NUM_PARTS, SIDES, Order
from unclasp.metrics import PLANE_UNITS
from unclasp.npz import read_arrays

FORMAT: Final = "unclasp-predictions-1"
SPACES: Final = ("crop", "image", "camera", "root_relative")
UNITS: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_FIELDS: Final = {
    "format", "names", "annotation_ids", "joints", "space", "image_size", "boxes", "unit", "order", "first_hand",
    "presence", "root_depth", "confidence", "parts", "depth_axis",
}  # fmt: skip


def read_predictions(path: Path | str) -> PosePredictions:
    """Read predictions and convert them to mm and InterHand2.6M's joint order, right hand first.

    Raises:
        DataError: The file cannot be read, or a field is missing, unknown, of a wrong shape or not finite.
    """
    path = Path(path)
    fields = _fields(path)
    try:
        return _predictions(fields)
    except UnclaspError as error:
        raise DataError(f"{path}: {error}") from error


def _predictions(fields: dict[str, Any]) -> PosePredictions:
    unknown, missing = sorted(fields.keys() - _FIELDS), sorted({"format", "joints", "space"} - fields.keys())
    if unknown or missing:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise DataError(f"it {' and '.join(faults)}; the fields are {', '.join(sorted(_FIELDS))}")
    choose = partial(_choice, fields)
    choose("format", (FORMAT,))
    space, unit = choose("space", SPACES), choose("unit", UNITS, default="mm")
    axis = DepthAxis(choose("depth_axis", tuple(DepthAxis), default=DepthAxis.CAMERA))
    order, first = choose("order", HAND_ORDERS, default="interhand"), choose("first_hand", SIDES, default="right")
    names = _names(fields)
    joints = _numbers(fields, "joints", (None, NUM_JOINTS, 3), names)
    shapes = {"presence": (2,), "root_depth": (), "boxes": (4,), "confidence": (NUM_JOINTS,)}
    optional: dict[str, Any] = {
        name: None if name not in fields else _numbers(fields, name, (len(joints), *shape), names)
        for name, shape in shapes.items()
    }
    joints = _in_interhand_order(joints, order, first)
    if optional["confidence"] is not None:
        optional["confidence"] = _in_interhand_order(optional["confidence"], order, first)
    scale = UNITS[unit]
    if optional["root_depth"] is not None:
        optional["root_depth"] = optional["root_depth"] * scale
    if space in ("camera", "root_relative"):
        optional |= {"joints_cam": joints * scale, "relative": space == "root_relative"}
    else:
        joints[..., 2] *= scale
        optional |= {"pose_2p5d": joints, "pixels": space}
    if optional["boxes"] is not None and not (
        space == "crop" and (optional["boxes"][:, 2:] > optional["boxes"][:, :2]).all()
    ):
        raise DataError("boxes are the crops of space crop, as x1, y1, x2, y2 with x2 > x1 and y2 > y1")
    optional |= {"parts": _parts(fields), "annotation_ids": _ids(fields)}
    return PosePredictions(**optional, depth_axis=axis, image_size=_image_size(fields, space), names=names)


def write_predictions(path: Path | str, predictions: PosePredictions) -> None:
    """Write predictions atomically to .npz or .json, whichever the suffix says; reading gives the same numbers."""
    path = Path(path)
    if predictions.names is None and predictions.annotation_ids is None:
        raise UnclaspError(
            f"{path}: these predictions have neither names nor annotation_ids, which files need: add one"
        )
    joints, space = predictions.joints_cam, "root_relative" if predictions.relative else "camera"
    if joints is None:
        joints, space = predictions.pose_2p5d, predictions.pixels
    fields: dict[str, Any] = {
        "format": FORMAT, "space": space, "unit": "mm", "order": "interhand", "first_hand": "right",
        "image_size": predictions.image_size, "joints": joints, "names": predictions.names,
        "annotation_ids": predictions.annotation_ids, "boxes": predictions.boxes, "presence": predictions.presence,
        "depth_axis": None if predictions.depth_axis is DepthAxis.CAMERA else predictions.depth_axis.value,
        "root_depth": predictions.root_depth, "confidence": predictions.confidence, "parts": predictions.parts,
    }  # fmt: skip
    arrays: dict[str, Any] = {name: _smallest(np.asarray(value)) for name, value in fields.items() if value is not None}
    if path.suffix == ".json":
        write_text(path, json.dumps({name: array.tolist() for name, array in arrays.items()}) + "\n")
        return
    if path.suffix != ".npz":
        raise UnclaspError(f"predictions are written as .npz or .json, got {path}")
    with whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _smallest(array: Array) -> Array:
    """Return the array in single precision if that is lossless."""
    if array.dtype == np.float64 and (array == (single := array.astype(np.float32))).all():
        return single
    return array


def _fields(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file in it, .npz or .json")
    try:
        if path.suffix == ".json":
            content = parse_json(path.read_bytes(), path, "write it again")
            if not isinstance(content, dict):
                raise DataError(f"{path} must be a JSON object with the fields {', '.join(sorted(_FIELDS))}")
            return {name: _as_array(path, name, value) if name in _FIELDS else value for name, value in content.items()}
        return read_arrays(path, known=_FIELDS)
    except FileNotFoundError as error:
        raise DataError(f"there is no file of predictions {path}") from error
    except DataError:
        raise
    except Exception as error:  # damaged files can raise almost anything
        if str(error).startswith("Object arrays"):
            raise DataError(
                f"{path} has an array of Python objects; save names by np.array(names, dtype=str)"
            ) from error
        raise DataError(
            f"{path} is not a file of predictions, .npz or .json ({type(error).__name__}: {error})"
        ) from error


def _as_array(path: Path, name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except MISFITS as error:
        raise DataError(f"{path}: {name} must be a value or a list of values of one shape ({error})") from error


def _choice(fields: dict[str, Any], name: str, allowed: Collection[str], default: str = "") -> str:
    value = np.asarray(fields.get(name, default))
    if value.size != 1 or (chosen := str(value.item())) not in allowed:
        raise DataError(f"{name} must be one of {', '.join(allowed)}; got {' '.join(str(fields.get(name)).split())}")
    return chosen


def _numbers(
    fields: dict[str, Any], name: str, shape: tuple[int | None, ...], samples: Sequence[str] | None
) -> Doubles:
    try:
        array = np.array(fields[name], dtype=np.float64)
    except MISFITS as error:
        raise DataError(f"{name} must be numbers of one shape ({error})") from error
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("N" if size is None else str(size) for size in shape) + ("," if len(shape) == 1 else "")
        raise DataError(f"{name} must have shape ({wanted}), got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=tuple(range(1, array.ndim))))
    if len(bad):
        first = f"entry {bad[0]}" if samples is None else samples[bad[0]]
        raise DataError(
            f"{name} of {len(bad)} predictions are not finite, the first of them {first}; write 0 for joints that your "
            "method does not predict"
        )
    return array


def _names(fields: dict[str, Any]) -> tuple[str, ...] | None:
    if ("names" in fields) == ("annotation_ids" in fields):
        raise DataError("it must have either names or annotation_ids, which say what is predicted")
    if "names" not in fields:
        return None
    names = np.asarray(fields["names"])
    if names.ndim != 1 or (names.size and names.dtype.kind not in "US"):
        raise DataError(f"names must be a list of texts, got {names.dtype} of shape {names.shape}")
    try:
        texts = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())
        "".join(texts).encode()
        return texts
    except UnicodeError as error:
        raise DataError(f"names must be in UTF-8 ({error}); write them as text") from error


def _ids(fields: dict[str, Any]) -> npt.NDArray[np.int64] | None:
    if "annotation_ids" not in fields:
        return None
    ids = np.asarray(fields["annotation_ids"])
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise DataError(f"annotation_ids must be a list of integers, got {ids.dtype} of shape {ids.shape}")
    if ids.size and ids.max() > np.iinfo(np.int64).max:
        raise DataError(f"annotation_ids must be smaller than 2**63, got {ids.max()}")
    return ids.astype(np.int64)


def _image_size(fields: dict[str, Any], space: str) -> int:
    if "image_size" not in fields:
        if space == "crop":
            raise DataError("it lacks image_size, the side in pixels of the crops that u and v are in")
        return PLANE_UNITS
    size = np.asarray(fields["image_size"])
    if size.size != 1 or size.dtype.kind not in "iu" or int(size.item()) < 1:
        raise DataError(f"image_size must be a whole number of pixels, got {size.tolist()!r}")
    return int(size.item())


def _parts(fields: dict[str, Any]) -> Pixels | None:
    if "parts" not in fields:
        return None
    parts = np.asarray(fields["parts"])
    if parts.dtype.kind not in "iu" or (parts.size and not 0 <= parts.min() <= parts.max() < NUM_PARTS):
        raise DataError(f"parts must be part classes 0-{NUM_PARTS - 1}")
    return parts.astype(np.uint8)


def _in_interhand_order(joints: Doubles, order: str, first: str) -> Doubles:
    hands = joints.reshape(-1, 2, JOINTS_PER_HAND, *joints.shape[2:])
    if first == "left":
        hands = hands[:, ::-1]
    to_interhand = np.argsort(HAND_ORDERS[cast(Order, order)])
    return np.ascontiguousarray(hands[:, :, to_interhand].reshape(-1, NUM_JOINTS, *joints.shape[2:]))
