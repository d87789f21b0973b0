"""Second opinions: a picture in doubt is looked at in other ways, and what most of them agree on counts.

A network that is sure answers alike for a picture, its mirror image, and the picture turned; where it is not, each of
them may bring something else out, and the right answer comes more often than any wrong one.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.hands import HAND_SLICES
from unclasp.looks import Look

Floats = npt.NDArray[np.floating]
Seen = tuple[Look, Floats]
"""A look, and boxes (N, 4) px around other hands."""
See = Callable[[ByteArray], Seen]
"""Looks for hands in an (H, W, 3) RGB picture."""

DOUBTED: Final = 0.2
"""A picture is in doubt where the joints of a hand that counts have a lower mean confidence than this."""

TURN: Final = 20.0
"""Degrees by which the picture is turned, either way."""

BRIGHTER: Final = 0.6
"""Exponent of the brighter picture's values, of 0 to 1."""

AROUND: Final = 3.0
"""Side of what is cut out of the picture, over that of the crop in which the hands were seen."""

MUCH: Final = 0.9
"""Not if that is more than this share of the picture, which would vote twice."""

ALIKE: Final = 0.4
"""Mean distance of the joints of two looks, as a share of the hand's extent, from which on they do not agree at all."""


class Way(NamedTuple):
    """A picture as it is looked at."""

    image: ByteArray
    """(H, W, 3) RGB."""
    back: Floats
    """3x3, pixels of this picture to those of the original one."""


def in_doubt(view: Look) -> bool:
    """Tell whether a picture should be looked at in other ways; never where the network tells no confidence."""
    return view.answer.confidence is not None and min(map(view.confidence, _slots(view)), default=1.0) < DOUBTED


def ways(image: ByteArray, square: Floats) -> Iterator[Way]:
    """Yield the mirror image of a picture, and the picture turned, brightened and cut out, each also mirrored.

    Args:
        image: (H, W, 3) RGB.
        square: (4,) x1, y1, x2, y2 px, of the crop in which hands were seen; the cut is around it.
    """
    for way in _unmirrored_ways(image, square):
        if way.image is not image:
            yield way
        flip = geometry.flip_matrix(way.image.shape[1])
        yield Way(np.ascontiguousarray(way.image[:, ::-1]), way.back @ flip)


def agreed(see: See, image: ByteArray, first: Seen) -> Seen:
    """Look at a picture in other ways, too, and return what agrees most with all the others.

    Args:
        see: Looks at a picture.
        image: (H, W, 3) RGB.
        first: What was seen in the picture as it is; of equals it counts.
    """
    seen = [first]
    for way in ways(image, first[0].square):
        view, others = see(way.image)
        seen.append((view.mapped(way.back), np.array([_mapped_box(box, way.back) for box in others]).reshape(-1, 4)))
    return seen[_most_agreed([view for view, _ in seen])]


def _unmirrored_ways(image: ByteArray, square: Floats) -> Iterator[Way]:
    yield Way(image, np.eye(3))
    yield _turned(image, -TURN)
    yield _turned(image, TURN)
    values = 255 * np.linspace(0, 1, 256) ** BRIGHTER
    yield Way(np.asarray(cv2.LUT(image, np.rint(values).astype(np.uint8)), dtype=np.uint8), np.eye(3))
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.clip(geometry.expand_box(square, AROUND), 0, [width, height, width, height]).astype(int)
    if 0 < (x2 - x1) * (y2 - y1) < MUCH * width * height:
        yield Way(image[y1:y2, x1:x2], np.array([[1.0, 0, x1], [0, 1, y1], [0, 0, 1]]))


def _turned(image: ByteArray, degrees: float) -> Way:
    """Turn a picture about its middle, on a canvas that holds all of it."""
    height, width = image.shape[:2]
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    extent = np.ceil(np.abs(turn) @ [width, height])
    forth = np.eye(3)
    forth[:2, :2] = turn
    forth[:2, 2] = (extent - 1) / 2 - turn @ [(width - 1) / 2, (height - 1) / 2]
    turned = cv2.warpAffine(image, forth[:2], (int(extent[0]), int(extent[1])), flags=cv2.INTER_LINEAR)
    return Way(np.asarray(turned, dtype=np.uint8), np.linalg.inv(forth))


def _mapped_box(box: Floats, matrix: Floats) -> Floats:
    """Return the square box around the same middle, with the longer side, after a turn, a shift or a mirror image."""
    x, y = geometry.apply_affine(matrix, (box[:2] + box[2:]) / 2)
    half = np.max(box[2:] - box[:2]) / 2
    return np.array([x - half, y - half, x + half, y + half])


def _most_agreed(views: Sequence[Look]) -> int:
    votes = [sum(_agreement(view, other) for other in views if other is not view) for view in views]
    return int(np.argmax(votes))


def _agreement(view: Look, other: Look) -> float:
    """Return how far another look sees the hands of a look where it does, 0 to 1 for each hand."""
    total, theirs = 0.0, _slots(other)
    for slot in _slots(view):
        own = view.joints_2d[HAND_SLICES[slot]]
        if slot in theirs:
            apart = np.linalg.norm(other.joints_2d[HAND_SLICES[slot]] - own, axis=1).mean()
            total += max(0.0, 1 - float(apart / np.ptp(own, axis=0).max()) / ALIKE)
    return total


def _slots(view: Look) -> list[int]:
    return [int(slot) for slot in np.flatnonzero(view.present)]
