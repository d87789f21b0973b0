"""Pictures without hands: the pose network points at some, and is not believed unless another one sees them, too."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from test_opinions import hands, look
from unclasp import geometry
from unclasp.looks import UNBELIEVED, UNBELIEVED_UNFOUND, Look
from unclasp.picture import with_gamma
from unclasp.pose import present_hands
from unclasp.predictor import Predictor
from unclasp.search import Where, everywhere
from unclasp.video import VideoWriter


def seen(*, confidence: tuple[float, float] | None, likely: tuple[float, float] | None, **more: object) -> Look:
    view = look(hands(), confidence=confidence, **more)  # type: ignore[arg-type]
    return view._replace(seen=None if likely is None else np.array(likely))


UNSURE, UNSEEN = 0.9 * UNBELIEVED[0], 0.9 * UNBELIEVED[1]


@pytest.mark.parametrize(
    ("view", "believed"),
    [
        (seen(confidence=(UNSURE, 0.0), likely=(UNSEEN, 0.0)), False),
        (seen(confidence=(0.0, 1.1 * UNBELIEVED[0]), likely=(UNSEEN, 0.0)), True),
        (seen(confidence=(UNSURE, 0.0), likely=(0.0, 1.1 * UNBELIEVED[1])), True),
        (seen(confidence=(UNSURE, 0.9), likely=(UNSEEN, 0.9), presence=(1.0, 0.2)), False),
        (seen(confidence=None, likely=(0.0, 0.0)), True),
        (seen(confidence=(UNSURE, UNSURE), likely=None), True),
    ],
    ids=["neither", "one is sure", "one is seen", "of hands that count", "no confidence", "no landmark network"],
)
def test_hands_are_believed_where_either_network_is_sure_of_one(view: Look, believed: bool) -> None:
    after = view.believed(found=True)
    assert present_hands(after.answer.presence[0]).any() == believed
    assert (after is view) == believed
    np.testing.assert_array_equal(after.answer.pose_2p5d, view.answer.pose_2p5d)


def test_less_is_believed_where_nothing_else_speaks_for_hands() -> None:
    between = [(low + high) / 2 for low, high in zip(UNBELIEVED, UNBELIEVED_UNFOUND, strict=True)]
    view = seen(confidence=(between[0], 0.0), likely=(between[1], 0.0))
    assert view.believed(found=True).slots == [0, 1] and view.believed(found=False).slots == []


def test_what_the_landmark_network_sees_is_mirrored_with_the_hands() -> None:
    view = seen(confidence=(0.1, 0.1), likely=(0.3, 0.7))
    mirrored = view.mapped(geometry.flip_matrix(90))
    assert mirrored.seen is not None and mirrored.seen.tolist() == [0.7, 0.3]
    turned = view.mapped(geometry.turn_matrix(np.array([40.0, 30.0]), 20.0))
    assert turned.seen is not None and turned.seen.tolist() == [0.3, 0.7]


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
        assert predictor(np.ascontiguousarray(image)).sides == ()


def test_a_box_says_that_there_are_hands(predictor: Predictor, table: np.ndarray) -> None:
    assert predictor(table, [90, 120, 220, 250]).sides


def test_a_video_without_hands_has_none_and_hands_that_go_are_gone(
    predictor: Predictor, table: np.ndarray, tmp_path: Path
) -> None:
    picture = cv2.imread(str(Path(__file__).parents[1] / "examples" / "two_hands.jpg"))[..., ::-1]
    shown = cv2.resize(picture, (480, 360), interpolation=cv2.INTER_AREA)
    with VideoWriter(tmp_path / "clip.mp4", rate=30) as video:
        for image in [table] * 6 + [shown] * 6 + [table] * 8:
            video.write(np.ascontiguousarray(image))
    sides = [pose.sides for pose in predictor.stream(tmp_path / "clip.mp4")]
    assert sides[:6] == [()] * 6
    assert sides[8:12] == [("right", "left")] * 4
    assert sides[-4:] == [()] * 4


def test_a_whole_picture_that_is_said_to_be_a_crop_speaks_for_hands(table: np.ndarray) -> None:
    assert everywhere(table).found and not Where(np.zeros(4), np.zeros((0, 4))).found


def test_nothing_is_left_of_what_is_not_believed_but_its_place(predictor: Predictor, table: np.ndarray) -> None:
    pose = predictor(table)
    assert pose.presence.max() <= 0.1 and pose.to_dict()["hands"] == []
    assert replace(pose, image=None).doubted == ()
