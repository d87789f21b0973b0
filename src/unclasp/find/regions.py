"""Finds the region of the hands in a whole picture by the pose network's own part segmentation."""

import math
from typing import Final

import cv2
import numpy as np

from unclasp import geometry
from unclasp.arrays import Bools, Floats, Pixels, Singles
from unclasp.data.transforms import crop_image
from unclasp.engines.network import Network
from unclasp.find.boxes import whole_square

_MAP_SIZE: Final = 192
"""Cells along the side of the map on which the windows' segmentations are merged."""
_MIN_PROBABILITY: Final = 0.5
"""A cell shows a hand if its probability is above this."""
_MIN_AREA_SHARE: Final = 0.2
"""Regions with less than this share of the largest one's cells are dropped."""


def find_region(network: Network, image: Pixels) -> Floats:
    """Return the square around the hands in a whole picture, by the network's own part segmentation.

    The network runs on the whole picture and on up to nine overlapping windows of half its size. The square holds the
    largest regions that show hands, or the whole picture where there are none.

    Returns:
        (4,) square x1, y1, x2, y2 px.
    """
    height, width = image.shape[:2]
    whole = whole_square(image)
    windows = [whole, *half_windows(width, height)]
    size = network.image_size
    crops = [crop_image(image, window, size) for window in windows]
    output = network(np.stack([crop.image for crop in crops]))
    scale = _MAP_SIZE / (whole[2] - whole[0])
    merged = np.zeros((_MAP_SIZE, _MAP_SIZE), dtype=np.float32)
    for window, probability in zip(windows, output.hand_probability, strict=True):
        merged = np.maximum(merged, pasted(probability, window, whole, scale))
    cells = largest_regions(merged > _MIN_PROBABILITY)
    if cells is None:
        return whole
    box = cells / scale + np.tile(whole[:2], 2)
    return geometry.square_box(geometry.expand_box(box, geometry.TIGHT_TO_ANNOTATED))


def half_windows(width: int, height: int) -> list[Floats]:
    """Return squares of half the longer side that cover the picture, overlapping by half or more."""
    side = max(width, height) / 2
    columns, rows = (max(1, math.ceil(2 * extent / side) - 1) for extent in (width, height))
    centres = [
        ((column + 1) * width / (columns + 1) - 0.5, (row + 1) * height / (rows + 1) - 0.5)
        for row in range(rows)
        for column in range(columns)
    ]
    return [np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2]) for x, y in centres]


def pasted(probability: Floats, window: Floats, whole: Floats, scale: float) -> Singles:
    """Resample a window's map (h, w) onto the map of the whole picture."""
    stride = (window[2] - window[0]) * scale / probability.shape[1]
    offset = (window[:2] - whole[:2]) * scale + stride / 2 - 0.5
    matrix = np.array([[stride, 0, offset[0]], [0, stride, offset[1]]])
    pasted = cv2.warpAffine(probability.astype(np.float32), matrix, (_MAP_SIZE, _MAP_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(pasted, dtype=np.float32)


def largest_regions(mask: Bools) -> Floats | None:
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
