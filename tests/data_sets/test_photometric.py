"""Photometric augmentation: the effect of each change, and that none is drawn unless configured."""

import dataclasses

import cv2
import numpy as np
import pytest

from unclasp.config import AugmentConfig
from unclasp.data.photometric import PhotometricChange, apply_photometric, random_photometric
from unclasp.data.transforms import make_example, plain_view, random_view

CROP = cv2.GaussianBlur(np.random.default_rng(0).integers(40, 216, (64, 64, 3), dtype=np.uint8), (0, 0), 1.0)


def detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(image.astype(np.float64), cv2.CV_64F).std())


def test_the_defaults_change_nothing():
    np.testing.assert_array_equal(apply_photometric(CROP, PhotometricChange()), CROP)


def test_gamma_and_contrast_act_on_brightness():
    assert apply_photometric(CROP, PhotometricChange(gamma=0.6)).mean() > CROP.mean() + 10
    assert apply_photometric(CROP, PhotometricChange(gamma=1.6)).mean() < CROP.mean() - 10
    harder = apply_photometric(CROP, PhotometricChange(contrast=1.5))
    assert harder.std() == pytest.approx(1.5 * CROP.std(), rel=0.03) and abs(harder.mean() - CROP.mean()) < 2


def test_without_saturation_a_crop_is_grey():
    grey = apply_photometric(CROP, PhotometricChange(saturation=0.0)).astype(int)
    assert np.ptp(grey, axis=2).max() == 0
    half = apply_photometric(CROP, PhotometricChange(saturation=0.5)).astype(int)
    assert np.ptp(half, axis=2).mean() == pytest.approx(np.ptp(CROP.astype(int), axis=2).mean() / 2, rel=0.05)


def test_blur_and_shrinking_take_detail_and_noise_gives_grain():
    assert detail(apply_photometric(CROP, PhotometricChange(blur=1.2))) < 0.5 * detail(CROP)
    shrunk = apply_photometric(CROP, PhotometricChange(shrink=3.0))
    assert shrunk.shape == CROP.shape and detail(shrunk) < 0.5 * detail(CROP)
    grain = apply_photometric(CROP, PhotometricChange(noise=10.0, seed=3)).astype(float) - CROP
    assert 9 < grain.std() < 11
    np.testing.assert_array_equal(
        apply_photometric(CROP, PhotometricChange(noise=10.0, seed=3)) - CROP, grain.astype(np.uint8)
    )


def test_no_change_darkens_by_cutting_off_decimals():
    image = np.random.default_rng(0).integers(60, 196, (96, 96, 3)).astype(np.uint8)
    for change in ({"noise": 4.0, "seed": 1}, {"saturation": 0.7}, {"contrast": 0.9}):
        look = PhotometricChange(**change)
        before = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean() if look.saturation < 1 else image.mean()
        after = apply_photometric(image, look)
        got = cv2.cvtColor(after, cv2.COLOR_RGB2GRAY).mean() if look.saturation < 1 else after.mean()
        assert abs(got - before) < 0.15, look


def test_a_new_texture_keeps_shapes_and_contrast():
    disc = cv2.circle(np.full((64, 64, 3), (60, 90, 150), dtype=np.uint8), (32, 32), 18, (210, 160, 120), -1)
    inside = cv2.circle(np.zeros((64, 64), dtype=np.uint8), (32, 32), 14, 1, -1).astype(bool)
    outside = cv2.circle(np.ones((64, 64), dtype=np.uint8), (32, 32), 22, 0, -1).astype(bool)
    changed = [apply_photometric(disc, PhotometricChange(texture=0.9, seed=seed)).astype(float) for seed in range(40)]
    assert np.std([image[inside].mean(axis=0) for image in changed], axis=0).min() > 15, "colours are others"
    told = [np.abs(image[inside].mean(axis=0) - image[outside].mean(axis=0)).max() for image in changed]
    assert np.mean(np.array(told) > 15) > 0.9, "and the disc is still told from the ground"
    assert 0.3 < np.median([image.std() for image in changed]) / disc.std() < 1.5
    np.testing.assert_array_equal(changed[0], apply_photometric(disc, PhotometricChange(texture=0.9, seed=0)))
    faint = apply_photometric(disc, PhotometricChange(texture=0.1, seed=1)).astype(float)
    assert np.abs(faint - disc).mean() < 0.3 * np.abs(changed[1] - disc).mean()


def test_textures_change_as_often_as_told_and_nothing_else_changes_with_them():
    looks = [random_photometric(0.8, np.random.default_rng(i), texture=0.25) for i in range(400)]
    assert 0.18 < np.mean([look.texture > 0 for look in looks]) < 0.32
    assert all(0.2 <= look.texture <= 1 for look in looks if look.texture)
    for i, look in enumerate(looks):
        assert dataclasses.replace(look, texture=0.0) == random_photometric(0.8, np.random.default_rng(i))


def test_a_draw_is_a_function_of_the_generator_and_grows_with_the_strength():
    assert random_photometric(0.8, np.random.default_rng(4)) == random_photometric(0.8, np.random.default_rng(4))
    mild, strong = ([random_photometric(s, np.random.default_rng(i)) for i in range(300)] for s in (0.2, 1.0))
    for field in dataclasses.fields(PhotometricChange):
        if field.name in ("seed", "texture"):
            continue
        spread = [np.abs([getattr(look, field.name) - field.default for look in looks]) for looks in (mild, strong)]
        assert 0.2 < (spread[1] > 0).mean() < 0.45, field.name
        assert spread[0].max() < 0.5 * spread[1].max(), field.name


def test_each_change_occurs_independently_and_has_its_own_range():
    looks = [random_photometric(1.0, np.random.default_rng(i)) for i in range(600)]
    ranges = {
        "gamma": (np.exp(-0.7), np.exp(0.7)), "contrast": (np.exp(-0.7), np.exp(0.7)), "saturation": (0, 1),
        "shrink": (1, 3), "blur": (0, 1.2), "noise": (0, 18),
    }  # fmt: skip
    occurs = []
    for name, (least, most) in ranges.items():
        values = np.array([getattr(look, name) for look in looks])
        assert least <= values.min() <= values.max() <= most
        assert np.ptp(values) > 0.9 * (most - least), name
        occurs.append(values != getattr(PhotometricChange(), name))
    assert np.abs(np.corrcoef(occurs) - np.eye(6)).max() < 0.15


def test_only_a_config_that_asks_for_it_changes_the_look(make_sample):
    box = make_sample(0).box
    rng = np.random.default_rng(0)
    assert all(random_view(box, AugmentConfig(), rng).look is None for _ in range(20))
    views = [random_view(box, AugmentConfig(photographic=0.8), rng) for _ in range(20)]
    assert len({view.look for view in views}) > 10
    views = [random_view(box, AugmentConfig(texture=0.5), rng) for _ in range(20)]
    assert {view.look == PhotometricChange(texture=view.look.texture, seed=view.look.seed) for view in views} == {True}
    sample = make_sample(0)
    plain = plain_view(sample.box)
    changed = dataclasses.replace(plain, look=PhotometricChange(gamma=0.5))
    one, other = (make_example(sample, view, 64) for view in (plain, changed))
    assert other.image.mean() > one.image.mean()
    np.testing.assert_array_equal(one.pose_2p5d, other.pose_2p5d)
