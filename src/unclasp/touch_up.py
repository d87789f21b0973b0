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

SEEN: Final = 0.5
"""How likely the landmark network has to find a hand, and one of the same side."""

NEAR: Final = 0.2
"""Mean distance of its joints from ours, as a share of the hand's extent, from which on it may see the other hand."""


def touched_up(view: Look, image: ByteArray, landmarks: Landmarks) -> Look:
    """Put the joints of each hand in the middle between where the look and where the landmark network has them.

    Hands that it does not see, sees elsewhere, or takes for one of the other side stay as they are, and so do depths:
    its own are worse.

    Args:
        view: What the pose network saw.
        image: (H, W, 3) RGB.
        landmarks: The landmark network.
    """
    middles: dict[int, Floats] = {}
    for slot in np.flatnonzero(view.present).tolist():
        joints = view.joints_2d[HAND_SLICES[slot]]
        reading = landmarks(image, joints, SIDES[slot])
        if _agrees(reading, joints):
            middles[slot] = (joints + reading.joints_2d) / 2
    return view.with_joints_2d(middles) if middles else view


def _agrees(reading: Reading, joints_2d: Floats) -> bool:
    apart = float(np.linalg.norm(joints_2d - reading.joints_2d, axis=1).mean())
    near = apart < NEAR * float(np.ptp(joints_2d, axis=0).max())
    return near and min(reading.hand, reading.of_side) > SEEN
