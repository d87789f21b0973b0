"""Pictures of scenes: deterministic, labelled where a hand was drawn, with a plausible look."""

import numpy as np
import pytest
from labelled import adjacency

from unclasp.hands import PARTS_PER_HAND
from unclasp.synth import background, effects
from unclasp.synth.close_up import render
from unclasp.synth.clothes import dress, sample_wardrobe
from unclasp.synth.colour import linear_from_lab
from unclasp.synth.generate import Generated, generate
from unclasp.synth.light import sample_sky
from unclasp.synth.material import noise_table, sample_noise
from unclasp.synth.scene import Scene, SceneMix, sample_scene
from unclasp.synth.skin import TONES, canvas, sample_skin

SIZE = 128


def scene_of(seed: int) -> tuple[Scene, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return sample_scene(rng, SceneMix(), size=SIZE), rng


@pytest.fixture(scope="module")
def samples() -> list[Generated]:
    return [generate(90, index) for index in range(12)]


def test_render_is_a_function_of_the_generator() -> None:
    first, second, other = (render(scene_of(5)[0], np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in ("image", "parts", "depth"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.image != other.image).mean() > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_shapes_and_ranges(seed: int) -> None:
    scene, rng = scene_of(seed)
    drawn = render(scene, rng)
    assert drawn.image.shape == (SIZE, SIZE, 3)
    assert drawn.image.dtype == np.uint8 == drawn.parts.dtype
    assert drawn.depth.shape == (SIZE, SIZE)
    assert drawn.depth.dtype == np.float32
    assert drawn.parts.max() <= 2 * PARTS_PER_HAND
    visible = np.isfinite(drawn.depth)
    joints = np.concatenate([hand.joints for hand in scene.hands])
    assert (drawn.depth[visible] > joints[:, 2].min() - 700).all()
    assert (drawn.parts[~visible] == 0).all()


def test_labels_only_of_hands_that_are_drawn(samples: list[Generated]) -> None:
    for sample in samples:
        assert np.isfinite(sample.depth[sample.parts > 0]).all()
        for hand in range(2):
            first = 1 + PARTS_PER_HAND * hand
            labelled = ((sample.parts >= first) & (sample.parts < first + PARTS_PER_HAND)).any()
            assert labelled == sample.hand_type[hand]


def test_visible_joints_lie_on_adjacent_parts(samples: list[Generated]) -> None:
    counts = np.array([adjacency(sample) for sample in samples]).sum(axis=0)
    assert counts[0] > 150
    assert counts[1] / counts[0] >= 0.97


@pytest.mark.parametrize("seed", [5, 7, 9])
def test_the_outline_is_smooth_and_the_inside_opaque(seed: int) -> None:
    """Supersampling leaves no seam: a picture with four samples per pixel side differs little from one with two."""
    scene, _ = scene_of(seed)
    coarse, fine = (
        render(scene, np.random.default_rng(0), supersample=samples).image.astype(float) for samples in (2, 4)
    )
    exposure = fine.mean() / coarse.mean()  # follows the brightest samples
    assert np.abs(coarse * exposure - fine).mean() < 2.5


def test_pictures_are_neither_black_nor_burnt(samples: list[Generated]) -> None:
    for sample in samples:
        hand = sample.image[sample.parts > 0].astype(float)
        assert 20 < hand.mean() < 250
        assert hand.std() > 4


def test_grey_pictures_are_grey() -> None:
    """About one in ten is grey, with three equal channels."""
    rng = np.random.default_rng(0)
    hands = np.zeros((32, 32, 4), dtype=np.float32)
    hands[8:24, 8:24] = [0.4, 0.25, 0.15, 1.0]
    backdrop = np.full((32, 32, 3), [0.1, 0.2, 0.5], dtype=np.float32)
    pictures = [effects.photograph(rng, hands, backdrop, setting="indoor").astype(int) for _ in range(200)]
    spread = np.array([np.ptp(picture, axis=2).max() for picture in pictures])
    assert 8 <= (spread == 0).sum() <= 36
    assert spread[spread > 0].min() > 8


def test_effects_change_neither_input() -> None:
    rng = np.random.default_rng(1)
    hands, backdrop = (rng.random((48, 48, channels)).astype(np.float32) for channels in (4, 3))
    copies = hands.copy(), backdrop.copy()
    for _ in range(20):
        effects.photograph(rng, hands, backdrop, setting="studio")
    np.testing.assert_array_equal(hands, copies[0])
    np.testing.assert_array_equal(backdrop, copies[1])


def test_backgrounds_fit_and_differ() -> None:
    scene, _ = scene_of(3)
    skin, cloth = np.full(3, 0.3, np.float32), np.full(3, 0.1, np.float32)
    means = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        painted = background.paint(rng, scene=scene, setting="indoor", skin=skin, cloth=cloth)
        assert painted.shape == (SIZE, SIZE, 3)
        assert painted.dtype == np.float32
        assert painted.min() >= 0
        means.append(painted.mean())
    assert np.std(means) > 0.05


def test_skin_is_never_green_or_blue() -> None:
    """There are light and dark hands; except for gloves, red is always the strongest channel and blue the weakest."""
    lightness = []
    for seed in range(60):
        look = sample_skin(np.random.default_rng(seed))
        if look.gloved:
            continue
        assert (look.albedo[:, 0] >= look.albedo[:, 1] - 1e-3).all()
        assert (look.albedo[:, 1] >= look.albedo[:, 2] - 0.03).all()
        lightness.append(look.colour[1])
    assert min(lightness) < 0.10
    assert max(lightness) > 0.35
    assert (np.diff(linear_from_lab(TONES)[:, 1]) < 0).all()


def test_palm_and_nails_are_where_they_belong() -> None:
    paint = canvas()
    assert paint.palm[(paint.dominant == 1) & (paint.rest[:, 2] > 15)].mean() > 0.7
    assert paint.palm[(paint.dominant == 1) & (paint.rest[:, 2] < -12)].mean() < 0.2
    on_nail = paint.nail > 0.5
    assert set(paint.dominant[on_nail]) == {4, 7, 10, 13, 16}
    assert paint.palm[on_nail].mean() < 0.4
    assert (np.diff(paint.finger_joints, axis=1) > 10).all()


def test_sleeves_leave_the_hand_alone() -> None:
    """A sleeve starts beyond the wrist, encloses the forearm and looks outward."""
    rng = np.random.default_rng(4)
    hand = scene_of(4)[0].hands[0]
    paint = canvas()
    wardrobe = sample_wardrobe(rng)._replace(sleeve_start=20.0, looseness=3.0, strap_start=None)
    (tube,) = dress(wardrobe, hand, 0, forearm=paint.probabilities[:, 0] > 0.8, keep_out=np.zeros((0, 3), np.float32))
    wrist, end = hand.joints[20], hand.vertices[-24:].mean(axis=0)
    axis = (end - wrist) / np.linalg.norm(end - wrist)
    along = (tube.vertices - wrist) @ axis
    assert along.min() > 15
    outward = tube.vertices - wrist - along[:, None] * axis
    front = along > 40
    assert (np.einsum("ij,ij->i", tube.normals, outward)[front] > 0).mean() > 0.95


def test_light_is_finite_and_positive() -> None:
    for seed in range(40):
        sky = sample_sky(np.random.default_rng(seed), view=["frontal", "above", "any"][seed % 3])
        np.testing.assert_allclose(np.linalg.norm(sky.key), 1, rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(sky.dome, axis=1), 1, rtol=1e-5)
        assert (sky.key_colour > 0).all()
        assert (sky.dome_colours >= 0).all()


def test_noise_is_periodic_and_normal() -> None:
    table = noise_table()
    points = np.random.default_rng(0).uniform(0, len(table), (50, 3))
    shifted = points + len(table) * np.array([1, -2, 3])
    np.testing.assert_allclose(sample_noise(table, points), sample_noise(table, shifted), atol=1e-4)
    assert abs(table[..., 0].mean()) < 1e-5
    assert table[..., 0].std() == pytest.approx(1, abs=1e-4)
