"""Pictures without hands: the pose network points at some, and is not believed unless another one sees them, too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from made_results import hands, look
from motion import moving_hands
from poses import poses_of
from scripted import Script
from unclasp import geometry
from unclasp.find.crop_result import MIN_CONFIDENCE_UNSEEN, MIN_IN_TRACK, CropResult
from unclasp.find.search import Proposal, everywhere
from unclasp.follow.frame_result import exchanged
from unclasp.follow.tracking import MAX_HELD_FRAMES
from unclasp.picture import with_gamma
from unclasp.predictor import Predictor
from unclasp.streaming import StreamOptions
from unclasp.video import VideoWriter


def seen(*, confidence: tuple[float, float] | None, likely: tuple[float, float] | None, **more: object) -> CropResult:
    view = look(hands(), confidence=confidence, **more)  # type: ignore[arg-type]
    return view._replace(hand_scores=None if likely is None else np.array(likely))


@pytest.mark.parametrize(
    ("view", "believed"),
    [
        (seen(confidence=(0.1, 0.1), likely=(0.2, 0.1)), False),
        (seen(confidence=(0.1, 0.1), likely=(0.2, 0.9)), True),
        (seen(confidence=(0.1, 0.1), likely=(0.4, 0.4)), True),
        (seen(confidence=(0.0, 1.1 * MIN_CONFIDENCE_UNSEEN), likely=(0.0, 0.0)), True),
        (seen(confidence=(0.0, 0.9 * MIN_CONFIDENCE_UNSEEN), likely=(0.0, 0.0)), False),
        (seen(confidence=(0.1, 0.9), likely=(0.2, 0.9), presence=(1.0, 0.2)), False),
        (seen(confidence=None, likely=(0.0, 0.0)), True),
        (seen(confidence=(0.0, 0.0), likely=None), True),
    ],
    ids=["hardly seen", "one is seen", "both may be", "one is sure", "not sure", "of hands that count", "no confidence",
         "no landmark network"],
)  # fmt: skip
def test_hands_are_believed_where_one_is_seen_or_sure(view: CropResult, believed: bool) -> None:
    assert view.is_credible is believed


@pytest.mark.parametrize(
    ("view", "believed"),
    [
        (seen(confidence=(0.9 * MIN_IN_TRACK[0],) * 2, likely=(0.9 * MIN_IN_TRACK[1], 0.0)), False),
        (seen(confidence=(0.0, 1.1 * MIN_IN_TRACK[0]), likely=(0.0, 0.0)), True),
        (seen(confidence=(0.0, 0.0), likely=(0.0, 1.1 * MIN_IN_TRACK[1])), True),
        (seen(confidence=(0.0, 0.9), likely=(0.0, 0.9), presence=(1.0, 0.2)), False),
        (seen(confidence=None, likely=(0.0, 0.0)), True),
        (seen(confidence=(0.0, 0.0), likely=None), True),
    ],
    ids=["neither", "one is sure", "one is seen", "of hands that count", "no confidence", "no landmark network"],
)
def test_hands_that_a_video_had_are_still_believed_where_either_network_may_be(
    view: CropResult, believed: bool
) -> None:
    assert view.is_credible_in_track is believed


def test_what_the_landmark_network_sees_is_mirrored_with_the_hands() -> None:
    view = seen(confidence=(0.1, 0.1), likely=(0.3, 0.7))
    mirrored = view.mapped(geometry.flip_matrix(90))
    assert mirrored.hand_scores is not None and mirrored.hand_scores.tolist() == [0.7, 0.3]
    turned = view.mapped(geometry.turn_matrix(np.array([40.0, 30.0]), 20.0))
    assert turned.hand_scores is not None and turned.hand_scores.tolist() == [0.3, 0.7]


# ---- which searches speak for hands, and who asks


class Sees:
    """What stands for both networks in a predictor: one look, whatever is asked."""

    def __init__(self, view: CropResult) -> None:
        self.view = view

    def search_from(self, image: np.ndarray, where: Proposal) -> tuple[CropResult, np.ndarray]:
        return self.view, where.others

    def hands_in(self, image: np.ndarray, square: np.ndarray) -> CropResult:
        return self.view


def predicts(view: CropResult, where: Proposal, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    predictor = Predictor(None, search=lambda _: where, landmarks=None, second_opinions=False)  # type: ignore[arg-type]
    predictor.crop_predictor = predictor.photo_search.crop_predictor = Sees(view)  # type: ignore[assignment]
    monkeypatch.setattr(Predictor, "network", type("Named", (), {"name": "named"}))
    return predictor


UNSEEN: dict[str, Any] = {"confidence": (0.1, 0.0), "likely": (0.1, 0.0)}
BETWEEN: dict[str, Any] = {"confidence": (0.2, 0.0), "likely": (0.2, 0.0)}
"""Enough for hands to stay, not for them to come."""


@pytest.mark.parametrize("hands_given", [True, False])
@pytest.mark.parametrize("answers", [UNSEEN, BETWEEN], ids=["unseen", "between"])
def test_hands_in_a_picture_that_is_said_to_be_a_crop_are_always_believed(
    monkeypatch: pytest.MonkeyPatch, hands_given: bool, answers: dict[str, Any]
) -> None:
    where = Proposal(np.zeros(4), np.zeros((0, 4)), hands_given=hands_given)
    image = np.zeros((60, 90, 3), np.uint8)
    assert bool(predicts(seen(**answers), where, monkeypatch)(image).sides) is hands_given
    there = seen(confidence=(0.1, 0.0), likely=(0.9, 0.0))
    assert predicts(there, where, monkeypatch)(image).sides


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("hands_given", [True, False])
@pytest.mark.parametrize("answers", [UNSEEN, BETWEEN], ids=["unseen", "between"])
def test_in_videos_less_is_asked_of_hands_that_are_known_and_nothing_with_a_box(
    monkeypatch: pytest.MonkeyPatch, fresh: bool, hands_given: bool, answers: dict[str, Any]
) -> None:
    view = seen(**answers)
    predictor = predicts(view, Proposal(np.zeros(4), np.zeros((0, 4))), monkeypatch)
    options: dict[str, Any] = {"focal": None, "princpt": None, "mirrored": False, "hands_given": hands_given}
    for box in (None, [20.0, 10.0, 60.0, 50.0]):
        sighting = predictor._frame(np.zeros((60, 90, 3), np.uint8), box, fresh=fresh, **options)
        assert bool(sighting.tracked.sides) is (hands_given or (answers is BETWEEN and not fresh))
        np.testing.assert_array_equal(sighting.tracked.presence, view.output.presence[0])


def test_a_whole_picture_that_is_said_to_be_a_crop_speaks_for_hands() -> None:
    assert everywhere(np.zeros((60, 90, 3), np.uint8)).hands_given


# ---- over frames


def test_a_frame_that_is_not_believed_moves_no_hand_and_exchanges_none() -> None:
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
    assert MAX_HELD_FRAMES > 1 and [len(asked) for asked in script.asked[4:]] == [2] * 2 + [1] * 6, (
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


def test_a_box_says_that_there_are_hands_in_pictures_and_videos(
    predictor: Predictor, table: np.ndarray, tmp_path: Path
) -> None:
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
