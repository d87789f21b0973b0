"""The rules that decide which hands of a result count (docs/how-it-predicts.md, step 9), and how surely."""

from typing import Final

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.find.crop_result import MIN_CONFIDENCE, MIN_HAND_SCORE, CropResult
from unclasp.hands import HAND_SLICES
from unclasp.pose import DOUBTED_BELOW

UNSURE_HAND_SCORE: Final = 0.5
"""Weight of a hand score in `detection_score` where the pose network's confidence is 0."""

MIN_SCORE_GAIN: Final = 0.1
"""The result of another search replaces the present one if its `detection_score` is higher by more than this."""

MIN_DETECTION_SCORE: Final = 0.3
"""A result is credible if its `detection_score` is at least this."""

MIN_CONFIDENCE_UNSEEN: Final = 0.5
"""A result is also credible if the mean confidence of one hand is at least this, whatever the landmark network says:
the hand may be hidden behind the other one."""

WEAK_DETECTION_SCORE: Final = 0.5
"""Below this detection score, most photos show no hand at the place of the result."""

WEAK_SHARE: Final = 0.25
"""The share of them that do, about: five to seven of 30 (docs/decisions.md)."""

SPECK_SIZE: Final = 0.08
"""Hands that are smaller than this share of a photo's longer side, in doubt, and have a hand score below `SPECK_SCORE`
are no hands, if there is none but such."""
SPECK_SCORE: Final = 0.9

MIN_IN_TRACK: Final = (0.15, 0.5)
"""Where the last frame of a video had hands, a result is credible if one hand has at least this mean confidence, or at
least this hand score."""

GHOST_MAX_CONFIDENCE: Final = 0.1
"""Only a second hand with a mean confidence below this can be a ghost."""

GHOST_SCORES_BESIDE: Final = (0.1, 0.5)
"""A second hand is a ghost anywhere if its hand score is below the first value and that of the other hand is at least
the second one."""

GHOST_SCORES_SAME_PLACE: Final = (0.5, 0.9)
"""A second hand at the place of the other one (`CropResult.are_at_one_place`) is a ghost if its hand score is below the
first value and that of the other hand is at least the second one."""


def max_confidence(result: CropResult) -> float:
    """Return the highest mean confidence of a present hand; 0 without any."""
    return max(map(result.confidence, result.present_slots), default=0.0)


def max_hand_score(result: CropResult) -> float:
    """Return the highest hand score of a present hand; 0 without the landmark network."""
    return max(map(result.hand_score, result.present_slots), default=0.0)


def total_hand_score(result: CropResult) -> float:
    """Return the sum of the hand scores of the present hands, 0 to 2; 0 without the landmark network."""
    return sum(map(result.hand_score, result.present_slots))


def detection_score(result: CropResult) -> float:
    """Return the evidence for the present hands, 0 to 3; 0 without the landmark network.

    Each hand contributes its hand score, weighted by `UNSURE_HAND_SCORE` plus its mean confidence.
    """
    return sum(result.hand_score(slot) * (UNSURE_HAND_SCORE + result.confidence(slot)) for slot in result.present_slots)


def are_specks(result: CropResult, image: Pixels) -> bool:
    """Tell whether all hands in a photo (H, W, 3) are small and uncertain (`SPECK_SIZE`): few of those are hands.

    False where a network is missing.
    """
    reported, longer_side = result.reported_confidence, max(image.shape[:2])
    if reported is None or result.hand_scores is None:
        return False
    return all(
        reported[HAND_SLICES[slot]].mean() < DOUBTED_BELOW
        and result.hand_score(slot) < SPECK_SCORE
        and geometry.extent(result.joints_of(slot)) < SPECK_SIZE * longer_side
        for slot in result.present_slots
    )


def hand_evidence(result: CropResult) -> Floats | None:
    """Return the higher of hand score and mean confidence of each hand, (2,); None where either is missing."""
    if not result.has_confidence or result.hand_scores is None:
        return None
    return np.maximum(result.hand_scores, [result.confidence(slot) for slot in (0, 1)])


def is_credible(result: CropResult) -> bool:
    """Tell whether there are hands at all.

    The pose network is trained only on pictures that show hands, and predicts some in any picture. Results without
    confidence or hand scores are always credible.
    """
    if not result.has_confidence or result.hand_scores is None:
        return True
    return detection_score(result) >= MIN_DETECTION_SCORE or max_confidence(result) >= MIN_CONFIDENCE_UNSEEN


def is_credible_in_track(result: CropResult) -> bool:
    """Tell whether there are hands, by the lower thresholds for frames after one that had hands (`MIN_IN_TRACK`)."""
    if not result.has_confidence or result.hand_scores is None:
        return True
    min_confidence, min_hand_score = MIN_IN_TRACK
    return max_confidence(result) >= min_confidence or max_hand_score(result) >= min_hand_score


def is_certain(result: CropResult) -> bool:
    """Tell whether a result shows two hands that both networks are certain of, so that no others are searched for.

    False without the landmark network, True where the pose network predicts no confidence.
    """
    if not result.has_confidence:
        return True
    return len(result.present_slots) == 2 and all(
        result.confidence(slot) >= MIN_CONFIDENCE and result.hand_score(slot) > MIN_HAND_SCORE for slot in (0, 1)
    )


def without_ghost(result: CropResult) -> CropResult:
    """Return the result without a ghost: a second hand that neither network supports, beside or on a certain one.

    The pose network is trained on more pictures of two hands than of one. This is for whole photos, and for frames
    of videos that follow a frame without hands; otherwise the frames before decide, and with a box the user does.
    """
    if not result.has_confidence or result.hand_scores is None or len(result.present_slots) < 2:
        return result
    ghost = int(result.hand_scores.argmin())
    score, other_score = result.hand_scores[ghost], result.hand_scores[1 - ghost]
    (max_beside, min_other_beside), (max_on, min_other_on) = GHOST_SCORES_BESIDE, GHOST_SCORES_SAME_PLACE
    is_beside = score < max_beside and other_score >= min_other_beside
    is_on_other = score < max_on and other_score >= min_other_on and result.are_at_one_place
    is_ghost = result.confidence(ghost) < GHOST_MAX_CONFIDENCE and (is_beside or is_on_other)
    return result.without_hand(ghost) if is_ghost else result


def discounted(result: CropResult) -> CropResult:
    """Return a photo's result with lower confidences reported where there may be no hand at all (`WEAK_SHARE`).

    The confidence in a joint is fitted on pictures with hands: it is the probability that the joint is right if the
    hand exists.
    """
    reported = result.reported_confidence
    if result.hand_scores is None or reported is None or detection_score(result) >= WEAK_DETECTION_SCORE:
        return result
    return result.with_reported_confidence(
        {slot: WEAK_SHARE * reported[HAND_SLICES[slot]] for slot in result.present_slots}
    )
