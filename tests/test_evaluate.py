"""The evaluator against the published evaluators' figures and a slow reference, and properties for any model."""

import json
import math
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluated import SIZE, Replay, Samples, dataset, guesses, run, slow_camera_joints, true_pose
from poses import random_pose
from unclasp import geometry
from unclasp.batch import Prediction
from unclasp.config import DepthAxis
from unclasp.data.interhand import InterHand
from unclasp.data.transforms import PART_STRIDE, View, crop_image, make_example, sight_of
from unclasp.errors import UnclaspError
from unclasp.evaluate import (
    EvaluateOptions,
    External,
    PosePredictions,
    Protocol,
    Recorder,
    Report,
    collect_scores,
    evaluate,
    predictions_of,
    score_predictions,
    share_of,
)
from unclasp.evaluation.prediction_file import read_predictions, write_predictions
from unclasp.evaluation.scoring import PredictedSample
from unclasp.pose import Camera, HandPose

GOLDEN = Path(__file__).parent / "data" / "golden"
__all__ = ["dataset", "guesses"]  # fixtures


# The published evaluators.


@pytest.mark.parametrize(("evaluator", "size"), [("internet", 64), ("a2j", 256)])
def test_the_published_evaluators_figures(evaluator: str, size: int, golden_mini: Path) -> None:
    """They ran unchanged on these predictions; see tests/data/golden/README.md."""
    dataset = InterHand(golden_mini, "test")
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
    of_tensor = PosePredictions.from_heatmaps(torch.from_numpy(joints), size=64, root_depth=[40.0])
    assert of_tensor.pose_2p5d.tolist() == converted.pose_2p5d.tolist() and of_tensor.root_depth.tolist() == [50]


# A reference in plain loops.


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


def middle_of(box: np.ndarray) -> np.ndarray:
    """(2,) px of the picture: half a pixel of the crop beside the middle of the box."""
    return (box[:2] + box[2:]) / 2 - 0.5 * (box[2] - box[0]) / SIZE


def along_crops(dataset: Samples) -> dict[str, np.ndarray]:
    """Return perfect predictions with depths along the line of sight through the middle of each crop."""
    poses, roots = [], []
    for sample in dataset.samples:
        box = geometry.square_box(sample.box.astype(np.float64))
        sight = sight_of(middle_of(box), sample.focal, sample.princpt, DepthAxis.CROP)
        poses.append(true_pose(sample, sight=sight))
        roots.append(geometry.root_depth(sample.joints_cam, sight))
        example = make_example(sample, View(box), SIZE, depth_axis=DepthAxis.CROP)  # what is trained on
        np.testing.assert_allclose(example.pose_2p5d[example.valid], poses[-1][example.valid], atol=1e-3)
    return {"poses": np.stack(poses), "root_depth": np.array(roots)}


def test_depths_along_the_crop_s_line_of_sight_are_taken_as_such(dataset: Samples, tmp_path: Path) -> None:
    answers, recorder = along_crops(dataset), Recorder()
    figures = run(dataset, answers).figures
    assert figures["mpjpe_all_mm"] > 1, "they are not along the camera's axis"  # type: ignore[operator]
    model = Replay(**answers)
    model.depth_axis = DepthAxis.CROP
    figures = evaluate(model, dataset, EvaluateOptions(recorder=recorder)).figures
    for name in ("mpjpe_all_mm", "mrrpe_mm"):
        assert figures[name] == pytest.approx(0, abs=1e-3), name
    for name in ("kept.npz", "kept.json"):
        write_predictions(tmp_path / name, recorder.predictions(SIZE))
        kept = read_predictions(tmp_path / name)
        for protocol in (Protocol(), Protocol(depth_source="relative")):
            again = score_predictions(kept, dataset, protocol=protocol)
            assert again.figures["mpjpe_all_mm"] == pytest.approx(0, abs=1e-3)


