"""Pictures without hands: the pose network predicts some, which count only if they are credible."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detected import FakePalms, make_predictor
from made_results import hands, made_result
from motion import moving_hands
from poses import poses_of
from scripted import Script
from shades import DIM, EMPTY
from unclasp import geometry
from unclasp.find.credibility import (
    MIN_CONFIDENCE_UNSEEN,
    MIN_DETECTION_SCORE,
    MIN_IN_TRACK,
    SPECK_SCORE,
    SPECK_SIZE,
    WEAK_DETECTION_SCORE,
    WEAK_SHARE,
    are_specks,
    detection_score,
    discounted,
    is_credible,
    is_credible_in_track,
    max_confidence,
    max_hand_score,
    total_hand_score,
)
from unclasp.find.crop_predictor import Found
from unclasp.find.crop_result import CropResult
from unclasp.find.search import Proposal, everywhere
from unclasp.follow.frame_result import exchanged
from unclasp.follow.tracking import MAX_HELD_FRAMES
from unclasp.picture import with_gamma
from unclasp.predictor import Predictor
from unclasp.streaming import StreamOptions
from unclasp.video_writer import VideoWriter


def result_with(
    *, confidence: tuple[float, float] | None, scores: tuple[float, float] | None, **more: object
) -> CropResult:
    result = made_result(hands(), confidence=confidence, **more)  # type: ignore[arg-type]
    return result._replace(hand_scores=None if scores is None else np.array(scores))


@pytest.mark.parametrize(
    ("result", "credible"),
    [
        (result_with(confidence=(0.1, 0.1), scores=(0.2, 0.1)), False),
        (result_with(confidence=(0.1, 0.1), scores=(0.2, 0.9)), True),
        (result_with(confidence=(0.1, 0.1), scores=(0.4, 0.4)), True),
        (result_with(confidence=(0.0, 0.0), scores=(2 * MIN_DETECTION_SCORE, 0.0)), True),
        (result_with(confidence=(0.0, MIN_CONFIDENCE_UNSEEN), scores=(0.0, 0.0)), True),
        (result_with(confidence=(0.0, 0.9 * MIN_CONFIDENCE_UNSEEN), scores=(0.0, 0.0)), False),
        (result_with(confidence=(0.1, 0.9), scores=(0.2, 0.9), presence=(1.0, 0.2)), False),
        (result_with(confidence=None, scores=(0.0, 0.0)), True),
        (result_with(confidence=(0.0, 0.0), scores=None), True),
    ],
    ids=["hardly seen", "one is seen", "both may be", "one is just seen", "one is sure", "not sure",
         "of hands that count", "no confidence", "no landmark network"],
)  # fmt: skip
def test_a_result_is_credible_with_a_high_score_or_confidence(result: CropResult, credible: bool) -> None:
    assert is_credible(result) is credible


@pytest.mark.parametrize(
    ("result", "credible"),
    [
        (result_with(confidence=(0.9 * MIN_IN_TRACK[0],) * 2, scores=(0.9 * MIN_IN_TRACK[1], 0.0)), False),
        (result_with(confidence=(0.0, 1.1 * MIN_IN_TRACK[0]), scores=(0.0, 0.0)), True),
        (result_with(confidence=(0.0, 0.0), scores=(0.0, MIN_IN_TRACK[1])), True),
        (result_with(confidence=(0.0, 0.9), scores=(0.0, 0.9), presence=(1.0, 0.2)), False),
        (result_with(confidence=None, scores=(0.0, 0.0)), True),
        (result_with(confidence=(0.0, 0.0), scores=None), True),
    ],
    ids=["neither", "one is sure", "one is seen", "of hands that count", "no confidence", "no landmark network"],
)
def test_tracked_hands_stay_credible_at_lower_thresholds(result: CropResult, credible: bool) -> None:
    assert is_credible_in_track(result) is credible


@pytest.mark.parametrize(
    ("score", "confidence", "is_weak"),
    [(0.4, 0.6, True), (0.5, 0.6, False), (0.5, 0.5, False), (0.0, 0.9, True)],
    ids=["hardly seen", "seen", "just seen", "not seen, but sure"],
)
def test_confidences_are_lower_where_there_may_be_no_hand(score: float, confidence: float, is_weak: bool) -> None:
    result = result_with(confidence=(confidence, 0.3), scores=(score, 0.0), presence=(1.0, 0.0))
    assert (detection_score(result) < WEAK_DETECTION_SCORE) == is_weak
    after = discounted(result)
    assert after.reported_confidence is not None and after.output.confidence is result.output.confidence
    expected = confidence * (WEAK_SHARE if is_weak else 1)
    np.testing.assert_allclose(after.reported_confidence, [*[expected] * 21, *[0.3] * 21])


@pytest.mark.parametrize(
    "lacking", [{"confidence": None, "scores": (0.0, 0.0)}, {"confidence": (0.9, 0.9), "scores": None}]
)
def test_nothing_is_lowered_without_both_networks(lacking: Any) -> None:
    result = result_with(**lacking)
    assert discounted(result) is result


@pytest.mark.parametrize(
    ("confidence", "scores", "presence", "longer_side", "expected"),
    [
        ((0.2, 0.2), (0.8, 0.8), (1, 1), 400, True),
        ((0.2, 0.2), (0.8, 0.8), (1, 1), 200, False),
        ((0.2, 0.4), (0.8, 0.8), (1, 1), 400, False),
        ((0.2, 0.2), (0.8, SPECK_SCORE), (1, 1), 400, False),
        ((0.2, 0.4), (0.8, SPECK_SCORE), (1, 0.2), 400, True),
        ((0.2, 0.2), (0.8, 0.8), (0.2, 0.2), 400, True),
    ],
    ids=["small and in doubt", "not small", "one is certain", "one is seen", "the certain one does not count", "none"],
)
def test_small_uncertain_hands_are_none_if_there_are_only_such(
    confidence: tuple[float, float], scores: tuple[float, float], presence: tuple[float, float], longer_side: int,
    expected: bool,
) -> None:  # fmt: skip
    result = result_with(confidence=confidence, scores=scores, presence=presence)
    for shape in ((100, longer_side, 3), (longer_side, 100, 3)):
        assert are_specks(result, np.zeros(shape, np.uint8)) == expected


def test_one_hand_that_is_not_small_makes_no_specks() -> None:
    result = result_with(confidence=(0.2, 0.2), scores=(0.8, 0.8))
    image = np.zeros((400, 400, 3), np.uint8)
    extent = geometry.extent(result.joints_of(1))
    size = 1.01 * SPECK_SIZE * 400 / extent
    larger = result.with_joints_2d({1: size * result.joints_of(1)})
    assert are_specks(result.with_joints_2d({1: 0.98 * size * result.joints_of(1)}), image)
    assert not are_specks(larger, image)


def test_nothing_is_a_speck_without_both_networks() -> None:
    image = np.zeros((2000, 2000, 3), np.uint8)
    assert not are_specks(result_with(confidence=None, scores=(0.0, 0.0)), image)
    assert not are_specks(result_with(confidence=(0.1, 0.1), scores=None), image)


@pytest.mark.parametrize(("score", "is_reported"), [(0.4, False), (0.95, True)])
def test_a_photo_with_nothing_but_a_speck_has_no_hands(score: float, is_reported: bool) -> None:
    small = (100.0, 100.0, 125.0, 125.0)
    pose = make_predictor(FakePalms((small, "right", score)), EMPTY)(np.zeros((300, 400, 3), np.uint8))
    assert bool(pose.sides) == is_reported


def test_scores_and_confidences_are_those_of_the_hands_that_count() -> None:
    one = result_with(confidence=(0.3, 0.9), scores=(0.4, 0.8), presence=(1.0, 0.2))
    assert (one.mean_confidence, max_confidence(one)) == pytest.approx((0.3, 0.3))
    assert (total_hand_score(one), max_hand_score(one), detection_score(one)) == pytest.approx((0.4, 0.4, 0.32))
    both = result_with(confidence=(0.3, 0.9), scores=(0.4, 0.8))
    assert (both.mean_confidence, max_confidence(both)) == pytest.approx((0.6, 0.9))
    assert (total_hand_score(both), max_hand_score(both), detection_score(both)) == pytest.approx((1.2, 0.8, 1.44))
    none = result_with(confidence=(0.3, 0.9), scores=(0.4, 0.8), presence=(0.1, 0.2))
    assert none.mean_confidence == max_confidence(none) == total_hand_score(none) == max_hand_score(none) == 0


def test_a_hands_confidence_is_the_mean_of_its_joints() -> None:
    result = result_with(confidence=(0.3, 0.9), scores=None)
    assert result.output.confidence is not None
    result.output.confidence[0, 0] = 0.09
    assert result.confidence(0) == pytest.approx(0.29) and result.confidence(1) == pytest.approx(0.9)


def test_hands_that_are_dropped_are_less_likely_than_the_others() -> None:
    result = made_result(hands(), presence=(0.1, 0.9))
    np.testing.assert_array_equal(result.without_hand(0).output.presence, [[0.1, 0.9]])
    np.testing.assert_array_equal(result.without_hand(1).output.presence, [[0.1, 0.25]])
    np.testing.assert_array_equal(made_result(hands()).with_one_hand().output.presence, [[1.0, 0.25]])
    np.testing.assert_array_equal(made_result(hands(), presence=(0.8, 1)).with_one_hand().present, [False, True])


def test_the_only_hand_is_the_one_that_counts() -> None:
    for presence, slot in (((0.9, 0.1), 0), ((0.1, 0.9), 1), ((0.9, 0.9), None), ((0.1, 0.1), None)):
        assert made_result(hands(), presence=presence).only_slot == slot


def test_hands_that_do_not_count_are_not_made_less_likely() -> None:
    likely = made_result(hands(), presence=(0.4, 0.9))
    np.testing.assert_array_equal(likely.without_hands(np.array([True, False])).output.presence, [[0.4, 0.9]])
    np.testing.assert_array_equal(likely.without_hands(np.array([True, True])).output.presence, [[0.4, 0.25]])


def test_hand_scores_are_mirrored_with_the_hands() -> None:
    result = result_with(confidence=(0.1, 0.1), scores=(0.3, 0.7))
    mirrored = result.mapped(geometry.flip_matrix(90))
    assert mirrored.hand_scores is not None and mirrored.hand_scores.tolist() == [0.7, 0.3]
    turned = result.mapped(geometry.turn_matrix(np.array([40.0, 30.0]), 20.0))
    assert turned.hand_scores is not None and turned.hand_scores.tolist() == [0.3, 0.7]


def test_reported_confidences_are_mirrored_with_the_hands() -> None:
    joints = np.linspace(0.2, 0.4, 21)
    result = result_with(confidence=(0.1, 0.9), scores=None).with_reported_confidence({0: joints})
    mirrored = result.mapped(geometry.flip_matrix(90)).reported_confidence
    np.testing.assert_array_equal(mirrored, [*[0.9] * 21, *joints])


def test_reported_confidences_go_with_those_of_the_hand_and_without_any_nothing_changes() -> None:
    result = result_with(confidence=(0.1, 0.9), scores=None)
    assert result.with_reported_confidence({}) is result
    reported = result.with_reported_confidence({0: np.full(21, 0.8)}).without_confidence_in(0).reported_confidence
    np.testing.assert_array_equal(reported, np.repeat([0.0, 0.9], 21))


# ---- where credibility is checked


class FakeCropPredictor:
    """Returns one result, whatever the crop."""

    def __init__(self, result: CropResult) -> None:
        self.result = result

    def predict_proposal(self, image: np.ndarray, proposal: Proposal) -> Found:
        return Found(self.result, proposal.others)

    def hands_in(self, image: np.ndarray, square: np.ndarray) -> CropResult:
        return self.result

    hands_near = hands_in


def predictor_with(result: CropResult, proposal: Proposal, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    predictor = Predictor(None, search=lambda _: proposal, landmarks=None, second_opinions=False)  # type: ignore[arg-type]
    fake: Any = FakeCropPredictor(result)
    predictor.crop_predictor = predictor.photo_search.crop_predictor = predictor.frame_search.crop_predictor = fake
    monkeypatch.setattr(Predictor, "network", type("Named", (), {"name": "named"}))
    return predictor


UNSEEN: dict[str, Any] = {"confidence": (0.1, 0.0), "scores": (0.1, 0.0)}
BETWEEN: dict[str, Any] = {"confidence": (0.2, 0.0), "scores": (0.2, 0.0)}
"""Enough for tracked hands, not for new ones."""


@pytest.mark.parametrize("hands_given", [True, False])
@pytest.mark.parametrize("answers", [UNSEEN, BETWEEN], ids=["unseen", "between"])
def test_hands_in_a_given_crop_are_always_credible(
    monkeypatch: pytest.MonkeyPatch, hands_given: bool, answers: dict[str, Any]
) -> None:
    proposal = Proposal(np.zeros(4), hands_given=hands_given)
    image = np.zeros((60, 90, 3), np.uint8)
    assert bool(predictor_with(result_with(**answers), proposal, monkeypatch)(image).sides) is hands_given
    there = result_with(confidence=(0.1, 0.0), scores=(0.9, 0.0))
    assert predictor_with(there, proposal, monkeypatch)(image).sides


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("hands_given", [True, False])
@pytest.mark.parametrize("answers", [UNSEEN, BETWEEN], ids=["unseen", "between"])
def test_tracked_hands_need_less_evidence_and_hands_in_a_box_none(
    monkeypatch: pytest.MonkeyPatch, fresh: bool, hands_given: bool, answers: dict[str, Any]
) -> None:
    result = result_with(**answers)
    search = predictor_with(result, Proposal(np.zeros(4), hands_given=hands_given), monkeypatch).frame_search
    image, square = np.zeros((60, 90, 3), np.uint8), np.array([20.0, 10.0, 60.0, 50.0])
    in_crop = search.in_given_crop(image, square) if hands_given else search(image, square, fresh=fresh)
    for found in (search(image, None, fresh=fresh), in_crop):
        assert found.is_credible is (hands_given or (answers is BETWEEN and not fresh))
        np.testing.assert_array_equal(found.results.tracked.presence, result.presence)


def test_a_whole_picture_that_is_given_as_a_crop_has_hands() -> None:
    assert everywhere(np.zeros((60, 90, 3), np.uint8)).hands_given


# ---- over frames


def test_a_frame_that_is_not_credible_neither_moves_nor_exchanges_hands() -> None:
    true = poses_of(moving_hands(40))
    wild = replace(exchanged(true[20]), joints_2d=true[20].joints_2d + 300.0, present=np.array([False, False]))
    told = Script([*true[:20], wild, *true[21:]]).run()
    np.testing.assert_allclose(told[20].joints_2d, told[19].joints_2d)
    assert [pose.sides for pose in told] == [("right", "left")] * 40


def test_hands_in_which_no_frame_believes_are_gone_at_the_second() -> None:
    true = poses_of(moving_hands(12))
    gone = [replace(pose, present=np.array([False, False])) for pose in true]
    script = Script([*true[:4], *gone[4:]])
    assert [len(pose.sides) for pose in script.run()] == [2] * 5 + [0] * 7
    assert MAX_HELD_FRAMES > 1 and [len(boxes) for boxes in script.boxes[4:]] == [2] * 2 + [1] * 6, (
        "searched again at once"
    )


# ---- with the shipped networks


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load()


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """A brown table with a cup, a sheet of paper and a wall behind it."""
    image = np.full((360, 480, 3), (205, 200, 190), np.uint8)
    cv2.rectangle(image, (0, 210), (479, 359), (120, 85, 60), -1)
    cv2.ellipse(image, (150, 230), (45, 14), 0, 0, 360, (235, 235, 230), -1)
    cv2.rectangle(image, (105, 150), (195, 230), (235, 235, 230), -1)
    cv2.fillConvexPoly(image, np.array([(260, 240), (400, 230), (430, 320), (270, 330)]), (245, 245, 245))
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def test_a_picture_without_hands_has_none(predictor: Predictor, table: np.ndarray) -> None:
    for image in (table, table[:, ::-1], with_gamma(table, 2.0)):
        pose = predictor(np.ascontiguousarray(image))
        assert pose.sides == () and pose.doubted == () and pose.to_dict()["hands"] == []


def test_a_box_implies_hands_in_pictures_and_videos(predictor: Predictor, table: np.ndarray, tmp_path: Path) -> None:
    box = [90, 120, 220, 250]
    assert predictor(table, box).sides
    with VideoWriter(tmp_path / "clip.mp4", rate=30) as video:
        for _ in range(3):
            video.write(table)
    assert all(pose.sides for pose in predictor.stream(tmp_path / "clip.mp4", options=StreamOptions(box=box)))
    assert not any(pose.sides for pose in predictor.stream(tmp_path / "clip.mp4"))


def test_hands_that_go_are_gone(predictor: Predictor, table: np.ndarray, tmp_path: Path) -> None:
    picture = cv2.imread(str(Path(__file__).parents[1] / "examples" / "two_hands.jpg"))[..., ::-1]
    shown = cv2.resize(picture, (480, 360), interpolation=cv2.INTER_AREA)
    with VideoWriter(tmp_path / "clip.mp4", rate=30) as video:
        for image in [table] * 6 + [shown] * 6 + [table] * 8:
            video.write(np.ascontiguousarray(image))
    sides = [pose.sides for pose in predictor.stream(tmp_path / "clip.mp4")]
    assert sides[:6] == [()] * 6
    assert sides[8:12] == [("right", "left")] * 4
    assert sides[-4:] == [()] * 4


def test_a_hand_that_may_not_be_there_is_in_doubt() -> None:
    """One that the pose network is 60 % sure of, but the landmark network nearly denies."""
    image = np.zeros((300, 400, 3), np.uint8)
    cv2.rectangle(image, (30, 40), (90, 100), (int(0.6 * 255), 0, 0), -1)
    for score, doubted in ((0.2, ("right",)), (0.9, ())):
        pose = make_predictor(FakePalms((DIM, "right", score)), DIM)(image)
        assert pose.sides == ("right",) and pose.doubted == doubted
