"""The finder of hands: boxes to and from its square, regions from its maps, and what the shipped one finds."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from bright import Bright, outputs
from unclasp.arrays import Pixels, Singles
from unclasp.engines.onnx_engine import check_outputs
from unclasp.errors import CheckpointError
from unclasp.find import finder
from unclasp.find.finder import (
    CELLS,
    SIZE,
    Finder,
    FinderOutput,
    Regions,
    decode_regions,
    merge_nearby,
    open_finder,
)
from unclasp.find.letterbox import letterbox

# ---- the square


@pytest.mark.parametrize("shape", [(192, 192), (3000, 4000), (4000, 3000), (365, 547), (100, 1000), (7, 9), (1, 300)])
def test_boxes_go_to_the_square_and_back(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    square = letterbox(np.zeros((*shape, 3), np.uint8), SIZE)
    corners = np.sort(rng.uniform(0, 1, (50, 2, 2)) * shape[::-1], axis=1)
    boxes = corners.reshape(50, 4)
    corners_there = square.scale * (corners + 0.5) - 0.5 + square.offset
    np.testing.assert_allclose(square.to_picture(corners_there).reshape(50, 4), boxes, atol=1e-9)
    ends = np.array([[-0.5, -0.5], [shape[1] - 0.5, shape[0] - 0.5]])
    start, end = square.scale * (ends + 0.5) + square.offset
    assert (end - start).max() == pytest.approx(SIZE)
    assert (start >= 0).all() and (end <= SIZE).all()


@pytest.mark.parametrize("shape", [(2990, 4000), (40, 3000), (77, 100), (1000, 333)])
def test_the_picture_s_corners_are_where_the_square_shows_them(shape: tuple[int, int]) -> None:
    """Sides are rounded to whole pixels of the square, and the way back has to know."""
    square = letterbox(np.full((*shape, 3), 255, np.uint8), SIZE)
    rows, columns = np.nonzero(square.image[..., 0])
    shown = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]) - 0.5
    height, width = shape
    np.testing.assert_allclose(square.to_picture(shown), [[-0.5, -0.5], [width - 0.5, height - 0.5]], atol=1e-9)


@pytest.mark.parametrize("shape", [(3000, 4000), (4000, 3000), (400, 500), (96, 100), (300, 900)])
@pytest.mark.parametrize("share", [0.04, 0.2, 0.7])
def test_a_region_comes_back_in_the_picture_s_own_pixels(shape: tuple[int, int], share: float) -> None:
    """Of 12 and of 0.2 megapixels, small and large: within one and a half pixels of the square."""
    rng = np.random.default_rng(int(share * 100) + shape[0])
    image = np.zeros((*shape, 3), np.uint8)
    side = max(2, round(share * min(shape)))
    x, y = (int(rng.integers(0, extent - side)) for extent in shape[::-1])
    image[y : y + side, x : x + side] = 255
    boxes = Finder(Bright())(image).boxes
    slack = 1.5 * max(shape) / SIZE
    np.testing.assert_allclose(boxes, [[x - 0.5, y - 0.5, x + side - 0.5, y + side - 0.5]], atol=slack)


def test_a_picture_without_regions_has_none() -> None:
    found = Finder(Bright())(np.zeros((30, 40, 3), np.uint8))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)


def test_boxes_end_at_the_picture_s_edge() -> None:
    class Beyond(Bright):
        def __call__(self, square: Pixels, /) -> list[Singles]:
            return outputs(0.8, (3, 3), np.array([-30.0, -20, 400, 500]))

    assert Finder(Beyond())(np.zeros((30, 40, 3), np.uint8)).boxes.tolist() == [[-0.5, -0.5, 39.5, 29.5]]


# ---- from maps to regions


def answer(*regions: tuple[float, tuple[int, int], tuple[float, float, float, float]]) -> FinderOutput:
    middle, boxes = np.zeros((CELLS, CELLS), np.float32), np.zeros((4, CELLS, CELLS), np.float32)
    for score, (row, column), box in regions:
        middle[row, column], boxes[:, row, column] = score, box
    return FinderOutput(middle, boxes)


def test_peaks_are_decoded_by_score_and_duplicates_dropped() -> None:
    found = decode_regions(
        answer(
            (0.6, (10, 10), (20, 20, 60, 60)),
            (0.5, (10, 11), (20, 20, 60, 60)),  # beside a higher one: no peak
            (0.7, (14, 14), (24, 24, 64, 64)),  # the same region
            (0.9, (40, 40), (150, 150, 170, 170)),
            (0.4, (41, 43), (155, 155, 165, 168)),  # within another
            (finder.MIN_SCORE - 0.01, (2, 40), (150, 0, 170, 20)),
        )
    )
    np.testing.assert_allclose(found.boxes, [[150, 150, 170, 170], [24, 24, 64, 64]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.7])


def group(*boxes: tuple[float, float, float, float]) -> list[list[float]]:
    return merge_nearby(Regions(np.array(boxes, float).reshape(-1, 4), np.full(len(boxes), 0.8))).boxes.tolist()


def test_near_hands_of_a_size_are_one_region() -> None:
    assert group((0, 0, 40, 40), (60, 5, 100, 45)) == [[0, 0, 100, 45]]
    assert group((0, 0, 40, 40), (30, 30, 60, 80)) == [[0, 0, 60, 80]]


def test_far_and_unlike_hands_are_regions_of_their_own_the_largest_first() -> None:
    assert group((0, 0, 40, 40), (150, 0, 200, 40)) == [[150, 0, 200, 40], [0, 0, 40, 40]]
    assert group((0, 0, 10, 10), (12, 0, 90, 80)) == [[12, 0, 90, 80], [0, 0, 10, 10]]


def test_regions_with_much_lower_scores_are_not_merged() -> None:
    boxes = np.array([[0, 0, 40, 40], [60, 5, 100, 45.0]])
    assert len(merge_nearby(Regions(boxes, np.array([0.8, 0.41]))).boxes) == 1
    assert merge_nearby(Regions(boxes, np.array([0.8, 0.39]))).boxes.tolist() == boxes.tolist()


def test_grouping_does_not_grow_over_a_row_of_hands() -> None:
    row = [(50 * k, 0, 50 * k + 40, 40) for k in range(5)]
    assert max(x2 - x1 for x1, _, x2, _ in group(*map(tuple, row))) <= 3.8 * 40  # type: ignore[arg-type]


def test_regions_are_ordered_by_size_and_score() -> None:
    boxes = np.array([[0, 0, 20, 20], [100, 100, 160, 160.0]])
    assert merge_nearby(Regions(boxes, np.array([0.9, 0.35]))).boxes[0].tolist() == [100, 100, 160, 160]
    assert merge_nearby(Regions(boxes / 2, np.array([0.95, 0.31]))).scores.tolist() == [0.95, 0.31]


# ---- the shipped one

HELD_OUT = 3
Rendered = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A whole picture, its mask, and the boxes of its regions."""


