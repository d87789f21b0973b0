"""One hand that was found twice is told from two hands in contact by painting one of them over."""

import numpy as np
import pytest

from detected import RIGHT, FakeLandmarks, FakePalms, joints_in, make_predictor, result_of
from made_results import reading_of
from shades import BRIGHT, Box
from unclasp.batch import ByteArray
from unclasp.find.crop_result import CropResult
from unclasp.find.landmarks import LandmarkReading
from unclasp.find.overlap import MIN_REMAINING_SCORE, painted_over, without_double
from unclasp.hands import HAND_SLICES, Side

HAND: Box = (100, 100, 200, 200)
NEAR: Box = (115, 100, 215, 200)
APART: Box = (130, 100, 230, 200)
BELOW, ENOUGH = MIN_REMAINING_SCORE - 0.01, MIN_REMAINING_SCORE + 0.01


class Remaining:
    """A landmark network with given hand scores, which keeps the pictures that it reads."""

    def __init__(self, **scores: float) -> None:
        self.scores, self.read = scores, dict[str, ByteArray]()

    def __call__(self, image: ByteArray, joints_2d: np.ndarray, side: Side) -> LandmarkReading:
        self.read[side] = image
        return reading_of(joints_2d, self.scores[side], 1.0)


def sides_of(result: CropResult, right: float, left: float) -> list[int]:
    landmarks = Remaining(right=right, left=left)
    return without_double(result, np.full((300, 300, 3), 9, np.uint8), landmarks).present_slots  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("right", "left", "count"),
    [(BELOW, BELOW, 1), (ENOUGH, BELOW, 2), (BELOW, ENOUGH, 2), (0.9, 0.9, 2), (0.0, 0.0, 1)],
)
def test_hands_on_one_place_are_two_if_either_is_left_without_the_other(right: float, left: float, count: int) -> None:
    assert len(sides_of(result_of(HAND, NEAR, scores=(0.6, 0.5)), right, left)) == count


@pytest.mark.parametrize(("scores", "kept"), [((0.6, 0.5), 0), ((0.5, 0.6), 1)])
def test_the_hand_with_the_higher_score_stays(scores: tuple[float, float], kept: int) -> None:
    assert sides_of(result_of(HAND, NEAR, scores=scores), 0.0, 0.0) == [kept]


@pytest.mark.parametrize(
    "result",
    [
        result_of(HAND, APART, scores=(0.6, 0.5)),
        result_of(HAND, NEAR, scores=(0.6, 0.5), presence=(1, 0)),
        result_of(HAND, NEAR, scores=None),
    ],
)
def test_only_two_hands_on_one_place_with_scores_are_asked_about(result: CropResult) -> None:
    landmarks = Remaining()
    assert without_double(result, np.zeros((300, 300, 3), np.uint8), landmarks) is result  # type: ignore[arg-type]
    assert not landmarks.read


def test_each_hand_is_read_with_the_other_one_painted_over() -> None:
    image = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    result, landmarks = result_of(HAND, NEAR), Remaining(right=1.0, left=1.0)
    without_double(result, image, landmarks)  # type: ignore[arg-type]
    for side, other in (("right", 1), ("left", 0)):
        np.testing.assert_array_equal(landmarks.read[side], painted_over(image, [result.joints_2d[HAND_SLICES[other]]]))


class Double(FakeLandmarks):
    """Sees nothing in a picture that is painted over."""

    def __call__(self, image: ByteArray, joints_2d: np.ndarray, side: Side) -> LandmarkReading:
        reading = super().__call__(image, joints_2d, side)
        return reading if image[70, 180, 0] >= 150 else reading._replace(hand_score=0.0)


def test_a_photo_of_one_hand_has_one() -> None:
    image = np.zeros((300, 420, 3), np.uint8)
    x1, y1, x2, y2 = map(int, BRIGHT)
    image[y1:y2, x1:x2, :2] = 150  # the network sees a right and a left hand at once
    palms = FakePalms((BRIGHT, "right", 0.95))
    predictor = make_predictor(palms, BRIGHT)
    assert predictor(image).sides == ("right", "left")
    predictor.photo_search.touch_up.landmarks = Double(palms)  # type: ignore[assignment]
    pose = predictor(image)
    assert pose.sides == ("right",)
    assert np.abs(pose.joints_2d[HAND_SLICES[RIGHT]].mean(axis=0) - joints_in(BRIGHT).mean(axis=0)).max() < 20
