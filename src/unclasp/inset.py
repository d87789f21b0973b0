"""Insets of hands that are small in a picture: which square to enlarge, and in which corner to show it."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Floats, Pixels
from unclasp.canvas import Box, lay, resized

CUT_EXPANSION: Final = 1.3
"""Ratio of the side of the cut-out square to the extent of the hands."""
MAX_CUT_SHARE: Final = 0.34
"""There is an inset only if the cut-out square is at most this share of the picture's shorter side."""
INSET_SHARE: Final = 0.36
"""Side of the inset as shown, as a share of the picture's shorter side."""
_GAP_SHARE: Final = 0.025
"""Distance of the inset from the edges, as a share of the picture's shorter side."""
_MIN_SIZE_PX: Final = 48
"""Insets that would be shown smaller than this are left out."""
_MAX_ENLARGEMENT: Final = 12
"""Maximum ratio of the inset as shown to the cut-out square."""
_WHITE: Final = (255, 255, 255)


class Cut(NamedTuple):
    """A square of a picture to show as an inset."""

    x: int
    y: int
    side: int
    """px of the picture."""
    size: int
    """px of the inset."""
    shown: Box
    """The square in the picture as shown."""

    def of(self, image: Pixels) -> Pixels:
        """Cut the square out of the picture and resize it to the inset."""
        cut = image[self.y : self.y + self.side, self.x : self.x + self.side]
        interpolation = cv2.INTER_AREA if self.size < self.side else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(cut, (self.size, self.size), interpolation=interpolation), dtype=np.uint8)

    def place(self, points: Floats) -> Floats:
        """Return points (N, 2) px of the picture in the pixels of the inset."""
        return resized(points - [self.x, self.y], self.size / self.side)


def cut_around(hands: Sequence[Floats], width: int, height: int, *, scale: float) -> Cut | None:
    """Return the square to show as an inset, or None.

    There is none if the hands are large enough, if no joint lies in the picture, or if the inset would be too small.

    Args:
        hands: Joints (21, 2) px of each hand.
        width: Width of the picture in px.
        height: Height of the picture in px.
        scale: Size of the picture as shown, relative to `width` and `height`.
    """
    size = round(INSET_SHARE * min(height, width) * scale)
    joints = np.concatenate([np.zeros((0, 2)), *hands])
    joints = joints[((joints >= 0) & (joints < [width, height])).all(axis=1)]
    if not len(joints) or size < _MIN_SIZE_PX:
        return None
    low, high = joints.min(axis=0), joints.max(axis=0)
    side = max(math.ceil(CUT_EXPANSION * float((high - low).max())), math.ceil(size / _MAX_ENLARGEMENT))
    if side > MAX_CUT_SHARE * min(height, width):
        return None
    x, y = np.clip(np.rint((low + high - side) / 2), 0, [width - side, height - side]).astype(int).tolist()
    x1, y1, x2, y2 = np.rint(np.array([x, y, x + side, y + side]) * scale).astype(int).tolist()
    return Cut(x, y, side, size, (x1, y1, x2, y2))


def lay_inset(overlay: Pixels, inset: Pixels, shown: Box) -> None:
    """Paste an inset into the corner farthest from its square, and frame both; in place.

    Nothing is drawn if the inset would cover a part of the square.
    """
    height, width, size = *overlay.shape[:2], len(inset)
    gap = round(_GAP_SHARE * min(height, width))
    x = gap if shown[0] + shown[2] > width else width - gap - size
    y = gap if shown[1] + shown[3] > height else height - gap - size
    if x < shown[2] and shown[0] < x + size and y < shown[3] and shown[1] < y + size:
        return
    cv2.rectangle(overlay, shown[:2], shown[2:], _WHITE, 1)
    lay(overlay, _WHITE, (x - 2, y - 2, x + size + 2, y + size + 2))
    lay(overlay, inset, (x, y, x + size, y + size))
