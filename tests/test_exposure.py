"""Dark pictures are brightened for the networks, and only for them."""

from pathlib import Path

import numpy as np
import pytest

from unclasp import Predictor, exposure, read_picture
from unclasp.exposure import BRIGHTNESS, brightened
from unclasp.inputs import check_picture

PICTURE = read_picture(Path(__file__).parents[1] / "examples" / "two_hands.jpg")


def ramp(brightest: int, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Grey values from 0 to `brightest`, and a few white pixels."""
    grey = np.rint(np.linspace(0, brightest, shape[0] * shape[1])).astype(np.uint8).reshape(shape)
    grey[0, :4] = 255
    return np.repeat(grey[..., None], 3, axis=2)


def brightness(image: np.ndarray) -> float:
    return float(np.percentile(image.max(axis=2), 99))


@pytest.mark.parametrize("brightest", [20, 60, 120])
@pytest.mark.parametrize("shape", [(60, 80), (1500, 1100)])
def test_dark_pictures_get_bright_by_one_factor(brightest: int, shape: tuple[int, int]) -> None:
    dark = ramp(brightest, shape)
    kept = dark.copy()
    bright = brightened(dark)
    assert brightness(bright) == pytest.approx(BRIGHTNESS, rel=0.04)
    factor = bright[30:, :, 0].astype(float) / np.maximum(dark[30:, :, 0], 1)
    assert np.ptp(factor[dark[30:, :, 0] > 10]) < 0.1 * factor.max()
    np.testing.assert_array_equal(dark, kept)


@pytest.mark.parametrize("image", [ramp(140), PICTURE, np.full((20, 20, 3), 255, np.uint8)])
def test_others_are_the_same_array(image: np.ndarray) -> None:
    assert brightened(image) is image


def test_pure_colours_are_not_dark() -> None:
    red = ramp(255) * np.array([1, 0, 0], np.uint8)
    assert brightened(red) is red


def test_black_pictures_stay_dark() -> None:
    assert brightened(np.zeros((40, 40, 3), np.uint8)).max() == 0
    assert brightened(np.ones((40, 40, 3), np.uint8)).max() <= 32


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_networks_see_the_bright_picture_and_results_hold_the_given_one(mirrored: bool) -> None:
    dark = ramp(40)
    shot = check_picture(dark, None, focal=None, princpt=None, mirrored=mirrored)
    np.testing.assert_array_equal(shot.image, brightened(dark)[:, ::-1] if mirrored else brightened(dark))
    assert shot.given is dark


def test_hands_are_found_in_the_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor.load()
    dark = np.rint(0.03 * PICTURE.astype(float)).astype(np.uint8)
    expected, pose = predictor(PICTURE), predictor(dark)
    assert pose.sides == expected.sides == ("right", "left") and not pose.doubted and pose.image is dark
    extent = np.ptp(expected.joints_2d[:21], axis=0).max()
    assert np.linalg.norm(pose.joints_2d - expected.joints_2d, axis=1).mean() < 0.05 * extent
    monkeypatch.setattr(exposure, "BRIGHTNESS", 0.0)
    assert not predictor(dark).sides
