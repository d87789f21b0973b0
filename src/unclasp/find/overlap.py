"""Evidence from painting hands over in a copy of the picture: what is behind them, and whether two hands are one."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.find.crop_result import MIN_HAND_SCORE, CropResult
from unclasp.find.hand_detector import MAX_PALMS, DetectedHand, HandDetector
from unclasp.find.landmarks import Landmarks
from unclasp.find.palms import SIZE
from unclasp.hands import HAND_SLICES, ROOTS, SIDES

MIN_BESIDE_SCORE: Final = 0.9
"""A hand that is detected only once the others are painted over counts from this score on."""
BESIDE_DISTANCES: Final = (0.3, 1.5)
"""Its distance from the nearest of them in sizes of the larger one: what is nearer is what is left of that hand; feet
and faces are mostly farther."""
MIN_BESIDE_SIZE: Final = 0.55
"""It is at least this many times as large as that one."""
SURROUNDINGS: Final = 4.0
"""Side of the square around a hand that is searched for hands beside it, in sizes of the hand."""
MAX_WRIST_DISTANCE: Final = 0.2
"""Only hands whose wrists are nearer than this, in sizes of the larger one, can be one hand that was found twice."""
MIN_REMAINING_SCORE: Final = 0.2
"""They are if neither has a hand score of at least this once the other one is painted over, and one of them had
`MIN_HAND_SCORE` before."""


class BesideHands(NamedTuple):
    """Hands that are detected once others are painted over."""

    image: Pixels
    """(H, W, 3) RGB: the copy of the picture with those painted over; the picture itself without any."""
    hands: list[DetectedHand]
    """The further hands, by descending score."""


def painted_over(image: Pixels, hands: Sequence[Floats]) -> Pixels:
    """Return a copy of a picture with the outlines of hands filled with its mean colour.

    Args:
        image: (H, W, 3) RGB.
        hands: (21, 2) px each: joints.
    """
    painted, colour = image.copy(), cv2.mean(image)
    for joints_2d in hands:
        outline = np.rint(cv2.convexHull(joints_2d.astype(np.float32))).astype(np.int32)
        cv2.fillConvexPoly(painted, outline, colour)
    return painted


def beside_one(detector: HandDetector, image: Pixels, joints_2d: Floats) -> BesideHands:
    """Detect hands beside one, like `beside_all`, but only around it and at its size, which is faster.

    Args:
        detector: Detects the hands.
        image: (H, W, 3) RGB.
        joints_2d: (21, 2) px: the joints of that hand.
    """
    painted, half = painted_over(image, [joints_2d]), SURROUNDINGS / 2 * geometry.extent(joints_2d)
    low, high = (np.rint(joints_2d.mean(axis=0) + sign * half).astype(int) for sign in (-1, 1))
    (x1, y1), (x2, y2) = np.maximum(low, 0), np.maximum(high, 0)
    surroundings = np.ascontiguousarray(painted[y1:y2, x1:x2])
    if not surroundings.size:
        return BesideHands(painted, [])
    palms = [palm.moved(np.array([x1, y1])) for palm in detector.palms(surroundings, SIZE)[:MAX_PALMS]]
    return BesideHands(painted, [hand for hand in detector.read_all(painted, palms) if _is_beside(hand, [joints_2d])])


def beside_all(detector: HandDetector, image: Pixels, hands: Sequence[Floats]) -> BesideHands:
    """Detect hands beside others, once those are painted over.

    Of two hands in contact, the palm detector and the landmark network often find the clearer one twice.

    Args:
        detector: Detects the hands.
        image: (H, W, 3) RGB.
        hands: (21, 2) px each: the joints of the hands that are known.
    """
    if not hands:
        return BesideHands(image, [])
    painted = painted_over(image, hands)
    return BesideHands(painted, [hand for hand in detector(painted) if _is_beside(hand, hands)])


def _is_beside(hand: DetectedHand, others: Sequence[Floats]) -> bool:
    """Tell whether a hand that is detected once others are painted over is another one, in contact with one of them."""
    nearest = min(others, key=hand.distance_to)
    extent = geometry.extent(nearest)
    distance = hand.distance_to(nearest) / max(hand.extent, extent)
    low, high = BESIDE_DISTANCES
    is_large = hand.extent >= MIN_BESIDE_SIZE * extent
    return hand.score >= MIN_BESIDE_SCORE and low <= distance < high and is_large


def without_double(result: CropResult, image: Pixels, landmarks: Landmarks) -> CropResult:
    """Return the result without the weaker of two hands on one place, if they are one hand that was found twice.

    A hand that was found twice has one wrist, and nothing of it is left where it is painted over; of two hands in
    contact, at least one is still seen as a hand.

    Args:
        result: A result of the picture.
        image: (H, W, 3) RGB.
        landmarks: Tells what is left.
    """
    scores = result.hand_scores
    if len(result.present_slots) < 2 or scores is None or max(scores) < MIN_HAND_SCORE or not result.are_at_one_place:
        return result
    right, left = (result.joints_2d[joints] for joints in HAND_SLICES)
    wrists = float(np.linalg.norm(np.subtract(*result.joints_2d[list(ROOTS)])))
    if wrists >= MAX_WRIST_DISTANCE * max(geometry.extent(right), geometry.extent(left)):
        return result
    pairs = zip((right, left), (left, right), SIDES, strict=True)
    remaining = [landmarks(painted_over(image, [other]), hand, side).hand_score for hand, other, side in pairs]
    if max(remaining) >= MIN_REMAINING_SCORE:
        return result
    return result.without_hand(int(scores.argmin()))
