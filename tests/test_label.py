"""Training data from pictures without annotations: what predictions are certain of."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from command_line import run_here
from made_hands import two_hands
from poses import HEIGHT, WIDTH, pose_of
from unclasp import geometry
from unclasp.checkpoint import load_model
from unclasp.commands.label import LabelArguments
from unclasp.data import open_dataset
from unclasp.data.interhand import InterHand
from unclasp.data.mixed import Mixed
from unclasp.data.store import write_samples
from unclasp.errors import DataError, UnclaspError
from unclasp.hands import HAND_SLICES
from unclasp.pose import HandPose
from unclasp.training.pseudo_labels import MIN_CONFIDENCE, sample_of

EXAMPLE = Path(__file__).parents[1] / "examples" / "two_hands.jpg"


def pose_over(image: np.ndarray, *, distance: float = 600.0, **fields: object) -> HandPose:
    known = {"image": image, "confidence": np.full(42, 0.9), "source": "photo.jpg"}
    return pose_of(two_hands(0, (distance, distance)), **{**known, **fields})


def ramps() -> np.ndarray:
    """Return a picture whose red tells the column and whose green tells the row."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    ramps = [columns * 255 / WIDTH, rows * 255 / HEIGHT, np.full((HEIGHT, WIDTH), 200)]
    return np.stack(ramps, axis=2).astype(np.uint8)


@pytest.mark.parametrize("distance", [350.0, 600.0, 1500.0])
def test_the_labels_lie_on_the_same_pixels_as_the_pose(distance: float) -> None:
    pose = pose_over(ramps(), distance=distance)
    sample = sample_of(pose)
    assert sample is not None and sample.valid.all() and sample.parts is None and sample.name == "photo.jpg"
    np.testing.assert_allclose(sample.joints_cam, pose.joints_cam, rtol=1e-6)
    pixels = geometry.project(sample.joints_cam, sample.focal, sample.princpt)
    height, width = sample.image.shape[:2]
    seen = (pixels > 2).all(axis=1) & (pixels < (width - 3, height - 3)).all(axis=1)
    assert seen.sum() > 20
    colours = cv2.remap(sample.image, pixels[seen].astype(np.float32)[None], None, cv2.INTER_LINEAR)[0]  # type: ignore[call-overload]
    told = colours[:, :2] / 255 * (WIDTH, HEIGHT)
    assert np.abs(told - pose.joints_2d[seen]).max() < 4, "a level is two and a half columns"
    side = (geometry.tight_box(pixels)[2:] - geometry.tight_box(pixels)[:2]).max()
    assert side < 230.5
    np.testing.assert_allclose(sample.box, geometry.expand_box(geometry.tight_box(pixels), 1.2), atol=0.01)
    assert min(width, height) >= 0.9 * min(2.6 * side, HEIGHT * side / max(np.ptp(pose.joints_2d, axis=0)))


def test_resizing_moves_the_labels_by_less_than_a_tenth_of_a_pixel() -> None:
    columns = np.arange(WIDTH)
    wave = 128 + 100 * np.sin(columns / 12)
    pose = pose_over(np.tile(wave.round().astype(np.uint8)[None, :, None], (HEIGHT, 1, 3)), distance=350.0)
    sample = sample_of(pose)
    assert sample is not None
    scale = sample.focal[0] / pose.camera.focal[0]
    assert scale < 0.8
    pixels = geometry.project(sample.joints_cam, sample.focal, sample.princpt).astype(np.float32)
    seen = (pixels > 2).all(axis=1) & (pixels < np.subtract(sample.image.shape[1::-1], 3)).all(axis=1)
    found = cv2.remap(sample.image, pixels[None], None, cv2.INTER_CUBIC)[0, :, 0].astype(float)  # type: ignore[call-overload]
    slope = 100 / 12 * np.cos(pose.joints_2d[:, 0] / 12)
    steep = seen & (np.abs(slope) > 4)
    offsets = (found - (128 + 100 * np.sin(pose.joints_2d[:, 0] / 12)))[steep] / slope[steep]
    assert steep.sum() > 10 and abs(offsets.mean()) < 0.1, f"half a pixel there is {0.5 / scale - 0.5:.2f} here"


