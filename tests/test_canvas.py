"""The canvas: enlarging a picture and averaging it down again."""

from collections.abc import Callable

import numpy as np
import pytest

from unclasp.arrays import Pixels
from unclasp.canvas import Canvas, in_rows


def read_only(image: Pixels) -> Pixels:
    image.setflags(write=False)
    return image


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (120, 161), (1, 4000)])
@pytest.mark.parametrize(
    "lie",
    [
        lambda image: image, lambda image: image[::-1, ::-1], lambda image: image[..., ::-1],
        lambda image: image.swapaxes(0, 1), lambda image: image[: len(image) // 2 + 1], read_only,
    ],
)  # fmt: skip
def test_every_sample_is_its_pixel(size: tuple[int, int], factor: int, lie: Callable[[Pixels], Pixels]) -> None:
    image = lie(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    canvas = Canvas(image, factor)
    np.testing.assert_array_equal(canvas.samples, np.repeat(np.repeat(image, factor, axis=0), factor, axis=1))
    np.testing.assert_array_equal(canvas.finished(), image)


@pytest.mark.parametrize("factor", [1, 2])
def test_drawing_leaves_the_callers_picture_alone(factor: int) -> None:
    image = np.full((40, 60, 3), 128, dtype=np.uint8)
    canvas = Canvas(image, factor)
    canvas.disc(np.array([30.0, 20.0]), 8.0, (255, 0, 0))
    assert (image == 128).all() and (canvas.finished() != 128).any()


def test_rows_are_no_longer_than_their_pictures_need() -> None:
    cells = [np.full((2, 3, 3), grey, dtype=np.uint8) for grey in (10, 20, 30)]
    sheet = in_rows(cells, columns=2, background=(1, 2, 3))
    assert sheet.shape == (4, 6, 3)
    np.testing.assert_array_equal(sheet[::2, ::3], [[[10] * 3, [20] * 3], [[30] * 3, [1, 2, 3]]])
    np.testing.assert_array_equal(in_rows(cells[:1], columns=4, background=(1, 2, 3)), cells[0])
