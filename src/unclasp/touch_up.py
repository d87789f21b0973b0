"""Joints of a look, nearer to where the landmark network sees them: the last step of a prediction.

The pose network tells two hands that touch apart, which is which, and how deep, and has learned that from rendered
hands; the landmark network has seen real ones, but knows of one hand at a time.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.hands import HAND_SLICES, SIDES
from unclasp.landmarks import Landmarks, Reading
from unclasp.looks import Look

Floats = npt.NDArray[np.floating]

LIKELY: Final = 0.25
"""Hands from this presence on are read: a video keeps hands that single frames doubt, and joints must not jump then."""

SEEN: Final = 0.5
"""How likely the landmark network has to find a hand, and one of the same side."""

NEAR: Final = 0.2
"""Mean distance of its joints from ours, as a share of the hand's extent, from which on it may see the other hand."""

KEPT: Final = 0.8
"""This share of a joint's place is the look's own where that is sure of it, less by as much as it is less sure."""

KEPT_UNTOLD: Final = 0.5
"""The same where the network tells no confidence."""


def touched_up(view: Look, image: ByteArray, landmarks: Landmarks) -> Look:
    """Put the joints of each hand between where the look and where the landmark network has them.

    The less the look is sure of a joint, the nearer it goes to the landmark network's. Hands that the landmark network
    does not see, sees elsewhere, or takes for one of the other side stay as they are. So do depths relative to the
    wrist, as its own are worse.

    Args:
        view: What the pose network saw.
        image: (H, W, 3) RGB.
        landmarks: The landmark network.
    """
    moved: dict[int, Floats] = {}
    confidence = view.answer.confidence
    for slot in np.flatnonzero(view.answer.presence[0] >= LIKELY).tolist():
        own = HAND_SLICES[slot]
        joints = view.joints_2d[own]
        reading = landmarks(image, joints, SIDES[slot])
        if _agrees(reading, joints):
            kept = KEPT_UNTOLD if confidence is None else KEPT * confidence[0, own, None]
            moved[slot] = kept * joints + (1 - kept) * reading.joints_2d
    return view.with_joints_2d(moved) if moved else view


def _agrees(reading: Reading, joints_2d: Floats) -> bool:
    apart = float(np.linalg.norm(joints_2d - reading.joints_2d, axis=1).mean())
    near = apart < NEAR * float(np.ptp(joints_2d, axis=0).max())
    return near and reading.hand > SEEN and reading.of_side > SEEN
