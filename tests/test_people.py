"""Hands of other people: each told once, none of them the first one's, and only those that are believed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_cli import predict_here
from test_doubt import BRIGHT, BRIGHTER, DIM, EMPTY, FAINT, picture
from test_pose import make_pose
from test_seen_hands import RIGHT, Box, Sees, hand_in, joints_in, predictor, view_of
from unclasp.hands import HAND_SLICES
from unclasp.looks import Look
from unclasp.people import MOST, REACH, Others
from unclasp.search import Where
from unclasp.seen_hands import SeenHand, pair_of

EXAMPLE = Path(__file__).parents[1] / "examples" / "two_hands.jpg"
BLACK = np.zeros((300, 400, 3), np.uint8)
FIRST = view_of(DIM, EMPTY, presence=(1, 0), confidence=(0.5, 0.0), seen=(0.9, 0.0))
"""A right hand alone."""


class Sights:
    """Sees what is given, in turn, wherever it looks; then the last again."""

    def __init__(self, *views: Look) -> None:
        self.views, self.asked = list(views), list[Where]()

    def __call__(self, where: Where) -> Look:
        self.asked.append(where)
        return self.views[min(len(self.asked), len(self.views)) - 1]


def right_in(box: Box, **fields: Any) -> Look:
    return view_of(box, EMPTY, presence=(1, 0), confidence=(0.5, 0.0), seen=(0.9, 0.0), **fields)


def found(sights: Sights, *hands: SeenHand, regions: list[Box] | None = None) -> list[Look]:
    others = Others(sights, FIRST)
    others.look_for_hands(hands, BLACK)
    others.look_in_regions(np.reshape(regions or [], (-1, 4)))
    return others.found


def test_hands_that_are_known_are_not_looked_for() -> None:
    sights = Sights(right_in(BRIGHT))
    assert not found(sights, hand_in(DIM), regions=[DIM]) and not sights.asked


def test_each_further_hand_is_looked_at_and_told_once() -> None:
    sights = Sights(right_in(BRIGHT), right_in(BRIGHTER))
    views = found(sights, hand_in(DIM), hand_in(BRIGHT, seen=0.95), hand_in(BRIGHTER))
    assert [view.slots for view in views] == [[RIGHT], [RIGHT]] and len(sights.asked) == 2
    np.testing.assert_allclose(views[0].joints_2d[HAND_SLICES[RIGHT]], joints_in(BRIGHT, 3))


@pytest.mark.parametrize(("apart", "together"), [(0.9 * REACH, True), (1.1 * REACH, False)])
def test_hands_that_are_too_far_apart_are_two_people_s(apart: float, together: bool) -> None:
    right = hand_in((100, 100, 110, 110))
    left = hand_in((100 + 10 * apart, 100, 110 + 10 * apart, 110), "left")
    sights = Sights(view_of((100, 100, 110, 110), (100 + 10 * apart, 100, 110 + 10 * apart, 110), seen=(0.9, 0.9)))
    found(sights, right, left)
    asked = sights.asked[0]
    assert len(pair_of([right, left])) == 2
    assert (len(asked.others) > 0 or asked.square[2] > 100 + 10 * apart) == together


def test_the_network_s_word_for_a_known_hand_is_left_out_and_what_is_seen_told_instead() -> None:
    """It tells the clearest hand around, which is the first one's; another right one is seen there, too."""
    near = (95.0, 40.0, 155.0, 100.0)
    (view,) = found(Sights(right_in(DIM)._replace(square=np.array([0.0, 0, 200, 200]))), hand_in(near, seen=0.95))
    assert view.slots == [RIGHT]
    np.testing.assert_allclose(view.joints_2d[HAND_SLICES[RIGHT]].min(axis=0), near[:2], atol=1e-6)


