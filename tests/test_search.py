"""Where predictions without a box take place: by the finder, the network's own search, or everywhere."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bright import Bright
from unclasp import geometry
from unclasp.engines.network import NetworkOutput
from unclasp.engines.onnx_model import ExportedNetwork, OnnxModel, OpenVinoModel
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.find import search
from unclasp.find.boxes import SNAPS_PER_SIDE
from unclasp.find.crop_predictor import WIDER_CROP_SHARE
from unclasp.find.finder import Finder, Regions
from unclasp.find.search import Proposal, by_finder, everywhere, search_with
from unclasp.hands import ROOTS
from unclasp.predictor import Predictor


class Still:
    """A network that finds no hands and puts all joints in the middle; counts the crops of each call."""

    name, image_size = "still", 64

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
        self.calls.append(len(crops))
        pose = np.zeros((len(crops), 42, 3))
        pose[..., :2] = 32
        return NetworkOutput(pose, np.zeros((len(crops), 2)), None, np.zeros((len(crops), 16, 16)))


class Fixed(Finder):
    """A finder that always finds the same regions."""

    def __init__(self, *regions: tuple[float, tuple[float, float, float, float]]) -> None:
        boxes = np.array([box for _, box in regions], float).reshape(-1, 4)
        self.found = Regions(boxes, np.array([score for score, _ in regions]))

    def __call__(self, image: np.ndarray) -> Regions:
        return self.found


class Shrinking(Still):
    """A network whose joints fill the middle of any crop; `hands` has the number of hands in each crop.

    The others have the probability `unseen`: more than denied, less than there.
    """

    def __init__(self, *hands: int, share: float = 0.5, unseen: float = 0.26) -> None:
        super().__init__()
        self.hands, self.share, self.unseen = hands, share, unseen

    def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
        answer = super().__call__(crops)
        answer.pose_2p5d[:, ::2, :2] -= 32 * self.share
        answer.pose_2p5d[:, 1::2, :2] += 32 * self.share
        answer.pose_2p5d[:, ROOTS, :2] = [32, 32 + 32 * self.share]  # the hands point up
        answer.presence[:] = self.unseen
        answer.presence[:, : self.hands[len(self.calls) - 1]] = 1
        return answer


class Sure(Shrinking):
    """The same, with a confidence for each crop."""

    def __init__(self, sure: tuple[float, ...], *hands: int) -> None:
        super().__init__(*hands)
        self.sure = sure

    def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
        answer = super().__call__(crops)
        return answer._replace(confidence=np.full((len(crops), 42), self.sure[len(self.calls) - 1]))


def picture() -> np.ndarray:
    return np.zeros((300, 400, 3), np.uint8)


def test_the_best_region_is_cropped_as_an_annotated_box_and_the_others_are_reported() -> None:
    network = Still()
    find = Fixed((0.9, (100, 100, 180, 140)), (0.5, (300, 50, 320, 90)))
    pose = Predictor(network, search=by_finder(find, network))(picture())
    annotated = np.array([92, 96, 188, 144.0])
    square = geometry.square_box(geometry.expand_box(annotated, search.FIRST_CROP_ROOM))
    np.testing.assert_allclose(pose.box, square, atol=1.5 * np.ptp(square[::2]) / SNAPS_PER_SIDE)
    assert pose.other_regions is not None
    np.testing.assert_allclose(pose.other_regions, [[298, 46, 322, 94]])
    assert pose.to_dict()["other_regions"] == [[298, 46, 322, 94]]
    assert not pose.other_regions.flags.writeable
    assert network.calls == [1], "a crop without a hand ends the search"


@pytest.mark.parametrize(
    ("hands", "looks", "counts"),
    [((1, 1, 1), 3, 2), ((1, 2, 2), 3, 2), ((2, 1, 2), 3, 2), ((2, 2, 1), 3, 1), ((2, 0), 2, 1), ((0,), 1, 0)],
)
def test_crops_zoom_in_twice_unless_the_last_one_loses_a_hand(hands: tuple[int, ...], looks: int, counts: int) -> None:
    network = Shrinking(*hands)
    pose = Predictor(network, search=lambda _: Proposal(np.array([100.0, 50, 260, 210])))(picture())
    assert len(network.calls) == looks
    closer = 0.5 * geometry.TIGHT_TO_ANNOTATED * 1.25
    assert np.ptp(pose.box[::2]) == pytest.approx(160 * closer**counts, rel=3 / SNAPS_PER_SIDE)
    assert pose.present.sum() == hands[counts]


def test_a_missing_hand_counts_if_it_is_the_only_one() -> None:
    class Sides(Shrinking):
        def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
            answer = super().__call__(crops)
            return answer if len(self.calls) == 1 else answer._replace(presence=answer.presence[:, ::-1])

    network = Sides(1, 1, 1, unseen=0.0)
    pose = Predictor(network, search=lambda _: Proposal(np.array([100.0, 50, 260, 210])))(picture())
    assert pose.sides == ("left",)


@pytest.mark.parametrize(("share", "looks"), [(0.61, 3), (0.62, 2), (0.72, 2), (0.73, 3)])
def test_a_crop_that_fits_its_joints_is_the_last(share: float, looks: int) -> None:
    network = Shrinking(1, 1, 1, share=share)  # a crop whose joints fill 1 / 1.5 of it fits them
    Predictor(network, search=lambda _: Proposal(np.array([100.0, 50, 260, 210])))(picture())
    assert len(network.calls) == looks


def test_a_closer_crop_without_hands_counts_whatever_the_confidence_before() -> None:
    for sure, hands in itertools.product((0.4, 0.01), ((1, 0), (2, 0))):
        assert not Predictor(Sure((0.4, sure), *hands), search=everywhere)(picture()).present.any()


def test_a_second_hand_in_a_closer_crop_does_not_make_it_less_confident() -> None:
    class SecondUnsure(Sure):
        def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
            answer = super().__call__(crops)
            assert answer.confidence is not None
            answer.confidence[:, 21:] = 0.0
            return answer

    network = SecondUnsure((0.9, 0.8, 0.8), 1, 2, 2)
    pose = Predictor(network, search=everywhere, second_opinions=False)(picture())
    assert pose.sides == ("right", "left")


def test_the_last_crop_is_averaged_with_the_one_before_it() -> None:
    """Hands fill half of each crop, which is 1.5 times as large as those in the crop before: 60 px, then 45 px."""
    where = Proposal(np.array([100.0, 50, 260, 210]), np.zeros((0, 4)))
    pose = Predictor(Shrinking(1, 1, 1), search=lambda _: where)(picture())
    extent = (1 - WIDER_CROP_SHARE) * 45 + WIDER_CROP_SHARE * 60
    np.testing.assert_allclose(np.ptp(pose.joints_2d[:20], axis=0), extent, rtol=3 / SNAPS_PER_SIDE)


def test_a_hand_that_points_up_leaves_the_presence_of_the_other_one() -> None:
    pose = Predictor(Shrinking(1, unseen=0.4))(picture(), (100, 50, 260, 210))
    np.testing.assert_array_equal(pose.presence, [1, 0.4])


@pytest.mark.parametrize(
    ("sure", "kept"), [((0.4, 0.19, 0.9), 0.4), ((0.4, 0.21, 0.1), 0.21), ((0.4, 0.3, 0.35), 0.35)]
)
def test_a_closer_crop_with_a_far_lower_confidence_does_not_count(sure: tuple[float, ...], kept: float) -> None:
    pose = Predictor(Sure(sure, 2, 2, 2), search=everywhere)(picture())
    assert pose.confidence is not None and pose.confidence.mean() == pytest.approx(kept)


def test_the_network_searches_where_the_finder_finds_nothing() -> None:
    network = Still()
    where = by_finder(Fixed(), network)(picture())
    np.testing.assert_allclose(where.square, everywhere(picture()).square)
    assert len(where.others) == 0
    assert len(network.calls) == 1 and network.calls[0] > 4, "the network ran on windows"


def test_the_finder_s_first_region_counts_whatever_its_score() -> None:
    """The first one is larger, and has a lower score than the next one."""
    regions = Fixed((0.26, (100, 100, 180, 140)), (0.9, (300, 50, 320, 90)))
    where = by_finder(regions, Still())(picture())
    np.testing.assert_allclose((where.square[:2] + where.square[2:]) / 2, [140, 120])
    assert len(where.others) == 1


def test_a_doubtful_picture_can_be_searched_by_the_network_too() -> None:
    where = by_finder(Fixed((0.9, (100, 100, 180, 140))), Still())(picture())
    assert where.fallback is not None
    np.testing.assert_allclose(where.fallback(), everywhere(picture()).square)


def test_everywhere_is_the_square_around_the_picture() -> None:
    assert everywhere(picture()).square.tolist() == [-0.5, -50.5, 399.5, 349.5]


def test_a_given_box_is_not_searched_for() -> None:
    def never(image: np.ndarray) -> Proposal:
        raise AssertionError("searched")

    pose = Predictor(Still(), search=never)(picture(), [10, 10, 60, 70])
    assert pose.other_regions is None and pose.to_dict()["other_regions"] is None


def test_other_regions_of_a_mirror_image_are_in_its_own_pixels() -> None:
    find = Fixed((0.9, (100, 100, 180, 140)), (0.5, (300, 50, 320, 90)))
    pose = Predictor(Still(), search=by_finder(find, Still()))(picture(), mirrored=True)
    np.testing.assert_allclose(pose.other_regions, [[399 - 322, 46, 399 - 298, 94]])


@pytest.mark.parametrize(("shape", "side"), [((3000, 4000), 260), ((400, 500), 30)])
def test_small_hands_in_large_and_small_pictures_are_cropped(shape: tuple[int, int], side: int) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[shape[0] // 2 : shape[0] // 2 + side, 40 : 40 + side] = 255
    square = Predictor(Still(), search=by_finder(Finder(Bright()), Still()))(image).box
    assert square[2] - square[0] == pytest.approx(1.5 * search.FIRST_CROP_ROOM * side, rel=0.25)
    assert (square[0] + square[2]) / 2 == pytest.approx(40 + side / 2, abs=0.2 * side)


def test_detectors_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = Still()
    assert search_with("none", network) is everywhere
    assert len(search_with("network", network)(picture()).others) == 0 and network.calls[0] > 4
    monkeypatch.setattr(search, "open_finder", lambda *, spin, threads: Fixed((0.9, (0, 0, 30, 30))))
    np.testing.assert_allclose(search_with("finder", network)(picture()).square, [-12, -12, 42, 42])


def test_an_unknown_detector_is_no_finder() -> None:
    with pytest.raises(UnclaspError, match="detector must be one of finder, network, none, got 'seeker'"):
        search_with("seeker", Still())  # type: ignore[arg-type]


def test_the_finder_waits_busily_only_beside_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(search, "open_finder", lambda *, spin, threads: asked.append(spin))
    exported = ExportedNetwork.__new__(ExportedNetwork)
    for engine in (OnnxModel, OpenVinoModel):
        exported.model = engine.__new__(engine)
        search_with("finder", exported)
    search_with("finder", Still())
    assert asked == [True, False, False]


def test_a_missing_finder_is_an_error_unless_it_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("unclasp.engines.onnx_engine.WEIGHTS", tmp_path)
    with pytest.raises(CheckpointError, match="there is no hand finder"):
        Predictor.load()
    assert Predictor.load(detector="none", landmarks=False).search is everywhere


def test_the_command_crops_the_whole_picture_with_detector_none(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (90, 120, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "dark.png"), noise)
    command = [sys.executable, "-m", "unclasp", "predict", "dark.png", "--detector", "none", "--out", "out"]
    done, wrong = (
        subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        for words in (command, [*command[:-4], "--detector", "face"])
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/dark.json").read_text())["other_regions"] == []
    assert wrong.returncode == 2 and "--detector" in wrong.stderr
