"""The sweep: runs the pose network on windows all over a picture in which no hand that was found is certain.

The finder is trained on how hands look in whole pictures, and misses those that look different, such as hands in
gloves. The pose network may know them in a crop of about their size. As it predicts hands in any crop, the landmark
network, which is trained on real hands and on pictures without any, has to confirm one there, too.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from unclasp.arrays import Floats, Pixels
from unclasp.find.boxes import box_around
from unclasp.find.credibility import max_confidence, max_hand_score
from unclasp.find.crop_predictor import MIN_CONFIDENCE_GAIN, CropPredictor
from unclasp.find.crop_result import MIN_CONFIDENCE, MIN_HAND_SCORE, CropResult
from unclasp.find.landmarks import Landmarks
from unclasp.hands import SIDES

MIN_CONFIDENCE_TO_READ: Final = 0.1
"""The landmark network reads a hand of a window if its mean confidence is at least this."""

UNSEEN_WEIGHT: Final = 0.05
"""Added to the hand score by which a window's confidence is multiplied: a hand that the landmark network misses in the
window is kept with a low weight, as the next crops may show it better."""

_WINDOW_SHARES: Final = (0.75, 0.5, 0.35)
"""Sides of the windows, as shares of the picture's longer side."""
_MAX_STEP_SHARE: Final = 0.45
"""Maximum distance of the windows' middles, as a share of their side."""


def is_needed(result: CropResult) -> bool:
    """Tell whether no hand of a result is certain: all have a low confidence and a low hand score.

    Never where the pose network predicts no confidence.
    """
    return (
        result.has_confidence and max_confidence(result) < MIN_CONFIDENCE and max_hand_score(result) <= MIN_HAND_SCORE
    )


def best_box(crop_predictor: CropPredictor, landmarks: Landmarks, image: Pixels) -> Floats | None:
    """Return the box (4,) px, as annotated, around the hand with the best score of a sweep, or None if there is none.

    Args:
        crop_predictor: Runs the pose network on crops.
        landmarks: The landmark network.
        image: (H, W, 3) RGB.
    """
    height, width = image.shape[:2]
    best_score, box = 0.0, None
    for window in windows(width, height):
        result = crop_predictor.one_crop(image, window)
        for slot in result.present_slots:
            confidence = result.confidence(slot)
            if confidence < MIN_CONFIDENCE_TO_READ or confidence * (1 + UNSEEN_WEIGHT) <= best_score:
                continue
            joints = result.joints_of(slot)
            reading = landmarks(image, joints, SIDES[slot])
            score = confidence * (reading.score + UNSEEN_WEIGHT)
            around = box_around(joints, image)
            if score > best_score and around is not None:
                best_score, box = score, around
    return box


def is_better(result: CropResult, before: CropResult) -> bool:
    """Tell whether the most confident hand of a touched-up result replaces the result of before."""
    slot = max(result.present_slots, key=result.confidence, default=None)
    is_surer = max_confidence(result) > max(MIN_CONFIDENCE, max_confidence(before) + MIN_CONFIDENCE_GAIN)
    return slot is not None and is_surer and result.hand_score(slot) > MIN_HAND_SCORE


def windows(width: int, height: int) -> Iterator[Floats]:
    """Yield squares (4,) of several sizes that cover a picture, overlapping within each size: thirty to sixty."""
    for share in _WINDOW_SHARES:
        side = share * max(width, height)
        for y in _middles(height, side):
            for x in _middles(width, side):
                yield np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])


def _middles(extent: int, side: float) -> Floats:
    """Return the middles of windows that cover an extent, in px from its first pixel's middle."""
    if side >= extent:
        return np.array([(extent - 1) / 2])
    count = math.ceil((extent - side) / (_MAX_STEP_SHARE * side)) + 1
    return np.linspace(side / 2, extent - side / 2, count) - 0.5
