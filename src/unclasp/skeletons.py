"""Draws the skeletons of hands over a picture.

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
from unclasp.canvas import CARD, Box, Canvas, Colour, mix, resized
from unclasp.errors import ImageError
from unclasp.hands import FINGER_COLOURS, HAND_PARENTS, SIDES, WRIST_COLOURS, Side
from unclasp.inset import cut_around, lay_inset
from unclasp.legend import DASH, DASH_SHARE, DOUBTED_WIDTH, how_sure

_BONE_SHARE: Final = 0.062
"""Width of the bones relative to the palm's: thin enough that the hand below stays visible."""
_NARROWEST: Final = 0.0025
"""Width of the narrowest bones relative to the picture's longer side: those of small hands stay visible."""
_WIDEST: Final = 0.011
"""Width of the widest bones, in the same unit."""
_FAR_THINNER: Final = 0.4
"""Share of their width by which the farthest bones are thinner."""
_FAR_PALER: Final = 0.45
"""Share of the card's colour in the farthest bones."""
_FAR_OUTLINE_PALER: Final = 0.55
"""The same in their outlines."""
_EDGE_SHARE: Final = 0.22
"""Width of a bone's outline on either side relative to the bone's width."""
_EDGE_RANGE: Final = (0.4, 1.6)
"""Its smallest and largest value, in px."""
_JOINT_SHARE: Final = 0.78
"""Radius of a joint relative to the width of its bone."""
_HIGHLIGHT_SHARE: Final = 0.36
"""Radius of the highlight in its middle, in the same unit."""
_HIGHLIGHT_WHITE: Final = 0.75
"""Share of white in the highlight's colour."""
_PALM_OBLONG: Final = 0.65
"""Width of a palm relative to its length, for palms that are seen edge-on."""
_OUTLINE: Final = (24, 22, 28)
_WHITE: Final = (255, 255, 255)
_NEUTRAL: Final = (208, 206, 202)
_NEUTRAL_SHARE: Final = 0.85
"""Other people's hands have a share of this grey in their colours."""


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


class Pen(NamedTuple):
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
        width = self.width * (1.0 - _FAR_THINNER * distance)
        outline = mix(mix(colour, _OUTLINE, self.darkness), CARD, _FAR_OUTLINE_PALER * distance)
        return width, mix(colour, CARD, _FAR_PALER * distance), outline


class _Bone(NamedTuple):
    """A bone to draw, with its two joints."""

    depth: float
    ends: Floats
    """(2, 2) pixels: joint and parent."""
    colours: tuple[Colour, Colour]
    """Colours of the joint, which is the bone's, and of the parent."""
    pen: Pen


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
    image = as_rgb(image)
    longest = max(image.shape[:2])
    samples = samples or (4 if longest <= 512 else 2 if longest <= 2000 else 1)
    canvas = Canvas(image, samples, _drawn_box(image, people))
    for hands, doubted in itertools.product(people, (True, False)):
        bones: list[_Bone] = []
        for hand in drawable([hand for hand in hands if hand.doubted == doubted]):
            width = max(_BONE_SHARE * _palm_width(hand.joints_2d), _NARROWEST * longest, 1.0)
            width = min(width, max(_WIDEST * longest, 1.0))
            bones += bones_of(hand, hand.joints_2d, hand.joints_3d[:, 2], Pen(width, darkness=1.0))
        draw_bones(canvas, bones)
    return canvas.finished()


