"""Second opinions: a picture in doubt is looked at in other ways, and the answer that has most for it counts.

A network that is sure answers alike for a picture, its mirror image, and the picture turned; where it is not, each of
them may bring something else out, and the right answer comes more often than any wrong one. This is augmentation at
test time; but whole answers are compared and one of them is taken, as a mean of exchanged hands would be neither. For
an answer speak the others that agree with it, and the landmark network, which has learned from real hands and tells
left from right by a hand's shape alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.find.crop_result import DENIED_PRESENCE, CropResult
from unclasp.hands import HAND_SLICES
from unclasp.pose import MIN_CONFIDENCE

Floats = npt.NDArray[np.floating]
TURN: Final = 20.0
"""Degrees by which the picture is turned, either way."""

MAX_JOINT_DISTANCE: Final = 0.3
"""Mean distance of the joints of two looks, as a share of the smaller one's extent, from which on they do not agree at
all."""

MIN_HAND_SCORE: Final = 0.5
"""A hand that the landmark network does not see as likely as this, and as one of its side, puts a picture in doubt."""

ABSENT_IN_BOTH: Final = 0.5
"""A hand that two looks agree is not there counts so much of one that they agree on: hands are denied more easily."""


class Variant(NamedTuple):
    """A picture as it is looked at."""

    image: ByteArray
    """(H, W, 3) RGB."""
    original_from_image: Floats
    """3x3, pixels of this picture to those of the original one."""

    def of(self, view: CropResult) -> CropResult:
        """Return a look at the original picture as one at this picture."""
        return view.mapped(np.linalg.inv(self.original_from_image))


PredictVariant = Callable[[Variant], CropResult]
"""Looks for hands in one of the ways; the look is at that way's picture."""


def is_doubtful(view: CropResult) -> bool:
    """Tell whether a picture should be looked at in other ways: a hand is in doubt, or there may be another one.

    In doubt is a hand of which the pose network is not sure, or that the landmark network does not see. Never where the
    pose network tells no confidence. A single hand that is surer upright denies the other one (`CropResult`).
    """
    if view.output.confidence is None:
        return False
    unsure = min(map(view.confidence, view.present_slots), default=1.0) < MIN_CONFIDENCE
    unseen = view.hand_scores is not None and view.hand_scores[view.present_slots].min(initial=1.0) < MIN_HAND_SCORE
    return (
        unsure
        or bool(unseen)
        or (len(view.present_slots) == 1 and bool(view.output.presence[0].min() > DENIED_PRESENCE))
    )


def best_of_variants(
    see: PredictVariant, image: ByteArray, firsts: Sequence[CropResult], *, mirrored: bool = True
) -> CropResult:
    """Look at a picture in other ways, too, and return the answer that has most for it.

    That is how far the others agree with it on average, and how likely its hands are to the landmark network, both from
    0 to 2; without that one, how far they agree.

    Args:
        see: Looks at a picture in one of the ways.
        image: (H, W, 3) RGB.
        firsts: What was seen in the picture as it is; of equals the first counts.
        mirrored: Look at mirror images; a flip test sees the same in them.
    """
    views = list(firsts)
    views.extend(
        see(way).mapped(way.original_from_image)
        for way in variants(image, views[0])
        if mirrored or np.linalg.det(way.original_from_image) > 0
    )
    return max(views, key=lambda view: _mean_agreement(view, views) + view.total_hand_score)


def variants(image: ByteArray, view: CropResult) -> Iterator[Variant]:
    """Yield the mirror image of a picture, and the picture turned either way, each also mirrored.

    All have as many pixels as the picture.

    Args:
        image: (H, W, 3) RGB.
        view: What was seen in it: it is turned about the middle of that crop.
    """
    for way in (Variant(image, np.eye(3)), _turned(image, view, -TURN), _turned(image, view, TURN)):
        if way.image is not image:
            yield way
        flip = geometry.flip_matrix(way.image.shape[1])
        yield Variant(np.asarray(cv2.flip(way.image, 1), dtype=np.uint8), way.original_from_image @ flip)


def _turned(image: ByteArray, view: CropResult, degrees: float) -> Variant:
    """Turn a picture clockwise about the middle of what was seen; what leaves it is not seen in this way."""
    height, width = image.shape[:2]
    image_from_original = geometry.turn_matrix(view.middle, degrees)
    turned = cv2.warpAffine(image, image_from_original[:2], (width, height), flags=cv2.INTER_LINEAR)
    return Variant(np.asarray(turned, dtype=np.uint8), np.linalg.inv(image_from_original))


def _mean_agreement(view: CropResult, views: Sequence[CropResult]) -> float:
    others = [other for other in views if other is not view]
    return sum(_agreement(view, other) for other in others) / max(1, len(others))


def _agreement(view: CropResult, other: CropResult) -> float:
    """Return how far another look agrees with a look, 0 to 1 for each hand, be it there or not."""
    total = 0.0
    for slot, own in enumerate(HAND_SLICES):
        here, there = view.present[slot], other.present[slot]
        if here and there:
            joints, others = view.joints_2d[own], other.joints_2d[own]
            extent = min(geometry.extent(joints), geometry.extent(others))
            total += max(0.0, 1 - geometry.mean_distance(joints, others) / (MAX_JOINT_DISTANCE * extent))
        elif here == there:
            total += ABSENT_IN_BOTH
    return total
