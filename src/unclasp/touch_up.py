"""Joints of a look, nearer to where the landmark network sees them: the last step of a prediction.

The pose network tells two hands that touch apart, which is which, and how deep, and has learned that from rendered
hands; the landmark network has seen real ones, but knows of one hand at a time.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp import geometry
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
"""The landmark network reads such a hand at most so many times more."""

STEADY: Final = 0.1
"""Mean distance of the joints of two readings, as a share of the hand's extent, below which it has arrived."""

FAR: Final = 0.8
"""Mean distance from our joints, as a share of the hand's extent, up to which it may be that hand."""

KEPT: Final = 0.8
"""This share of a joint's place is the look's own where that is sure of it, less by as much as it is less sure."""

KEPT_UNTOLD: Final = 0.5
"""The same where the network tells no confidence."""


def touched_up(view: Look, image: ByteArray, landmarks: Landmarks, *, follow: bool = True) -> Look:
    """Put the joints of each hand between where the look and where the landmark network has them.

    The less the look is sure of a joint, the nearer it goes to the landmark network's. Hands that the landmark network
    does not see, sees elsewhere, or takes for one of the other side stay as they are; but where the look is not sure of
    a hand at all, it may be seen farther off. Depths relative to the wrist stay, as the landmark network's are worse.

    Args:
        view: What the pose network saw.
        image: (H, W, 3) RGB.
        landmarks: The landmark network.
        follow: Whether hands in doubt may go farther off. In a video they would jump, and other frames tell more.
    """
    moved: dict[int, Floats] = {}
    confidence = view.answer.confidence
    slots = np.flatnonzero(view.answer.presence[0] >= LIKELY).tolist()
    for slot in slots:
        own, other = HAND_SLICES[slot], HAND_SLICES[1 - slot]
        joints = view.joints_2d[own]
        reading = landmarks(image, joints, SIDES[slot])
        if _sees(reading) and geometry.mean_distance(reading.joints_2d, joints) < NEAR * geometry.extent(joints):
            kept = KEPT_UNTOLD if confidence is None else KEPT * confidence[0, own, None]
            moved[slot] = kept * joints + (1 - kept) * reading.joints_2d
        elif follow and confidence is not None and view.confidence(slot) < DOUBTED:
            found = _followed(reading, image, SIDES[slot], landmarks)
            taken = view.joints_2d[other] if 1 - slot in slots else None
            if found is not None and _may_be(found.joints_2d, joints, taken):
                share = KEPT * view.confidence(slot)  # one for all joints: a hand that goes far must not be torn apart
                moved[slot] = share * joints + (1 - share) * found.joints_2d
    return view.with_joints_2d(moved) if moved else view


def _followed(reading: Reading, image: ByteArray, side: Side, landmarks: Landmarks) -> Reading | None:
    """Read around what was read, until that stays; None where no hand of the side is seen there."""
    for _ in range(ROUNDS):
        if not reading.hand > SEEN:
            return None
        before, reading = reading.joints_2d, landmarks(image, reading.joints_2d, side)
        if geometry.mean_distance(reading.joints_2d, before) < STEADY * geometry.extent(before):
            return reading if _sees(reading) else None
    return None


def _may_be(seen: Floats, joints_2d: Floats, taken: Floats | None) -> bool:
    """Tell whether what is seen elsewhere can be that hand, and not the one whose joints are at `taken`."""
    far = geometry.mean_distance(seen, joints_2d)
    return far < FAR * geometry.extent(joints_2d) and (taken is None or far < geometry.mean_distance(seen, taken))


def _sees(reading: Reading) -> bool:
    return reading.hand > SEEN and reading.of_side > SEEN
