"""The search for hands in whole pictures."""

import cv2
import numpy as np
import pytest

from unclasp.engines.network import NetworkOutput
from unclasp.find import regions
from unclasp.find.regions import find_region

WIDTH, HEIGHT, SIZE = 640, 480, 64


def black() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


class Bright:
    """Takes what is bright for hands."""

    name, image_size = "bright", SIZE

    def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
        small = np.stack([cv2.resize(crop[..., 0], (16, 16), interpolation=cv2.INTER_AREA) for crop in crops])
        return NetworkOutput(np.zeros((len(crops), 42, 3)), np.zeros((len(crops), 2)), None, small / 255)


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (300, 300), (200, 1000), (1000, 100)])
def test_the_region_is_found_wherever_it_is(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    for _ in range(12):
        image = np.zeros((*shape, 3), np.uint8)
        side = int(max(shape) * rng.uniform(0.12, 0.3))
        x, y = (int(rng.uniform(*sorted((-side / 4, extent - 3 * side / 4)))) for extent in (shape[1], shape[0]))
        x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + side, shape[1]), min(y + side, shape[0])
        image[y1:y2, x1:x2] = 255
        found = find_region(Bright(), image)
        slack = 0.05 * max(shape)  # two pixels of the coarsest map
        centre = (found[:2] + found[2:]) / 2
        np.testing.assert_allclose(centre, [(x1 + x2) / 2, (y1 + y2) / 2], atol=slack)
        long = max(x2 - x1, y2 - y1)
        assert 1.2 * long < found[2] - found[0] + slack and found[2] - found[0] < 1.5 * long + 2 * slack


def test_both_hands_are_in_the_region_and_specks_are_not() -> None:
    image = black()
    image[100:200, 60:160] = image[260:340, 480:580] = 255
    image[440:450, 20:30] = 255
    x1, y1, x2, y2 = find_region(Bright(), image)
    assert (x2 - x1) == pytest.approx(1.5 * (580 - 60), rel=0.1)
    assert (x1 + x2) / 2 == pytest.approx(320, abs=20) and (y1 + y2) / 2 == pytest.approx(220, abs=20)


def test_a_picture_without_hands_is_looked_at_as_a_whole() -> None:
    np.testing.assert_allclose(find_region(Bright(), black()), [-0.5, -80.5, 639.5, 559.5])


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (9, 16), (360, 640), (400, 640), (100, 1000), (300, 300)])
def test_the_windows_are_half_the_picture_and_leave_nothing_out(shape: tuple[int, int]) -> None:
    height, width = shape
    windows = np.array(regions.half_windows(width, height))
    assert len(windows) <= 9
    np.testing.assert_allclose(windows[:, 2:] - windows[:, :2], max(shape) / 2)
    for pixel in np.ndindex(height, width) if width * height < 200 else [(0, 0), (height - 1, width - 1)]:
        first, last = np.array(pixel[::-1]) - 0.5, np.array(pixel[::-1]) + 0.5
        inside = (windows[:, :2] <= first + 1e-9) & (windows[:, 2:] >= last - 1e-9)
        assert inside.all(axis=1).any(), f"pixel {pixel} of {shape} is in no window"
    for axis in (0, 1):
        starts = np.unique(windows[:, axis].round(6))
        assert (np.diff(starts) <= max(shape) / 4 + 1e-6).all(), "neighbours overlap by half"


def test_the_map_of_a_window_is_pasted_where_the_window_is() -> None:
    """A window over the cells 48 to 96 of the whole: its 16 pixels are three cells wide each."""
    probability = np.zeros((16, 16))
    probability[2:4, 5:9] = 1
    whole, window = np.array([-0.5, -0.5, 383.5, 383.5]), np.array([95.5, 191.5, 191.5, 287.5])
    pasted = regions.pasted(probability, window, whole, 192 / 384)
    rows, columns = np.nonzero(pasted > 0.5)
    assert (columns.min(), columns.max() + 1) == (48 + 15, 48 + 27)
    assert (rows.min(), rows.max() + 1) == (96 + 6, 96 + 12)


def test_the_box_of_a_region_ends_where_its_cells_end() -> None:
    mask = np.zeros((20, 20), bool)
    mask[3:9, 4:14] = True
    mask[15:17, 0:4] = True  # 8 cells against 60
    found = regions.largest_regions(mask)
    assert found is not None and found.tolist() == [4, 3, 14, 9]
    mask[15:18, 0:5] = True  # 15 cells of 60 are more than a fifth
    found = regions.largest_regions(mask)
    assert found is not None and found.tolist() == [0, 3, 14, 18]
    assert regions.largest_regions(mask & False) is None
