"""Draws poses: 2D skeletons over a picture, and beside it the 3D skeletons from the front and from the side.

Everything is drawn at sub-pixel positions on a supersampled canvas and averaged down. Positions and sizes are in pixels
of the finished picture, with pixel centres at integers; colours are RGB.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Floats, Pixels
from unclasp.canvas import CARD, INK, MUTED, PAPER, Box, Canvas, Colour, lay, lay_card, mix, resized
from unclasp.errors import ImageError
from unclasp.hands import FINGER_COLOURS, HAND_PARENTS, SIDES, WRIST_COLOURS, Side
from unclasp.inset import cut_around, lay_inset
from unclasp.legend import DASH, DASH_SHARE, DOUBTED_WIDTH, how_sure

SIDE_VIEW_DEGREES: Final = 70.0
"""The side view shows the hands rotated by this angle about the vertical axis."""

_HEIGHT, _MAX_WIDTH = 640, 1140
_MARGIN, _GUTTER, _LEGEND = 28, 18, 32
_CARD_WIDTH: Final = 420
_CARD_INSET: Final = (34, 38)
"""Horizontal and vertical padding inside a card, in px."""
_GRID: Final = (239, 237, 232)
_OUTLINE: Final = (24, 22, 28)
_WHITE: Final = (255, 255, 255)
_WIDEST: Final = 0.011
"""Width of the widest bones relative to the picture's longer side."""
_BONE_MM, _LEAST_DEPTH_MM, _MAX_PIXELS_PER_MM = 6.5, 60.0, 1.8
_NEUTRAL: Final = (208, 206, 202)
_NEUTRAL_SHARE: Final = 0.85
"""Other people's hands have a share of this grey in their colours."""
_VIEWS: Final = {"front": 0.0, "side": SIDE_VIEW_DEGREES}


@dataclass(frozen=True)
class HandView:
    """One hand to draw."""

    joints_2d: Floats
    """(21, 2) pixels of the picture."""
    joints_3d: Floats
    """(21, 3) mm relative to an origin that all hands drawn together share; camera axes: x right, y down, z forward."""
    side: Side
    score: float
    """Probability that the hand is there."""
    confidence: float | None = None
    """Mean confidence of its joints, 0 to 1, or None if the network does not predict it."""
    doubted: bool = False
    """The hand is in doubt and is drawn in thin, dashed lines."""
    neutral: bool = False
    """The hand is another person's and is drawn in greys, a warm one for right hands and a cool one for left hands."""

    @property
    def label(self) -> str:
        """The legend text for its certainty."""
        return how_sure(self.score, self.confidence, doubted=self.doubted)


class _Pen(NamedTuple):
    """Line style of bones by depth: from `near` to `far` they get thinner and fade into the card."""

    width: float
    darkness: float
    """Darkness of the outline: from 0, the bone's own colour, to 1, nearly black."""
    near: float = 0.0
    far: float = math.inf
    dashed: bool = False

    def at(self, depth: float, colour: Colour) -> tuple[float, Colour, Colour]:
        """Return the width, fill colour and outline colour of a bone at a depth."""
        distance = min(max((depth - self.near) / (self.far - self.near), 0.0), 1.0)
        width = self.width * (1.0 - 0.4 * distance)
        outline = mix(mix(colour, _OUTLINE, self.darkness), CARD, 0.55 * distance)
        return width, mix(colour, CARD, 0.45 * distance), outline


class _Bone(NamedTuple):
    """A bone to draw, with its two joints."""

    depth: float
    ends: Floats
    """(2, 2) pixels: joint and parent."""
    colours: tuple[Colour, Colour]
    """Colours of the joint, which is the bone's, and of the parent."""
    pen: _Pen


def draw_skeletons(image: Pixels, hands: Sequence[HandView], *, samples: int | None = None) -> Pixels:
    """Draw the 2D skeletons of hands over a picture.

    Bones are drawn in their finger's colour (`hands.FINGER_COLOURS`), near ones over far ones. Those of hands in doubt
    are thin and dashed, and lie below the others; those of other people's hands are grey.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) grey; it is not changed.
        hands: Any number of hands; those with a non-finite joint are left out.
        samples: Samples per pixel in each direction: more look finer and take longer. Chosen by the size of the picture
            if None.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    return draw_people(image, [hands], samples=samples)


def draw_people(image: Pixels, people: Sequence[Sequence[HandView]], *, samples: int | None = None) -> Pixels:
    """Draw the hands of several people like `draw_skeletons`, each person's over those of the people before."""
    image = _as_rgb(image)
    longest = max(image.shape[:2])
    samples = samples or (4 if longest <= 512 else 2 if longest <= 2000 else 1)
    canvas = Canvas(image, samples, _drawn_box(image, people))
    for hands, doubted in itertools.product(people, (True, False)):
        bones: list[_Bone] = []
        for hand in _drawable([hand for hand in hands if hand.doubted == doubted]):
            width = min(max(0.062 * _palm_width(hand.joints_2d), 0.0025 * longest, 1.0), max(_WIDEST * longest, 1.0))
            bones += _bones(hand, hand.joints_2d, hand.joints_3d[:, 2], _Pen(width, 1.0))
        _draw_bones(canvas, bones)
    return canvas.finished()


def _drawn_box(image: Pixels, people: Sequence[Sequence[HandView]]) -> Box:
    """Return the box around all that is drawn of the hands, within the picture and not empty."""
    height, width = image.shape[:2]
    points = np.concatenate([np.zeros((0, 2)), *(hand.joints_2d for hands in people for hand in _drawable(hands))])
    if not len(points):
        return 0, 0, 1, 1
    margin = _WIDEST * max(height, width) + 7  # more than a joint's radius, with its outline and what blurs beyond
    x1, y1 = np.clip(np.floor(points.min(axis=0) - margin), 0, [width - 1, height - 1]).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(points.max(axis=0) + margin), [x1 + 1, y1 + 1], [width, height]).astype(int).tolist()
    return x1, y1, x2, y2


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
    image, hands = _as_rgb(image), _drawable(hands)
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


