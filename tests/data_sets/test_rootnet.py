"""RootNet's boxes and depths: looked up by annotation id, used unchanged, and checked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unclasp.cli import main
from unclasp.data.interhand import InterHand
from unclasp.data.rootnet import read_rootnet
from unclasp.errors import DataError
from unclasp.evaluate import External, PosePredictions, Protocol, score_predictions
from unclasp.geometry import crop_matrix, pose_2p5d_from_cam


@pytest.fixture
def dataset(golden_mini: Path) -> InterHand:
    return InterHand(golden_mini, "test")


def entries_of(dataset: InterHand, *, farther: float = 1.0) -> list[dict[str, Any]]:
    """Return a box and the true depths, times a factor, of every annotation, in reverse order."""
    entries = []
    for index in range(len(dataset)):
        sample = dataset[index]
        depths = [float(sample.joints_cam[root, 2]) * farther if sample.valid[root] else 700.0 for root in (20, 41)]
        box = [20.0 + index, 30.5, 180.0, 180.0]
        entries.append({"annot_id": int(dataset.annotation_ids[index]), "bbox": box, "abs_depth": depths})
    return entries[::-1]


def save(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def true_poses(dataset: InterHand, boxes: list[np.ndarray]) -> np.ndarray:
    poses = []
    for index, box in enumerate(boxes):
        sample = dataset[index]
        joints = np.where(sample.valid[:, None], sample.joints_cam, 500).astype(np.float64)
        poses.append(pose_2p5d_from_cam(joints, sample.focal, sample.princpt, crop_matrix(box, 256)))
    return np.stack(poses)


def test_it_is_found_by_annotation_id(dataset: InterHand, tmp_path: Path) -> None:
    entries = entries_of(dataset)
    rootnet = read_rootnet(save(tmp_path / "r.json", entries), dataset)
    assert len(rootnet.boxes) == len(rootnet.root_depths) == len(dataset) == len(list(rootnet.boxes))
    for entry in entries:
        index = dataset.annotation_ids.tolist().index(entry["annot_id"])
        x, y, width, height = entry["bbox"]
        assert rootnet.boxes[dataset.file_names[index]].tolist() == [x, y, x + width, y + height]
        assert rootnet.root_depths[dataset.file_names[index]].tolist() == entry["abs_depth"]


def test_boxes_are_not_expanded_again_and_depths_are_used(dataset: InterHand, tmp_path: Path) -> None:
    """Poses that are correct in RootNet's boxes have no error, at the true depths."""
    boxes = [np.array([20.0 + index, 30.5, 200.0 + index, 210.5]) for index in range(len(dataset))]
    predictions = PosePredictions(pose_2p5d=true_poses(dataset, boxes), names=tuple(dataset.file_names))
    protocol = Protocol(box_source="rootnet", depth_source="rootnet")

    def error(farther: float) -> float:
        rootnet = read_rootnet(save(tmp_path / "r.json", entries_of(dataset, farther=farther)), dataset)
        external = External(boxes=rootnet.boxes, root_depths=rootnet.root_depths)
        figures = score_predictions(predictions, dataset, protocol=protocol, external=external).figures
        assert figures["mpjpe_all_mm"] is not None
        return figures["mpjpe_all_mm"]

    assert error(1.0) == pytest.approx(0, abs=1e-3)
    assert error(1.1) > 2
    expanded = score_predictions(predictions, dataset).figures["mpjpe_all_mm"]
    assert expanded is not None and expanded > 5


def test_the_command_names_file_and_choice(
    dataset: InterHand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "rootnet_test.json", entries_of(dataset))
    words = ["--mean-pose", "--workers", "0", "--rootnet", str(path), "--depth-source", "rootnet"]
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", f"interhand:{dataset.root}:test", *words, "--box-source", "rootnet"])
    told = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "depth: RootNet's depth of each hand's wrist" in told and "RootNet: rootnet_test.json" in told
    assert "crop: RootNet's box as it is, not expanded again" in told


DAMAGE: dict[str, tuple[Any, str]] = {
    "not JSON": ("[{", "is not whole JSON"),
    "no list": ({"annot_id": 1}, "must be a list of annot_id, bbox"),
    "no depth": ([{"annot_id": 1, "bbox": [0, 0, 1, 1]}], "must be a list of annot_id, bbox .*KeyError: 'abs_depth'"),
    "three numbers": ([{"annot_id": 1, "bbox": [0, 0, 1], "abs_depth": [1, 2]}], "must be a list of"),
    "no area": ([{"annot_id": 5, "bbox": [0, 0, 0, 1], "abs_depth": [1, 2]}], "annotation 5 must have a box of 4"),
    "not finite": ([{"annot_id": 6, "bbox": [0, 0, 1, 1], "abs_depth": [1, float("nan")]}], "annotation 6 must have"),
    "another set": ([{"annot_id": 0, "bbox": [0, 0, 1, 1], "abs_depth": [1, 2]}], "lacks 32 of the 33 annotations"),
    "nested": ("[" * 100_000, "is not whole JSON .it is nested too deeply"),
    "digits": ('[{"annot_id": ' + "9" * 5000, "is not whole JSON .* thousands of digits"),
    "endless id": ('[{"annot_id": 1e999, "bbox": [0, 0, 1, 1], "abs_depth": [1, 2]}]', "must be a list of .*OverflowE"),
    "400 digits": ([{"annot_id": 1, "bbox": [0, 0, 1, 10**400], "abs_depth": [1, 2]}], "must be a list of .*OverflowE"),
    "huge": ([{"annot_id": 6, "bbox": [0, 0, 1, 1e300], "abs_depth": [1, 2]}], "annotation 6 must have"),
    "twice": ([{"annot_id": 9, "bbox": [0, 0, 1, 1], "abs_depth": [1, 2]}] * 2, "has annotation 9 more than once"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damage_is_told_in_one_line(dataset: InterHand, tmp_path: Path, damage: str) -> None:
    content, told = DAMAGE[damage]
    path = save(tmp_path / "r.json", content)
    if isinstance(content, str):
        path.write_text(content)
    with pytest.raises(DataError, match=told) as caught:
        read_rootnet(path, dataset)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_not_there_is_told(dataset: InterHand, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read .*download of their own"):
        read_rootnet(tmp_path / "nothing.json", dataset)

    class Nameless:
        def __len__(self) -> int:
            return 0

        def __getitem__(self, index: int) -> Any:
            raise IndexError

    with pytest.raises(DataError, match="annotation ids, which this data set does not have"):
        read_rootnet(tmp_path / "nothing.json", Nameless())
