"""Evidence from painting hands over in a copy of the picture: what is behind them, and whether two hands are one."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.find.crop_result import CropResult
from unclasp.find.landmarks import Landmarks
from unclasp.hands import HAND_SLICES, SIDES

Floats = npt.NDArray[np.floating]

MIN_REMAINING_SCORE: Final = 0.2
"""Two hands on one place are one if neither has a hand score of at least this once the other one is painted over."""


def painted_over(image: ByteArray, hands: Sequence[Floats]) -> ByteArray:
    """Return a copy of a picture with the outlines of hands filled with its mean colour.

    Args:
        image: (H, W, 3) RGB.
        hands: (21, 2) px each: joints.
    """
    painted, colour = image.copy(), cv2.mean(image)
    for joints_2d in hands:
        outline = np.rint(cv2.convexHull(joints_2d.astype(np.float32))).astype(np.int32)
        cv2.fillConvexPoly(painted, outline, colour)
    return painted


def without_double(result: CropResult, image: ByteArray, landmarks: Landmarks) -> CropResult:
    """Return the result without the weaker of two hands on one place, if they are one hand that was found twice.

    Of two hands in contact, at least one is still seen as a hand where the other one is painted over; of a hand that
    was found twice, nothing is left.

    Args:
        result: A result of the picture, with hand scores.
        image: (H, W, 3) RGB.
        landmarks: Tells what is left.
    """
    if len(result.present_slots) < 2 or result.hand_scores is None or not result.are_at_one_place:
        return result
    right, left = (result.joints_2d[joints] for joints in HAND_SLICES)
    pairs = zip((right, left), (left, right), SIDES, strict=True)
    remaining = [landmarks(painted_over(image, [other]), hand, side).hand_score for hand, other, side in pairs]
    if max(remaining) >= MIN_REMAINING_SCORE:
        return result
    return result.without_hand(int(result.hand_scores.argmin()))
