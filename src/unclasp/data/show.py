"""Draws a contact sheet of a data set's pictures with their annotations: box, joints, bones and hand type."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from unclasp import geometry
from unclasp.arrays import Pixels
from unclasp.batch import Sample
from unclasp.canvas import in_rows
from unclasp.data import Dataset
from unclasp.errors import DataError
from unclasp.hands import BONES, FINGER_COLOURS, JOINTS_PER_HAND

_CELL: Final = 360
"""Side of a cell of the sheet in px."""
_CAPTION: Final = 34
"""Height of the caption in px."""
_FRACTION_BITS: Final = 4
"""Coordinates are passed to OpenCV in 1/16 px."""
_MAX_COORDINATE_PX: Final = 1 << 14
_BOX_COLOUR: Final = (250, 250, 250)
_BACKGROUND: Final = (28, 28, 32)
_TEXT_COLOUR: Final = (225, 225, 222)


def contact_sheet(dataset: Dataset, indices: Sequence[int], *, columns: int = 4) -> Pixels:
    """Draw samples of a data set in rows of `columns` and return the sheet (H, W, 3) RGB."""
    if not indices:
        raise DataError("there is nothing to show: the data set is empty or the count is 0")
    return in_rows([_cell(dataset[index]) for index in indices], columns=columns, background=_BACKGROUND)


def draw_annotations(sample: Sample, zoom: float = 1.0) -> Pixels:
    """Return the picture, scaled by `zoom`, with box, joints and bones drawn on it.

    Only valid joints, and bones between two of them, are drawn; nearer joints lie on top.
    """
    height, width = (max(1, round(side * zoom)) for side in sample.image.shape[:2])
    shrink = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(sample.image, (width, height), interpolation=shrink)
    corners = _fixed_point(sample.box.reshape(2, 2), zoom)
    cv2.rectangle(picture, corners[0], corners[1], _BOX_COLOUR, 1, cv2.LINE_AA, _FRACTION_BITS)
    safe = np.where(sample.valid[:, None] & (sample.joints_cam[:, 2:] > 0), sample.joints_cam, 1.0)
    points = _fixed_point(geometry.project(safe, sample.focal, sample.princpt), zoom)
    shown = sample.valid & (sample.joints_cam[:, 2] > 0)
    for joint in sorted(np.flatnonzero(shown).tolist(), key=lambda joint: -float(sample.joints_cam[joint, 2])):
        hand, local = divmod(joint, JOINTS_PER_HAND)
        colour = FINGER_COLOURS[hand, min(local // 4, 4)].tolist()
        parent = _PARENT.get(joint)
        if parent is not None and shown[parent]:
            cv2.line(picture, points[joint], points[parent], colour, 1, cv2.LINE_AA, _FRACTION_BITS)
        cv2.circle(picture, points[joint], 2 << _FRACTION_BITS, colour, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)
    return np.asarray(picture, dtype=np.uint8)


_PARENT: Final = dict(BONES)


def _cell(sample: Sample) -> Pixels:
    cell = np.full((_CELL + _CAPTION, _CELL, 3), _BACKGROUND, dtype=np.uint8)
    drawn = draw_annotations(sample, _CELL / max(sample.image.shape[:2]))
    height, width = drawn.shape[:2]
    top, left = (_CELL - height) // 2, (_CELL - width) // 2
    cell[top : top + height, left : left + width] = drawn
    right, other = sample.hand_type.tolist()
    kind = "two hands" if right and other else "right" if right else "left" if other else "no hand type"
    summary = kind + ("" if sample.hand_type_valid else " (not sure)") + f", {int(sample.valid.sum())} joints"
    for line, text in enumerate((sample.name[-58:], summary)):
        position = (6, _CELL + 13 + 15 * line)
        cv2.putText(cell, text, position, cv2.FONT_HERSHEY_SIMPLEX, 0.36, _TEXT_COLOUR, 1, cv2.LINE_AA)
    return cell


def _fixed_point(points: np.ndarray, zoom: float) -> list[tuple[int, int]]:
    """Convert pixels, whose centres are at integers, to OpenCV's fixed-point coordinates in the scaled picture."""
    scaled = np.clip((points.astype(np.float64) + 0.5) * zoom - 0.5, -_MAX_COORDINATE_PX, _MAX_COORDINATE_PX)
    return [(round(x), round(y)) for x, y in (scaled * (1 << _FRACTION_BITS)).tolist()]
