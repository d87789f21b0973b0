"""A sweep: the pose network looks all over a picture in which nothing that was found is sure.

The finder has learned what hands look like in whole pictures, and misses those that look otherwise, such as gloves. The
pose network in a crop of about their size may know them. As it points at hands in any crop, the landmark network, which
has learned from real hands and from what is none, has to see one there, too.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.hands import HAND_SLICES, SIDES
from unclasp.landmarks import Landmarks
from unclasp.looking import SURE, SURER, Looker
from unclasp.looks import Look
from unclasp.regions import box_around, sweep_windows
from unclasp.touch_up import SEEN

Floats = npt.NDArray[np.floating]

LEAST: Final = 0.1
"""Mean confidence of a hand from which on it is asked about."""

UNSEEN: Final = 0.05
"""What a hand that the landmark network does not see in the first crop counts of one that it sees: the next crops may
show it better."""


def is_called_for(view: Look) -> bool:
    """Tell whether no hand of a look is sure; never where the network tells no confidence."""
    return view.answer.confidence is not None and view.surest < SURE


def surest_box(looker: Looker, landmarks: Landmarks, image: ByteArray) -> Floats | None:
    """Return the box (4,) px, as annotated, around the surest hand of a sweep, or None where there is none.

    Args:
        looker: Looks at crops.
        landmarks: The landmark network.
        image: (H, W, 3) RGB.
    """
    height, width = image.shape[:2]
    best, box = 0.0, None
    for window in sweep_windows(width, height):
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