def test_crops_of_their_own_keep_their_lines_of_sight(dataset: Samples) -> None:
    boxes, poses = [], []
    for sample in dataset.samples:
        boxes.append(geometry.square_box(sample.box.astype(np.float64)) + np.array([20.0, -10, 20, -10]))
        sight = sight_of(middle_of(boxes[-1]), sample.focal, sample.princpt, DepthAxis.CROP)
        joints = np.where(sample.valid[:, None], sample.joints_cam, 1).astype(np.float64)
        matrix = geometry.crop_matrix(boxes[-1], SIZE)
        poses.append(geometry.pose_2p5d_from_cam(joints, sample.focal, sample.princpt, matrix, sight))
    own = PosePredictions(pose_2p5d=np.stack(poses), image_size=SIZE, boxes=np.stack(boxes), depth_axis=DepthAxis.CROP)
    report = score_predictions(own, dataset)
    assert report.figures["mpjpe_all_mm"] == pytest.approx(0, abs=1e-3)
    assert "line of sight through their middles; the crop above" in report.to_json()
    along_camera = score_predictions(replace(own, depth_axis=DepthAxis.CAMERA), dataset)
    assert along_camera.figures["mpjpe_all_mm"] > 1  # type: ignore[operator]


def test_a_recorder_refuses_a_mixture_of_axes() -> None:
    recorder = Recorder()
    for index, pixel in enumerate((None, geometry.crop_middle(SIZE))):
        answer = PredictedSample(image_size=SIZE, pose_2p5d=np.zeros((42, 3)), sight_pixel=pixel)
        recorder.add(index, str(index), answer, with_parts=False)
    with pytest.raises(UnclaspError, match="some of these predictions have depths along the camera's axis"):
        recorder.predictions(SIZE)


def test_only_crops_have_a_line_of_sight_of_their_own(guesses: dict[str, np.ndarray]) -> None:
    with pytest.raises(UnclaspError, match=r"depth_axis \"crop\" goes with .* crops, got pixels of the image"):
        PosePredictions(pose_2p5d=guesses["poses"], pixels="image", depth_axis=DepthAxis.CROP)


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
        shares.append(collect_scores(Replay(**share), dataset, EvaluateOptions(batch_size=batch_size), indices=indices))
    assert sorted(seen) == list(range(7))
    total = Report.from_scores(
        reduce(add, shares), model="Replay", dataset="made", image_size=SIZE, protocol=Protocol()
    )
    assert total == run(dataset, guesses)


def test_processes_see_the_batches_of_a_single_one() -> None:
    assert [share_of(7, 2, rank=rank, world=2) for rank in range(2)] == [[0, 1, 4, 5], [2, 3, 6]]
    assert share_of(7, 8, rank=1, world=2) == []


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
        "contact_precision", "contact_recall", "pixel_accuracy", "hand_pixel_accuracy", "mean_iou", "confident_half_mm",
        "doubtful_half_mm",
    }  # fmt: skip


