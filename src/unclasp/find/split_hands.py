"""Two hands that are apart: where each is in a crop around both, and which of them is the right one."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.hands import HAND_SLICES

Floats = npt.NDArray[np.floating]

ONE_HAND_ROOM: Final = 1.3
"""A crop of one hand is this much larger than what is seen of it: fingertips are the least certain pixels."""
_HAND: Final = 0.5
"""Probability from which on a pixel of the map shows a hand."""
_SMALLER: Final = 0.15
"""The smaller region has at least this share of the larger one's pixels."""
_CLUTTER: Final = 0.5
"""A third region with this share of the second one's pixels leaves it open which two are the hands."""


def squares_of_two(hand_probability: Floats, image_size: int) -> Floats | None:
    """Return where two hands are that do not touch in a crop.

    Args:
        hand_probability: (h, w) how likely each pixel of the map shows a hand, of a crop of S x S px.
        image_size: S.

    Returns:
        (2, 4) squares x1, y1, x2, y2 in px of the crop, around the larger region first; None where there are not just
        two regions, or where a square would not be smaller than the crop.
    """
    mask = (hand_probability > _HAND).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    regions = stats[1:][np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")]
    areas = regions[:, cv2.CC_STAT_AREA]
    if len(areas) < 2 or areas[1] < _SMALLER * areas[0] or (areas[2:] > _CLUTTER * areas[1]).any():
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
    """Return which hand, 0 right and 1 left, each of two regions shows.

    Two things tell: what a look at each region takes it for, and how near to it a look at both put the joints of either
    hand. The latter is unsure where it put a hand's joints between the regions.

    Args:
        presence: (2, 2) probability of the right and of the left hand in a look at each region.
        middles: (2, 2) px, of the regions.
        joints_2d: (42, 2) px, as a look at both has them.
    """
    hands = np.stack([joints_2d[joints].mean(axis=0) for joints in HAND_SLICES])
    far = np.linalg.norm(middles[:, None] - hands, axis=2)
    between = max(float(np.linalg.norm(middles[0] - middles[1])), 1.0)  # a ring around another region has its middle
    nearer = (far[0, 1] + far[1, 0] - far[0, 0] - far[1, 1]) / (2 * between)
    logs = np.log(np.maximum(presence, 1e-3))
    straight, crossed = logs[0, 0] + logs[1, 1] + nearer, logs[0, 1] + logs[1, 0] - nearer
    return (0, 1) if straight >= crossed else (1, 0)
