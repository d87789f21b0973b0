"""Joints of a look, nearer to where the landmark network sees them: the last step of a prediction.

The pose network tells two hands that touch apart, which is which, and how deep, and has learned that from rendered
hands; the landmark network has seen real ones, but knows of one hand at a time.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.hands import HAND_SLICES, SIDES, Side
from unclasp.landmarks import Landmarks, Reading
from unclasp.looks import Look

Floats = npt.NDArray[np.floating]

LIKELY: Final = 0.25
"""Hands from this presence on are read: a video keeps hands that single frames doubt, and joints must not jump then."""

SEEN: Final = 0.5
"""How likely the landmark network has to find a hand, and one of the same side."""

NEAR: Final = 0.2
"""Mean distance of its joints from ours, as a share of the hand's extent, from which on it may see the other hand."""

DOUBTED: Final = 0.3
"""A hand whose joints have a lower mean confidence than this may be elsewhere: the landmark network, whose crop moves
to what it sees, is followed there."""

ROUNDS: Final = 3
"""So many times."""

STEADY: Final = 0.1
"""What is followed ends where the joints of two readings are so near to each other, as a share of the hand's extent."""

FAR: Final = 0.8
"""And not farther from the look's joints than this."""

KEPT: Final = 0.8
"""This share of a joint's place is the look's own where that is sure of it, less by as much as it is less sure."""

KEPT_UNTOLD: Final = 0.5
"""The same where the network tells no confidence."""


def touched_up(view: Look, image: ByteArray, landmarks: Landmarks) -> Look:
    """Put the joints of each hand between where the look and where the landmark network has them.

    The less the look is sure of a joint, the nearer it goes to the landmark network's. Hands that the landmark network
    does not see, sees elsewhere, or takes for one of the other side stay as they are; but where the look is not sure of
    a hand at all, it may be seen farther off. Depths relative to the wrist stay, as the landmark network's are worse.

    Args:
        view: What the pose network saw.
        image: (H, W, 3) RGB.
        landmarks: The landmark network.
    """
    moved: dict[int, Floats] = {}
    confidence = view.answer.confidence
    slots = np.flatnonzero(view.answer.presence[0] >= LIKELY).tolist()
    for slot in slots:
        own, other = HAND_SLICES[slot], HAND_SLICES[1 - slot]
        joints = view.joints_2d[own]
        reading = landmarks(image, joints, SIDES[slot])
        agreed = _sees(reading) and _apart(reading.joints_2d, joints) < NEAR * _extent(joints)
        if not agreed and confidence is not None and view.confidence(slot) < DOUBTED:
            found = _followed(reading, image, SIDES[slot], landmarks)
            taken = view.joints_2d[other] if 1 - slot in slots else None
            if found is not None and _may_be(found.joints_2d, joints, taken):
                reading, agreed = found, True
        if agreed:
            kept = KEPT_UNTOLD if confidence is None else KEPT * confidence[0, own, None]
            moved[slot] = kept * joints + (1 - kept) * reading.joints_2d
    return view.with_joints_2d(moved) if moved else view


def _followed(reading: Reading, image: ByteArray, side: Side, landmarks: Landmarks) -> Reading | None:
    """Read around what was read, until that stays; None where no hand of the side is seen there."""
    for _ in range(ROUNDS):
        if not reading.hand > SEEN:
            return None
        before, reading = reading.joints_2d, landmarks(image, reading.joints_2d, side)
        if _apart(reading.joints_2d, before) < STEADY * _extent(before):
            return reading if _sees(reading) else None
    return None


def _may_be(seen: Floats, joints_2d: Floats, taken: Floats | None) -> bool:
    """Tell whether what is seen elsewhere can be that hand, and not the one whose joints are at `taken`."""
    apart = _apart(seen, joints_2d)
    return apart < FAR * _extent(joints_2d) and (taken is None or apart < _apart(seen, taken))


def _sees(reading: Reading) -> bool:
    return reading.hand > SEEN and reading.of_side > SEEN


def _apart(first: Floats, second: Floats) -> float:
    return float(np.linalg.norm(first - second, axis=1).mean())


def _extent(joints_2d: Floats) -> float:
    return float(np.ptp(joints_2d, axis=0).max())