def test_what_is_not_believed_is_not_told_and_each_hand_asked_once() -> None:
    nothing = view_of(BRIGHT, EMPTY, presence=(1, 0), confidence=(0.1, 0.0), seen=(0.1, 0.0))
    sights = Sights(nothing)
    assert not found(sights, hand_in(BRIGHT, seen=0.4), hand_in(BRIGHTER, seen=0.4)) and len(sights.asked) == 2


def test_ghosts_are_not_told() -> None:
    ghost = view_of(BRIGHT, BRIGHTER, confidence=(0.5, 0.05), seen=(0.9, 0.05))
    assert [view.slots for view in found(Sights(ghost), hand_in(BRIGHT))] == [[RIGHT]]


def test_regions_are_looked_in_where_no_hand_is_known() -> None:
    sights = Sights(right_in(BRIGHT), right_in(FAINT))
    views = found(sights, hand_in(BRIGHT), regions=[DIM, BRIGHT, FAINT])
    assert len(views) == 2 and len(sights.asked) == 2
    square = sights.asked[1].square
    np.testing.assert_allclose((square[:2] + square[2:]) / 2, [60, 230])


def test_of_a_crowd_so_many_places_are_looked_at() -> None:
    boxes = [(x, y, x + 20.0, y + 20.0) for y in (150.0, 180, 210) for x in range(0, 380, 30)]
    nothing = view_of(BRIGHT, EMPTY, presence=(0, 0), confidence=(0.0, 0.0))
    sights = Sights(nothing)
    found(sights, *(hand_in(box, seed=seed) for seed, box in enumerate(boxes)), regions=[EMPTY, BRIGHT])
    assert len(boxes) > MOST and len(sights.asked) == MOST


# ---- in a predictor


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_call_s_hands_come_first_and_the_others_have_some(mirrored: bool) -> None:
    sees = Sees((BRIGHT, "right", 0.95), (FAINT, "right", 0.8))
    asking = predictor(sees, EMPTY)
    first, *others = asking.everyone(picture(), mirrored=mirrored)
    alone = asking(picture(), mirrored=mirrored)
    assert first.to_dict() == alone.to_dict() and first.mirrored == mirrored
    assert len(others) == 1 and others[0].sides and others[0].image is first.image
    assert others[0].other_regions is None
    middles = [pose.joints_2d[HAND_SLICES[RIGHT]].mean(axis=0) for pose in (first, others[0])]
    assert np.linalg.norm(np.subtract(*middles)) > 60


def test_where_no_hands_are_believed_there_is_nobody_else() -> None:
    (only,) = predictor(Sees(), EMPTY).everyone(np.zeros((300, 400, 3), np.uint8))
    assert not only.sides


# ---- results


def test_others_are_told_by_what_differs_and_drawn_over_the_picture_alone(tmp_path: Path) -> None:
    pose = make_pose()
    other = replace(make_pose(left=0.1), joints_2d=pose.joints_2d + 40.0)
    pose.save_json(tmp_path / "pose.json", others=[other])
    told = json.loads((tmp_path / "pose.json").read_text())
    whole = other.to_dict()
    assert told.pop("others") == [json.loads(json.dumps({key: whole[key] for key in ("box", "presence", "hands")}))]
    assert told == json.loads(pose.to_json()) and "others" not in told
    black = np.zeros((240, 256, 3), np.uint8)
    plain, drawn = pose.plot(black), pose.plot(black, others=[other])
    assert plain.shape == drawn.shape
    changed = (plain != drawn).any(axis=(0, 2)).nonzero()[0]
    assert changed.size > 0 and changed.max() < 0.65 * plain.shape[1], "the views beside it are the first one's"


def test_the_command_tells_everyone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = predict_here(capsys, EXAMPLE, "--everyone", "--out", tmp_path)
    assert code == 0 and ": right and left ->" in out
    told = json.loads((tmp_path / "two_hands.json").read_text())
    assert told["others"] == [] and len(told["hands"]) == 2
    code, _, errors = predict_here(capsys, EXAMPLE, "--everyone", "--box", "1", "2", "30", "40", "--out", tmp_path)
    assert code == 2 and "leave one of them out" in errors
