"""Prediction files: they read back unchanged, all variants of other methods are read, and damage is reported."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unclasp import geometry
from unclasp.batch import Sample
from unclasp.data.interhand import InterHand
from unclasp.data.synthetic import Synthetic
from unclasp.errors import DataError, UnclaspError
from unclasp.evaluate import PosePredictions, Protocol, Recorder, Report, score_predictions
from unclasp.evaluation.prediction_file import FORMAT, read_predictions, write_predictions
from unclasp.evaluation.scoring import PredictedSample
from unclasp.hands import HAND_ORDERS, JOINT_NAMES

SIZE = 128
MakeSample = Callable[..., Sample]
Fields = dict[str, Any]


class Samples:
    """A data set that provides names and annotation ids without decoding pictures."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples, self.file_names = samples, [sample.name for sample in samples]
        self.annotation_ids = np.array([100 + 7 * index for index in range(len(samples))])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        raise AssertionError("a picture was decoded")

    def record(self, index: int) -> Fields:
        return {name: value for name, value in vars(self.samples[index]).items() if name not in ("image", "parts")}


@pytest.fixture
def dataset(make_sample: MakeSample) -> Samples:
    types = ("interacting", "right", "left", "interacting", "interacting")
    return Samples([make_sample(seed, hands=hands) for seed, hands in enumerate(types)])


@pytest.fixture
def guesses(dataset: Samples) -> np.ndarray:
    """Wrong joints (5, 42, 3) in mm in the camera frame."""
    rng = np.random.default_rng(2)
    return np.stack([safe_joints(sample) + rng.normal(0, 6, (42, 3)) for sample in dataset.samples])


def safe_joints(sample: Sample) -> np.ndarray:
    return np.where(sample.valid[:, None], sample.joints_cam, [0.0, 0.0, 500.0]).astype(np.float64)


def in_crops(dataset: Samples, joints: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
    """Return the 2.5D poses of joints whose wrists are at the true depth."""
    poses = []
    for index, sample in enumerate(dataset.samples):
        box = geometry.square_box(sample.box.astype(np.float64)) if boxes is None else boxes[index]
        poses.append(
            geometry.pose_2p5d_from_cam(joints[index], sample.focal, sample.princpt, geometry.crop_matrix(box, SIZE))
        )
    return np.stack(poses)


def fields_of(dataset: Samples, **fields: Any) -> Fields:
    return {"format": FORMAT, "names": np.array(dataset.file_names), "image_size": SIZE} | fields


def save(path: Path, fields: Fields) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps({name: np.asarray(value).tolist() for name, value in fields.items()}))
    else:
        np.savez(path, **fields)
    return path


def scored(path: Path, dataset: Samples, **options: Any) -> Report:
    return score_predictions(read_predictions(path), dataset, **options)


