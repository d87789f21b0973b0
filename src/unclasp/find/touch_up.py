"""Corrects the joints of a result with the landmark network: the last step of a prediction.

The pose network tells two hands that touch apart, which is which, and how deep their joints are, but is trained on
rendered hands; the landmark network is trained on real ones, but knows only one hand at a time.
"""

from typing import Final

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.find.crop_result import LIKELY_PRESENCE, MIN_HAND_SCORE, CropResult
from unclasp.find.fusion import Fusion, can_fuse, fusion_input
from unclasp.find.landmarks import LandmarkReading, Landmarks
from unclasp.find.versions import Versions
from unclasp.hands import HAND_SLICES, SIDES, Side

SAME_HAND_DISTANCE: Final = 0.2
"""The landmark network may be reading the other hand if the mean distance of its joints from the pose network's is at
least this share of the hand's extent."""

MAX_CONFIDENCE_TO_FOLLOW: Final = 0.3
"""A hand with a mean confidence below this may be elsewhere: the crop of the landmark network, which moves to the hand
it reads, is followed there."""

MAX_READS: Final = 3
"""The landmark network reads a doubtful hand at most this many times more."""

CONVERGED_DISTANCE: Final = 0.1
"""The crop has converged if the mean distance of the joints of two readings is below this share of the hand's
extent."""

MAX_MOVE: Final = 0.8
"""A hand is moved only if the mean distance of its joints to the new ones is below this share of its extent."""

OWN_SHARE: Final = 0.8
"""Weight of the pose network's place of a joint at confidence 1; it is proportional to the confidence."""

OWN_SHARE_NO_CONFIDENCE: Final = 0.5
"""The same weight where the network predicts no confidence."""


class TouchUp:
    """Corrects the joints of each hand with the landmark network.

    The fusion network decides how near each joint goes to the landmark network's, and corrects the depths. Without it,
    and for pose networks that it does not support (`fusion.can_fuse`), a rule does: the lower the confidence in a
    joint, the nearer it goes to the landmark network's. By the rule, hands that the landmark network does not find,
    finds elsewhere or takes for the other side stay as they are, and so do all depths, since the landmark network's are
    worse.

    Args:
        landmarks: The landmark network; without it results stay as they are.
        fusion: The fusion network.
    """

    def __init__(self, landmarks: Landmarks | None = None, fusion: Fusion | None = None) -> None:
        self.landmarks, self.fusion = landmarks, fusion

    def __call__(self, result: CropResult, image: Pixels) -> CropResult:
        """Touch up a result in a photo (H, W, 3) RGB.

        Hands whose confidence is below `MAX_CONFIDENCE_TO_FOLLOW` are also searched for farther off.
        """
        if self.landmarks is None:
            return result
        readings = _read_hands(result, image, self.landmarks)
        found = _find_elsewhere(result, readings, image, self.landmarks)
        return _corrected(result, readings, found, self._fusion_for(result))

    def for_video(self, result: CropResult, image: Pixels) -> Versions[CropResult]:
        """Touch up a result in a frame (H, W, 3) RGB in both ways, from one reading of each hand.

        No hand is searched for farther off: it would jump, and the other frames are the better evidence.
        """
        if self.landmarks is None:
            return Versions(result, result)
        readings = _read_hands(result, image, self.landmarks)
        tracked, fusion = _corrected(result, readings, {}, None), self._fusion_for(result)
        return Versions(tracked, tracked if fusion is None else _corrected(result, readings, {}, fusion))

    def _fusion_for(self, result: CropResult) -> Fusion | None:
        """Return the fusion network if it supports the pose network of the result."""
        return self.fusion if self.fusion is not None and can_fuse(result) else None


def _read_hands(result: CropResult, image: Pixels, landmarks: Landmarks) -> dict[int, LandmarkReading]:
    """Read the hands with a presence of at least `LIKELY_PRESENCE`."""
    slots = np.flatnonzero(result.presence >= LIKELY_PRESENCE).tolist()
    return {slot: landmarks(image, result.joints_of(slot), SIDES[slot]) for slot in slots}


