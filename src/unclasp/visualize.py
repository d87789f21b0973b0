"""Draws a pose as a page: the picture with 2D skeletons, and beside it the 3D skeletons from the front and the side."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from unclasp.arrays import Floats, Pixels
from unclasp.canvas import INK, MUTED, PAPER, Box, Canvas, lay, lay_card
from unclasp.skeletons import HandView, Pen, as_rgb, bones_of, colours_of, draw_bones, draw_overlay, drawable

SIDE_VIEW_DEGREES: Final = 70.0
"""The side view shows the hands rotated by this angle about the vertical axis."""

_HEIGHT, _MAX_WIDTH = 640, 1140
"""px: the picture fills this height, or this width if it is wider."""
_MARGIN, _GUTTER, _LEGEND = 28, 18, 32
"""px: around the page, between its parts, and the height of the legend."""
_CARD_WIDTH: Final = 420
_CARD_INSET: Final = (34, 38)
"""Horizontal and vertical padding inside a card, in px."""
_GRID: Final = (239, 237, 232)
_BONE_MM: Final = 6.5
"""Width of the nearest bones in the 3D views, mm."""
_LEAST_DEPTH_MM: Final = 60.0
"""Bones get thinner and fade over the depth of the hands, or over this, mm, if they are flatter: then hardly at all."""
_MAX_PIXELS_PER_MM: Final = 1.8
"""Hands are not drawn larger than this, or a fist would fill its card like an open hand."""
_VIEWS: Final = {"front": 0.0, "side": SIDE_VIEW_DEGREES}


def draw_pose(image: Pixels, hands: Sequence[HandView], *, others: Sequence[Sequence[HandView]] = ()) -> Pixels:
    """Draw the picture with its 2D skeletons and, to its right, the 3D skeletons from the front and from the side.

    Hands that are small in the picture also get an inset in one of its corners.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) grey; it is not changed.
        hands: Any number of hands; those with a non-finite joint are left out.
        others: The hands of each other person, drawn in greys, below `hands` and only in 2D.

    Returns:
        (H', W', 3) uint8 RGB: a page of fixed height, whose width depends on the picture's aspect ratio.
    """
    image, hands = as_rgb(image), drawable(hands)
    scale = min(_HEIGHT / image.shape[0], _MAX_WIDTH / image.shape[1])
    overlay = draw_overlay(image, hands, others=others, scale=scale)
    (height, width), left = overlay.shape[:2], _MARGIN + overlay.shape[1] + _GUTTER
    right = left + _CARD_WIDTH
    row = np.full((1, right + _MARGIN, 3), PAPER, dtype=np.uint8)
    page = np.repeat(row, _HEIGHT + 2 * _MARGIN, axis=0)  # np.full alone would take 4 ms
    top = _MARGIN + (_HEIGHT - height) // 2
    lay(page, overlay, (_MARGIN, top, _MARGIN + width, top + height))
    if hands:
        return _with_views(page, hands, left, has_others=any(others))
    lay_card(page, (left, _MARGIN, right, _MARGIN + _HEIGHT))
    canvas = Canvas(page, 2)
    canvas.text("no hand found", (left + right) / 2, _MARGIN + _HEIGHT / 2, size=0.55, align=0.5)
    return canvas.finished()


def turn_about_vertical(points: Floats, degrees: float) -> Floats:
    """Rotate camera points (…, 3) about the vertical axis, the far side (z) towards the right (x).

    Examples:
        >>> turn_about_vertical(np.array([0.0, 5.0, 2.0]), 90.0).round(6).tolist()
        [2.0, 5.0, 0.0]
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned_x, turned_z = cos * points[..., 0] + sin * points[..., 2], cos * points[..., 2] - sin * points[..., 0]
    return np.stack([turned_x, points[..., 1], turned_z], axis=-1)


