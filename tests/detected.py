"""Fakes of MediaPipe's two networks, which find hands in given boxes, and a predictor that uses them."""

from typing import Any

import numpy as np

from made_results import made_result, reading_of
from shades import Box, Shades
from unclasp.arrays import Floats, Pixels
from unclasp.find.crop_result import CropResult
from unclasp.find.hand_detector import PALM_SIZES, DetectedHand
from unclasp.find.landmarks import LandmarkReading
from unclasp.find.palms import Palm
from unclasp.find.search import Proposal
from unclasp.geometry import square_box
from unclasp.hands import Side
from unclasp.predictor import Predictor

RIGHT, LEFT = 0, 1


def joints_in(box: Box, seed: int = 0) -> Floats:
    """Return joints (21, 2) px that fill a box."""
    joints = np.random.default_rng(seed).uniform(0, 1, (21, 2))
    joints = (joints - joints.min(axis=0)) / np.ptp(joints, axis=0)
    return joints * (np.array(box[2:]) - box[:2]) + box[:2]


def hand_in(box: Box, side: Side = "right", score: float = 0.9, seed: int = 0) -> DetectedHand:
    return DetectedHand(side, reading_of(joints_in(box, seed), score, 1.0))


class FakePalms:
    """A palm detector that finds palms in the middle of given boxes, at given sizes only."""

    def __init__(self, *hands: tuple[Box, Side, float], sizes: tuple[int, ...] = PALM_SIZES) -> None:
        self.hands, self.sizes = hands, sizes
        self.calls: list[int] = []

    def __call__(self, image: Pixels, size: int) -> list[Palm]:
        self.calls.append(size)
        middles = [np.array([(x1 + x2) / 2, (y1 + y2) / 2]) for (x1, y1, x2, y2), _, _ in self.hands]
        up = np.array([0.0, -10.0])
        return [Palm(0.9, middle, middle - up, middle + up, 24.0) for middle in middles if size in self.sizes]

    def _at(self, middle: Floats) -> tuple[Box, Side, float] | None:
        for hand in self.hands:
            if (middle > np.array(hand[0][:2])).all() and (middle < np.array(hand[0][2:])).all():
                return hand
        return None


class FakeLandmarks:
    """The landmark network to go with `FakePalms`: its hands fill the boxes.

    The hand score of a first reading is `first` times that of the second one.
    """

    def __init__(self, palms: FakePalms, *, first: float = 1.0) -> None:
        self.palms, self.first = palms, first

    def read(self, image: Pixels, square: Floats, rotation: float, *, mirrored: bool = False) -> LandmarkReading:
        hand = self.palms._at((square[:2] + square[2:]) / 2)
        if hand is None:
            return reading_of(joints_in((0, 0, 9, 9)), 0.0, 0.5)
        return reading_of(joints_in(hand[0]), self.first * hand[2], 0.9 if hand[1] == "right" else 0.1)

    def __call__(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
        hand = self.palms._at((joints_2d.min(axis=0) + joints_2d.max(axis=0)) / 2)
        if hand is None:
            return reading_of(joints_2d, 0.01, 0.5)
        return reading_of(joints_in(hand[0]), hand[2], 1.0 if side == hand[1] else 0.0)


def result_of(
    right: Box, left: Box, *, presence: tuple[float, float] = (1, 1),
    confidence: tuple[float, float] | None = (0.1, 0.1), scores: tuple[float, float] | None = (0.0, 0.0),
) -> CropResult:  # fmt: skip
    joints = np.concatenate([joints_in(right, 3), joints_in(left, 4)])
    result = made_result(joints, presence=presence, confidence=confidence, square=np.array([0.0, 0, 300, 300]))
    return result._replace(hand_scores=None if scores is None else np.array(scores))


def make_predictor(palms: FakePalms, first: Box, **options: Any) -> Predictor:
    square = square_box(np.array(first))
    proposal = Proposal(square, np.zeros((0, 4)), fallback=lambda: square)
    return Predictor(
        Shades(), search=lambda _: proposal, landmarks=FakeLandmarks(palms), palms=palms, second_opinions=False,
        **options,
    )  # type: ignore[arg-type]  # fmt: skip
