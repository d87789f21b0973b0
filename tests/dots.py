"""Samples that every test can have without rendering anything: pictures of dots."""

from collections.abc import Callable

import numpy as np

from unclasp.batch import Sample

MakeSample = Callable[..., Sample]


def make_hand(rng: np.random.Generator, wrist: np.ndarray) -> np.ndarray:
    """Return 21 joints of a flat, slightly noisy hand that points up from its wrist, in mm."""
    joints = np.zeros((21, 3))
    for finger in range(5):
        for step in range(4):
            reach = 95 + 26 * (3 - step) - (40 if finger == 0 else 0)
            joints[4 * finger + step] = [(finger - 2) * 22.0, -reach, 4.0 * step]
    return wrist + joints + rng.normal(0, 2, (21, 3)) * (np.arange(21) != 20)[:, None]


def make_sample_function() -> MakeSample:
    """Return a function that draws a picture of dots where the joints are."""

    def build(seed: int = 0, *, hands: str = "interacting", size: int = 96, parts: bool = True) -> Sample:
        rng = np.random.default_rng(seed)
        hand_type = np.array([hands != "left", hands != "right"])
        joints = np.concatenate([make_hand(rng, np.array([x, 90.0, 600.0 + x / 8])) for x in (-80.0, 80.0)])
        valid = np.repeat(hand_type, 21)
        focal, princpt = np.full(2, size * 1.4, np.float32), np.full(2, (size - 1) / 2, np.float32)
        pixels = joints[:, :2] / joints[:, 2:] * focal + princpt
        low, high = pixels[valid].min(axis=0), pixels[valid].max(axis=0)
        margin = 0.1 * (high - low)
        image = rng.integers(0, 40, (size, size, 3)).astype(np.uint8)
        labels = np.zeros((size, size), np.uint8)
        for joint in np.flatnonzero(valid):
            u, v = pixels[joint].round().astype(int)
            image[max(v - 2, 0) : v + 3, max(u - 2, 0) : u + 3] = [200, 90 + 6 * (joint % 21), 40 + 150 * (joint // 21)]
            labels[max(v - 2, 0) : v + 3, max(u - 2, 0) : u + 3] = 1 + 16 * (joint // 21) + (joint % 21) % 16
        return Sample(
            image=image, joints_cam=np.where(valid[:, None], joints, 0).astype(np.float32), valid=valid, focal=focal,
            princpt=princpt, box=np.concatenate([low - margin, high + margin]).astype(np.float32), hand_type=hand_type,
            hand_type_valid=True, parts=labels if parts else None, name=f"made:{seed}",
        )  # fmt: skip

    return build