def pinned_wrists(dataset: Samples, guesses: np.ndarray) -> np.ndarray:
    """Return the guesses with wrists at the true depth, which is what 2.5D and 3D predictions can agree on."""
    joints = guesses.copy()
    for index, sample in enumerate(dataset.samples):
        joints[index, [20, 41], 2] = safe_joints(sample)[[20, 41], 2]
    return joints


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_every_form_of_the_same_prediction_gets_the_same_figures(
    dataset: Samples, guesses: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    joints = pinned_wrists(dataset, guesses)
    offsets = joints[:, 41, 2] - joints[:, 20, 2]
    crops = in_crops(dataset, joints)
    pictures = crops.copy()
    for index, sample in enumerate(dataset.samples):
        pictures[index, :, :2] = geometry.project(joints[index], sample.focal, sample.princpt)
    own = np.array([[-20.0, -35.0, 130.0, 115.0]] * 5) + np.arange(5)[:, None]
    relative = (
        joints - np.repeat(joints[:, [20, 41]], 21, axis=1) + np.repeat([[[9.0, 8, 7]], [[0, 5, -3]]], 21, 0)[:, 0]
    )
    forms = {
        "crop": {"space": "crop", "joints": crops, "root_depth": offsets},
        "own crop": {"space": "crop", "joints": in_crops(dataset, joints, own), "boxes": own, "root_depth": offsets},
        "picture": {"space": "image", "joints": pictures, "root_depth": offsets},
        "camera": {"space": "camera", "joints": joints / 1000, "unit": "m"},
        "relative": {"space": "root_relative", "joints": relative / 10, "unit": "cm"},
    }
    reports = {
        name: scored(save(tmp_path / f"{name}{suffix}", fields_of(dataset, **form)), dataset)
        for name, form in forms.items()
    }
    wanted = reports["crop"].figures
    assert 4 < wanted["mpjpe_all_mm"] < 20 and wanted["mrrpe_mm"] > 1 and wanted["plane_all_px"] > 0.5
    for name, report in reports.items():
        for figure, value in report.figures.items():
            expected = None if name == "relative" and figure.startswith(("plane", "mrrpe")) else wanted[figure]
            assert value == (None if expected is None else pytest.approx(expected, abs=1e-9)), (name, figure)
    assert len({report.notes["predictions"] for report in reports.values()}) == 5
    metres = save(tmp_path / f"metres{suffix}", fields_of(dataset, space="camera", joints=joints / 1000))
    assert "WARNING: a hand is 0." in scored(metres, dataset).notes["predictions"], "without their unit"
    assert not any("WARNING" in report.notes["predictions"] for report in reports.values())


@pytest.mark.parametrize("order", sorted(HAND_ORDERS))
@pytest.mark.parametrize("first", ["right", "left"])
def test_any_joint_order_is_understood(
    dataset: Samples, guesses: np.ndarray, tmp_path: Path, order: str, first: str
) -> None:
    theirs = guesses.reshape(5, 2, 21, 3)[:, :, HAND_ORDERS[order]]
    if first == "left":
        theirs = theirs[:, ::-1]
    fields = fields_of(dataset, space="camera", joints=theirs.reshape(5, 42, 3), order=order, first_hand=first)
    read = read_predictions(save(tmp_path / "p.npz", fields))
    np.testing.assert_array_equal(read.joints_cam, guesses)


def test_the_wrist_of_mano_comes_first(tmp_path: Path) -> None:
    """By hand: MANO's 0 is the wrist, 1 the index base (index1), 16 the thumb's tip (thumb4)."""
    joints = np.zeros((1, 42, 3))
    joints[0, [0, 1, 16, 21 + 16], 0] = [1, 2, 3, 4]
    fields = {"format": FORMAT, "names": ["a"], "space": "camera", "order": "mano", "joints": joints}
    read = read_predictions(save(tmp_path / "p.json", fields)).joints_cam
    assert read is not None
    told = {name: float(read[0, index, 0]) for index, name in enumerate(JOINT_NAMES) if read[0, index, 0]}
    assert told == {"r_wrist": 1, "r_index1": 2, "r_thumb4": 3, "l_thumb4": 4}


@pytest.mark.parametrize("space", ["crop", "image"])
def test_in_pictures_the_unit_is_that_of_the_depths_alone(
    dataset: Samples, guesses: np.ndarray, tmp_path: Path, space: str
) -> None:
    offsets = np.arange(5.0)
    fields = fields_of(dataset, space=space, unit="m", joints=guesses, root_depth=offsets)
    read = read_predictions(save(tmp_path / "p.npz", fields))
    assert read.pose_2p5d is not None
    np.testing.assert_array_equal(read.pose_2p5d, guesses * [1, 1, 1000])
    np.testing.assert_array_equal(read.root_depth, offsets * 1000)


def test_confidences_have_the_order_of_the_joints(dataset: Samples, guesses: np.ndarray, tmp_path: Path) -> None:
    confidence = np.random.default_rng(0).random((5, 42))
    theirs = confidence.reshape(5, 2, 21)[:, ::-1, HAND_ORDERS["mano"]].reshape(5, 42)
    fields = fields_of(dataset, space="camera", joints=guesses, confidence=theirs, order="mano", first_hand="left")
    np.testing.assert_array_equal(read_predictions(save(tmp_path / "p.npz", fields)).confidence, confidence)


def test_samples_are_found_by_name_or_by_id_in_any_order(dataset: Samples, guesses: np.ndarray, tmp_path: Path) -> None:
    order = np.array([3, 1, 4, 0, 2])
    fields = fields_of(dataset, space="camera", joints=guesses)
    plain = scored(save(tmp_path / "plain.npz", fields), dataset)
    mixed = fields | {"names": fields["names"][order], "joints": guesses[order]}
    assert scored(save(tmp_path / "mixed.npz", mixed), dataset) == plain
    del mixed["names"]
    by_id = mixed | {"annotation_ids": dataset.annotation_ids[order]}
    assert scored(save(tmp_path / "ids.npz", by_id), dataset) == plain
    some = scored(save(tmp_path / "some.npz", by_id), dataset, limit=2)
    assert some.samples["all"] == 2 and some.figures != plain.figures


def test_what_is_written_comes_back_to_the_bit(dataset: Samples, guesses: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = PosePredictions(
        pose_2p5d=guesses, image_size=SIZE, presence=rng.random((5, 2)), root_depth=rng.normal(0, 30, 5),
        parts=rng.integers(0, 33, (5, 8, 8)).astype(np.uint8), names=tuple(dataset.file_names),
    )  # fmt: skip
    for predictions in (
        written,
        replace(written, pixels="image"),
        replace(written, boxes=np.arange(20.0).reshape(5, 4) * [1, 1, 2, 2]),
        replace(written, pose_2p5d=None, joints_cam=guesses.astype(np.float32)),
        replace(written, pose_2p5d=None, joints_cam=guesses, relative=True, parts=None, presence=None, names=None,
                annotation_ids=dataset.annotation_ids),
    ):  # fmt: skip
        for suffix in (".npz", ".json"):
            path = tmp_path / f"p{suffix}"
            write_predictions(path, predictions)
            read = read_predictions(path)
            for name in vars_of(predictions):
                left, right = getattr(predictions, name), getattr(read, name)
                assert (left is None) == (right is None), name
                np.testing.assert_array_equal(left, right)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.json", "p.npz"]
    with pytest.raises(UnclaspError, match=r"written as \.npz or \.json, got .*p\.csv"):
        write_predictions(tmp_path / "p.csv", written)


def vars_of(predictions: PosePredictions) -> list[str]:
    return list(PosePredictions.__dataclass_fields__)


def test_known_errors_on_the_golden_set(tmp_path: Path, golden_mini: Path) -> None:
    """Perfect predictions are 0; every right hand's joints but the wrist moved by (3, 4, 12) mm are 13 mm off."""
    data = InterHand(golden_mini, "test")
    samples = [data[index] for index in range(len(data))]
    truth = np.stack([safe_joints(sample) for sample in samples])
    fields = {"format": FORMAT, "names": [sample.name for sample in samples], "space": "camera"}
    perfect = scored(save(tmp_path / "perfect.npz", fields | {"joints": truth}), data).figures  # type: ignore[arg-type]
    moved = truth.copy()
    moved[:, :20] += [3, 4, 12]
    moved[:, 21:42] += [30, 0, 40]
    protocol = Protocol(joints=40)
    report = scored(save(tmp_path / "moved.npz", fields | {"joints": moved}), data, protocol=protocol)  # type: ignore[arg-type]
    for name in ("mpjpe_single_mm", "mpjpe_two_mm", "mpjpe_all_mm", "mrrpe_mm", "plane_all_px"):
        assert perfect[name] == pytest.approx(0, abs=1e-9)
    assert perfect["auc_all"] == 1
    for joint in range(42):
        wanted = 13 if joint < 20 else 0
        assert report.joint_errors[JOINT_NAMES[joint]] == pytest.approx(wanted, abs=1e-9)
    assert report.figures["mpjpe_all_mm"] == pytest.approx(6.5, abs=1e-9)
    assert report.figures["mrrpe_mm"] == pytest.approx(50, abs=1e-9)


DAMAGE: dict[str, tuple[Fields, str]] = {
    "unknown field": ({"joint": 1}, "has unknown joint; the fields are annotation_ids, "),
    "no joints": ({"joints": None}, "lacks joints"),
    "no space": ({"space": None}, "lacks space"),
    "format": ({"format": "other-2"}, f"format must be one of {FORMAT}; got other-2"),
    "space": ({"space": "world"}, "space must be one of crop, image, camera, root_relative; got world"),
    "unit": ({"unit": "inch"}, "unit must be one of mm, cm, m; got inch"),
    "order": ({"order": "coco"}, "order must be one of interhand, "),
    "one hand": ({"joints": np.zeros((5, 21, 3))}, r"joints must have shape \(N, 42, 3\), got \(5, 21, 3\)"),
    "text": ({"joints": np.array(["a"])}, "joints must be numbers of one shape"),
    "too few names": ({"names": np.array(["a"])}, "5 poses but 1 names"),
    "no names": ({"names": None}, "must have either names or annotation_ids"),
    "both": ({"annotation_ids": np.arange(5)}, "must have either names or annotation_ids"),
    "numbers as names": ({"names": np.arange(5)}, "names must be a list of texts, got int64"),
    "broken ids": ({"names": None, "annotation_ids": np.ones(5)}, "annotation_ids must be a list of integers, got fl"),
    "presence": ({"presence": np.zeros(5)}, r"presence must have shape \(5, 2\), got \(5,\)"),
    "root depth": ({"root_depth": np.zeros((5, 1))}, r"root_depth must have shape \(5,\), got \(5, 1\)"),
    "no size": ({"image_size": None}, "lacks image_size"),
    "size": ({"image_size": 0}, "image_size must be a whole number of pixels, got 0"),
    "size as text": ({"image_size": "64"}, "image_size must be a whole number of pixels, got '64'"),
    "presence above 1": ({"presence": np.full((5, 2), 1.5)}, "presence must lie between 0 and 1, got 1.5"),
    "negative confidence": ({"confidence": np.full((5, 42), -3.0)}, "confidence must lie between 0 and 1, got -3"),
    "parts": ({"parts": np.full((5, 8, 8), 40)}, "parts must be part classes 0-32"),
    "boxes": ({"boxes": np.zeros((5, 4))}, "boxes are the crops of space crop"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damage_is_told_in_one_line(dataset: Samples, guesses: np.ndarray, tmp_path: Path, damage: str) -> None:
    change, told = DAMAGE[damage]
    fields = fields_of(dataset, space="crop", joints=guesses) | change
    path = save(tmp_path / "p.npz", {name: value for name, value in fields.items() if value is not None})
    with pytest.raises(DataError, match=told) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


RAGGED = [[1], [1, 2]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        *(
            ({name: RAGGED}, f"{name} must be a value or a list of values")
            for name in ("format", "image_size", "parts")
        ),
        ({"names": [["a"], ["a", "b"]]}, "names must be a value or a list of values"),
        ({"names": None, "annotation_ids": RAGGED}, "annotation_ids must be a value or a list of values"),
        ({"names": None, "annotation_ids": [10**30] * 5}, "annotation_ids must be a list of integers, got object"),
        ({"names": None, "annotation_ids": [2**63] * 5}, r"annotation_ids must be smaller than 2\*\*63, got 92"),
        ({"presence": [[10**400, 0]] * 5}, "presence must be numbers of one shape"),
        ({"order": [["a"], ["b"]]}, r"order must be one of .* got \[\['a'\] \['b'\]\]"),
    ],
)
def test_damaged_json_is_told_in_one_line(
    dataset: Samples, guesses: np.ndarray, tmp_path: Path, change: Fields, told: str
) -> None:
    fields = fields_of(dataset, space="crop", joints=guesses) | change
    plain = {name: getattr(value, "tolist", lambda value=value: value)() for name, value in fields.items()}
    path = tmp_path / "p.json"
    path.write_text(json.dumps({name: value for name, value in plain.items() if value is not None}))
    with pytest.raises(DataError, match=told) as caught:
        read_predictions(path)
    assert str(caught.value).count(str(path)) == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"names": np.array([b"\xff"] * 5)}, "names must be in UTF-8"),
        ({"names": np.frombuffer(b"\xff\xff\xff\x7f" * 5, dtype="<U1")}, "is not a file of predictions"),
        ({"names": None, "annotation_ids": np.full(5, 2**64 - 1, np.uint64)}, "annotation_ids must be smaller than"),
    ],
)
def test_names_and_ids_that_cannot_be_kept_are_told(
    dataset: Samples, guesses: np.ndarray, tmp_path: Path, change: Fields, told: str
) -> None:
    fields = fields_of(dataset, space="crop", joints=guesses) | change
    path = save(tmp_path / "p.npz", {name: value for name, value in fields.items() if value is not None})
    with pytest.raises(DataError, match=told):
        read_predictions(path)