@pytest.fixture(scope="module")
def render() -> Callable[[int], Rendered]:
    pytest.importorskip("numba", reason="rendering is an extra")
    from unclasp.synth.whole import generate_whole

    return lambda index: tuple(generate_whole(HELD_OUT, index))  # type: ignore[return-value]


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    shared = np.maximum(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0).prod()
    areas = [(box[2:] - box[:2]).prod() for box in (first, second)]
    return float(shared / (sum(areas) - shared))


def test_hands_are_found_in_scenes_never_trained_on(render: Callable[[int], Rendered]) -> None:
    find = open_finder()
    asked = met = empty = false = 0
    for image, mask, boxes in map(render, range(200)):
        square = letterbox(image, SIZE)
        regions = decode_regions(find.maps(square.image))
        found = square.to_picture(regions.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        large = [box for box in boxes if (box[2:] - box[:2]).max() > 0.12 * max(mask.shape)]
        asked += len(large)
        met += sum(any(overlap(box, each) > 0.5 for each in found) for box in large)
        if not mask.any():
            empty += 1
            false += bool((regions.scores >= 0.3).any())  # a little above the least
    assert asked > 100 and met / asked > 0.55, f"{met} of {asked} regions"
    assert empty > 20 and false / empty < 0.3, f"hands in {false} of {empty} scenes without"


def test_threads_may_share_a_finder() -> None:
    ask, rng = open_finder().maps, np.random.default_rng(0)
    squares = [rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8) for _ in range(4)] * 8
    alone = [ask(square).middle for square in squares[:4]]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda square: ask(square).middle, squares))
    for number, middle in enumerate(together):
        np.testing.assert_allclose(middle, alone[number % 4], atol=1e-6)


def test_a_missing_finder_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no hand finder .*nothing\.onnx; give a box"):
        open_finder(tmp_path / "nothing.onnx")


def test_what_is_no_finder_is_told(tmp_path: Path) -> None:
    path = tmp_path / "finder.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match=r"is no .* that .* can read"):
        open_finder(path)


def test_answers_of_another_shape_are_no_finder_s() -> None:
    good = [np.zeros((1, CELLS, CELLS), np.float32), np.zeros((1, 4, CELLS, CELLS), np.float32)]
    check_outputs(good, finder.FINDER, Path("f.onnx"))
    with pytest.raises(CheckpointError, match="is no hand finder: expected finite outputs"):
        check_outputs(good[::-1], finder.FINDER, Path("f.onnx"))
    good[0][0, 3, 4] = np.nan
    with pytest.raises(CheckpointError, match="is no hand finder"):
        check_outputs(good, finder.FINDER, Path("f.onnx"))


def test_a_speck_in_12_megapixels_takes_no_longer_than_the_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network sees one square, whatever the picture's size."""
    seen: list[tuple[int, ...]] = []

    class Counted(Bright):
        def __call__(self, square: Pixels, /) -> list[Singles]:
            seen.append(square.shape)
            return super().__call__(square)

    Finder(Counted())(cv2.resize(np.zeros((3, 4, 3), np.uint8), (4000, 3000)))
    assert seen == [(SIZE, SIZE, 3)]
