"""The canvas: enlarging a picture and averaging it down again."""

from collections.abc import Callable

import numpy as np
import pytest

from unclasp.arrays import Pixels
from unclasp.canvas import Canvas, in_rows, lay


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


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_part_is_drawn_on_as_the_whole_is(factor: int) -> None:
    rng = np.random.default_rng(factor)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    whole, part = Canvas(image, factor), Canvas(image, factor, (20, 10, 80, 60))
    for canvas in (whole, part):
        canvas.line(np.array([30.3, 20.7]), np.array([300.0, 45.0]), 3.0, (255, 0, 0))
        canvas.disc(np.array([50.0, 40.0]), 6.5, (0, 200, 0))
        canvas.text("word", 40.0, 30.0)
    np.testing.assert_array_equal(part.finished(), whole.finished())
    assert (whole.finished() != image).any() and (part.finished()[:, :20] == image[:, :20]).all()


@pytest.mark.parametrize("inset", [0.0, 1.0, 20.0])
@pytest.mark.parametrize("size", [(30, 40), (3, 90), (1, 1)])
def test_what_is_laid_is_blended_at_its_corners_only(size: tuple[int, int], inset: float) -> None:
    """Against the formula, for all pixels."""
    rng = np.random.default_rng(0)
    page, content = (rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((60, 100), size))
    height, width = size
    radius = min(12, min(size) / 8)
    x, y = (np.maximum(np.abs(np.arange(n) + 0.5 - n / 2) - (n / 2 - radius), 0) for n in (width, height))
    mask = np.clip(radius - inset + 0.5 - np.hypot(x[None], y[:, None]), 0.0, 1.0)[..., None]
    expected = page.copy()
    region = expected[5 : 5 + height, 7 : 7 + width]
    region[:] = np.rint(region + (content.astype(np.float32) - region) * mask)
    lay(page, content, (7, 5, 7 + width, 5 + height), inset=inset)
    np.testing.assert_array_equal(page, expected)


def test_rows_are_no_longer_than_their_pictures_need() -> None:
    cells = [np.full((2, 3, 3), grey, dtype=np.uint8) for grey in (10, 20, 30)]
    sheet = in_rows(cells, columns=2, background=(1, 2, 3))
    assert sheet.shape == (4, 6, 3)
    np.testing.assert_array_equal(sheet[::2, ::3], [[[10] * 3, [20] * 3], [[30] * 3, [1, 2, 3]]])
    np.testing.assert_array_equal(in_rows(cells[:1], columns=4, background=(1, 2, 3)), cells[0])