def test_recorded_predictions_lose_no_figure(dataset: Samples, guesses: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Confidences and parts are kept; one picture has no true parts, and none all joints, which contact needs."""
    guesses["confidence"] = np.random.default_rng(5).normal(0, 1, (7, 42))
    recorder = Recorder()
    report = run(dataset, guesses, recorder=recorder)
    write_predictions(tmp_path / "kept.npz", recorder.predictions(SIZE))
    again = score_predictions(read_predictions(tmp_path / "kept.npz"), dataset)
    assert again.figures == report.figures
    assert {name for name, value in report.figures.items() if value is None} == {"contact_precision", "contact_recall"}


def test_parts_of_pictures_without_true_parts_are_not_recorded(
    dataset: Samples, guesses: dict[str, np.ndarray]
) -> None:
    bare, recorder = Samples(replace(sample, parts=None) for sample in dataset.samples), Recorder()
    run(bare, guesses, recorder=recorder)
    assert recorder.predictions(SIZE).parts is None


def test_a_model_sees_the_crop_as_it_is(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    seen: list[np.ndarray] = []

    class Watching(Replay):
        def forward(self, image: torch.Tensor) -> Prediction:
            seen.extend(image.numpy())
            return super().forward(image)

    evaluate(Watching(**guesses), dataset)
    for sample, image in zip(dataset.samples, seen, strict=True):
        crop = crop_image(sample.image, geometry.square_box(sample.box.astype(np.float64)), SIZE)
        np.testing.assert_array_equal(image, crop.image.transpose(2, 0, 1))


def test_a_recorder_without_predictions_says_so() -> None:
    with pytest.raises(UnclaspError, match="this Recorder holds no predictions"):
        Recorder().predictions(SIZE)


def test_each_evaluation_has_a_recorder_of_its_own(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    recorder = Recorder()
    run(dataset, guesses, recorder=recorder)
    with pytest.raises(UnclaspError, match="this Recorder holds the predictions of another evaluation"):
        run(dataset, guesses, recorder=recorder)
    assert len(recorder.entries) == 7


@pytest.mark.parametrize(("name", "value", "least"), [("batch_size", 0, 1), ("workers", -1, 0)])
def test_options_out_of_range_are_named(name: str, value: int, least: int) -> None:
    with pytest.raises(UnclaspError, match=f"{name} must be at least {least}, got {value}"):
        EvaluateOptions(**{name: value})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_missing_is_told(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    with pytest.raises(UnclaspError, match="device 'cuda' cannot be used"):
        evaluate(Replay(**guesses), dataset, device="cuda")


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(dataset: Samples, guesses: dict[str, np.ndarray], limit: int) -> None:
    with pytest.raises(UnclaspError, match="nothing to evaluate: the data set is empty or the limit below 1"):
        run(dataset, guesses, limit=limit)


def test_a_joint_that_is_not_predicted_has_no_place_in_the_picture(dataset: Samples) -> None:
    """Written as 0 in the camera's frame: it counts in 3D, and the 2D error is that of the others."""
    joints = np.stack([np.where(each.valid[:, None], each.joints_cam, 1) for each in dataset.samples]).astype(float)
    joints[:, 7] = 0
    figures = score_predictions(PosePredictions(joints_cam=joints), dataset).figures
    assert figures["plane_all_px"] == pytest.approx(0, abs=1e-4)
    assert figures["mpjpe_all_mm"] is not None and figures["mpjpe_all_mm"] > 1


def test_boxes_from_outside_have_an_extent(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    boxes = {sample.name: np.array([5.0, 5.0, 5.0, 9.0]) for sample in dataset.samples}
    with pytest.raises(UnclaspError, match="must be x1, y1, x2, y2 with x2 > x1 and y2 > y1"):
        run(dataset, guesses, protocol=Protocol(box_source="given"), external=External(boxes=boxes))


@pytest.mark.parametrize("boxed", [True, False])
def test_a_predictor_that_knows_the_truth_has_no_error(dataset: Samples, *, boxed: bool) -> None:
    """Depths and wrist offset survive the way into 2.5D poses of the picture and back."""
    asked: list[np.ndarray | None] = []

    def knowing(image: np.ndarray, box: np.ndarray | None, **camera: Any) -> HandPose:
        sample = next(each for each in dataset.samples if each.image is image)
        asked.append(box)
        assert camera == {"focal": tuple(sample.focal.tolist()), "princpt": tuple(sample.princpt.tolist())}
        joints = np.where(sample.valid[:, None], sample.joints_cam, [0.0, 0.0, 500.0]).astype(np.float64)
        return HandPose(
            joints_2d=geometry.project(joints, sample.focal, sample.princpt), joints_cam=joints,
            joints_3d=geometry.relative_to_roots(joints), presence=sample.hand_type.astype(float), box=np.zeros(4),
            camera=Camera(**camera, assumed=None), depth_assumed=None, image_size=(96, 96), model="truth",
        )  # fmt: skip

    predictions = predictions_of(knowing, dataset, boxed=boxed)  # type: ignore[arg-type]
    figures = score_predictions(predictions, dataset).figures
    for name in ("mpjpe_all_mm", "plane_all_px", "mrrpe_mm"):
        assert figures[name] == pytest.approx(0, abs=2e-3), name
    assert figures["handedness_accuracy"] == 1
    assert all((box is not None) == boxed for box in asked) and len(asked) == len(dataset)


@pytest.mark.parametrize("own_distance", [True, False])
def test_poses_of_a_predictor_are_kept_at_their_own_distance_on_demand(dataset: Samples, *, own_distance: bool) -> None:
    pose = random_pose(right=0.97, left=0.05)
    predictions = predictions_of(
        lambda *_, **__: pose,
        dataset,
        own_distance=own_distance,
        limit=1,  # type: ignore[arg-type]
    )
    assert predictions.presence is not None and predictions.presence.tolist() == [pose.present.tolist()] == [[1, 0]]
    if own_distance:
        np.testing.assert_array_equal(predictions.joints_cam, pose.joints_cam[None])
    else:
        assert predictions.joints_cam is None and predictions.pose_2p5d is not None
        np.testing.assert_array_equal(predictions.pose_2p5d[0], np.c_[pose.joints_2d, pose.joints_3d[:, 2]])


def test_a_limit_is_told(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    assert "limit: the first 5 of 7 pictures" in str(run(dataset, guesses, limit=5))
    assert "limit:" not in str(run(dataset, guesses)) and "limit:" not in str(run(dataset, guesses, limit=9))