def _drawn_box(image: Pixels, people: Sequence[Sequence[HandView]]) -> Box:
    """Return the box around all that is drawn of the hands, within the picture and not empty."""
    height, width = image.shape[:2]
    points = np.concatenate([np.zeros((0, 2)), *(hand.joints_2d for hands in people for hand in drawable(hands))])
    if not len(points):
        return 0, 0, 1, 1
    margin = _WIDEST * max(height, width) + 7  # more than a joint's radius, with its outline and what blurs beyond
    x1, y1 = np.clip(np.floor(points.min(axis=0) - margin), 0, [width - 1, height - 1]).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(points.max(axis=0) + margin), [x1 + 1, y1 + 1], [width, height]).astype(int).tolist()
    return x1, y1, x2, y2


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
    image = as_rgb(image)
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)
    in_greys = [[replace(hand, neutral=True) for hand in person] for person in others]
    people, ratio = [*in_greys, hands], np.array(size) / (width, height)
    overlay = draw_people(picture, _placed(people, lambda points: resized(points, ratio)))
    cut = cut_around([hand.joints_2d for hand in drawable(hands)], width, height, scale=size[0] / width)
    if cut is not None:
        lay_inset(overlay, draw_people(cut.of(image), _placed(people, cut.place)), cut.shown)
    return overlay


def draw_bones(canvas: Canvas, bones: Sequence[_Bone]) -> None:
    """Draw bones from far to near, each with a dark outline and its two joints."""
    for bone in sorted(bones, key=lambda bone: -bone.depth):
        styles = [bone.pen.at(bone.depth, colour) for colour in bone.colours]
        width, fill, outline = styles[0]
        edge = min(max(_EDGE_SHARE * width, _EDGE_RANGE[0]), _EDGE_RANGE[1])
        pieces = _dashes(bone.ends, DASH * width) if bone.pen.dashed else [bone.ends]
        for colour, thickness in ((outline, width + 2 * edge), (fill, width)):
            for piece in pieces:
                canvas.line(piece[0], piece[1], thickness, colour)
        for end, (_, joint_fill, joint_outline) in zip(bone.ends, styles, strict=True):
            canvas.disc(end, _JOINT_SHARE * width + edge, joint_outline)
            canvas.disc(end, _JOINT_SHARE * width, joint_fill)
            canvas.disc(end, _HIGHLIGHT_SHARE * width, mix(joint_fill, _WHITE, _HIGHLIGHT_WHITE))


def _dashes(ends: Floats, distance: float) -> list[Floats]:
    """Return the dashes (2, 2) px of a line, at least one, `distance` px from each to the next, and not at its ends."""
    count = max(1, round(float(np.linalg.norm(ends[1] - ends[0])) / distance))
    middles = np.arange(count) + 0.5
    shares = np.stack([middles - DASH_SHARE / 2, middles + DASH_SHARE / 2], axis=1) / count
    return list(ends[0] + shares[..., None] * (ends[1] - ends[0]))


def bones_of(hand: HandView, points: Floats, depths: Floats, pen: Pen) -> list[_Bone]:
    """Return the 20 bones of a hand for joints (21, 2) px at depths (21,)."""
    if hand.doubted:
        pen = pen._replace(width=max(DOUBTED_WIDTH * pen.width, 1.0), dashed=True)
    fingers, palm = colours_of(hand)
    colours = [*(fingers[joint // 4] for joint in range(20)), palm]
    return [
        _Bone(float(depths[[joint, parent]].mean()), points[[joint, parent]], (colours[joint], colours[parent]), pen)
        for joint, parent in enumerate(HAND_PARENTS[:20])
    ]


def colours_of(hand: HandView) -> tuple[list[Colour], Colour]:
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
    return float(max(np.linalg.norm(across), _PALM_OBLONG * np.linalg.norm(along)))


def _placed(people: Sequence[Sequence[HandView]], place: Callable[[Floats], Floats]) -> list[list[HandView]]:
    return [[replace(hand, joints_2d=place(hand.joints_2d)) for hand in hands] for hands in people]


def drawable(hands: Sequence[HandView]) -> list[HandView]:
    """Return the hands without those that have a non-finite joint."""
    return [hand for hand in hands if np.isfinite(hand.joints_2d).all() and np.isfinite(hand.joints_3d).all()]


def as_rgb(image: Pixels) -> Pixels:
    """Return a picture, (H, W, 3) RGB or (H, W) grey, as RGB, or raise an ImageError if it is none."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ImageError(f"expected a uint8 picture (H, W, 3), got {image.dtype} {image.shape}: convert it to RGB")
    return image
