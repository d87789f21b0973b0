"""Made-up results, readings, fusion networks and evidence files for the tests of the fusion network."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from unclasp import geometry
from unclasp.config import DepthAxis
from unclasp.engines.network import NetworkOutput
from unclasp.find.crop_result import CropResult
from unclasp.find.fusion import (
    FORMAT,
    NUMBERS,
    Fusion,
)
from unclasp.find.landmarks import FEATURES, SIZE, LandmarkReading, crop_of
from unclasp.hands import HAND_SLICES
from unclasp.training.fusion_evidence import EVIDENCE_FORMAT
from unclasp.training.fusion_net import FusionNet


def a_look(seed: int = 0, presence: tuple[float, float] = (0.9, 0.8)) -> CropResult:
    """Two hands of random joints, right and left, with depths along the crop's line of sight."""
    rng = np.random.default_rng(seed)
    pose = np.zeros((1, 42, 3))
    for slot, joints in enumerate(HAND_SLICES):
        pose[0, joints, :2] = rng.normal(0, 25, (21, 2)) + np.array([100.0 + 80 * slot, 90.0])
        pose[0, joints, 2] = rng.normal(0, 30, 21)
        pose[0, joints, 2][-1] = 0.3  # not exactly none, as networks have it
    answer = NetworkOutput(
        pose, np.array([presence]), np.array([40.0]), np.zeros((1, 4, 4)), rng.uniform(0, 1, (1, 42)), DepthAxis.CROP
    )
    return CropResult(answer, np.eye(3), np.array([0.0, 0.0, 200.0, 200.0]), 200)


def with_output(result: CropResult, **changed: Any) -> CropResult:
    return result._replace(output=result.output._replace(**changed))


def read_around(result: CropResult, slot: int, *, picture_width: int, seed: int = 0) -> LandmarkReading:
    """Read joints some pixels of the crop beside those of the look, in the crop of `Landmarks`."""
    joints, rng = result.joints_2d[HAND_SLICES[slot]], np.random.default_rng(seed)
    mirror = geometry.flip_matrix(picture_width) if slot == 1 else np.eye(3)
    square, rotation = crop_of(geometry.apply_affine(mirror, joints))
    crop_from_image = geometry.crop_matrix(square, SIZE, rotation) @ mirror
    read = np.column_stack([geometry.apply_affine(crop_from_image, joints), np.zeros(21)]) + rng.normal(0, 6, (21, 3))
    places = geometry.apply_affine(np.linalg.inv(crop_from_image), read[:, :2])
    return LandmarkReading(places, 0.9, 0.7, read, rng.uniform(0, 2, FEATURES), crop_from_image)


def a_net(width: int = 32) -> FusionNet:
    net = FusionNet(width).eval()
    torch.nn.init.normal_(net.answer.weight, std=0.2)
    net.mean.uniform_(-0.5, 0.5)
    net.deviation.uniform_(0.5, 1.5)
    return net


def in_numpy(net: FusionNet) -> Fusion:
    return Fusion({name: tensor.numpy() for name, tensor in net.state_dict().items()})


def changed(tmp_path: Path, change: Any) -> Path:
    tensors: dict[str, Any] = {"format": np.array(FORMAT)} | {
        name: tensor.numpy() for name, tensor in a_net().state_dict().items()
    }
    change(tensors)
    np.savez(tmp_path / "f.npz", **tensors)
    return tmp_path / "f.npz"


def made_up_evidence(path: Path, hands: int = 300, **changed: Any) -> Path:
    """Hands that the landmark network sees where they are if the first number is positive, and ours does otherwise.

    Their depths are 30 mm too small.
    """
    rng = np.random.default_rng(0)
    numbers = np.abs(rng.normal(0, 1, (hands, NUMBERS + FEATURES)))
    numbers[:, 0] = rng.choice([-1, 1], hands)
    own, off = rng.normal(0, 0.2, (2, hands, 21, 3))
    truth, read = own + np.array([0, 0, 0.3]), own[..., :2] + off[..., :2]
    truth[:, -1, 2] = own[:, -1, 2]
    truth[numbers[:, 0] > 0, :, :2] = read[numbers[:, 0] > 0]
    arrays = {"numbers": numbers.astype(np.float16), "side_mm": np.full(hands, 250, np.float32)}
    arrays |= {key: each.astype(np.float32) for key, each in (("own", own), ("read", read), ("truth", truth))}
    np.savez(
        path,
        **(
            {"format": np.array(EVIDENCE_FORMAT), "network": np.array("small"), "digest": np.array("")}
            | arrays
            | changed
        ),
    )
    return path
