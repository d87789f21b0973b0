"""Boxes, and the grid that crops are laid on: last digits of joints change no crop, mirrored pictures mirror them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unclasp import geometry
from unclasp.arrays import Floats
from unclasp.find.boxes import (
    SMALLEST_CROP,
    box_around,
    box_around_hands,
    clipped,
    inside,
    meets,
    pooled,
    snapped,
    snapped_rotation,
    union_of,
    whole_square,
)

SIZE = 192
IMAGE = np.zeros((480, 641, 3), np.uint8)


def square_of(x: float, y: float, side: float) -> Floats:
    return np.array([x, y, x + side, y + side])


@given(st.floats(-500, 900), st.floats(-500, 900), st.floats(16, 5000))
def test_a_snapped_square_is_a_square_nearby(x: float, y: float, side: float) -> None:
    square = square_of(x, y, side)
    result = snapped(square, IMAGE, SIZE)
    assert result[2] - result[0] == pytest.approx(result[3] - result[1])
    middles = (result[:2] + result[2:]) / 2, (square[:2] + square[2:]) / 2
    np.testing.assert_allclose(*middles, rtol=0, atol=0.0014 * side)
    assert result[2] - result[0] == pytest.approx(side, rel=0.0014)
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
        square += rng.uniform(-0.3, 0.3) * np.ptp(square[::2]) / 1024  # not just between two steps
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
    assert abs(snapped_rotation(degrees) - degrees) <= 1 / 8
    assert snapped_rotation(-degrees) == -snapped_rotation(degrees)


# ---- boxes


def test_a_box_around_joints_has_a_least_size_and_meets_the_picture() -> None:
    def corners(x1: float, y1: float, x2: float, y2: float) -> Floats:
        return np.array([[x1, y1], [x2, y2]])

    long, small = corners(50, 60, 50 + SMALLEST_CROP, 61), corners(50, 60, 49.9 + SMALLEST_CROP, 60)
    expected = geometry.expand_box(np.array([50, 60, 50 + SMALLEST_CROP, 61]), geometry.TIGHT_TO_ANNOTATED)
    np.testing.assert_allclose(box_around(long, IMAGE), expected)
    assert box_around(small, IMAGE) is None and box_around(long + 700, IMAGE) is None
    assert box_around(np.zeros((0, 2)), IMAGE) is None


def test_only_joints_of_present_hands_have_a_box() -> None:
    joints = np.random.default_rng(0).uniform(0, 100, (42, 2)) + np.repeat([[0, 0], [200, 0]], 21, axis=0)
    for present, own in (([True, False], joints[:21]), ([False, True], joints[21:]), ([True, True], joints)):
        np.testing.assert_array_equal(box_around_hands(joints, np.array(present), IMAGE), box_around(own, IMAGE))


def test_the_union_of_boxes_holds_both() -> None:
    np.testing.assert_array_equal(union_of(np.array([1, 2, 30, 40]), np.array([5, 0, 70, 6])), [1, 0, 70, 40])


def test_a_point_on_the_edge_of_a_box_lies_in_it() -> None:
    points, box = np.array([[0.0, 2], [4, 1], [4.1, 1], [2, -0.1]]), np.array([0.0, 0, 4, 2])
    assert inside(points, box).tolist() == [True, True, False, False]
    assert inside(points[0], box) and not inside(points[2], box)
    boxes = np.array([box, box + 1])
    assert inside(points[:, None], boxes).tolist() == [[True, False], [True, True], [False, True], [False, False]]


def test_boxes_whose_middles_lie_in_others_are_not_pooled() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    more = np.array([[5.0, 5, 15, 15], [6, 6, 16, 16], [24, 4, 26, 6], [0, 20, 10, 30]])
    np.testing.assert_array_equal(pooled(boxes, more), [*boxes, more[1], more[3]])


def test_boxes_are_clipped_to_the_outer_edges_of_the_pixels() -> None:
    boxes = np.array([[-9.0, -9, 900, 900], [1, 2, 3, 4]])
    np.testing.assert_array_equal(clipped(boxes, 641, 480), [[-0.5, -0.5, 640.5, 479.5], [1, 2, 3, 4]])
    np.testing.assert_array_equal(whole_square(IMAGE), [-0.5, -81, 640.5, 560])


@pytest.mark.parametrize(
    ("box", "met"),
    [
        ((-9, -9, 0, 0), True),
        ((-9, -9, -0.1, 5), False),
        ((-9, -9, 5, -0.1), False),
        ((640, 479, 700, 500), True),
        ((640.1, 400, 700, 500), False),
        ((600, 479.1, 700, 500), False),
    ],
)
def test_a_box_meets_a_picture_with_a_pixel_s_middle(box: tuple[float, ...], met: bool) -> None:
    assert meets(np.array(box), IMAGE) == met
