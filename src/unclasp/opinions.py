"""Second opinions: a picture in doubt is looked at in other ways, and what most of them agree on counts.

A network that is sure answers alike for a picture, its mirror image, and the picture turned; where it is not, each of
them may bring something else out, and the right answer comes more often than any wrong one. This is augmentation at
test time; but whole answers are compared and their medoid is taken, as a mean of exchanged hands would be neither.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.hands import HAND_SLICES
from unclasp.looks import DENIED, Look
from unclasp.picture import MIN_SIDE, with_gamma
from unclasp.pose import UNSURE

Floats = npt.NDArray[np.floating]
See = Callable[[ByteArray], Look]
"""Looks for hands in an (H, W, 3) RGB picture."""

TURN: Final = 20.0
"""Degrees by which the picture is turned, either way."""

BRIGHTER: Final = 0.6
"""Exponent of the brighter picture's values, of 0 to 1."""

AROUND: Final = 3.0
"""Side of what is cut out of the picture, over that of the crop in which the hands were seen."""

WHOLE: Final = 0.9
"""A cut of more than this share of the picture is left out: it would be the picture once more."""

UNLIKE: Final = 0.3
"""Mean distance of the joints of two looks, as a share of the smaller one's extent, from which on they do not agree at
all."""

DENIED_BY_BOTH: Final = 0.5
"""A hand that two looks agree is not there counts so much of one that they agree on: hands are denied more easily."""


class Way(NamedTuple):
    """A picture as it is looked at."""

    image: ByteArray
    """(H, W, 3) RGB."""
    original_from_image: Floats
    """3x3, pixels of this picture to those of the original one."""


def in_doubt(view: Look) -> bool:
    """Tell whether a picture should be looked at in other ways: a hand is unsure, or there may be another one.

    Never where the network tells no confidence. A single hand that is surer upright denies the other one (`Look`).
    """
    if view.answer.confidence is None:
        return False
    unsure = min(map(view.confidence, view.slots), default=1.0) < UNSURE
    return unsure or (len(view.slots) == 1 and bool(view.answer.presence[0].min() > DENIED))


def agreed(see: See, image: ByteArray, first: Look, *, mirrored: bool = True) -> Look:
    """Look at a picture in other ways, too, and return what agrees most with all the others.

    Args:
        see: Looks at a picture.
        image: (H, W, 3) RGB.
        first: What was seen in the picture as it is; of equals it counts.
        mirrored: Look at mirror images; a flip test sees the same in them.
    """
    views = [first]
    views.extend(
        see(way.image).mapped(way.original_from_image)
        for way in ways(image, first)
        if mirrored or np.linalg.det(way.original_from_image) > 0
    )
    return views[_medoid(views)]


def ways(image: ByteArray, view: Look) -> Iterator[Way]:
    """Yield the mirror image of a picture, and the picture turned, brightened and cut out, each also mirrored.

    All have as many pixels as the picture or fewer.

    Args:
        image: (H, W, 3) RGB.
        view: What was seen in it: it is turned about the middle of that crop, and cut out around it.
    """
    for way in _unmirrored_ways(image, view):
        if way.image is not image:
            yield way
        flip = geometry.flip_matrix(way.image.shape[1])
        yield Way(np.asarray(cv2.flip(way.image, 1), dtype=np.uint8), way.original_from_image @ flip)


def _unmirrored_ways(image: ByteArray, view: Look) -> Iterator[Way]:
    yield Way(image, np.eye(3))
    yield _turned(image, view, -TURN)
    yield _turned(image, view, TURN)
    yield Way(with_gamma(image, BRIGHTER), np.eye(3))
    height, width = image.shape[:2]
    middle, half = view.middle + 0.5, AROUND * (view.square[2] - view.square[0]) / 2  # pixels' edges at integers
    x1, y1 = np.floor(middle - half).clip(0, [width, height]).astype(int)
    x2, y2 = np.ceil(middle + half).clip(0, [width, height]).astype(int)
    if min(x2 - x1, y2 - y1) >= MIN_SIDE and (x2 - x1) * (y2 - y1) <= WHOLE * width * height:
        yield Way(np.ascontiguousarray(image[y1:y2, x1:x2]), np.array([[1.0, 0, x1], [0, 1, y1], [0, 0, 1]]))


def _turned(image: ByteArray, view: Look, degrees: float) -> Way:
    """Turn a picture clockwise about the middle of what was seen; what leaves it is not seen in this way."""
    height, width = image.shape[:2]
    image_from_original = geometry.turn_matrix(view.middle, degrees)
    turned = cv2.warpAffine(image, image_from_original[:2], (width, height), flags=cv2.INTER_LINEAR)
    return Way(np.asarray(turned, dtype=np.uint8), np.linalg.inv(image_from_original))


def _medoid(views: Sequence[Look]) -> int:
    votes = [sum(_agreement(view, other) for other in views if other is not view) for view in views]
    return int(np.argmax(votes))


def _agreement(view: Look, other: Look) -> float:
    """Return how far another look agrees with a look, 0 to 1 for each hand, be it there or not."""
    total = 0.0
    for slot, own in enumerate(HAND_SLICES):
        here, there = view.present[slot], other.present[slot]
        if here and there:
            joints, others = view.joints_2d[own], other.joints_2d[own]
            extent = min(geometry.extent(joints), geometry.extent(others))
            total += max(0.0, 1 - geometry.mean_distance(joints, others) / (UNLIKE * extent))
        elif here == there:
            total += DENIED_BY_BOTH
    return total
