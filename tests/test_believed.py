"""Pictures without hands: the pose network points at some, and is not believed unless another one sees them, too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from made_looks import hands, look
from motion import moving_hands
from poses import poses_of
from scripted import Script
from unclasp import geometry
from unclasp.find.looks import STILL_BELIEVED, SURE_ALONE, Look
from unclasp.find.search import Where, everywhere
from unclasp.follow.sightings import exchanged
from unclasp.follow.tracking import HELD
from unclasp.picture import with_gamma
from unclasp.predictor import Predictor
from unclasp.streaming import StreamOptions
from unclasp.video import VideoWriter


def seen(*, confidence: tuple[float, float] | None, likely: tuple[float, float] | None, **more: object) -> Look:
    view = look(hands(), confidence=confidence, **more)  # type: ignore[arg-type]
    return view._replace(seen=None if likely is None else np.array(likely))


@pytest.mark.parametrize(
    ("view", "believed"),
    [
        (seen(confidence=(0.1, 0.1), likely=(0.2, 0.1)), False),
        (seen(confidence=(0.1, 0.1), likely=(0.2, 0.9)), True),
        (seen(confidence=(0.1, 0.1), likely=(0.4, 0.4)), True),
        (seen(confidence=(0.0, 1.1 * SURE_ALONE), likely=(0.0, 0.0)), True),
        (seen(confidence=(0.0, 0.9 * SURE_ALONE), likely=(0.0, 0.0)), False),
        (seen(confidence=(0.1, 0.9), likely=(0.2, 0.9), presence=(1.0, 0.2)), False),
        (seen(confidence=None, likely=(0.0, 0.0)), True),
        (seen(confidence=(0.0, 0.0), likely=None), True),
    ],
    ids=["hardly seen", "one is seen", "both may be", "one is sure", "not sure", "of hands that count", "no confidence",
         "no landmark network"],
)  # fmt: skip
def test_hands_are_believed_where_one_is_seen_or_sure(view: Look, believed: bool) -> None:
    assert view.is_believed is believed


@pytest.mark.parametrize(
    ("view", "believed"),
    [
        (seen(confidence=(0.9 * STILL_BELIEVED[0],) * 2, likely=(0.9 * STILL_BELIEVED[1], 0.0)), False),
        (seen(confidence=(0.0, 1.1 * STILL_BELIEVED[0]), likely=(0.0, 0.0)), True),
        (seen(confidence=(0.0, 0.0), likely=(0.0, 1.1 * STILL_BELIEVED[1])), True),
        (seen(confidence=(0.0, 0.9), likely=(0.0, 0.9), presence=(1.0, 0.2)), False),
        (seen(confidence=None, likely=(0.0, 0.0)), True),
        (seen(confidence=(0.0, 0.0), likely=None), True),
    ],
    ids=["neither", "one is sure", "one is seen", "of hands that count", "no confidence", "no landmark network"],
)
def test_hands_that_a_video_had_are_still_believed_where_either_network_may_be(view: Look, believed: bool) -> None:
    assert view.is_still_believed is believed


def test_what_the_landmark_network_sees_is_mirrored_with_the_hands() -> None:
    view = seen(confidence=(0.1, 0.1), likely=(0.3, 0.7))
    mirrored = view.mapped(geometry.flip_matrix(90))
    assert mirrored.seen is not None and mirrored.seen.tolist() == [0.7, 0.3]
    turned = view.mapped(geometry.turn_matrix(np.array([40.0, 30.0]), 20.0))
    assert turned.seen is not None and turned.seen.tolist() == [0.3, 0.7]


# ---- which searches speak for hands, and who asks


class Sees:
    """What stands for both networks in a predictor: one look, whatever is asked."""

    def __init__(self, view: Look) -> None:
        self.view = view

    def see(self, image: np.ndarray, where: Where) -> tuple[Look, np.ndarray]:
        return self.view, where.others

    def at(self, image: np.ndarray, square: np.ndarray) -> Look:
        return self.view


def predicts(view: Look, where: Where, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    predictor = Predictor(None, search=lambda _: where, landmarks=None, second_opinions=False)  # type: ignore[arg-type]
    predictor.looker = predictor.finding.looker = Sees(view)  # type: ignore[assignment]
    monkeypatch.setattr(Predictor, "network", type("Named", (), {"name": "named"}))
    return predictor


UNSEEN: dict[str, Any] = {"confidence": (0.1, 0.0), "likely": (0.1, 0.0)}
BETWEEN: dict[str, Any] = {"confidence": (0.2, 0.0), "likely": (0.2, 0.0)}
"""Enough for hands to stay, not for them to come."""


@pytest.mark.parametrize("is_said", [True, False])
@pytest.mark.parametrize("answers", [UNSEEN, BETWEEN], ids=["unseen", "between"])
def test_hands_in_a_picture_that_is_said_to_be_a_crop_are_always_believed(
    monkeypatch: pytest.MonkeyPatch, is_said: bool, answers: dict[str, Any]
) -> None:
    where = Where(np.zeros(4), np.zeros((0, 4)), is_said=is_said)
    image = np.zeros((60, 90, 3), np.uint8)
    assert bool(predicts(seen(**answers), where, monkeypatch)(image).sides) is is_said
    there = seen(confidence=(0.1, 0.0), likely=(0.9, 0.0))
    assert predicts(there, where, monkeypatch)(image).sides


@pytest.mark.parametrize("anew", [True, False])
@pytest.mark.parametrize("is_said", [True, False])
@pytest.mark.parametrize("answers", [UNSEEN, BETWEEN], ids=["unseen", "between"])
def test_in_videos_less_is_asked_of_hands_that_are_known_and_nothing_with_a_box(
    monkeypatch: pytest.MonkeyPatch, anew: bool, is_said: bool, answers: dict[str, Any]
) -> None:
    view = seen(**answers)
    predictor = predicts(view, Where(np.zeros(4), np.zeros((0, 4))), monkeypatch)
    options: dict[str, Any] = {"focal": None, "princpt": None, "mirrored": False, "is_said": is_said}
    for box in (None, [20.0, 10.0, 60.0, 50.0]):
        sighting = predictor._frame(np.zeros((60, 90, 3), np.uint8), box, anew=anew, **options)
        assert bool(sighting.followed.sides) is (is_said or (answers is BETWEEN and not anew))
        np.testing.assert_array_equal(sighting.followed.presence, view.answer.presence[0])


def test_a_whole_picture_that_is_said_to_be_a_crop_speaks_for_hands() -> None:
    assert everywhere(np.zeros((60, 90, 3), np.uint8)).is_said


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
    assert HELD > 1 and [len(asked) for asked in script.asked[4:]] == [2] * 2 + [1] * 6, "searched again at once"


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
