"""Hands that are detected only once the hands in front of them are painted over."""

from typing import Any

import numpy as np
import pytest

from detected import hand_in
from shades import Box
from unclasp.arrays import Pixels
from unclasp.find.hand_detector import MAX_PALMS, DetectedHand, HandDetector
from unclasp.find.overlap import (
    BESIDE_DISTANCES,
    MIN_BESIDE_SCORE,
    MIN_BESIDE_SIZE,
    beside_all,
    beside_one,
    painted_over,
)
from unclasp.find.palms import Palm
from unclasp.find.people import KNOWN_HAND

FRONT: Box = (100, 100, 200, 200)
NEAREST, FARTHEST = BESIDE_DISTANCES


def behind(distance: float, *, size: float = 1.0, score: float = 0.95) -> DetectedHand:
    """Return a hand at a distance to the right of the front one, in sizes of the larger one."""
    extent = 100 * size
    x, y = 150 + distance * max(extent, 100) - extent / 2, 150 - extent / 2
    return hand_in((x, y, x + extent, y + extent), score=score)


class Painted(HandDetector):
    """Detects given hands, and keeps the pictures."""

    def __init__(self, *hands: DetectedHand) -> None:
        self.hands, self.pictures = list(hands), list[Pixels]()

    def __call__(self, image: Pixels, *_: Any) -> list[DetectedHand]:
        self.pictures.append(image)
        return self.hands


def found(*hands: DetectedHand, front: tuple[DetectedHand, ...] = (hand_in(FRONT),)) -> list[DetectedHand]:
    return beside_all(Painted(*hands), np.full((300, 600, 3), 7, np.uint8), [hand.joints_2d for hand in front]).hands


@pytest.mark.parametrize(
    ("hand", "counts"),
    [
        (behind(0.5), True),
        (behind(NEAREST + 0.02), True),
        (behind(NEAREST - 0.02), False),
        (behind(FARTHEST - 0.02), True),
        (behind(FARTHEST + 0.02), False),
        (behind(FARTHEST - 0.1, size=1.5), True),
        (behind(FARTHEST - 0.1, size=0.8), True),
        (behind(0.5, score=MIN_BESIDE_SCORE), True),
        (behind(0.5, score=MIN_BESIDE_SCORE - 0.01), False),
        (behind(0.5, size=MIN_BESIDE_SIZE + 0.02), True),
        (behind(0.5, size=MIN_BESIDE_SIZE - 0.02), False),
    ],
)
def test_only_certain_hands_beside_others_count(hand: DetectedHand, counts: bool) -> None:
    assert found(hand) == ([hand] if counts else [])


def test_the_nearest_hand_decides() -> None:
    """What is left of a hand is no other one, though there is another beside it."""
    left = behind(0.05)
    assert found(left, front=(hand_in(FRONT), behind(0.8))) == []


def test_hands_are_painted_over_in_a_copy() -> None:
    image = np.random.default_rng(0).integers(0, 255, (300, 600, 3)).astype(np.uint8)
    before, detector, front = image.copy(), Painted(), hand_in(FRONT)
    returned, _ = beside_all(detector, image, [front.joints_2d])
    np.testing.assert_array_equal(image, before)
    (painted,) = detector.pictures
    assert painted is returned
    changed = (painted != image).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed[150, 150] and changed[100:201, 100:201].sum() == changed.sum() > 3000
    assert np.ptp(painted[changed].astype(int), axis=0).max() == 0, "one colour"
    assert rows.min() >= 100 and columns.max() <= 200


def test_hands_are_painted_over_with_the_mean_colour() -> None:
    image = np.full((300, 600, 3), (10, 60, 200), np.uint8)
    np.testing.assert_array_equal(painted_over(image, [hand_in(FRONT).joints_2d]), image)


def test_around_one_hand_the_best_palms_are_read_in_the_picture_that_is_painted_over() -> None:
    class Crowd(HandDetector):
        def __init__(self) -> None:
            self.read = list[tuple[Pixels, int]]()

        def palms(self, *_: Any) -> list[Palm]:  # type: ignore[override]
            return [Palm(0.9, *np.zeros((3, 2)), 24.0)] * (MAX_PALMS + 1)

        def read_all(self, image: Pixels, palms: Any) -> list[DetectedHand]:
            self.read.append((image, len(list(palms))))
            return []

    image, joints, detector = (
        np.random.default_rng(0).integers(0, 255, (300, 600, 3)),
        hand_in(FRONT).joints_2d,
        Crowd(),
    )
    painted, _ = beside_one(detector, image.astype(np.uint8), joints)
    ((read, count),) = detector.read
    assert read is painted and count == MAX_PALMS
    np.testing.assert_array_equal(painted, painted_over(image.astype(np.uint8), [joints]))


def test_without_hands_nothing_is_painted_or_detected() -> None:
    detector = Painted(behind(0.5))
    assert beside_all(detector, np.zeros((300, 600, 3), np.uint8), []).hands == [] and not detector.pictures


def test_such_a_hand_is_not_taken_for_the_one_before_it() -> None:
    assert KNOWN_HAND <= NEAREST
