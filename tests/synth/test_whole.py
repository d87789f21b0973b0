"""Whole pictures: deterministic, with hands where the boxes are, and none in pictures without people."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="rendering is an extra")

from unclasp.synth import background
from unclasp.synth.colour import linear_from_srgb
from unclasp.synth.figure import Light, Person, draw_body, draw_idle_arms, draw_limb
from unclasp.synth.regions import IGNORED, Whole
from unclasp.synth.scene import SceneMix, sample_scene
from unclasp.synth.strokes import Strokes
from unclasp.synth.whole import generate_whole, regions_of


@pytest.fixture(scope="module")
def scenes() -> list[Whole]:
    return [generate_whole(9, index, size=160) for index in range(50)]


def test_a_scene_is_a_function_of_seed_and_index(scenes: list[Whole]) -> None:
    for index in (3, 17):
        for first, second in zip(scenes[index], generate_whole(9, index, size=160), strict=True):
            np.testing.assert_array_equal(first, second)
    assert (
        not np.array_equal(scenes[3].image.shape, scenes[4].image.shape) or (scenes[3].image != scenes[4].image).any()
    )


def test_pictures_have_all_aspects_and_every_number_of_regions(scenes: list[Whole]) -> None:
    shapes = np.array([scene.mask.shape for scene in scenes])
    assert (shapes.max(axis=1) == 160).all() and shapes.min() < 90
    assert (shapes[:, 0] > shapes[:, 1]).any() and (shapes[:, 0] < shapes[:, 1]).any()
    assert {0, 1, 2} <= {len(scene.boxes) for scene in scenes}


def test_the_hands_of_a_region_lie_around_its_box(scenes: list[Whole]) -> None:
    for scene in scenes:
        height, width = scene.mask.shape
        assert set(np.unique(scene.mask)) <= {0, IGNORED, *range(1, len(scene.boxes) + 1)}
        for region, box in enumerate(scene.boxes, start=1):
            assert (
                (box[:2] >= -0.5).all() and (box[2:] <= [width - 0.5, height - 0.5]).all() and (box[:2] < box[2:]).all()
            )
            rows, columns = np.nonzero(scene.mask == region)
            margin = 0.3 * (box[2:] - box[:2]).max() + 3
            inside = (columns > box[0] - margin) & (columns < box[2] + margin)
            inside &= (rows > box[1] - margin) & (rows < box[3] + margin)
            assert inside.mean() > 0.95


def test_hands_come_small_and_large(scenes: list[Whole]) -> None:
    shares = [(box[2:] - box[:2]).max() / 160 for scene in scenes for box in scene.boxes]
    assert min(shares) < 0.12 and max(shares) > 0.45


def test_two_hands_are_one_region_where_they_meet_alone() -> None:
    for kind, expected in (("contact", {1}), ("apart", {1, 2}), ("left", {1})):
        mix = SceneMix(kinds={kind: 1.0})  # type: ignore[dict-item]
        numbers = [len(regions_of(sample_scene(np.random.default_rng(i), mix, size=128))) for i in range(60)]
        assert set(numbers) == expected


# ---- figures


def canvas() -> Strokes:
    strokes = Strokes(np.random.default_rng(0), (120, 100))
    strokes.canvas[:] = 40
    return strokes


def test_a_limb_is_as_wide_as_told_and_brightest_towards_the_light() -> None:
    strokes, light = canvas(), Light(np.array([1, 0, 0], np.float32), 0.5)
    draw_limb(strokes, light, (np.array([60.0, 10]), np.array([60.0, 90])), (20, 20), np.full(3, 100.0))
    row = strokes.canvas[50, :, 0].astype(int)
    changed = np.flatnonzero(row != 40)
    assert abs(len(changed) - 41) <= 2 and abs(changed.mean() - 60) < 1
    assert row[78] > row[60] + 20 and abs(row[45] - 50) < 3  # lit from the right, half of 100 in the shade


def test_a_limb_outside_of_the_canvas_draws_nothing() -> None:
    strokes, light = canvas(), Light(np.array([0, 0, -1], np.float32), 0.4)
    draw_limb(strokes, light, (np.array([-80.0, -80]), np.array([-60.0, -50])), (9, 9), np.full(3, 200.0))
    assert (strokes.canvas == 40).all()


@pytest.mark.parametrize("bare", [0.0, 0.5, 1.0])
def test_a_person_is_drawn_around_the_chin(bare: float) -> None:
    strokes, light = canvas(), Light(np.array([0, 0, -1], np.float32), 0.5)
    person = Person(np.array([60.0, 40.0]), 0.12, np.array([200.0, 150, 120]), np.array([20.0, 60, 200]), bare)
    draw_body(strokes, light, person)
    draw_idle_arms(strokes, light, person)
    changed = (strokes.canvas != 40).any(axis=2)
    assert changed[30, 60] and changed[80, 60] and not changed[:, :15].any() and not changed[5].any()
    chest = strokes.canvas[75, 60].astype(int)
    assert (chest[0] > chest[2]) == (bare == 1.0), "skin or shirt"


def test_places_without_anybody() -> None:
    for kind in ("plain", "clutter", "outdoor", "desk", "studio"):
        strokes = canvas()
        background.draw_place(strokes, kind)
        assert (strokes.canvas != 40).any()
    assert linear_from_srgb(np.array([0, 255], np.uint8)).tolist() == [0, 1]
