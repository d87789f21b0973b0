"""Effects of the protocol's options, and the rest of an evaluation: modes, limits, errors, the mean pose."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from dots import MakeSample
from evaluated import SIZE, Replay, Samples, dataset, guesses, run, slow_camera_joints, true_pose
from unclasp import geometry
from unclasp.batch import Prediction
from unclasp.config import DepthAxis
from unclasp.errors import UnclaspError
from unclasp.evaluate import (
    EvaluateOptions,
    External,
    MeanPose,
    PosePredictions,
    Protocol,
    evaluate,
    mean_pose,
    score_predictions,
)
from unclasp.evaluation.scoring import Truth

__all__ = ["dataset", "guesses"]  # fixtures


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


# Protocols.


def test_relative_depth_uses_the_predicted_offset(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    protocol = Protocol(depth_source="relative")
    exact = guesses | {"root_depth": np.array([geometry.root_depth(s.joints_cam) for s in dataset.samples])}
    ground_truth, relative = run(dataset, exact), run(dataset, exact, protocol=protocol)
    assert relative.figures["mpjpe_all_mm"] == pytest.approx(ground_truth.figures["mpjpe_all_mm"], abs=1e-4)
    wrong = run(dataset, guesses, protocol=protocol).figures
    assert wrong["mpjpe_single_mm"] == ground_truth.figures["mpjpe_single_mm"]
    assert wrong["mpjpe_two_mm"] != pytest.approx(ground_truth.figures["mpjpe_two_mm"], abs=1e-3)


def test_a_picture_of_one_hand_has_no_distance_between_two_nor_contact(make_sample: MakeSample) -> None:
    """Also if both are annotated, and touch."""
    sample = make_sample(0)
    sample.joints_cam[21:] = sample.joints_cam[:21]
    alone = Samples([replace(sample, hand_type=np.array([True, False]))])
    heads = {"poses": true_pose(alone[0])[None], "root_depth": np.zeros(1), "confidence": np.full((1, 42), 9.0)}
    figures = run(alone, heads).figures
    assert figures["mrrpe_mm"] is figures["contact_precision"] is figures["contact_recall"] is None


@pytest.mark.filterwarnings("error")
def test_joints_without_annotation_are_not_divided_by_their_depth(make_sample: MakeSample) -> None:
    sample = make_sample(0, hands="right")
    assert not sample.joints_cam[21:].any()
    assert np.isfinite(Truth.of(sample, np.eye(3)).pose_2p5d).all()


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
    evaluate(Keep(poses), dataset, EvaluateOptions(protocol=Protocol(box_expansion=1.5)))
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
    evaluate(model, dataset)
    assert model.modes == [False]
    assert model.training
    assert not model.dropout.training


def test_a_model_need_not_be_a_module(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    class Plain:
        name, image_size, depth_axis = "plain", SIZE, DepthAxis.CAMERA

        def __init__(self) -> None:
            self.replay = Replay(**guesses).eval()

        def __call__(self, image: Tensor) -> Prediction:
            return self.replay.forward(image)

    report = evaluate(Plain(), dataset, EvaluateOptions(batch_size=3))
    assert report.figures == run(dataset, guesses).figures
    assert (report.model, report.image_size) == ("plain", SIZE)


def test_limit_and_progress(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    told: list[tuple[int, int]] = []
    report = run(dataset, guesses, limit=5, batch_size=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert report.samples["all"] == 5
    assert report == run(Samples(dataset.samples[:5]), guesses).noting({"limit": "the first 5 of 7 pictures"})
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


@pytest.mark.parametrize("place", [(np.nan, 0.0, 600.0), (0.0, 0.0, 0.0)])
def test_a_true_joint_without_a_place_is_told_from_a_prediction(
    dataset: Samples, guesses: dict[str, np.ndarray], place: tuple[float, ...]
) -> None:
    joints = dataset.samples[2].joints_cam.copy()
    joint = int(np.flatnonzero(dataset.samples[2].valid)[0])
    joints[joint] = place
    samples = list(dataset.samples)
    samples[2] = replace(samples[2], joints_cam=joints)
    with pytest.raises(UnclaspError, match="the annotated joints of made:2 must be finite, at depths other than 0"):
        run(Samples(samples), guesses)


def test_part_logits_of_another_size_are_refused(dataset: Samples, guesses: dict[str, np.ndarray]) -> None:
    told = r"the part classes predicted for made:0 must be \(16, 16\), a quarter of crops of 64 px, got \(8, 8\)"
    with pytest.raises(UnclaspError, match=told):
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
    report = evaluate(model, dataset)
    assert report.model == "mean pose"
    assert report.figures["handedness_accuracy"] == pytest.approx(3 / 6)
    assert report.figures["hand_pixel_accuracy"] == 0
    assert report.figures["pixel_accuracy"] > 0.3  # type: ignore[operator]
    single = Samples(dataset.samples[:1])
    exact = evaluate(mean_pose(single, image_size=SIZE), single).figures
    assert exact["mpjpe_all_mm"] == pytest.approx(0, abs=1e-3)
    assert exact["mrrpe_mm"] == pytest.approx(0, abs=1e-3)
    assert report.figures["mpjpe_all_mm"] > exact["mpjpe_all_mm"]  # type: ignore[operator]


def test_mean_pose_of_what_is_never_seen_is_the_centre(dataset: Samples) -> None:
    model = mean_pose(Samples(dataset.samples[1:2]), image_size=SIZE)
    assert model.pose_2p5d[30].tolist() == [SIZE / 2, SIZE / 2, 0]
    with pytest.raises(UnclaspError, match="at least one sample"):
        mean_pose(dataset, image_size=SIZE, limit=0)
