"""The evaluator: the published evaluators' own figures, a slow reference, and what must hold for any model."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unclasp import geometry
from unclasp.batch import Prediction, Sample
from unclasp.data.interhand import InterHand
from unclasp.data.transforms import PART_STRIDE, View, make_example
from unclasp.errors import UnclaspError
from unclasp.evaluate import (
    External,
    MeanPose,
    PosePredictions,
    Protocol,
    Report,
    collect_scores,
    evaluate,
    mean_pose,
    score_predictions,
    share_of,
)

GOLDEN = Path(__file__).parent / "data" / "golden"
SIZE = 64
MakeSample = Callable[..., Sample]


class Samples:
    """A data set in memory."""

    name = "made"

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class Replay(nn.Module):
    """Answers the crops of a data set, in its order, with prepared poses."""

    def __init__(self, poses: np.ndarray, **heads: np.ndarray) -> None:
        super().__init__()
        self.poses, self.heads, self.seen, self.modes = torch.from_numpy(poses), heads, 0, []
        self.dropout = nn.Dropout()

    def forward(self, image: Tensor) -> Prediction:
        assert image.dtype == torch.uint8
        assert image.shape[1:] == (3, SIZE, SIZE)
        self.modes.append(self.training or self.dropout.training)
        rows = slice(self.seen, self.seen + len(image))
        self.seen += len(image)
        heads = {name: torch.from_numpy(values[rows]) for name, values in self.heads.items()}
        logits = torch.zeros(len(image), 33, SIZE // PART_STRIDE, SIZE // PART_STRIDE)
        return Prediction(
            pose_2p5d=self.poses[rows], steps=(), relations=(), presence=heads.get("presence"),
            root_depth=heads.get("root_depth"), part_logits=heads.get("part_logits", logits),
        )  # fmt: skip


def true_pose(sample: Sample, size: int = SIZE) -> np.ndarray:
    joints = np.where(sample.valid[:, None], sample.joints_cam, 1).astype(np.float64)
    matrix = geometry.crop_matrix(geometry.square_box(sample.box.astype(np.float64)), size)
    return geometry.pose_2p5d_from_cam(joints, sample.focal, sample.princpt, matrix)


@pytest.fixture
def dataset(make_sample: MakeSample) -> Samples:
    """Seven pictures of every type; some joints, one wrist and one label cannot be used, one has no mask."""
    types = ("interacting", "right", "left", "interacting", "interacting", "left", "interacting")
    samples = [make_sample(seed, hands=hands) for seed, hands in enumerate(types)]
    rng = np.random.default_rng(0)
    for index, sample in enumerate(samples):
        valid = sample.valid & (rng.random(42) < 0.85)
        valid[[20, 41]] = sample.valid[[20, 41]]
        samples[index] = replace(sample, valid=valid)
    wristless = samples[3].valid.copy()
    wristless[20] = False
    samples[3] = replace(samples[3], valid=wristless)
    samples[4] = replace(samples[4], hand_type_valid=False)
    samples[5] = replace(samples[5], parts=None)
    return Samples(samples)


@pytest.fixture
def guesses(dataset: Samples) -> dict[str, np.ndarray]:
    """Predictions that are wrong everywhere."""
    rng = np.random.default_rng(1)
    poses = np.stack([true_pose(sample) for sample in dataset.samples]) + rng.normal(0, 1, (7, 42, 3)) * [2, 2, 9]
    return {
        "poses": poses,
        "presence": rng.normal(0, 2, (7, 2)),
        "root_depth": rng.normal(20, 15, 7),
        "part_logits": rng.normal(0, 1, (7, 33, SIZE // PART_STRIDE, SIZE // PART_STRIDE)),
    }


def run(dataset: Samples, guesses: dict[str, np.ndarray], **options: Any) -> Report:
    return evaluate(Replay(**guesses), dataset, image_size=SIZE, **({"batch_size": 3} | options))


# The published evaluators.


@pytest.mark.parametrize(("evaluator", "size"), [("internet", 64), ("a2j", 256)])
def test_the_published_evaluators_figures(evaluator: str, size: int) -> None:
    """They ran unchanged on these predictions; see tests/data/golden/README.md."""
    dataset = InterHand(GOLDEN / "interhand_mini", "test")
    stored = np.load(GOLDEN / "expected" / evaluator / "predictions.npz")
    expected = json.loads((GOLDEN / "expected" / evaluator / "expected.json").read_text())
    has_heads = "MRRPE_mm" in expected
    predictions = PosePredictions.from_heatmaps(
        stored["joint_coord"],
        size=size,
        root_depth=stored["rel_root_depth"][:, 0] if has_heads else None,
        presence=stored["hand_type"] if has_heads else None,
        names=tuple(stored["file_name"]),
    )
    report = score_predictions(predictions, dataset, name=evaluator)
    names = {
        "MPJPE_all_mm": "mpjpe_all_mm", "MPJPE_single_mm": "mpjpe_single_mm", "MPJPE_two_mm": "mpjpe_two_mm",
        "MRRPE_mm": "mrrpe_mm", "handedness_accuracy": "handedness_accuracy",
    }  # fmt: skip
    assert set(expected) <= set(names)
    assert len(expected) == (5 if has_heads else 3)
    for key, value in expected.items():
        assert report.figures[names[key]] == pytest.approx(value, abs=1e-4), key
    assert (report.figures["mrrpe_mm"] is not None) == has_heads
    assert score_predictions(predictions, dataset, name=evaluator) == report


def test_heatmap_units_by_hand() -> None:
    joints = np.zeros((1, 42, 3), dtype=np.float32)
    joints[0, 0] = [32, 16, 48]
    converted = PosePredictions.from_heatmaps(joints, size=64, root_depth=np.array([40.0]))
    assert converted.pose_2p5d[0, 0].tolist() == [128, 64, 100]
    assert converted.pose_2p5d[0, 1].tolist() == [0, 0, -200]
    assert converted.root_depth is not None
    assert converted.root_depth.tolist() == [50]
    as_a2j = PosePredictions.from_heatmaps(joints, size=256, image_size=128, root_depth=np.array([40.0]))
    assert as_a2j.pose_2p5d[0, 0].tolist() == [16, 8, -125]
    assert as_a2j.root_depth is not None
    assert as_a2j.root_depth.tolist() == [50]


# A reference in plain loops.


def slow_camera_joints(sample: Sample, pose: np.ndarray, depths: tuple[float, float]) -> list[list[float]]:
    x1, y1, x2, y2 = (float(value) for value in sample.box)
    half = max(x2 - x1, y2 - y1) / 2 * 1.25
    left, top = (x1 + x2) / 2 - half, (y1 + y2) / 2 - half
    joints = []
    for joint in range(42):
        u, v = left + pose[joint][0] * 2 * half / SIZE, top + pose[joint][1] * 2 * half / SIZE
        depth = float(pose[joint][2] + depths[joint // 21])
        joints.append([
            (u - float(sample.princpt[0])) / float(sample.focal[0]) * depth,
            (v - float(sample.princpt[1])) / float(sample.focal[1]) * depth,
            depth,
        ])  # fmt: skip
    return joints


def slow_figures(dataset: Samples, guesses: dict[str, np.ndarray]) -> dict[str, float]:
    errors: dict[str, list[list[float]]] = {bucket: [[] for _ in range(42)] for bucket in ("single", "two", "all")}
    plane: list[list[float]] = [[] for _ in range(42)]
    offsets, handed = [], []
    for index, sample in enumerate(dataset.samples):
        pose, truth = guesses["poses"][index], sample.joints_cam.astype(float)
        right, left = truth[20][2], truth[41][2]
        ours = slow_camera_joints(sample, pose, (right, left))
        for joint in range(42):
            root = 20 if joint < 21 else 41
            if not (sample.valid[joint] and sample.valid[root]):
                continue
            error = math.dist(np.subtract(ours[joint], ours[root]), truth[joint] - truth[root])
            errors["two" if sample.hand_type.all() else "single"][joint].append(error)
            errors["all"][joint].append(error)
            plane[joint].append(math.dist(pose[joint][:2], true_pose(sample)[joint][:2]) * 256 / SIZE)
        if sample.hand_type.all() and sample.valid[20] and sample.valid[41]:
            both = slow_camera_joints(sample, pose, (right, right + guesses["root_depth"][index]))
            offsets.append(math.dist(np.subtract(both[41], both[20]), truth[41] - truth[20]))
        if sample.hand_type_valid:
            handed.append(all((guesses["presence"][index][side] > 0) == sample.hand_type[side] for side in (0, 1)))
    figures = {f"mpjpe_{bucket}_mm": np.mean([np.mean(e) for e in joints if e]) for bucket, joints in errors.items()}
    pooled = [error for joint in range(42) if joint not in (20, 41) for error in errors["all"][joint]]
    curve = [np.mean([error <= k / 2 for error in pooled]) for k in range(101)]
    return figures | {
        "mpjpe_all_sample_average_mm": np.mean(sum(errors["all"], [])),  # noqa: RUF017
        "plane_all_px": np.mean([np.mean(joint) for joint in plane if joint]),
        "auc_all": sum((a + b) / 2 for a, b in pairwise(curve)) / 100,
        "mrrpe_mm": np.mean(offsets),
        "handedness_accuracy": np.mean(handed),
    }


def test_it_is_a_slow_loop(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    report = run(dataset, guesses)
    for name, value in slow_figures(dataset, guesses).items():
        assert report.figures[name] == pytest.approx(value, abs=1e-6), name
    assert report.samples == {"single": 3, "two": 4, "all": 7}
    assert report.figures["mpjpe_all_mm"] > 3  # type: ignore[operator]


def test_part_figures(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    right = hand_right = seen = hand_seen = 0
    for index, sample in enumerate(dataset.samples):
        if sample.parts is None:
            continue
        square = geometry.square_box(sample.box.astype(np.float64))
        half = PART_STRIDE / 2 - 0.5
        for row in range(SIZE // PART_STRIDE):
            for column in range(SIZE // PART_STRIDE):
                scale = (square[2] - square[0]) / SIZE
                x = round(square[0] + (column * PART_STRIDE + half) * scale)
                y = round(square[1] + (row * PART_STRIDE + half) * scale)
                inside = 0 <= y < sample.parts.shape[0] and 0 <= x < sample.parts.shape[1]
                truth = int(sample.parts[y, x]) if inside else 0
                ours = int(np.argmax(guesses["part_logits"][index][:, row, column]))
                seen, right = seen + 1, right + (ours == truth)
                hand_seen, hand_right = hand_seen + (truth > 0), hand_right + (truth > 0 and ours == truth)
    figures = run(dataset, guesses).figures
    assert hand_seen > 50
    assert figures["pixel_accuracy"] == pytest.approx(right / seen, abs=4 / seen)  # nearest pixel: ties may differ
    assert figures["hand_pixel_accuracy"] == pytest.approx(hand_right / hand_seen, abs=3 / hand_seen)


# Identities.


def test_perfect_predictions_have_no_error(dataset: Samples) -> None:
    samples = dataset.samples
    labels = np.zeros((7, 33, SIZE // PART_STRIDE, SIZE // PART_STRIDE), dtype=np.float32)
    for index, sample in enumerate(samples):
        parts = make_example(sample, View(geometry.square_box(sample.box.astype(np.float64))), SIZE).parts
        if parts is not None:
            np.put_along_axis(labels[index], parts[None], 1.0, axis=0)
    perfect = {
        "poses": np.stack([true_pose(sample) for sample in samples]),
        "presence": np.stack([np.where(sample.hand_type, 9.0, -9.0) for sample in samples]),
        "root_depth": np.array([geometry.root_depth(sample.joints_cam) for sample in samples]),
        "part_logits": labels,
    }
    figures = run(dataset, perfect).figures
    for name in ("mpjpe_single_mm", "mpjpe_two_mm", "mpjpe_all_mm", "mrrpe_mm", "plane_all_px"):
        assert figures[name] == pytest.approx(0, abs=1e-4)
    for name in ("handedness_accuracy", "pixel_accuracy", "hand_pixel_accuracy", "mean_iou"):
        assert figures[name] == 1
    assert figures["auc_all"] == pytest.approx(1, abs=0.006)  # rounding is not 0 mm at the first threshold


def test_a_wrong_wrist_offset_is_mrrpe_alone(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    before = run(dataset, guesses).figures
    after = run(dataset, guesses | {"root_depth": guesses["root_depth"] + 100}).figures
    assert {name for name in before if before[name] != after[name]} == {"mrrpe_mm"}


def test_wrists_at_another_relative_depth_move_the_hand(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    """A depth error of the wrist itself is no offset that alignment takes away: the other joints keep theirs."""
    poses = guesses["poses"].copy()
    poses[:, [20, 41], 2] += 50
    assert run(dataset, guesses | {"poses": poses}).figures["mpjpe_all_mm"] > 45  # type: ignore[operator]


def test_twice_gives_the_same_and_nothing_is_changed(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    arrays = ("image", "joints_cam", "valid", "focal", "princpt", "box", "hand_type", "parts")
    kept = [{name: np.copy(getattr(sample, name)) for name in arrays} for sample in dataset.samples]
    for sample in dataset.samples:
        for name in arrays:
            if getattr(sample, name) is not None:
                getattr(sample, name).flags.writeable = False
    first = run(dataset, guesses)
    assert run(dataset, guesses) == first
    assert first.figures["mrrpe_mm"] is not None
    for sample, before in zip(dataset.samples, kept, strict=True):
        for name in arrays:
            np.testing.assert_array_equal(getattr(sample, name), before[name])


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_batches_do_not_matter(dataset: Samples, guesses: dict[str, np.ndarray], batch_size: int) -> None:
    assert run(dataset, guesses, batch_size=batch_size) == run(dataset, guesses)


def test_workers_do_not_matter(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    assert run(dataset, guesses, workers=2) == run(dataset, guesses)


@pytest.mark.parametrize(("world", "batch_size"), [(2, 2), (3, 2), (7, 1), (4, 3), (2, 16)])
def test_shares_add_up_to_one_process(
    dataset: Samples, guesses: dict[str, np.ndarray], world: int, batch_size: int
) -> None:
    shares, seen = [], []
    for rank in range(world):
        indices = share_of(len(dataset), batch_size, rank=rank, world=world)
        share = {name: values[indices] for name, values in guesses.items()}
        seen += indices
        shares.append(
            collect_scores(
                Replay(**share), dataset, image_size=SIZE, protocol=Protocol(), indices=indices, batch_size=batch_size
            )
        )
    assert sorted(seen) == list(range(7))
    total = Report.from_scores(
        reduce(add, shares), model="Replay", dataset="made", image_size=SIZE, protocol=Protocol()
    )
    assert total == run(dataset, guesses)


def test_processes_see_the_batches_of_a_single_one() -> None:
    assert [share_of(7, 2, rank=rank, world=2) for rank in range(2)] == [[0, 1, 4, 5], [2, 3, 6]]
    assert share_of(7, 8, rank=1, world=2) == []


@pytest.mark.parametrize(("root", "scaling"), [("wrist", "bone"), ("middle_mcp", "none"), ("middle_mcp", "bone")])
def test_model_based_protocols(dataset: Samples, guesses: dict[str, np.ndarray], root: str, scaling: str) -> None:
    """Hands without a middle MCP do not count; the joints of alignment are the two that 40 leaves out."""
    figures = [
        run(dataset, guesses, protocol=Protocol(root=root, scaling=scaling, average="sample", joints=joints)).figures
        for joints in (42, 40)
    ]
    errors: list[float] = []
    roots = {"wrist": (20, 41), "middle_mcp": (11, 32)}[root]
    for index, sample in enumerate(dataset.samples):
        truth = sample.joints_cam.astype(float)
        ours = slow_camera_joints(sample, guesses["poses"][index], (truth[20][2], truth[41][2]))
        for joint in range(42):
            wrist, middle = (20, 11) if joint < 21 else (41, 32)
            if not (sample.valid[joint] and sample.valid[wrist] and sample.valid[middle]):
                continue
            origin = roots[joint // 21]
            factor = math.dist(truth[middle], truth[wrist]) / math.dist(ours[middle], ours[wrist])
            vector = np.subtract(ours[joint], ours[origin]) * (factor if scaling == "bone" else 1)
            errors.append(math.dist(vector, truth[joint] - truth[origin]))
    assert errors.count(0.0) == round(sum(error < 1e-9 for error in errors)) > 0
    assert figures[0]["mpjpe_all_mm"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert figures[1]["mpjpe_all_mm"] == pytest.approx(np.mean([error for error in errors if error > 0]), abs=1e-6)


def test_a_hand_without_extent_cannot_be_scaled(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    poses = guesses["poses"].copy()
    poses[1, 11] = poses[1, 20]
    with pytest.raises(UnclaspError, match="predicted for made:1 cannot be scaled: its wrist and middle MCP coincide"):
        run(dataset, guesses | {"poses": poses}, protocol=Protocol(scaling="bone"))


def test_stored_predictions_score_like_the_model_that_made_them(
    dataset: Samples, guesses: dict[str, np.ndarray]
) -> None:
    stored = PosePredictions(
        pose_2p5d=guesses["poses"], image_size=SIZE, root_depth=guesses["root_depth"],
        presence=1 / (1 + np.exp(-guesses["presence"])),
    )  # fmt: skip
    ours, theirs = run(dataset, guesses).figures, score_predictions(stored, dataset).figures
    for name, value in theirs.items():
        if value is not None:
            assert value == pytest.approx(ours[name], abs=1e-12)
    assert {name for name, value in theirs.items() if value is None} == {
        "pixel_accuracy", "hand_pixel_accuracy", "mean_iou",
    }  # fmt: skip


# Protocols.


def test_relative_depth_uses_the_predicted_offset(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    protocol = Protocol(depth_source="relative")
    exact = guesses | {"root_depth": np.array([geometry.root_depth(s.joints_cam) for s in dataset.samples])}
    ground_truth, relative = run(dataset, exact), run(dataset, exact, protocol=protocol)
    assert relative.figures["mpjpe_all_mm"] == pytest.approx(ground_truth.figures["mpjpe_all_mm"], abs=1e-4)
    wrong = run(dataset, guesses, protocol=protocol).figures
    assert wrong["mpjpe_single_mm"] == ground_truth.figures["mpjpe_single_mm"]
    assert wrong["mpjpe_two_mm"] != pytest.approx(ground_truth.figures["mpjpe_two_mm"], abs=1e-3)


def test_given_depths_and_boxes(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    protocol = Protocol(depth_source="given", box_source="given")
    boxes = {s.name: geometry.square_box(s.box.astype(np.float64)) for s in dataset.samples}
    depths = {s.name: s.joints_cam[[20, 41], 2] for s in dataset.samples}
    same = run(dataset, guesses, protocol=protocol, external=External(boxes=boxes, root_depths=depths)).figures
    assert same == pytest.approx(run(dataset, guesses).figures, abs=1e-9)
    farther = {name: depth * 1.1 for name, depth in depths.items()}
    other = run(dataset, guesses, protocol=protocol, external=External(boxes=boxes, root_depths=farther)).figures
    assert abs(other["mpjpe_all_mm"] - same["mpjpe_all_mm"]) > 0.5  # type: ignore[operator]


def test_the_box_expansion_is_the_crop(dataset: Samples) -> None:
    """The crops that the model gets are the plain warp of the annotated box, made square and expanded."""
    crops = []

    class Keep(Replay):
        def forward(self, image: Tensor) -> Prediction:
            crops.extend(image.numpy().transpose(0, 2, 3, 1))
            return super().forward(image)

    poses = np.zeros((7, 42, 3))
    evaluate(Keep(poses), dataset, image_size=SIZE, protocol=Protocol(box_expansion=1.5))
    for crop, sample in zip(crops, dataset.samples, strict=True):
        centre, side = (sample.box[:2] + sample.box[2:]) / 2, (sample.box[2:] - sample.box[:2]).max() * 1.5
        source = (centre + np.array([[0, 0], [0, side / 2], [side / 2, 0]])).astype(np.float32)
        target = np.array([[SIZE / 2, SIZE / 2], [SIZE / 2, SIZE], [SIZE, SIZE / 2]], np.float32)
        expected = cv2.warpAffine(sample.image, cv2.getAffineTransform(source, target), (SIZE, SIZE))
        assert (np.abs(crop.astype(int) - expected) <= 1).mean() > 0.99


def test_what_a_protocol_needs_has_to_be_there(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    without_head = {"poses": guesses["poses"]}
    with pytest.raises(UnclaspError, match="root_depth_head"):
        run(dataset, without_head, protocol=Protocol(depth_source="relative"))
    with pytest.raises(UnclaspError, match="wrist depths from outside, but none is given for made:0"):
        run(dataset, guesses, protocol=Protocol(depth_source="given"))
    with pytest.raises(UnclaspError, match="box from outside, but none is given for made:0"):
        run(dataset, guesses, protocol=Protocol(box_source="given"))
    with pytest.raises(UnclaspError, match="takes each box from RootNet's file, but none is given for made:0"):
        run(dataset, guesses, protocol=Protocol(box_source="rootnet"))
    boxes = {sample.name: np.zeros(3) for sample in dataset.samples}
    with pytest.raises(UnclaspError, match=r"shape \(4,\), got \(3,\)"):
        run(dataset, guesses, protocol=Protocol(box_source="given"), external=External(boxes=boxes))


# Around it.


def test_models_without_heads_have_no_figures_for_them(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    figures = run(dataset, {"poses": guesses["poses"]}).figures
    assert figures["mrrpe_mm"] is figures["handedness_accuracy"] is None
    assert figures["mpjpe_all_mm"] == run(dataset, guesses).figures["mpjpe_all_mm"]


def test_a_model_is_put_into_eval_mode_and_left_as_it_was(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    model = Replay(**guesses)
    model.train()
    model.dropout.eval()
    evaluate(model, dataset, image_size=SIZE)
    assert model.modes == [False]
    assert model.training
    assert not model.dropout.training


def test_any_callable_is_a_model(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    report = evaluate(Replay(**guesses).eval().forward, dataset, image_size=SIZE, batch_size=3)
    assert report.figures == run(dataset, guesses).figures


def test_limit_and_progress(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    told: list[tuple[int, int]] = []
    report = run(dataset, guesses, limit=5, batch_size=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert report.samples["all"] == 5
    assert report == run(Samples(dataset.samples[:5]), guesses)
    assert run(dataset, guesses, limit=99).samples["all"] == 7
    for nothing in ({"limit": 0}, {"dataset": Samples([])}):
        with pytest.raises(UnclaspError, match="nothing to evaluate"):
            run(**({"dataset": dataset, "guesses": guesses} | nothing))


def test_the_worst_sample_is_named(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    poses = guesses["poses"].copy()
    poses[2, 21:41, 0] += 30
    report = run(dataset, guesses | {"poses": poses})
    assert report.worst[0][0] == "made:2"
    assert len(report.worst) == 7
    assert (report.model, report.dataset, report.image_size) == ("Replay", "made", SIZE)


def test_a_prediction_that_is_not_a_number_is_refused(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    poses = guesses["poses"].copy()
    poses[1, 20] = np.nan
    with pytest.raises(UnclaspError, match="made:1 is not finite"):
        run(dataset, guesses | {"poses": poses})


def test_part_logits_of_another_size_are_refused(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    with pytest.raises(UnclaspError, match=r"part logits must be \(16, 16\) for these crops, got \(8, 8\)"):
        run(dataset, guesses | {"part_logits": guesses["part_logits"][:, :, ::2, ::2]})


def test_stored_predictions_of_something_else_are_refused(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    poses = guesses["poses"]
    with pytest.raises(UnclaspError, match="6 predictions for 7 samples"):
        score_predictions(PosePredictions(pose_2p5d=poses[:6], image_size=SIZE), dataset)
    for wrong in ({"pose_2p5d": poses[:, :21]}, {"presence": poses[:, 0]}, {"root_depth": poses[:, :1, 0]}):
        with pytest.raises(UnclaspError, match=f"{next(iter(wrong))} must have shape"):
            PosePredictions(**({"pose_2p5d": poses, "image_size": SIZE} | wrong))
    with pytest.raises(UnclaspError, match="7 poses but 2 names"):
        PosePredictions(pose_2p5d=poses, image_size=SIZE, names=("a", "b"))


# The mean pose.


def test_mean_pose_is_a_slow_loop(dataset: Samples) -> None:
    model = mean_pose(dataset, image_size=SIZE)
    for joint in range(42):
        seen = [
            true_pose(sample)[joint]
            for sample in dataset.samples
            if sample.valid[joint] and sample.valid[20 if joint < 21 else 41]
        ]
        np.testing.assert_allclose(model.pose_2p5d[joint], np.mean(seen, axis=0), rtol=1e-5, atol=1e-4)
    prediction = model(torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8))
    assert prediction.pose_2p5d.shape == (2, 42, 3)
    offsets = [float(s.joints_cam[41, 2] - s.joints_cam[20, 2]) for s in dataset.samples if s.valid[20] and s.valid[41]]
    assert prediction.root_depth is not None
    np.testing.assert_allclose(prediction.root_depth, np.mean(offsets), rtol=1e-5)
    assert prediction.presence is not None
    np.testing.assert_allclose(prediction.presence.sigmoid(), [[5 / 7, 6 / 7]] * 2, rtol=1e-5)


def test_mean_pose_is_scored_like_a_model(dataset: Samples) -> None:
    model = mean_pose(dataset, image_size=SIZE)
    assert isinstance(model, MeanPose)
    report = evaluate(model, dataset, image_size=SIZE)
    assert report.model == "mean pose"
    assert report.figures["handedness_accuracy"] == pytest.approx(3 / 6)
    assert report.figures["hand_pixel_accuracy"] == 0
    assert report.figures["pixel_accuracy"] > 0.3  # type: ignore[operator]
    single = Samples(dataset.samples[:1])
    exact = evaluate(mean_pose(single, image_size=SIZE), single, image_size=SIZE).figures
    assert exact["mpjpe_all_mm"] == pytest.approx(0, abs=1e-3)
    assert exact["mrrpe_mm"] == pytest.approx(0, abs=1e-3)
    assert report.figures["mpjpe_all_mm"] > exact["mpjpe_all_mm"]  # type: ignore[operator]


def test_mean_pose_of_what_is_never_seen_is_the_centre(dataset: Samples) -> None:
    model = mean_pose(Samples(dataset.samples[1:2]), image_size=SIZE)
    assert model.pose_2p5d[30].tolist() == [SIZE / 2, SIZE / 2, 0]
    with pytest.raises(UnclaspError, match="at least one sample"):
        mean_pose(dataset, image_size=SIZE, limit=0)