def _corrected(
    result: CropResult, readings: dict[int, LandmarkReading], found: dict[int, LandmarkReading], fusion: Fusion | None
) -> CropResult:
    """Return the result with the hands of `readings` corrected.

    Those in `found` move towards the hand found there, with one weight for all joints. Without a fusion network the
    rule is used.
    """
    moved: dict[int, Floats] = {}
    depths: dict[int, Floats] = {}
    fused_confidence: dict[int, Floats] = {}
    confidence = result.output.confidence
    for slot, reading in readings.items():
        joints = result.joints_of(slot)
        if slot in found:
            share = OWN_SHARE * result.confidence(slot)  # one for all joints: a large move must not distort the hand
            moved[slot] = share * joints + (1 - share) * found[slot].joints_2d
            if fusion is not None:
                fused_confidence[slot] = fusion.confidence(fusion_input(result, slot, found[slot]).numbers)
        elif fusion is not None and reading.finite:
            moved[slot], depths[slot], fused_confidence[slot] = fusion(result, slot, reading)
        elif _agrees(reading, joints):
            hand = HAND_SLICES[slot]
            shares = OWN_SHARE_NO_CONFIDENCE if confidence is None else OWN_SHARE * confidence[0, hand, None]
            moved[slot] = shares * joints + (1 - shares) * reading.joints_2d
    used = readings | found
    scores = np.array([used[slot].score if slot in used else 0.0 for slot in (0, 1)])
    result = result.with_joints_2d(moved).with_depths(depths).with_reported_confidence(fused_confidence)
    return result._replace(hand_scores=scores)


def _find_elsewhere(
    result: CropResult, readings: dict[int, LandmarkReading], image: Pixels, landmarks: Landmarks
) -> dict[int, LandmarkReading]:
    """Return the readings of doubtful hands farther off, where they can be of the same hand."""
    found = {}
    for slot, reading in readings.items():
        joints = result.joints_of(slot)
        is_doubtful = result.has_confidence and result.confidence(slot) < MAX_CONFIDENCE_TO_FOLLOW
        if not is_doubtful or _agrees(reading, joints):
            continue
        reached = follow(reading, image, SIDES[slot], landmarks)
        other = result.joints_of(1 - slot) if 1 - slot in readings else None
        if reached is not None and _can_be_same_hand(reached.joints_2d, joints, other):
            found[slot] = reached
    return found


def _agrees(reading: LandmarkReading, joints_2d: Floats) -> bool:
    is_near = geometry.mean_distance(reading.joints_2d, joints_2d) < SAME_HAND_DISTANCE * geometry.extent(joints_2d)
    return _is_hand_of_side(reading) and is_near


def follow(reading: LandmarkReading, image: Pixels, side: Side, landmarks: Landmarks) -> LandmarkReading | None:
    """Read again around the last reading until it converges; None if that fails or no hand of the side is there."""
    for _ in range(MAX_READS):
        if not (reading.finite and reading.hand_score > MIN_HAND_SCORE):
            return None
        before, reading = reading.joints_2d, landmarks(image, reading.joints_2d, side)
        if geometry.mean_distance(reading.joints_2d, before) < CONVERGED_DISTANCE * geometry.extent(before):
            return reading if _is_hand_of_side(reading) else None
    return None


def _can_be_same_hand(found: Floats, joints_2d: Floats, other: Floats | None) -> bool:
    """Tell whether the joints found elsewhere can be that hand's, and not the other one's, whose joints are `other`."""
    move = geometry.mean_distance(found, joints_2d)
    is_nearest = other is None or move < geometry.mean_distance(found, other)
    return move < MAX_MOVE * geometry.extent(joints_2d) and is_nearest


def _is_hand_of_side(reading: LandmarkReading) -> bool:
    return reading.hand_score > MIN_HAND_SCORE and reading.side_score > MIN_HAND_SCORE