def draw_overlay(
    image: Pixels, hands: Sequence[HandView], *, others: Sequence[Sequence[HandView]] = (), scale: float = 1.0
) -> Pixels:
    """Draw the 2D skeletons over a resized picture; hands that are small in it get an inset in one of its corners.

    Args:
        image: As for `draw_pose`, like the hands.
        hands: Any number of hands.
        others: The hands of each other person.
        scale: Factor by which the picture is resized.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    image = _as_rgb(image)
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)
    in_greys = [[replace(hand, neutral=True) for hand in person] for person in others]
    people, ratio = [*in_greys, hands], np.array(size) / (width, height)
    overlay = draw_people(picture, _placed(people, lambda points: resized(points, ratio)))
    cut = cut_around([hand.joints_2d for hand in _drawable(hands)], width, height, scale=size[0] / width)
    if cut is not None:
        lay_inset(overlay, draw_people(cut.of(image), _placed(people, cut.place)), cut.shown)
    return overlay


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
    pen = _Pen(min(max(_BONE_MM * scale, 3.0), 9.0), 0.5, near, far)
    bones = [bone for hand, points in hands for bone in _bones(hand, origin + points[:, :2] * scale, points[:, 2], pen)]
    _draw_bones(canvas, bones)


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
        for colour in _colours(hand)[0]:
            canvas.disc(np.array([x + 5, y + 11]), 4.5, colour)
            x += 11
        x += 8 + canvas.text(hand.side, x + 8, y + 16, colour=INK, size=0.5)
        x += 7 + canvas.text(hand.label, x + 7, y + 16, size=0.5) + 22


def _draw_bones(canvas: Canvas, bones: Sequence[_Bone]) -> None:
    """Draw bones from far to near, each with a dark outline and its two joints."""
    for bone in sorted(bones, key=lambda bone: -bone.depth):
        styles = [bone.pen.at(bone.depth, colour) for colour in bone.colours]
        width, fill, outline = styles[0]
        edge = min(max(0.22 * width, 0.4), 1.6)
        pieces = _dashes(bone.ends, DASH * width) if bone.pen.dashed else [bone.ends]
        for colour, thickness in ((outline, width + 2 * edge), (fill, width)):
            for piece in pieces:
                canvas.line(piece[0], piece[1], thickness, colour)
        for end, (_, joint_fill, joint_outline) in zip(bone.ends, styles, strict=True):
            canvas.disc(end, 0.78 * width + edge, joint_outline)
            canvas.disc(end, 0.78 * width, joint_fill)
            canvas.disc(end, 0.36 * width, mix(joint_fill, _WHITE, 0.75))


def _dashes(ends: Floats, distance: float) -> list[Floats]:
    """Return the dashes (2, 2) px of a line, at least one, `distance` px from each to the next, and not at its ends."""
    count = max(1, round(float(np.linalg.norm(ends[1] - ends[0])) / distance))
    middles = np.arange(count) + 0.5
    shares = np.stack([middles - DASH_SHARE / 2, middles + DASH_SHARE / 2], axis=1) / count
    return list(ends[0] + shares[..., None] * (ends[1] - ends[0]))


def _bones(hand: HandView, points: Floats, depths: Floats, pen: _Pen) -> list[_Bone]:
    """Return the 20 bones of a hand for joints (21, 2) px at depths (21,)."""
    if hand.doubted:
        pen = pen._replace(width=max(DOUBTED_WIDTH * pen.width, 1.0), dashed=True)
    fingers, palm = _colours(hand)
    colours = [*(fingers[joint // 4] for joint in range(20)), palm]
    return [
        _Bone(float(depths[[joint, parent]].mean()), points[[joint, parent]], (colours[joint], colours[parent]), pen)
        for joint, parent in enumerate(HAND_PARENTS[:20])
    ]


def _colours(hand: HandView) -> tuple[list[Colour], Colour]:
    """Return the colours of the fingers from thumb to pinky, and of the wrist."""
    side = SIDES.index(hand.side)
    table = [*FINGER_COLOURS[side].tolist(), WRIST_COLOURS[side].tolist()]
    *fingers, palm = [(r, g, b) for r, g, b in table]
    if hand.neutral:
        grey = mix(palm, _NEUTRAL, _NEUTRAL_SHARE)
        return [grey] * len(fingers), grey
    return fingers, palm


def _palm_width(joints_2d: Floats) -> float:
    """Estimate the palm's width in px from the knuckles, or from the palm's length if it is seen edge-on."""
    across, along = joints_2d[7] - joints_2d[19], joints_2d[11] - joints_2d[20]
    return float(max(np.linalg.norm(across), 0.65 * np.linalg.norm(along)))


def _placed(people: Sequence[Sequence[HandView]], place: Callable[[Floats], Floats]) -> list[list[HandView]]:
    return [[replace(hand, joints_2d=place(hand.joints_2d)) for hand in hands] for hands in people]


def _drawable(hands: Sequence[HandView]) -> list[HandView]:
    return [hand for hand in hands if np.isfinite(hand.joints_2d).all() and np.isfinite(hand.joints_3d).all()]


def _as_rgb(image: Pixels) -> Pixels:
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(f"expected a uint8 picture (H, W, 3), got {image.dtype} {image.shape}: convert it to RGB")
    return image
