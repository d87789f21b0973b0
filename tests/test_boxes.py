"""The grid that crops are laid on: last digits of joints change no crop, and a mirrored picture has mirrored crops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unclasp import geometry
from unclasp.arrays import Floats
from unclasp.find.boxes import SNAPS_PER_DEGREE, SNAPS_PER_SIDE, snapped, snapped_rotation

SIZE = 192
IMAGE = np.zeros((480, 641, 3), np.uint8)


def square_of(x: float, y: float, side: float) -> Floats:
    return np.array([x, y, x + side, y + side])


@given(st.floats(-500, 900), st.floats(-500, 900), st.floats(16, 5000))
def test_a_snapped_square_is_a_square_nearby(x: float, y: float, side: float) -> None:
    square = square_of(x, y, side)
    result = snapped(square, IMAGE, SIZE)
    assert result[2] - result[0] == pytest.approx(result[3] - result[1])
    np.testing.assert_allclose(result, square, atol=1.5 * side / SNAPS_PER_SIDE)
    np.testing.assert_allclose(snapped(result, IMAGE, SIZE), result, atol=1e-9 * (side + abs(x) + abs(y)))


def test_last_digits_change_no_crop() -> None:
    rng = np.random.default_rng(0)
    same = 0
    for _ in range(500):
        square = square_of(*rng.uniform(0, 300, 2), rng.uniform(50, 300))
        other = snapped(square + rng.normal(0, 1e-5, 4), IMAGE, SIZE)
        same += bool((snapped(square, IMAGE, SIZE) == other).all())
    assert same >= 495, "only a square between two steps of the grid may go either way"


def test_crops_of_a_mirrored_picture_are_the_mirrored_crops() -> None:
    rng = np.random.default_rng(1)
    same = 0
    for _ in range(500):
        square = snapped(square_of(*rng.uniform(0, 300, 2), rng.uniform(16, 300)), IMAGE, SIZE)
        square += rng.uniform(-0.3, 0.3) * np.ptp(square[::2]) / SNAPS_PER_SIDE / 4  # not just between two steps
        pixel = np.ptp(square[::2]) / SIZE
        mirrored = geometry.mirror_box(square, IMAGE.shape[1]) + np.array(
            [pixel, 0, pixel, 0]
        )  # `geometry.crop_middle`
        crop = geometry.crop_matrix(snapped(square, IMAGE, SIZE), SIZE)
        other = geometry.crop_matrix(snapped(mirrored, IMAGE, SIZE), SIZE)
        expected = geometry.flip_matrix(SIZE) @ crop @ geometry.flip_matrix(IMAGE.shape[1])
        same += bool(np.allclose(other, expected, rtol=0, atol=1e-6))
    assert same == 500


@given(st.floats(-180, 180))
def test_rotations_are_rounded_alike_in_both_directions(degrees: float) -> None:
    assert abs(snapped_rotation(degrees) - degrees) <= 0.5 / SNAPS_PER_DEGREE
    assert snapped_rotation(-degrees) == -snapped_rotation(degrees)