def test_a_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unclasp.npz._MAX_BYTES", 20_000)
    monkeypatch.setattr("unclasp.npz._MAX_RATIO", 1)
    with zipfile.ZipFile(tmp_path / "p.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in range(17):
            archive.writestr(f"{name}.npy", bytes(2**11))
    with pytest.raises(DataError, match="it holds 34,816 bytes, more than the 20,000"):
        read_predictions(tmp_path / "p.npz")


def test_numbers_that_are_none_are_refused_by_name(dataset: Samples, guesses: np.ndarray, tmp_path: Path) -> None:
    guesses[3, 7, 1] = np.nan
    path = save(tmp_path / "p.npz", fields_of(dataset, space="crop", joints=guesses))
    with pytest.raises(DataError, match=r"joints of 1 predictions are not finite, the first of them made:3; write 0"):
        read_predictions(path)
    depths = [0, 0, np.inf, 0, 0]
    path = save(tmp_path / "q.npz", fields_of(dataset, space="crop", joints=np.zeros_like(guesses), root_depth=depths))
    with pytest.raises(DataError, match="root_depth of 1 predictions are not finite, the first of them made:2"):
        read_predictions(path)


@pytest.mark.parametrize("name", ["presence", "confidence"])
@pytest.mark.parametrize("value", [float("nan"), 1.01, -0.2, float("inf")])
def test_probabilities_are_checked_without_a_file_too(guesses: np.ndarray, name: str, value: float) -> None:
    given = np.full((5, {"presence": 2, "confidence": 42}[name]), 0.5)
    PosePredictions(joints_cam=guesses, **{name: given})
    given[3, 1] = value
    with pytest.raises(UnclaspError, match=f"{name} must lie between 0 and 1, got {value:g}"):
        PosePredictions(joints_cam=guesses, **{name: given})


def test_lists_are_as_good_as_arrays(dataset: Samples, guesses: np.ndarray) -> None:
    listed = PosePredictions(joints_cam=guesses.tolist(), names=dataset.file_names)  # type: ignore[arg-type]
    wanted = PosePredictions(joints_cam=guesses, names=tuple(dataset.file_names))
    assert score_predictions(listed, dataset) == score_predictions(wanted, dataset)
    with pytest.raises(UnclaspError, match="joints_cam must be an array of numbers"):
        PosePredictions(joints_cam=[[1.0], [2.0, 3.0]])  # type: ignore[arg-type]
    with pytest.raises(UnclaspError, match="image_size must be a whole number of pixels, got '64'"):
        PosePredictions(pose_2p5d=guesses, image_size="64")  # type: ignore[arg-type]


def test_a_file_needs_names(guesses: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UnclaspError, match=r"p\.npz: these predictions have neither names nor annotation_ids, which"):
        write_predictions(tmp_path / "p.npz", PosePredictions(joints_cam=guesses))
    assert not list(tmp_path.iterdir())


def test_joints_behind_the_camera_are_told(dataset: Samples, guesses: np.ndarray) -> None:
    everything = score_predictions(PosePredictions(joints_cam=guesses), dataset)
    assert "2D error" not in everything.notes
    guesses[0, :10, 2] = -5.0
    report = score_predictions(PosePredictions(joints_cam=guesses), dataset)
    count = sum(int(sample.valid.sum()) for sample in dataset.samples)
    left = count - int(dataset.samples[0].valid[:10].sum())
    assert report.notes["2D error"].startswith(
        f"of {left} of the {count} scored joints ({left / count:.2%}); the others"
    )
    assert "2D error" not in score_predictions(PosePredictions(joints_cam=guesses, relative=True), dataset).notes


def test_predictions_that_are_not_of_crops_have_no_crop_size(dataset: Samples, guesses: np.ndarray) -> None:
    """256 px is only the unit of their 2D error."""
    report = score_predictions(PosePredictions(pose_2p5d=guesses, pixels="image"), dataset)
    assert report.image_size is None and str(report).splitlines()[0] == "predictions on Samples"
    assert Report.from_json(report.to_json()) == report


def test_what_is_no_such_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file of predictions"):
        read_predictions(tmp_path / "nothing.npz")
    contents = {"a.npz": b"PK no zip", "b.json": b"[1", "c.json": b"[1]", "d.npz": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=r"not a file of predictions|must be a JSON object|is not whole JSON"):
            read_predictions(tmp_path / name)
    with pytest.raises(DataError, match=rf"^{tmp_path} is a folder; give the name of a file in it, \.npz or \.json$"):
        read_predictions(tmp_path)
    np.save(tmp_path / "e.npy", np.zeros(3))
    with pytest.raises(DataError, match="is a bare array"):
        read_predictions(tmp_path / "e.npy")
    np.savez(tmp_path / "f.npz", joints=np.array([{"evil": 1}], dtype=object))
    with pytest.raises(DataError, match=r"f\.npz has an array of Python objects; save names by"):
        read_predictions(tmp_path / "f.npz")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["made:0", "made:1", "made:2", "made:3", "made:3"], "sample made:3 is predicted more than once"),
        (
            ["made:0", "made:1", "made:2", "made:3", "other"],
            "1 predictions are of no sample of the data set, in which the first is made:0: other",
        ),
        (["made:0", "made:1", "made:2", "made:3"], "1 samples of the data set have no prediction: made:4"),
    ],
)
def test_predictions_of_other_samples_are_refused(
    dataset: Samples, guesses: np.ndarray, tmp_path: Path, names: list[str], told: str
) -> None:
    fields = fields_of(dataset, space="camera", joints=guesses[: len(names)]) | {"names": np.array(names)}
    with pytest.raises(UnclaspError, match=told):
        scored(save(tmp_path / "p.npz", fields), dataset)


