"""The palm detector: decoding its outputs, the shipped file, and where it finds real palms."""

import json
from pathlib import Path

import numpy as np
import pytest

from unclasp import geometry
from unclasp.arrays import Floats, Pixels, Singles
from unclasp.errors import CheckpointError
from unclasp.find.palms import MIN_SCORE, SIZE, Palm, PalmDetector, open_palms
from unclasp.picture import read_picture

REAL = Path(__file__).parents[2] / "shared" / "real"


class Answers:
    """Says of chosen cells of the finer or the coarser map what is there: stride, anchor, row, column, score, place."""

    def __init__(self, *cells: tuple[int, int, int, int, float, Floats]) -> None:
        self.cells = cells
        self.shown: Pixels | None = None

    def __call__(self, image: Pixels, /) -> list[Singles]:
        self.shown, size = image, image.shape[0]
        maps = {
            stride: (np.zeros((1, anchors, size // stride, size // stride), np.float32),
                     np.full((1, anchors * 18, size // stride, size // stride), 3e3, np.float32))
            for stride, anchors in ((8, 2), (16, 6))
        }  # fmt: skip
        for stride, anchor, row, column, score, place in self.cells:
            maps[stride][0][0, anchor, row, column] = score
            maps[stride][1][0, 18 * anchor : 18 * anchor + 18, row, column] = place
        return [*maps[8], *maps[16]]


def place(middle: tuple[float, float], extent: tuple[float, float], *points: tuple[float, float]) -> Floats:
    """Return a detection's values, in px from the cell's middle; the keypoints that are not given are far away."""
    keypoints = np.full((7, 2), -999.0)
    keypoints[[0, 2][: len(points)]] = np.reshape(points, (-1, 2))
    return np.concatenate([middle, extent, keypoints.ravel()])


# ---- decoding


@pytest.mark.parametrize("size", [128, 192, 512])
@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (50, 50)])
@pytest.mark.parametrize(("stride", "anchor"), [(8, 1), (16, 4)])
def test_a_palm_is_where_its_cell_says(size: int, shape: tuple[int, int], stride: int, anchor: int) -> None:
    row, column = size // stride // 2, size // stride // 3
    told = place((3.0, -5.0), (30.0, 24.0), (1.0, 9.0), (-2.0, -7.0))
    (palm,) = PalmDetector(Answers((stride, anchor, row, column, 0.8, told)))(np.zeros((*shape, 3), np.uint8), size)
    height, width = shape
    scale = size / max(shape)
    left, top = (size - round(width * scale)) // 2, (size - round(height * scale)) // 2

    def in_picture(x: float, y: float) -> Floats:
        """From the left upper corner of the square to pixels of the picture, whose centres are at integers."""
        corner = (np.array([column, row]) + 0.5) * stride + [x, y] - [left, top]
        return np.asarray(corner / scale - 0.5)

    assert palm.score == pytest.approx(0.8)
    assert palm.side == pytest.approx(30.0 / scale)
    for got, expected in zip((palm.middle, palm.wrist, palm.knuckle), ((3, -5), (1, 9), (-2, -7)), strict=True):
        np.testing.assert_allclose(got, in_picture(*expected), atol=1e-6)


def test_detections_of_the_same_palm_are_merged_and_others_are_not() -> None:
    wide = (40.0, 40.0)
    answers = Answers(
        (8, 0, 10, 10, 0.5, place((0, 0), wide, (0, 12), (0, -12))),
        (16, 2, 5, 5, 0.9, place((0, 0), wide, (4, 12), (4, -12))),  # its cell's middle is 4 px further on
        (8, 1, 20, 20, 0.6, place((0, 0), wide, (0, 12), (0, -12))),
        (8, 0, 3, 20, MIN_SCORE - 0.01, place((0, 0), wide, (0, 12), (0, -12))),
    )
    both, alone = PalmDetector(answers)(np.zeros((SIZE, SIZE, 3), np.uint8))
    assert (both.score, alone.score) == pytest.approx((0.9, 0.6)), "by descending score, without the low one"
    first, second = 10.5 * 8 - 0.5, 5.5 * 16 - 0.5
    np.testing.assert_allclose(both.middle, np.full(2, (0.5 * first + 0.9 * second) / 1.4), atol=1e-4)
    assert both.wrist[0] == pytest.approx((0.5 * first + 0.9 * (second + 4)) / 1.4, abs=1e-4)
    np.testing.assert_allclose(alone.middle, np.full(2, 20.5 * 8 - 0.5), atol=1e-4)


@pytest.mark.parametrize(("apart", "count"), [(5.3, 1), (5.5, 2)])
def test_palms_are_the_same_by_the_area_that_only_both_cover(apart: float, count: int) -> None:
    """Squares of 10 px share 4.7 columns, 0.307 of the area of both, or 4.5, which is 0.290 of it."""
    answers = Answers(*((8, 0, 10, 10 + 2 * at, 0.9, place((apart * at - 16 * at, 0), (10, 10))) for at in (0, 1)))
    assert len(PalmDetector(answers)(np.zeros((SIZE, SIZE, 3), np.uint8))) == count


def test_a_box_so_far_away_that_rounding_leaves_it_no_area_comes_to_an_end() -> None:
    answers = Answers((8, 0, 10, 10, 0.9, place((1e20, 0), (10, 10))))
    assert len(PalmDetector(answers)(np.zeros((SIZE, SIZE, 3), np.uint8))) == 1


def test_low_scores_are_no_palms() -> None:
    assert PalmDetector(Answers())(np.zeros((30, 40, 3), np.uint8)) == []


@pytest.mark.parametrize("extent", [0.5, 400.0])
def test_detections_everywhere_come_to_an_end(extent: float) -> None:
    """Thousands of them, which do not overlap or all do."""
    rng = np.random.default_rng(0)

    def run(image: Pixels) -> list[Singles]:
        shapes = ((1, 2, 64, 64), (1, 36, 64, 64), (1, 6, 32, 32), (1, 108, 32, 32))
        maps = [rng.uniform(0.3, 1, shape).astype(np.float32) for shape in shapes]
        for places in maps[1::2]:
            places.reshape(1, -1, 18, *places.shape[2:])[:, :, 2:4] = extent
        return maps

    found = len(PalmDetector(run)(np.zeros((512, 512, 3), np.uint8), 512))
    assert found > 8192 if extent < 1 else found < 64


@pytest.mark.parametrize("extent", [(0.0, 20.0), (20.0, -5.0), (np.nan, 20.0), (np.inf, 20.0)])
def test_boxes_without_an_area_are_no_palms(extent: tuple[float, float]) -> None:
    assert PalmDetector(Answers((8, 0, 3, 3, 0.9, place((0, 0), extent))))(np.zeros((192, 192, 3), np.uint8)) == []


@pytest.mark.parametrize("degrees", [0, 30, 90, 180, -120])
def test_the_square_around_a_hand_goes_from_the_palm_towards_the_fingers(degrees: float) -> None:
    """By hand, for one that points up: half a side of the palm's box further up, and 2.6 times as wide."""
    pivot = np.array([100.0, 80.0])
    turn = geometry.turn_matrix(pivot, degrees)
    wrist, knuckle, middle = geometry.apply_affine(turn, pivot + np.array([[0.0, 20], [0, -20], [0, -40]]))
    square, rotation = Palm(0.9, pivot, wrist, knuckle, 80.0).around_hand()
    np.testing.assert_allclose((square[:2] + square[2:]) / 2, middle, atol=1e-9)
    np.testing.assert_allclose(square[2:] - square[:2], 208.0)
    assert (rotation - degrees + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)


# ---- the shipped file


@pytest.fixture(scope="module")
def palms() -> PalmDetector:
    return open_palms()


@pytest.mark.parametrize("size", [128, SIZE, 320])
def test_it_runs_at_all_sizes(palms: PalmDetector, size: int) -> None:
    for maps, stride in zip(palms.run(np.zeros((size, size, 3), np.uint8)), (8, 8, 16, 16), strict=True):
        assert maps.shape[2:] == (size // stride, size // stride)


def test_the_shipped_file_is_a_small_one_in_half_precision(palms: PalmDetector) -> None:
    path = Path(__file__).parents[1] / "src" / "unclasp" / "weights" / "palms.onnx"
    assert path.stat().st_size < 3_000_000
    assert [answer.shape[1] for answer in palms.run(np.zeros((64, 64, 3), np.uint8))] == [
        2,
        36,
        6,
        108,
    ]


def test_no_palms_in_grey_noise_and_black(palms: PalmDetector) -> None:
    noise = np.repeat(np.random.default_rng(0).integers(0, 256, (120, 160, 1)), 3, axis=2).astype(np.uint8)
    for image in (noise, np.zeros((120, 160, 3), np.uint8)):
        assert palms(image) == []


def test_other_networks_are_told_from_palm_detectors() -> None:
    other = Path(__file__).parents[1] / "src" / "unclasp" / "weights" / "finder.onnx"
    with pytest.raises(CheckpointError, match="no palm detector"):
        open_palms(other)
    with pytest.raises(CheckpointError, match=r"there is no palm detector .*--no-landmarks"):
        open_palms("none.onnx")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real pictures in ../shared are not there")
@pytest.mark.parametrize("name", ["mediapipe_thumb_up", "mediapipe_video_f00101", "hamer_test5"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_real_palms_are_where_mediapipe_has_their_joints(palms: PalmDetector, name: str, mirrored: bool) -> None:
    image = read_picture(REAL / "photos" / f"{name}.jpg")
    hands = json.loads((REAL / "mediapipe" / f"{name}.json").read_text())["hands"]
    flip = geometry.flip_matrix(image.shape[1]) if mirrored else np.eye(3)
    found = palms(np.ascontiguousarray(image[:, ::-1] if mirrored else image))
    for hand in hands:
        joints = geometry.apply_affine(flip, np.asarray(hand["keypoints_2d_px"], dtype=float))  # 0 wrist, 9 knuckle
        off = [
            max(np.linalg.norm(palm.wrist - joints[0]), np.linalg.norm(palm.knuckle - joints[9]))
            for palm in found
            if palm.score > 0.5
        ]
        assert min(off) < 0.2 * geometry.extent(joints)