def _with_views(page: Pixels, hands: Sequence[HandView], left: int, *, has_others: bool) -> Pixels:
    """Return the page with the legend, the front view and the side view of hands from x = `left` on, at one scale.

    With `has_others` it says what the grey hands are.
    """
    height = (_HEIGHT - _LEGEND - _GUTTER) // 2
    boxes = [(left, top, left + _CARD_WIDTH, top + height) for top in (_MARGIN + _LEGEND, _MARGIN + _HEIGHT - height)]
    world = np.stack([hand.joints_3d for hand in hands])
    views = [turn_about_vertical(world, degrees) for degrees in _VIEWS.values()]
    extents = np.array([np.ptp(view[..., :2], axis=(0, 1)) for view in views])
    room = np.array([_CARD_WIDTH, height]) - 2 * np.array(_CARD_INSET)
    scale = min(_MAX_PIXELS_PER_MM, float((room / np.maximum(extents, 1.0)).min()))
    for box in boxes:
        lay_card(page, box)
    canvas = Canvas(page, 2, (left, 0, page.shape[1], page.shape[0]))
    _draw_legend(canvas, hands, left, _MARGIN)
    for name, view, box in zip(_VIEWS, views, boxes, strict=True):
        _draw_view(canvas, box, list(zip(hands, view, strict=True)), name, scale)
    if has_others:
        canvas.caption("grey: other people", boxes[0][2] - 18, boxes[0][1] + 26, align=1.0)
    return canvas.finished()


def _draw_view(canvas: Canvas, box: Box, hands: Sequence[tuple[HandView, Floats]], name: str, scale: float) -> None:
    """Draw hands, as rotated joints (21, 3) in mm, on a card: orthographically, at `scale` pixels per mm."""
    joints = np.concatenate([hand_joints for _, hand_joints in hands])
    low, high = joints.min(axis=0), joints.max(axis=0)
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    origin = centre - (low + high)[:2] / 2 * scale
    step = _draw_grid(canvas, box, origin, scale)
    canvas.caption(name, box[0] + 18, box[1] + 26)
    canvas.caption(f"grid {step} mm", box[2] - 18, box[3] - 18, align=1.0)
    _draw_axes(canvas, np.array([box[0] + 20.0, box[3] - 46.0]), _VIEWS[name])
    near, far = float(low[2]), float(max(high[2], low[2] + _LEAST_DEPTH_MM))
    pen = Pen(min(max(_BONE_MM * scale, 3.0), 9.0), darkness=0.5, near=near, far=far)
    drawn = [bones_of(hand, origin + points[:, :2] * scale, points[:, 2], pen) for hand, points in hands]
    draw_bones(canvas, [bone for bones in drawn for bone in bones])


def _draw_grid(canvas: Canvas, box: Box, origin: Floats, scale: float) -> int:
    """Draw grid lines through the origin (2,) px and return their spacing in mm."""
    step = next((mm for mm in (20, 50, 100, 200) if mm * scale >= 20), math.ceil(20 / scale))
    corners = np.array([[box[0] + 1.0, box[1] + 1.0], [box[2] - 2.0, box[3] - 2.0]])
    for axis in (0, 1):
        low, high = (corners[:, axis] + [6.0, -6.0] - origin[axis]) / (step * scale)
        for number in range(math.ceil(low), math.floor(high) + 1):
            ends = corners.copy()
            ends[:, axis] = origin[axis] + number * step * scale
            canvas.line(ends[0], ends[1], 1.0, _GRID)
    return step


def _draw_axes(canvas: Canvas, origin: Floats, degrees: float) -> None:
    """Draw and label the camera axes as seen in the view, without an axis that points almost at the viewer."""
    for name, axis in zip("xyz", turn_about_vertical(np.eye(3), degrees)[:, :2] * 20.0, strict=True):
        if np.linalg.norm(axis) > 12:
            canvas.line(origin, origin + axis, 1.5, MUTED)
            x, y = origin + axis * 1.4
            canvas.text(name, x, y + 3, size=0.38, align=0.5)


def _draw_legend(canvas: Canvas, hands: Sequence[HandView], x: float, y: float) -> None:
    """Write the legend: for each hand its finger colours from thumb to pinky, its side and certainty."""
    for hand in hands:
        for colour in colours_of(hand)[0]:
            canvas.disc(np.array([x + 5, y + 11]), 4.5, colour)
            x += 11
        x += 8 + canvas.text(hand.side, x + 8, y + 16, colour=INK, size=0.5)
        x += 7 + canvas.text(hand.label, x + 7, y + 16, size=0.5) + 22