def test_small_hands_are_not_enlarged_and_dark_pictures_are_brightened() -> None:
    pose = pose_over(ramps() // 4, distance=1500.0)
    sample = sample_of(pose)
    assert sample is not None and sample.focal[0] == np.float32(pose.camera.focal[0])
    assert sample.image[..., 2].min() > 90, "50 of 255 before"


def test_only_what_is_certain_is_valid() -> None:
    image = ramps()
    confidence = np.full(42, 0.9)
    confidence[3], confidence[20] = 0.2, 0.2
    sample = sample_of(pose_over(image, confidence=confidence))
    assert sample is not None and list(np.flatnonzero(~sample.valid)) == [3], "wrists stay: hands need them"
    assert sample.hand_type_valid and sample.hand_type.all()
    unsure = np.repeat([0.9, 0.45], 21)
    sample = sample_of(pose_over(image, confidence=unsure))
    assert sample is not None and sample.valid[HAND_SLICES[0]].all() and not sample.valid[HAND_SLICES[1]].any()
    assert sample.hand_type.all() and not sample.hand_type_valid, "perhaps there is no left hand"
    assert sample_of(pose_over(image, confidence=np.full(42, 0.45))) is None
    assert sample_of(pose_over(image, confidence=np.full(42, 0.45)), min_confidence=0.4) is not None
    assert sample_of(pose_over(image, confidence=np.full(42, 0.2)), min_confidence=0.1) is None, "in doubt"


def test_a_hand_that_is_not_reported_is_absent_only_if_it_is_hardly_present() -> None:
    one = np.array([True, False])
    for presence, known in ((0.1, True), (0.5, False)):
        sample = sample_of(pose_over(ramps(), present=one, presence=np.array([0.9, presence])))
        assert sample is not None and list(sample.hand_type) == [True, False]
        assert sample.hand_type_valid is known
        assert not sample.valid[HAND_SLICES[1]].any()
    assert sample_of(pose_over(ramps(), present=np.array([False, False]))) is None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"image": None}, "with its picture and confidences"),
        ({"confidence": None}, "with its picture and confidences"),
        ({"mirrored": True}, "no mirror images"),
    ],
)
def test_what_cannot_be_labelled_is_told(fields: dict[str, object], told: str) -> None:
    with pytest.raises(UnclaspError, match=told):
        sample_of(replace(pose_over(ramps()), **fields))  # type: ignore[arg-type]


def test_samples_read_back_as_they_were_written(tmp_path: Path) -> None:
    unsure = np.repeat([0.9, 0.45], 21)
    first, second = sample_of(pose_over(ramps())), sample_of(pose_over(ramps(), confidence=unsure))
    assert first is not None and second is not None
    assert write_samples(tmp_path, [first, second], split="mine") == 2
    read = InterHand(tmp_path, "mine")
    assert len(read) == 2
    for ours, theirs in zip((read[0], read[1]), (first, second), strict=True):
        np.testing.assert_array_equal(ours.valid, theirs.valid)
        np.testing.assert_allclose(ours.joints_cam[ours.valid], theirs.joints_cam[theirs.valid], atol=1e-3)
        assert (ours.hand_type == theirs.hand_type).all() and ours.hand_type_valid == theirs.hand_type_valid
        assert ours.parts is None and np.abs(ours.image.astype(int) - theirs.image).mean() < 3, "JPEG"
        for name in ("focal", "princpt", "box"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, err_msg=name)
    joints = json.loads((tmp_path / "annotations" / "mine" / "InterHand2.6M_mine_joint_3d.json").read_text())["0"]
    assert [joints[frame]["hand_type_valid"] for frame in ("0", "1")] == [True, False]
    with pytest.raises(DataError, match="has a split mine already: remove it, or choose"):
        write_samples(tmp_path, [first], split="mine")
    with pytest.raises(DataError, match="nothing to write"):
        write_samples(tmp_path / "other", [])
    assert not (tmp_path / "other").exists()
    with pytest.raises(DataError, match="plain name"):
        write_samples(tmp_path, [first], split="../mine")


