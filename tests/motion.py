"""Hands that move, and how calm and how late the poses are that are told of them."""

import numpy as np

from made_hands import hand
from unclasp.follow.smoothing import PoseFilter
from unclasp.pose import HandPose

RATE = 30


def moving_hands(frames: int = 300, *, speed: float = 1.0) -> np.ndarray:
    """Return (frames, 42, 3) mm: two hands that wander back and forth, turn, and bend their fingers, all smoothly.

    At speed 1 the wrists reach 0.5 m/s, as in lively signing.
    """
    rng = np.random.default_rng(0)
    hands = [hand(rng, (x, 60.0, 620.0)) for x in (-80.0, 80.0)]
    times = np.arange(frames) / RATE * speed
    moved = np.empty((frames, 42, 3))
    for number, time in enumerate(times):
        for slot, joints in enumerate(hands):
            around = joints - joints[20]
            bend = 1 + 0.15 * np.sin(2 * np.pi * 0.9 * time + slot) * (np.arange(21) % 4 == 0)
            angle = 0.4 * np.sin(2 * np.pi * 0.5 * time + 2 * slot)
            turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
            path = [120 * np.sin(2 * np.pi * 0.6 * time), 40 * np.sin(2 * np.pi * 0.35 * time), 30 * np.sin(time)]
            moved[number, 21 * slot : 21 * slot + 21] = joints[20] + path + (around * bend[:, None]) @ turn.T
    return moved


def acceleration(joints: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1).mean())


def lag(true: np.ndarray, given: np.ndarray) -> float:
    """Return by how many frames `given` (T, …) is late: the shift of `true` that comes nearest, to a fiftieth."""
    true, given = true.reshape(len(true), -1), given.reshape(len(given), -1)
    numbers = np.arange(len(true))
    shifts = np.arange(-2, 5, 0.02)
    errors = []
    for shift in shifts:
        moved = np.stack([np.interp(numbers - shift, numbers, column) for column in true.T], axis=1)
        errors.append(np.square(moved - given)[20:-20].mean())
    return float(shifts[int(np.argmin(errors))])


def filtered(poses: list[HandPose]) -> list[HandPose]:
    smooth = PoseFilter()
    return [smooth(pose, 1 / RATE) for pose in poses]


def stack(poses: list[HandPose], name: str) -> np.ndarray:
    return np.stack([getattr(pose, name) for pose in poses])
