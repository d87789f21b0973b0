"""Camera joints of hands whose bones are as long as the mean hand's."""

import numpy as np

from unclasp.hands import HAND_PARENTS
from unclasp.lifting import BONE_LENGTHS_MM


def hand(rng: np.random.Generator, wrist: tuple[float, float, float], *, scale: float = 1.0) -> np.ndarray:
    """Return 21 camera joints whose bones have the mean hand's lengths, times a scale, in random directions upward."""
    joints = np.zeros((21, 3))
    joints[20] = wrist
    for joint in sorted(range(20), key=lambda j: -(j % 4)):
        direction = np.array([0.0, -1.0, 0.0]) + rng.normal(0, 0.4, 3)
        length = scale * BONE_LENGTHS_MM[joint]
        joints[joint] = joints[HAND_PARENTS[joint]] + length * direction / np.linalg.norm(direction)
    return joints


def two_hands(seed: int, depths: tuple[float, float], scales: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sides = zip((-70.0, 80.0), depths, scales, strict=True)
    return np.concatenate([hand(rng, (x, 50.0, depth), scale=scale) for x, depth, scale in sides])
