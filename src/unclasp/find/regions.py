"""Finds the region of the hands in a whole picture by the pose network's own part segmentation."""

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.data.transforms import crop_image
from unclasp.engines.network import Network
from unclasp.hands import JOINTS_PER_HAND

Floats = npt.NDArray[np.floating]

SMALLEST_CROP: Final = 16.0
"""Minimum longer side of the box around a hand's joints, px: joints in one place must not lead to an empty crop."""
_MAP_SIZE: Final = 192
"""Cells along the side of the map on which the windows' segmentations are merged."""
_MIN_PROBABILITY: Final = 0.5
"""A cell shows a hand if its probability is above this."""
_MIN_AREA_SHARE: Final = 0.2
"""Regions with less than this share of the largest one's cells are dropped."""


def box_around_hands(joints_2d: Floats, present: npt.NDArray[np.bool_], image: ByteArray) -> Floats | None:
    """Return the box around the joints of the present hands, as `box_around` does.

    Args:
        joints_2d: (42, 2) px.
        present: (2,) which hands count.
        image: (H, W, 3).
    """
    return box_around(joints_2d[np.repeat(present, JOINTS_PER_HAND)], image)


def box_around(joints_2d: Floats, image: ByteArray) -> Floats | None:
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


def union_of(box: Floats, other: Floats) -> Floats:
    """Return the smallest box (4,) px around two boxes (4,) px."""
    return np.concatenate([np.minimum(box[:2], other[:2]), np.maximum(box[2:], other[2:])])


def pooled(boxes: Floats, more: Floats) -> Floats:
    """Return boxes (N, 4), followed by those of `more` (M, 4) whose middles lie in none of them."""
    middles = middles_of(more)[:, None]
    inside = ((middles >= boxes[:, :2]) & (middles <= boxes[:, 2:])).all(axis=2)
    return np.concatenate([boxes, more[~np.any(inside, axis=1)]])


def meets(box: Floats, image: ByteArray) -> bool:
    """Tell whether a box (x1, y1, x2, y2) contains a pixel of the picture."""
    height, width = image.shape[:2]
    return bool((box[2:] >= 0).all() and box[0] <= width - 1 and box[1] <= height - 1)


def whole_square(image: ByteArray) -> Floats:
    """Return the square (4,) x1, y1, x2, y2 px around a whole picture (H, W, 3)."""
    height, width = image.shape[:2]
    return geometry.square_box(np.array([-0.5, -0.5, width - 0.5, height - 0.5]), expansion=1.0)


def find_region(network: Network, image: ByteArray) -> Floats:
    """Return the square around the hands in a whole picture, by the network's own part segmentation.

    The network runs on the whole picture and on up to nine overlapping windows of half its size. The square holds the
    largest regions that show hands, or the whole picture where there are none.

    Returns:
        (4,) square x1, y1, x2, y2 px.
    """
    height, width = image.shape[:2]
    whole = whole_square(image)
    windows = [whole, *_half_windows(width, height)]
    size = network.image_size
    crops = [crop_image(image, window, size) for window in windows]
    output = network(np.stack([crop.image for crop in crops]))
    scale = _MAP_SIZE / (whole[2] - whole[0])
    merged = np.zeros((_MAP_SIZE, _MAP_SIZE), dtype=np.float32)
    for window, probability in zip(windows, output.hand_probability, strict=True):
        merged = np.maximum(merged, _pasted(probability, window, whole, scale))
    cells = _largest_regions(merged > _MIN_PROBABILITY)
    if cells is None:
        return whole
    box = cells / scale + np.tile(whole[:2], 2)
    return geometry.square_box(geometry.expand_box(box, geometry.TIGHT_TO_ANNOTATED))


def _half_windows(width: int, height: int) -> list[Floats]:
    """Return squares of half the longer side that cover the picture, overlapping by half or more."""
    side = max(width, height) / 2
    columns, rows = (max(1, math.ceil(2 * extent / side) - 1) for extent in (width, height))
    centres = [
        ((column + 1) * width / (columns + 1) - 0.5, (row + 1) * height / (rows + 1) - 0.5)
        for row in range(rows)
        for column in range(columns)
    ]
    return [np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2]) for x, y in centres]


def _pasted(probability: Floats, window: Floats, whole: Floats, scale: float) -> npt.NDArray[np.float32]:
    """Resample a window's map (h, w) onto the map of the whole picture."""
    stride = (window[2] - window[0]) * scale / probability.shape[1]
    offset = (window[:2] - whole[:2]) * scale + stride / 2 - 0.5
    matrix = np.array([[stride, 0, offset[0]], [0, stride, offset[1]]])
    pasted = cv2.warpAffine(probability.astype(np.float32), matrix, (_MAP_SIZE, _MAP_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(pasted, dtype=np.float32)


def _largest_regions(mask: npt.NDArray[np.bool_]) -> Floats | None:
    """Return the box around the largest connected region and all that are not much smaller, or None without any.

    Its coordinates are those of the cells' edges: the first cell lies between 0 and 1.
    """
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = stats[1:][areas >= _MIN_AREA_SHARE * areas.max()]
    low = kept[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    high = low + kept[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    return np.concatenate([low.min(axis=0), high.max(axis=0)]).astype(np.float64)
