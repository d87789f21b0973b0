"""One hand that was found twice is told from two hands in contact: by painting one over, or as one is elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from detected import LEFT, RIGHT, FakeLandmarks, FakePalms, hand_in, joints_in, make_predictor, result_of
from made_results import reading_of
from shades import BRIGHT, Box
from unclasp.arrays import Pixels
from unclasp.find.crop_result import MIN_HAND_SCORE, CropResult
from unclasp.find.hand_detector import MAX_REACH_OF_MISPLACED, DetectedHand, without_misplaced
from unclasp.find.landmarks import LandmarkReading
from unclasp.find.overlap import (
    MAX_WRIST_DISTANCE,
    MIN_REMAINING_SCORE,
    painted_over,
    without_double,
)
from unclasp.hands import HAND_SLICES, Side
from unclasp.picture import read_picture
from unclasp.predictor import Predictor

HAND: Box = (100, 100, 200, 200)
NEAR: Box = (110, 100, 210, 200)
APART: Box = (130, 100, 230, 200)
ELSEWHERE: Box = (250, 100, 350, 200)
BELOW, ENOUGH = MIN_REMAINING_SCORE - 0.01, MIN_REMAINING_SCORE + 0.01


class Remaining:
    """A landmark network with given hand scores, which keeps the pictures that it reads."""

    def __init__(self, *, side_score: float = 1.0, **scores: float) -> None:
        self.scores, self.side_score, self.read = scores, side_score, dict[str, Pixels]()

    def __call__(self, image: Pixels, joints_2d: np.ndarray, side: Side) -> LandmarkReading:
        self.read[side] = image
        return reading_of(joints_2d, self.scores[side], self.side_score)


def with_wrists(distance: float, *, scores: tuple[float, float] = (0.6, 0.5), left: Box = NEAR) -> CropResult:
    """Return hands on one place, with a distance between their wrists in sizes of the larger one."""
    joints, others = joints_in(HAND, 3), joints_in(left, 4)
    joints[-1], others[-1] = (150, 150), (150 + 100 * distance, 150)
    return result_of(HAND, left, scores=scores).with_joints_2d({RIGHT: joints, LEFT: others})


DOUBLE = with_wrists(0.1)


def slots_of(result: CropResult, right: float, left: float) -> list[int]:
    landmarks = Remaining(right=right, left=left)
    return without_double(result, np.full((300, 300, 3), 9, np.uint8), landmarks).present_slots  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("right", "left", "count"),
    [
        (BELOW, BELOW, 1),
        (MIN_REMAINING_SCORE, BELOW, 2),
        (ENOUGH, BELOW, 2),
        (BELOW, ENOUGH, 2),
        (0.9, 0.9, 2),
        (0.0, 0.0, 1),
    ],
)
def test_hands_on_one_place_are_two_if_either_is_left_without_the_other(right: float, left: float, count: int) -> None:
    assert len(slots_of(DOUBLE, right, left)) == count


@pytest.mark.parametrize(
    ("result", "count"),
    [
        (with_wrists(MAX_WRIST_DISTANCE - 0.01), 1),
        (with_wrists(MAX_WRIST_DISTANCE + 0.01), 2),
        (with_wrists(0.15, left=(120, 120, 180, 180)), 1),
        (with_wrists(0.1, scores=(MIN_HAND_SCORE, 0)), 1),
        (with_wrists(0.1, scores=(MIN_HAND_SCORE - 0.01, 0)), 2),
    ],
)
def test_a_double_has_one_wrist_and_was_seen_as_a_hand_before(result: CropResult, count: int) -> None:
    """Of hands that the landmark network has never seen, it also sees nothing where they are painted over."""
    assert len(slots_of(result, 0.0, 0.0)) == count


@pytest.mark.parametrize(("scores", "kept"), [((0.6, 0.5), 0), ((0.5, 0.6), 1)])
def test_the_hand_with_the_higher_score_stays(scores: tuple[float, float], kept: int) -> None:
    assert slots_of(with_wrists(0.1, scores=scores), 0.0, 0.0) == [kept]


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
    result, landmarks = DOUBLE, Remaining(right=1.0, left=1.0)
    without_double(result, image, landmarks)  # type: ignore[arg-type]
    for side, other in (("right", 1), ("left", 0)):
        np.testing.assert_array_equal(landmarks.read[side], painted_over(image, [result.joints_2d[HAND_SLICES[other]]]))


def test_what_remains_may_be_a_hand_of_either_side() -> None:
    landmarks = Remaining(right=0.9, left=0.9, side_score=0.1)
    image = np.zeros((300, 300, 3), np.uint8)
    assert without_double(DOUBLE, image, landmarks) is DOUBLE  # type: ignore[arg-type]


class Double(FakeLandmarks):
    """Sees nothing in a picture that is painted over."""

    def __call__(self, image: Pixels, joints_2d: np.ndarray, side: Side) -> LandmarkReading:
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


def at(distance: float, side: Side = "left", *, score: float = 0.9) -> DetectedHand:
    """Return a detected hand at a distance to the right of `HAND`, in sizes."""
    x = 100 + 100 * distance
    return hand_in((x, 100, x + 100, 200), side, score)


@pytest.mark.parametrize(
    ("hands", "scores", "slots"),
    [
        ([at(1)], (0.6, 0.3), [RIGHT]),
        ([at(MAX_REACH_OF_MISPLACED - 0.2)], (0.6, 0.3), [RIGHT]),
        ([at(MAX_REACH_OF_MISPLACED + 0.2)], (0.6, 0.3), [RIGHT, LEFT]),
        ([at(1, score=MIN_HAND_SCORE - 0.01)], (0.6, 0.3), [RIGHT, LEFT]),
        ([at(1, "right")], (0.6, 0.3), [RIGHT, LEFT]),
        ([at(0)], (0.6, 0.3), [RIGHT, LEFT]),
        ([at(1)], (0.9, MIN_HAND_SCORE), [RIGHT, LEFT]),
        ([at(1, "right")], (0.3, 0.6), [LEFT]),
        ([], (0.6, 0.3), [RIGHT, LEFT]),
    ],
)
def test_a_weak_hand_on_the_other_one_gives_way_to_one_that_was_detected_near_by(
    hands: list[DetectedHand], scores: tuple[float, float], slots: list[int]
) -> None:
    assert without_misplaced(with_wrists(0.5, scores=scores), hands).present_slots == slots


def test_a_weak_hand_that_is_apart_stays() -> None:
    apart = result_of(HAND, ELSEWHERE, scores=(0.6, 0.3))
    assert without_misplaced(apart, [at(-1)]).present_slots == [RIGHT, LEFT]
    assert without_misplaced(result_of(HAND, NEAR, scores=None), [at(1)]).present_slots == [RIGHT, LEFT]


def test_rendered_hands_in_contact_are_two() -> None:
    """The landmark network hardly sees them, painted over or not."""
    picture = read_picture(Path(__file__).parent / "data" / "crossed.jpg")
    assert Predictor.load()(picture).sides == ("right", "left")


def test_the_other_hand_is_where_it_was_detected_and_not_on_the_first_one() -> None:
    image = np.zeros((300, 420, 3), np.uint8)
    x1, y1, x2, y2 = map(int, ELSEWHERE)
    image[y1:y2, x1:x2, 1] = 150
    search = make_predictor(FakePalms((ELSEWHERE, "left", 0.9)), HAND).photo_search
    result = with_wrists(0.5, scores=(0.6, 0.3))
    both, beside = search.completed(result, [hand_in(ELSEWHERE, "left")], image)
    assert both is not result and both.present_slots == [RIGHT, LEFT] and beside is None
    np.testing.assert_allclose(both.joints_2d[HAND_SLICES[RIGHT]], with_wrists(0.5).joints_2d[HAND_SLICES[RIGHT]])
    assert np.abs(both.joints_2d[HAND_SLICES[LEFT]].mean(axis=0) - joints_in(ELSEWHERE).mean(axis=0)).max() < 20
