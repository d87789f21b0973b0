"""Surroundings: held objects hide only what is behind them, and people get arms that reach."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="rendering is an extra")

from unclasp.synth import close_up
from unclasp.synth.close_up import render
from unclasp.synth.figure import Light
from unclasp.synth.generate import generate
from unclasp.synth.light import sample_sky
from unclasp.synth.render import draw_hands
from unclasp.synth.scene import SceneMix, sample_scene
from unclasp.synth.surroundings import Party, draw_surroundings, hold_something

SIZE = 128
LIGHT = Light(np.array([0.0, -0.6, -0.8], dtype=np.float32), 0.4)


def party_of(seed: int, **mix: dict[str, float]) -> Party:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, SceneMix(**mix), size=SIZE)  # type: ignore[arg-type]
    drawn = draw_hands(scene, rng, supersample=2, sky=sample_sky(rng, view=scene.view), arm_mm=240.0)
    return Party(scene, drawn, LIGHT)


def test_a_thing_hides_what_is_behind_it_and_nothing_else() -> None:
    hidden = kept = 0
    for seed in range(40):
        party = party_of(seed)
        coverage, labels, depth = (array.copy() for array in party.drawn[:3])
        hold_something(np.random.default_rng(seed), party.drawn.coverage, party.drawn.parts, party)
        nearer = party.drawn.depth < depth
        same = party.drawn.depth == depth
        assert (nearer | same).all()
        assert (party.drawn.parts[nearer] == 0).all()
        around = cv2.blur(nearer.astype(np.float32), (3, 3))[nearer]  # a lone pixel between fingers shows little of it
        assert (party.drawn.coverage[nearer][:, 3] >= 0.5 * around - 1e-3).all()
        assert (party.drawn.coverage[nearer][:, 3][around > 0.4] > 0.2).all()
        np.testing.assert_array_equal(party.drawn.parts[same], labels[same])
        untouched = (party.drawn.coverage == coverage).all(axis=2)
        assert untouched[same].mean() > 0.9  # the rest is the soft border of the things
        assert party.drawn.coverage.min() >= 0 and party.drawn.coverage.max() < 30
        hidden += int((nearer & (labels > 0)).sum())
        covered = nearer.any(axis=1)[:, None] & nearer.any(axis=0)
        kept += int((same & covered & (labels > 0)).sum())
    assert hidden > 500 and kept > 500


def test_hands_on_a_person_are_drawn_before_a_body_in_their_own_colours() -> None:
    found = 0
    for seed in range(12):
        party = party_of(seed, views={"frontal": 1.0}, kinds={"apart": 1.0})
        rng = np.random.default_rng(seed)
        sky = sample_sky(rng, view="frontal")
        backdrop, brightness = draw_surroundings(rng, (SIZE, SIZE), [party], sky, own=False)
        assert backdrop.shape == (SIZE, SIZE, 3) and backdrop.dtype == np.float32
        assert backdrop.min() >= 0 and backdrop.max() <= 1 and brightness > 0
        tint = party.drawn.wardrobe.colours[0] / party.drawn.wardrobe.colours[0].sum()
        hues = backdrop / np.maximum(backdrop.sum(axis=2, keepdims=True), 1e-6)
        found += int((np.abs(hues - tint).max(axis=2) < 0.03).mean() > 0.04)
    assert found >= 8


def test_close_ups_hang_on_people_and_hold_things_as_often_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = sample_scene(np.random.default_rng(3), SceneMix(views={"frontal": 1.0}), size=SIZE)
    calls = {"people": 0, "things": 0}

    def count(name: str, function: object) -> object:
        def counted(*args: object, **kwargs: object) -> object:
            calls[name] += 1
            return function(*args, **kwargs)  # type: ignore[operator]

        return counted

    monkeypatch.setattr(close_up, "draw_surroundings", count("people", draw_surroundings))
    monkeypatch.setattr(close_up, "hold_something", count("things", hold_something))
    for seed in range(80):
        render(scene, np.random.default_rng(seed))
    assert 35 <= calls["people"] <= 62 and 3 <= calls["things"] <= 22
    calls["people"] = 0
    for seed in range(10):
        render(replace(scene, view="egocentric"), np.random.default_rng(seed))
    assert calls["people"] == 0


def test_a_faded_sleeve_lets_the_background_through_and_leaves_the_hand() -> None:
    faded = 0
    for seed in range(12):
        drawn = party_of(seed, views={"frontal": 1.0}, kinds={"right": 1.0}).drawn
        before = drawn.coverage.copy()
        close_up._fade_sleeves(drawn, 0.9)
        hand = drawn.parts > 0
        inner = cv2.erode(hand.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        np.testing.assert_array_equal(drawn.coverage[inner], before[inner])
        assert drawn.coverage[hand][:, 3].min() >= 0.35 * before[hand][:, 3].min()
        sleeve = np.isfinite(drawn.depth) & ~hand & ~(cv2.dilate(hand.astype(np.uint8), np.ones((5, 5))) > 0)
        np.testing.assert_allclose(drawn.coverage[sleeve], 0.1 * before[sleeve], rtol=1e-4, atol=1e-6)
        faded += int(sleeve.sum())
    assert faded > 1000


def test_every_hand_pixel_has_a_depth_also_beside_things() -> None:
    for index in range(30):
        sample = generate(21, index, size=SIZE)
        assert np.isfinite(sample.depth[sample.parts > 0]).all()


def test_hands_apart_are_near_and_far() -> None:
    distances = []
    for seed in range(60):
        scene = sample_scene(np.random.default_rng(seed), SceneMix(kinds={"apart": 1.0}), size=SIZE)
        right, left = (hand.joints.mean(axis=0) for hand in scene.hands)
        distances.append(float(np.linalg.norm(right - left)))
    assert min(distances) < 200 and 400 < max(distances) < 1000
