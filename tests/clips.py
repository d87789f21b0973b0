"""Videos made up: in a file, and from a camera that is not there."""

from pathlib import Path

import cv2
import numpy as np

RATE = 25.0


def make_video(path: Path, frames: int = 12, *, codec: str = "mp4v", size: tuple[int, int] = (96, 64)) -> Path:
    """Write a video in which frame n is a grey of 16 + 16 n, with a red left edge."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), RATE, size)
    assert writer.isOpened()
    for number in range(frames):
        image = np.full((size[1], size[0], 3), min(16 + 16 * number, 255), np.uint8)
        image[:, :16] = (0, 0, 220)
        writer.write(image)
    writer.release()
    return path


class Camera:
    """What OpenCV gives for a camera that delivers some frames and is then unplugged."""

    def __init__(self, frames: int) -> None:
        self.frames, self.released = frames, False

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        return True

    def get(self, key: int) -> float:
        return -1.0

    def grab(self) -> bool:
        self.frames -= 1
        return self.frames >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((64, 96, 3), np.uint8)

    def release(self) -> None:
        self.released = True
