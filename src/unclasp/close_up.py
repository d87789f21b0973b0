"""Hands that are small in a picture, large in one of its corners: what is cut out, and where it is laid."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp.canvas import Box, Floats, Image, lay, resized

AROUND: Final = 1.3
"""Side of what is cut out over the extent of the hands."""
SMALL: Final = 0.34
"""There is a close-up where that side is at most this share of the picture's shorter side."""
SIZE: Final = 0.36
"""Side of the close-up as it is shown, as a share of the same."""
_GAP: Final = 0.025
"""Its distance from the edges, as a share of the same."""
_SMALLEST: Final = 48
"""px as shown below which it is no use."""
_LARGEST_GAIN: Final = 12
"""How much larger than what is cut out it may be."""
_WHITE: Final = (255, 255, 255)


class Cut(NamedTuple):
    """A square of a picture, and its size in the close-up."""

    x: int
    y: int
    side: int
    """px of the picture."""
    size: int
    """px of the close-up."""
    shown: Box
    """Where it is in the picture as that is shown."""

    def of(self, image: Image) -> Image:
        """Return what is cut out, enlarged or reduced."""
        cut = image[self.y : self.y + self.side, self.x : self.x + self.side]
        interpolation = cv2.INTER_AREA if self.size < self.side else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(cut, (self.size, self.size), interpolation=interpolation), dtype=np.uint8)

    def place(self, points: Floats) -> Floats:
        """Return where points (N, 2) px of the picture are in the close-up."""
        return resized(points - [self.x, self.y], self.size / self.side)


def cut_around(hands: Sequence[Floats], width: int, height: int, *, scale: float) -> Cut | None:
    """Return what to show close up; None where hands are large enough, or nothing of them is in the picture.

    Args:
        hands: Joints (21, 2) px of each.
        width: px of the picture.
        height: px of the picture.
        scale: How large the picture is shown.
    """
    size = round(SIZE * min(height, width) * scale)
    joints = np.concatenate([np.zeros((0, 2)), *hands])
    joints = joints[((joints >= 0) & (joints < [width, height])).all(axis=1)]
    if not len(joints) or size < _SMALLEST:
        return None
    low, high = joints.min(axis=0), joints.max(axis=0)
    side = max(math.ceil(AROUND * float((high - low).max())), math.ceil(size / _LARGEST_GAIN))
    if side > SMALL * min(height, width):
        return None
    x, y = np.clip(np.rint((low + high - side) / 2), 0, [width - side, height - side]).astype(int).tolist()
    x1, y1, x2, y2 = np.rint(np.array([x, y, x + side, y + side]) * scale).astype(int).tolist()
    return Cut(x, y, side, size, (x1, y1, x2, y2))


def lay_close_up(overlay: Image, close: Image, shown: Box) -> None:
    """Lay a close-up into the corner that is farthest from what it shows, and frame both; in place.

    Where it would cover some of that, there is none.
    """
    height, width, size = *overlay.shape[:2], len(close)
    gap = round(_GAP * min(height, width))
    x = gap if shown[0] + shown[2] > width else width - gap - size
    y = gap if shown[1] + shown[3] > height else height - gap - size
    if x < shown[2] and shown[0] < x + size and y < shown[3] and shown[1] < y + size:
        return
    cv2.rectangle(overlay, shown[:2], shown[2:], _WHITE, 1)
    lay(overlay, _WHITE, (x - 2, y - 2, x + size + 2, y + size + 2))
    lay(overlay, close, (x, y, x + size, y + size))
