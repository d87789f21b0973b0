"""Seven made-up pictures, predictions for them, and a model that replays these: what the tests of evaluation share."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from unclasp import geometry
from unclasp.batch import Prediction, Sample
from unclasp.config import DepthAxis
from unclasp.data.transforms import PART_STRIDE
from unclasp.evaluate import EvaluateOptions, Report, evaluate

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

    name, image_size, depth_axis = "Replay", SIZE, DepthAxis.CAMERA

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
            confidence=heads.get("confidence"),
        )  # fmt: skip


def true_pose(sample: Sample, size: int = SIZE, *, sight: npt.ArrayLike = geometry.CAMERA_AXIS) -> np.ndarray:
    joints = np.where(sample.valid[:, None], sample.joints_cam, 1).astype(np.float64)
    matrix = geometry.crop_matrix(geometry.square_box(sample.box.astype(np.float64)), size)
    return geometry.pose_2p5d_from_cam(joints, sample.focal, sample.princpt, matrix, sight)


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
    return evaluate(Replay(**guesses), dataset, EvaluateOptions(**({"batch_size": 3} | options)))


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