def test_a_recorder_keeps_what_a_model_said_to_the_bit(tmp_path: Path) -> None:
    """Single precision stays single, double stays double; shares of several processes join in any order."""
    rng = np.random.default_rng(4)
    poses = [rng.normal(0, 50, (42, 3)).astype(dtype) for dtype in (np.float32, np.float64, np.float32)]
    recorders = [Recorder(), Recorder()]
    for index in (1, 2, 0):
        answer = PredictedSample(image_size=SIZE, pose_2p5d=poses[index].astype(np.float64), root_depth=index / 3)
        recorders[index % 2].add(index, f"s{index}", answer, with_parts=False)
    recorders[0].join(recorders[1])
    kept = recorders[0].predictions(SIZE)
    assert kept.names == ("s0", "s1", "s2") and kept.presence is kept.parts is None
    write_predictions(tmp_path / "p.npz", kept)
    read = read_predictions(tmp_path / "p.npz")
    assert read.pose_2p5d is not None and read.root_depth is not None
    np.testing.assert_array_equal(read.pose_2p5d, np.stack(poses))
    np.testing.assert_array_equal(read.root_depth, np.arange(3) / 3)


def test_synthetic_samples_have_names_before_they_are_rendered() -> None:
    data = Synthetic(3, 2, image_size=64)
    assert data.file_names == [data[0].name, data[1].name]


def test_ids_need_a_data_set_that_has_them(dataset: Samples, guesses: np.ndarray) -> None:
    predictions = PosePredictions(joints_cam=guesses, annotation_ids=dataset.annotation_ids)
    dataset.annotation_ids = None  # type: ignore[assignment]
    with pytest.raises(UnclaspError, match="annotation ids, which this data set does not have; use names"):
        score_predictions(predictions, dataset)
    with pytest.raises(UnclaspError, match="either pose_2p5d or joints_cam"):
        PosePredictions(image_size=SIZE)


def test_confidence_is_a_share(dataset: Samples, guesses: np.ndarray, tmp_path: Path) -> None:
    fields = fields_of(dataset, joints=guesses, space="camera", confidence=np.full((5, 42), 80.0))
    with pytest.raises(DataError, match="confidence must lie between 0 and 1"):
        read_predictions(save(tmp_path / "percent.npz", fields))
