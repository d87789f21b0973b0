"""Draws the overlay of a video: skeletons over each frame and a small 3D view in a corner, in milliseconds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from unclasp.arrays import Pixels
from unclasp.canvas import CARD
from unclasp.skeletons import HandView, draw_skeletons
from unclasp.visualize import turn_about_vertical

VIEW_DEGREES: Final = 50.0
"""Rotation of the hands about the vertical axis in the 3D view."""
_VIEW_SHARE: Final = 0.32
_SMALLEST_VIEW: Final = 64
_PIXEL_SHARE_PER_MM: Final = 1 / 240
_INSET: Final = 0.86
_FINE_UP_TO: Final = 720
"""Frames up to this longer side, in px, are drawn with two samples per pixel: their bones are a pixel or two wide."""
_PATIENCE: Final = 15
"""The 3D view moves to another corner after so many frames in which it covers hands: it must not jump about."""


class FrameDrawer:
    """Draws hands over the frames of a video, and in 3D in a corner that they leave free; in doubt, with dashed bones.

    The 3D view starts in the lower right corner, and moves when it has covered hands for a while. If they are in all
    corners, it stays.
    """

    def __init__(self) -> None:
        self._corner = 0
        self._covering = _PATIENCE  # in the first frame it moves at once

    def __call__(self, image: Pixels, hands: Sequence[HandView]) -> Pixels:
        """Return a copy of a frame (H, W, 3) uint8 RGB with hands, as for `skeletons.draw_skeletons`, drawn over it."""
        height, width = image.shape[:2]
        drawn = draw_skeletons(image, hands, samples=2 if max(height, width) <= _FINE_UP_TO else 1)
        side = round(_VIEW_SHARE * min(height, width))
        if not hands or side < _SMALLEST_VIEW:
            return drawn
        gap = side // 20
        left, top, right, low = gap, gap, width - gap - side, height - gap - side
        x, y = self._chosen([(right, low), (left, low), (right, top), (left, top)], side, hands)
        drawn[y : y + side, x : x + side] = _view(hands, side)
        return drawn

    def _chosen(self, corners: Sequence[tuple[int, int]], side: int, hands: Sequence[HandView]) -> tuple[int, int]:
        """Return the one of the corners (x, y) px where a view with this side is drawn."""
        free = [not any(_meets(hand, x, y, side) for hand in hands) for x, y in corners]
        self._covering = 0 if free[self._corner] else self._covering + 1
        if self._covering > _PATIENCE and any(free):
            self._corner, self._covering = free.index(True), 0
        return corners[self._corner]


def _meets(hand: HandView, x: int, y: int, side: int) -> bool:
    """Tell whether the box around a hand meets a square in the picture."""
    low, high = hand.joints_2d.min(axis=0), hand.joints_2d.max(axis=0)
    return bool((low < [x + side, y + side]).all() and (high > [x, y]).all())


def _view(hands: Sequence[HandView], side: int) -> Pixels:
    """Draw the hands in 3D on a square card."""
    worlds = [turn_about_vertical(hand.joints_3d, VIEW_DEGREES) for hand in hands]
    points = np.concatenate(worlds)[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    scale = min(_PIXEL_SHARE_PER_MM * side, _INSET * side / max(float((high - low).max()), 1.0))
    placed = [
        replace(hand, joints_2d=(world[:, :2] - (low + high) / 2) * scale + side / 2, joints_3d=world)
        for hand, world in zip(hands, worlds, strict=True)
    ]
    return draw_skeletons(np.full((side, side, 3), CARD, dtype=np.uint8), placed, samples=2)
