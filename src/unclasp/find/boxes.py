"""Boxes x1, y1, x2, y2 px in a picture: around joints, around and between each other, and around the whole."""

import math
from typing import Final

import numpy as np

from unclasp import geometry
from unclasp.arrays import Bools, Floats, Pixels
from unclasp.hands import JOINTS_PER_HAND

SMALLEST_CROP: Final = 16.0
"""Minimum longer side of the box around a hand's joints, px: joints in one place must not lead to an empty crop."""

SNAPS_PER_SIDE: Final = 256
"""The grid of `snapped` has 1.4 to 2.8 times so many steps in a crop's side."""

SNAPS_PER_DEGREE: Final = 4
"""Steps of the grid of `snapped_rotation`."""


def box_around_hands(joints_2d: Floats, present: Bools, image: Pixels) -> Floats | None:
    """Return the box around the joints of the present hands, as `box_around` does.

    Args:
        joints_2d: (42, 2) px.
        present: (2,) which hands count.
        image: (H, W, 3).
    """
    return box_around(joints_2d[np.repeat(present, JOINTS_PER_HAND)], image)


def box_around(joints_2d: Floats, image: Pixels) -> Floats | None:
    """Return the box around joints, as an annotator would draw it.

    Args:
        joints_2d: (N, 2) px.
        image: (H, W, 3).

    Returns:
        (4,) x1, y1, x2, y2 px; None where there are no joints, or the box is smaller than `SMALLEST_CROP` or outside
        the picture.
    """
    if not len(joints_2d):
        return None
    tight = geometry.tight_box(joints_2d)
    if max(tight[2:] - tight[:2]) < SMALLEST_CROP or not meets(tight, image):
        return None
    return geometry.expand_box(tight, geometry.TIGHT_TO_ANNOTATED)


def middles_of(boxes: Floats) -> Floats:
    """Return the middles (..., 2) px of boxes (..., 4) px."""
    return np.asarray((boxes[..., :2] + boxes[..., 2:]) / 2)


def inside(points: Floats, boxes: Floats) -> Bools:
    """Tell which points (..., 2) px lie in the boxes (..., 4) px that go with them, edges included."""
    return np.asarray(((points >= boxes[..., :2]) & (points <= boxes[..., 2:])).all(axis=-1))


def union_of(box: Floats, other: Floats) -> Floats:
    """Return the smallest box (4,) px around two boxes (4,) px."""
    return np.concatenate([np.minimum(box[:2], other[:2]), np.maximum(box[2:], other[2:])])


def pooled(boxes: Floats, more: Floats) -> Floats:
    """Return boxes (N, 4), followed by those of `more` (M, 4) whose middles lie in none of them."""
    are_known = inside(middles_of(more)[:, None], boxes).any(axis=1)
    return np.concatenate([boxes, more[~are_known]])


def clipped(boxes: Floats, width: int, height: int) -> Floats:
    """Return boxes (..., 4) px, clipped to a picture of this size."""
    return np.clip(boxes, -0.5, np.array([width, height] * 2) - 0.5)


def meets(box: Floats, image: Pixels) -> bool:
    """Tell whether a box (x1, y1, x2, y2) contains a pixel of the picture."""
    height, width = image.shape[:2]
    return bool((box[2:] >= 0).all() and box[0] <= width - 1 and box[1] <= height - 1)


def whole_square(image: Pixels) -> Floats:
    """Return the square (4,) x1, y1, x2, y2 px around a whole picture (H, W, 3)."""
    height, width = image.shape[:2]
    return geometry.square_box(np.array([-0.5, -0.5, width - 0.5, height - 0.5]), expansion=1.0)


def snapped(square: Floats, image: Pixels, size: int) -> Floats:
    """Return the square of a crop, moved and scaled by at most 0.14 % of its side, to a grid.

    Squares are laid around joints, whose last digits depend on the processor and the number of threads. Without the
    grid they would change the pixels of the next crop, and each crop multiplies the difference (docs/decisions.md).
    The grids of a picture and of its mirror image are mirror images of each other.

    Args:
        square: (4,) x1, y1, x2, y2 px.
        image: (H, W, 3), in which it lies.
        size: Side of the crop in px of its own.
    """
    side = float(square[2] - square[0])
    # The step is no simple fraction of a pixel: else OpenCV would sample exactly between the positions that it knows.
    step = 2.0 ** math.floor(math.log2(side / SNAPS_PER_SIDE)) / math.sqrt(2)
    side = round(side / step) * step
    offset = side / size / 2  # of the square's middle from the crop's, which mirroring keeps (`geometry.crop_middle`)
    centre = (np.array(image.shape[1::-1]) - 1) / 2 + offset
    middle = centre + np.rint(((square[:2] + square[2:]) / 2 - centre) / step) * step
    return geometry.square_around(middle, side / 2)


def snapped_rotation(degrees: float) -> float:
    """Return a rotation rounded to `1 / SNAPS_PER_DEGREE` degrees, for the same reason."""
    return round(degrees * SNAPS_PER_DEGREE) / SNAPS_PER_DEGREE
