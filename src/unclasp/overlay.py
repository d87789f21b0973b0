"""Draws the overlay of a video: skeletons over each frame and a small 3D view in its corner, in milliseconds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from unclasp.arrays import Pixels
from unclasp.canvas import CARD
from unclasp.visualize import HandView, draw_skeletons, turn_about_vertical

VIEW_DEGREES: Final = 50.0
"""Rotation of the hands about the vertical axis in the 3D view."""
_VIEW_SHARE: Final = 0.32
_SMALLEST_VIEW: Final = 64
_PIXEL_SHARE_PER_MM: Final = 1 / 240
_INSET: Final = 0.86


def draw_frame(image: Pixels, hands: Sequence[HandView]) -> Pixels:
    """Draw hands over a frame, and in 3D in its lower right corner; hands in doubt have dashed bones.

    Args:
        image: (H, W, 3) uint8 RGB; it is not changed.
        hands: As for `visualize.draw_skeletons`.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    drawn = draw_skeletons(image, hands, samples=1)
    side = round(_VIEW_SHARE * min(image.shape[:2]))
    if not hands or side < _SMALLEST_VIEW:
        return drawn
    gap = side // 20
    drawn[-gap - side : -gap, -gap - side : -gap] = _view(hands, side)
    return drawn


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
