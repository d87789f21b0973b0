"""Second opinions: predicts doubtful pictures mirrored and turned, too, and takes the result with the most support.

Where the network is certain it predicts the same for a picture, its mirror image, and the picture turned; where it is
not, each variant may bring out something else, and the right result comes more often than any wrong one. This is
test-time augmentation, but whole results are compared and one of them is taken: if hands are exchanged, the mean of two
results is neither. A result is supported by the others that agree with it, and by the landmark network, which is
trained on real hands and tells left from right by a hand's shape alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.find.credibility import total_hand_score
from unclasp.find.crop_result import DENIED_PRESENCE, MIN_CONFIDENCE, MIN_HAND_SCORE, CropResult
from unclasp.hands import HAND_SLICES

TURN: Final = 20.0
"""Degrees by which the picture is turned, clockwise and counterclockwise."""

MAX_JOINT_DISTANCE: Final = 0.3
"""The agreement of two results on a hand is 0 if the mean distance of its joints is at least this share of the smaller
extent."""

ABSENT_IN_BOTH: Final = 0.5
"""Agreement of two results on a hand that is absent in both; at most 1 for one that is present in both. The network
misses hands more easily than it makes them up."""


class Variant(NamedTuple):
    """A mirrored or turned copy of a picture."""

    image: Pixels
    """(H, W, 3) RGB."""
    original_from_image: Floats
    """3x3, pixels of this picture to those of the original one."""

    def of(self, result: CropResult) -> CropResult:
        """Map a result in the original picture to this one."""
        return result.mapped(np.linalg.inv(self.original_from_image))


PredictVariant = Callable[[Variant], CropResult]
"""Predicts the hands in a variant; the result is in the variant's pixels."""


def is_doubtful(result: CropResult) -> bool:
    """Tell whether the variants of a picture should be predicted: a hand is doubtful, or there may be another one.

    A hand is doubtful if the pose network's mean confidence in it is below `MIN_CONFIDENCE`, or its hand score below
    `MIN_HAND_SCORE`. There may be another one if only one hand is present and the other's presence is above
    `DENIED_PRESENCE`; a single hand that is more confident upright excludes it (`CropResult.with_one_hand`). Never
    where the pose network predicts no confidence.
    """
    if not result.has_confidence:
        return False
    is_unsure = min(map(result.confidence, result.present_slots), default=1.0) < MIN_CONFIDENCE
    is_unseen = (
        result.hand_scores is not None and result.hand_scores[result.present_slots].min(initial=1.0) < MIN_HAND_SCORE
    )
    may_be_another = result.only_slot is not None and result.presence.min() > DENIED_PRESENCE
    return is_unsure or bool(is_unseen or may_be_another)


def best_of_variants(
    predict: PredictVariant, image: Pixels, firsts: Sequence[CropResult], *, mirrored: bool = True
) -> CropResult:
    """Predict the variants of a picture, too, and return the result with the most support.

    The support is the mean agreement of the others with it, plus its total hand score, both from 0 to 2; without the
    landmark network the agreement alone.

    Args:
        predict: Predicts the hands in a variant.
        image: (H, W, 3) RGB.
        firsts: Results in the picture as it is; of equals the first counts.
        mirrored: Use mirror images; with a flip test they show nothing new.
    """
    results = list(firsts)
    results.extend(
        predict(variant).mapped(variant.original_from_image)
        for variant in variants(image, results[0])
        if mirrored or not geometry.is_mirroring(variant.original_from_image)
    )
    return max(results, key=lambda result: _mean_agreement(result, results) + total_hand_score(result))


def variants(image: Pixels, result: CropResult) -> Iterator[Variant]:
    """Yield the mirror image of a picture, and the picture turned either way, each also mirrored.

    All have as many pixels as the picture.

    Args:
        image: (H, W, 3) RGB.
        result: A result in it; the picture is turned about the middle of its crop.
    """
    yield _mirrored(Variant(image, np.eye(3)))
    for degrees in (-TURN, TURN):
        turned = _turned(image, result, degrees)
        yield turned
        yield _mirrored(turned)
        del turned  # before the next one is made: of 12 megapixels each takes 36 MB


def _mirrored(variant: Variant) -> Variant:
    flip = geometry.flip_matrix(variant.image.shape[1])
    return Variant(np.asarray(cv2.flip(variant.image, 1), dtype=np.uint8), variant.original_from_image @ flip)


def _turned(image: Pixels, result: CropResult, degrees: float) -> Variant:
    """Turn a picture clockwise about the middle of the result's crop; what leaves the frame is cut off."""
    height, width = image.shape[:2]
    image_from_original = geometry.turn_matrix(result.middle, degrees)
    turned = cv2.warpAffine(image, image_from_original[:2], (width, height), flags=cv2.INTER_LINEAR)
    return Variant(np.asarray(turned, dtype=np.uint8), np.linalg.inv(image_from_original))


def _mean_agreement(result: CropResult, results: Sequence[CropResult]) -> float:
    others = [other for other in results if other is not result]
    return sum(_agreement(result, other) for other in others) / max(1, len(others))


def _agreement(result: CropResult, other: CropResult) -> float:
    """Return the agreement of two results, present or absent hands alike: 0 to 1 for each hand."""
    total = 0.0
    for slot, hand in enumerate(HAND_SLICES):
        if result.present[slot] and other.present[slot]:
            joints, other_joints = result.joints_2d[hand], other.joints_2d[hand]
            extent = min(geometry.extent(joints), geometry.extent(other_joints))
            total += max(0.0, 1 - geometry.mean_distance(joints, other_joints) / (MAX_JOINT_DISTANCE * extent))
        elif result.present[slot] == other.present[slot]:
            total += ABSENT_IN_BOTH
    return total
