"""Hands that are detected only once the person's only hand is painted over: the other hand, or another person's."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from command_line import predict_here
from detected import FakePalms, hand_in, joints_in, make_predictor
from poses import random_pose
from shades import BRIGHT, EMPTY, Box
from unclasp.arrays import Pixels
from unclasp.errors import UnclaspError
from unclasp.find.hand_detector import PALM_SIZES
from unclasp.find.overlap import MIN_BESIDE_SCORE, SURROUNDINGS, BesideHands, beside_one
from unclasp.find.palms import Palm
from unclasp.find.photo_search import Completed
from unclasp.hands import HAND_SLICES, Side
from unclasp.pose import HandPose
from unclasp.predictor import Predictor
from unclasp.web.answer import answer_picture

BEHIND: Box = (185.0, 50, 245, 110)
FAR: Box = (320.0, 40, 380, 100)
RED = 150


def picture() -> Pixels:
    """A red, right hand; what is behind it, neither the finder nor the pose network knows."""
    image = np.zeros((300, 420, 3), np.uint8)
    x1, y1, x2, y2 = map(int, BRIGHT)
    cv2.rectangle(image, (x1, y1), (x2, y2), (RED, 0, 0), -1)
    return image


class HiddenPalms(FakePalms):
    """Sees the second hand only in the surroundings of the first one, which are painted over."""

    def __call__(self, image: Pixels, size: int) -> list[Palm]:
        palms = super().__call__(image, size)
        if image.shape[:2] == picture().shape[:2]:
            return palms[:1]
        middle = joints_in(BRIGHT).mean(axis=0)
        offset = np.maximum(np.rint(middle - SURROUNDINGS * 30), 0)
        assert (image[..., 0] == RED).sum() < (picture()[..., 0] == RED).sum(), "some of the hand is painted over"
        assert image.shape[1] == pytest.approx(SURROUNDINGS * 60, abs=3)
        return [palm.moved(-offset) for palm in palms[1:]]


def found(*, side: Side = "right", at: Box = BEHIND, score: float = 0.95, mirrored: bool = False) -> HandPose:
    image = picture()[:, ::-1] if mirrored else picture()
    return make_predictor(HiddenPalms((BRIGHT, "right", 0.95), (at, side, score)), BRIGHT)(image, mirrored=mirrored)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_hand_of_the_same_side_is_another_person_s(mirrored: bool) -> None:
    pose = found(mirrored=mirrored)
    assert pose.sides == ("right",) and len(pose.touching) == 1
    (other,) = pose.touching
    assert other.sides == ("right",) and not other.touching and other.mirrored == mirrored
    assert other.image is None and other.source is None, "they are the first pose's"
    joints = joints_in(BEHIND)
    expected = np.column_stack([419 - joints[:, 0], joints[:, 1]]) if mirrored else joints
    np.testing.assert_allclose(other.joints_2d[HAND_SLICES[0]], expected, atol=0.01)


def test_a_hand_of_the_other_side_is_the_person_s_own() -> None:
    pose = found(side="left")
    assert pose.sides == ("right", "left") and not pose.touching
    np.testing.assert_allclose(pose.joints_2d[HAND_SLICES[1]], joints_in(BEHIND), atol=0.01)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("at", "score"), [(BEHIND, MIN_BESIDE_SCORE - 0.01), (FAR, 0.95)])
def test_what_is_less_certain_or_far_away_does_not_count(at: Box, score: float, side: Side) -> None:
    pose = found(at=at, score=score, side=side)
    assert pose.sides == ("right",) and not pose.touching


def test_a_hand_of_the_other_side_that_cannot_be_the_person_s_own_is_left_out() -> None:
    pose = found(side="left", at=(150, 50, 290, 190))
    assert pose.sides == ("right",) and not pose.touching, "it is more than twice as large"


def test_nothing_touches_hands_that_are_too_small_and_uncertain_to_count() -> None:
    dim = picture() // 3 + np.array([0, 0, 200], np.uint8)  # red, on blue: a dark picture would be brightened
    wide = cv2.copyMakeBorder(dim, 0, 0, 0, 600, cv2.BORDER_REPLICATE)
    for image, is_hand in ((dim, True), (wide, False)):
        predictor = make_predictor(FakePalms((BRIGHT, "right", 0.6)), BRIGHT)
        completed = partial(Completed, beside=BesideHands(image, [hand_in(BEHIND, score=0.95)]))
        predictor.photo_search.completed = lambda result, *_, of=completed: of(result)  # type: ignore[method-assign]
        predictor.photo_search.detector = None
        pose = predictor(image)
        assert len(pose.sides) == len(pose.touching) == is_hand


def test_nothing_is_painted_over_with_a_box_and_without_hands() -> None:
    palms = HiddenPalms((BRIGHT, "right", 0.95), (BEHIND, "right", 0.95))
    assert not make_predictor(palms, BRIGHT)(picture(), BRIGHT).touching and not palms.calls
    empty = FakePalms()
    assert not make_predictor(empty, EMPTY)(np.zeros((300, 420, 3), np.uint8)).sides
    assert empty.calls == list(PALM_SIZES)


def test_everyone_lists_them_as_people() -> None:
    palms = HiddenPalms((BRIGHT, "right", 0.95), (BEHIND, "right", 0.95))
    first, other = make_predictor(palms, BRIGHT).everyone(picture())
    assert not first.touching and other.sides == ("right",)


def test_they_are_drawn_and_saved_like_other_people(tmp_path: Path) -> None:
    alone, other = random_pose(), random_pose(left=0.1)
    pose, black = replace(alone, touching=(other,)), np.zeros((240, 256, 3), np.uint8)
    np.testing.assert_array_equal(pose.plot(black), alone.plot(black, others=[other]))
    assert (pose.plot(black) != pose.plot(black, others=[])).any()
    assert pose.to_dict() == alone.to_dict(others=[other])
    pose.save_json(tmp_path / "pose.json")
    assert len(json.loads((tmp_path / "pose.json").read_text())["others"]) == 1
    assert "others" not in alone.to_dict()
    assert repr(pose).startswith("HandPose(right, left, touching right; ")


@pytest.mark.parametrize("touching", [None, [random_pose()], (1,), random_pose()])
def test_only_a_tuple_of_poses_touches(touching: Any) -> None:
    with pytest.raises(UnclaspError, match="touching must be a tuple of poses, got "):
        replace(random_pose(), touching=touching)


@pytest.mark.parametrize("at", [-900.0, -240.0])
def test_nothing_is_searched_for_around_a_hand_outside_the_picture(at: float) -> None:
    palms = FakePalms()
    detector = make_predictor(palms, EMPTY).photo_search.detector
    assert detector is not None
    outside = joints_in((at, at, at + 60, at + 60))
    assert not beside_one(detector, picture(), outside).hands and not palms.calls


def touched(monkeypatch: pytest.MonkeyPatch) -> HandPose:
    """Every picture has a right hand, and somebody else's left one that touches it."""
    pose = random_pose(right=0.9, left=0.1)
    pose = replace(pose, touching=(random_pose(right=0.1, left=0.9),))
    monkeypatch.setattr(Predictor, "__call__", lambda self, image, *_, **__: replace(pose, image=image))
    return pose


def test_the_command_lists_them_after_a_semicolon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    touched(monkeypatch)
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    code, out, _ = predict_here(capsys, tmp_path / "a.png", "--out", tmp_path / "poses")
    assert code == 0 and ": right; left -> " in out
    assert len(json.loads((tmp_path / "poses" / "a.json").read_text())["others"]) == 1


def test_the_page_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pose, drawn = touched(monkeypatch), []

    def draw(image: Pixels, people: Any) -> Pixels:
        drawn.extend(people)
        return image

    monkeypatch.setattr("unclasp.skeletons.draw_people", draw)
    coded = cv2.imencode(".png", picture())[1].tobytes()
    answer = json.loads(answer_picture(Predictor.load(), coded, name="a.png", mirrored=False, max_pixels=10**6))
    assert [[(view.side, view.neutral) for view in person] for person in drawn] == [
        [("left", True)],
        [("right", False)],
    ]
    assert json.loads(answer["result"])["others"] == pose.to_dict()["others"]