class Numbers:
    """A data set of which only the indices matter."""

    def __init__(self, size: int, name: str) -> None:
        self.size, self.recipe = size, name

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[str, int]:
        assert 0 <= index < self.size
        return self.recipe, index


def drawn(first: int, second: int, share: float) -> list[tuple[str, int]]:
    mixed = Mixed(Numbers(first, "a"), Numbers(second, "b"), share)  # type: ignore[arg-type]
    return [mixed[index] for index in range(len(mixed))]  # type: ignore[misc]


def test_a_share_of_the_mixed_samples_is_of_the_second_set() -> None:
    repeated = drawn(30, 3, 0.25)
    assert repeated[:30] == [("a", index) for index in range(30)]
    counts = [repeated[30:].count(("b", index)) for index in range(3)]
    assert sum(counts) == 10 == len(repeated) - 30 and min(counts) == 3
    part = drawn(4, 1000, 0.5)
    assert part[4:] == [("b", index) for index in (0, 250, 500, 750)]
    with pytest.raises(IndexError, match="must lie in"):
        Mixed(Numbers(3, "a"), Numbers(3, "b"), 0.5)[6]  # type: ignore[arg-type]


def test_a_mixture_is_recognised_by_both_sets_and_the_share() -> None:
    a, b, c = (Numbers(9, name) for name in "abc")
    mixtures = (a, b, 0.2), (b, a, 0.2), (a, c, 0.2), (a, b, 0.3)
    recipes = {Mixed(first, second, share).recipe for first, second, share in mixtures}  # type: ignore[arg-type]
    assert len(recipes) == 4


def test_impossible_mixtures_are_refused() -> None:
    for share in (0.0, 1.0):
        with pytest.raises(DataError, match="must lie between 0 and 1"):
            Mixed(Numbers(3, "a"), Numbers(3, "b"), share)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="empty"):
        Mixed(Numbers(3, "a"), Numbers(0, "b"), 0.5)  # type: ignore[arg-type]


def test_pictures_are_labelled_and_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, labels, run = tmp_path / "photos", tmp_path / "labels", tmp_path / "run"
    assert LabelArguments.min_confidence == MIN_CONFIDENCE
    photos.mkdir()
    picture = cv2.imread(str(EXAMPLE))
    cv2.imwrite(str(photos / "hands.png"), picture)
    cv2.imwrite(str(photos / "none.png"), np.full((240, 320, 3), 120, np.uint8))
    command = ["label", str(photos), "--out", str(labels), "--min-confidence", "0.3"]
    code, told, _ = run_here(capsys, *command)
    assert code == 0
    assert told == f"{labels}: labels for 1 of 2 pictures; train with --also interhand:{labels}\n"
    dataset = open_dataset(f"interhand:{labels}")
    assert len(dataset) == 1 and dataset[0].hand_type.all() and dataset[0].valid.sum() > 30
    code, _, errors = run_here(capsys, *command)
    assert code == 2 and "has a split train already" in errors
    data = f"interhand:{labels}"
    words = ["train", "tiny", "--data", data, "--also", data, "--also-share", "0.75", "--out", str(run)]
    code, _, errors = run_here(capsys, *words, "--train.epochs", "1", "--accelerator", "cpu", "--workers", "0")
    assert code == 0, errors
    load_model(run / "weights.safetensors")
    empty = tmp_path / "empty"
    for words in (["none.png"], ["hands.png", "--min-confidence", "1"]):
        code, _, errors = run_here(capsys, "label", str(photos / words[0]), *words[1:], "--out", str(empty))
        assert code == 2 and "nothing to write" in errors and not empty.exists()
