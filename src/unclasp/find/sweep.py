"""A sweep: the pose network looks all over a picture in which nothing that was found is sure.

The finder has learned what hands look like in whole pictures, and misses those that look otherwise, such as gloves. The
pose network in a crop of about their size may know them. As it points at hands in any crop, the landmark network, which
has learned from real hands and from what is none, has to see one there, too.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.find.crop_predictor import MIN_CONFIDENCE, MIN_CONFIDENCE_GAIN, CropPredictor
from unclasp.find.crop_result import CropResult
from unclasp.find.landmarks import Landmarks
from unclasp.find.regions import box_around
from unclasp.find.touch_up import MIN_HAND_SCORE
from unclasp.hands import HAND_SLICES, SIDES

Floats = npt.NDArray[np.floating]

MIN_CONFIDENCE_TO_READ: Final = 0.1
"""Mean confidence of a hand from which on it is asked about."""

UNSEEN_WEIGHT: Final = 0.05
"""What a hand that the landmark network does not see in the first crop counts of one that it sees: the next crops may
show it better."""


_SWEPT: Final = (0.75, 0.5, 0.35)
"""Sides of the windows of a sweep, as shares of the picture's longer side."""
_STEP: Final = 0.45
"""Distance of their middles at most, as a share of their sides."""


def is_needed(view: CropResult) -> bool:
    """Tell whether no hand of a look is sure, or seen by the landmark network; never where no confidence is told."""
    return (
        view.output.confidence is not None
        and view.max_confidence < MIN_CONFIDENCE
        and view.max_hand_score <= MIN_HAND_SCORE
    )


def best_box(looker: CropPredictor, landmarks: Landmarks, image: ByteArray) -> Floats | None:
    """Return the box (4,) px, as annotated, around the surest hand of a sweep, or None where there is none.

    Args:
        looker: Looks at crops.
        landmarks: The landmark network.
        image: (H, W, 3) RGB.
    """
    height, width = image.shape[:2]
    best, box = 0.0, None
    for window in windows(width, height):
        view = looker.one_crop(image, window)
        for slot in view.present_slots:
            confidence = view.confidence(slot)
            if confidence < MIN_CONFIDENCE_TO_READ or confidence * (1 + UNSEEN_WEIGHT) <= best:
                continue
            reading = landmarks(image, view.joints_2d[HAND_SLICES[slot]], SIDES[slot])
            sureness = confidence * (reading.hand_score * reading.side_score + UNSEEN_WEIGHT)
            around = box_around(view.joints_2d, np.arange(2) == slot, image)
            if sureness > best and around is not None:
                best, box = sureness, around
    return box


def is_better(view: CropResult, before: CropResult) -> bool:
    """Tell whether the surest hand of a touched-up look counts in place of what was seen before."""
    if not view.present_slots or view.hand_scores is None:
        return False
    slot = max(view.present_slots, key=view.confidence)
    return view.max_confidence > max(MIN_CONFIDENCE, before.max_confidence + MIN_CONFIDENCE_GAIN) and bool(
        view.hand_scores[slot] > MIN_HAND_SCORE
    )


def windows(width: int, height: int) -> Iterator[Floats]:
    """Yield squares (4,) of several sizes that cover a picture, each size overlapping: some forty of a usual one."""
    for share in _SWEPT:
        side = share * max(width, height)
        for y in _middles(height, side):
            for x in _middles(width, side):
                yield np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])


def _middles(extent: int, side: float) -> Floats:
    """Return the middles of windows that cover an extent, in px from its first pixel's middle."""
    if side >= extent:
        return np.array([(extent - 1) / 2])
    count = math.ceil((extent - side) / (_STEP * side)) + 1
    return np.linspace(side / 2, extent - side / 2, count) - 0.5
