"""Two hands that are apart: finds the region of each in a crop around both, and which of them is the right one."""

from typing import Final

import cv2
import numpy as np

from unclasp.arrays import Floats
from unclasp.hands import HAND_SLICES

ONE_HAND_ROOM: Final = 1.3
"""Scale of the crop of one hand over its segmented region: fingertips are its least certain pixels."""
_MIN_PROBABILITY: Final = 0.5
"""A pixel of the map shows a hand if its probability is above this."""
_MIN_AREA_SHARE: Final = 0.15
"""There are two hands only if the smaller region has at least this share of the larger one's pixels."""
_MAX_THIRD_AREA_SHARE: Final = 0.5
"""If a third region has more than this share of the second one's pixels, it is unclear which two are the hands."""


def squares_of_two(hand_probability: Floats, image_size: int) -> Floats | None:
    """Return the squares around two hands that do not touch in a crop.

    Args:
        hand_probability: (h, w) probability that a pixel of the map shows a hand, of a crop of S x S px.
        image_size: S.

    Returns:
        (2, 4) squares x1, y1, x2, y2 in px of the crop, around the larger region first; None where there are not just
        two regions, or where a square would not be smaller than the crop.
    """
    mask = (hand_probability > _MIN_PROBABILITY).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    regions = stats[1:][np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")]
    areas = regions[:, cv2.CC_STAT_AREA]
    if len(areas) < 2 or areas[1] < _MIN_AREA_SHARE * areas[0] or (areas[2:] > _MAX_THIRD_AREA_SHARE * areas[1]).any():
        return None
    stride = image_size / mask.shape[0]
    low = regions[:2, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]] * stride - 0.5
    extent = regions[:2, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]] * stride
    half = ONE_HAND_ROOM * extent.max(axis=1, keepdims=True) / 2
    if 2 * half.max() >= image_size:
        return None
    middle = low + extent / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def slots_of_two(presence: Floats, middles: Floats, joints_2d: Floats) -> tuple[int, int]:
    """Return the slot, 0 right and 1 left, of the hand that each of two regions shows.

    Two cues count: the presence of both hands in a crop of each region, and the distance of the regions from the joints
    of both hands in the crop around both. The latter is weak where that crop's joints of a hand lie between the
    regions.

    Args:
        presence: (2, 2) presence of the right and of the left hand in a crop of each region.
        middles: (2, 2) px, of the regions.
        joints_2d: (42, 2) px, from the crop around both.
    """
    hands = np.stack([joints_2d[joints].mean(axis=0) for joints in HAND_SLICES])
    distances = np.linalg.norm(middles[:, None] - hands, axis=2)
    # A ring has the same middle as a region inside it.
    spacing = max(float(np.linalg.norm(middles[0] - middles[1])), 1.0)
    nearer = (distances[0, 1] + distances[1, 0] - distances[0, 0] - distances[1, 1]) / (2 * spacing)
    logs = np.log(np.maximum(presence, 1e-3))
    straight, crossed = logs[0, 0] + logs[1, 1] + nearer, logs[0, 1] + logs[1, 0] - nearer
    return (0, 1) if straight >= crossed else (1, 0)
