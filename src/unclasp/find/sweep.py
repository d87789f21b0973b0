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
from unclasp.find.landmarks import Landmarks
from unclasp.find.looking import SURE, SURER, Looker
from unclasp.find.looks import Look
from unclasp.find.regions import box_around
from unclasp.find.touch_up import SEEN
from unclasp.hands import HAND_SLICES, SIDES

Floats = npt.NDArray[np.floating]

LEAST: Final = 0.1
"""Mean confidence of a hand from which on it is asked about."""

UNSEEN: Final = 0.05
"""What a hand that the landmark network does not see in the first crop counts of one that it sees: the next crops may
show it better."""


_SWEPT: Final = (0.75, 0.5, 0.35)
"""Sides of the windows of a sweep, as shares of the picture's longer side."""
_STEP: Final = 0.45
"""Distance of their middles at most, as a share of their sides."""


def is_called_for(view: Look) -> bool:
    """Tell whether no hand of a look is sure, or seen by the landmark network; never where no confidence is told."""
    return view.answer.confidence is not None and view.surest < SURE and view.most_seen <= SEEN


def surest_box(looker: Looker, landmarks: Landmarks, image: ByteArray) -> Floats | None:
    """Return the box (4,) px, as annotated, around the surest hand of a sweep, or None where there is none.

    Args:
        looker: Looks at crops.
        landmarks: The landmark network.
        image: (H, W, 3) RGB.
    """
    height, width = image.shape[:2]
    best, box = 0.0, None
    for window in windows(width, height):
        view = looker.once(image, window)
        for slot in view.slots:
            confidence = view.confidence(slot)
            if confidence < LEAST or confidence * (1 + UNSEEN) <= best:
                continue
            reading = landmarks(image, view.joints_2d[HAND_SLICES[slot]], SIDES[slot])
            sureness = confidence * (reading.hand * reading.of_side + UNSEEN)
            around = box_around(view.joints_2d, np.arange(2) == slot, image)
            if sureness > best and around is not None:
                best, box = sureness, around
    return box


def is_surer(view: Look, before: Look) -> bool:
    """Tell whether the surest hand of a touched-up look counts in place of what was seen before."""
    if not view.slots or view.seen is None:
        return False
    slot = max(view.slots, key=view.confidence)
    return view.surest > max(SURE, before.surest + SURER) and bool(view.seen[slot] > SEEN)


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
