"""The mean-pose baseline, which ignores the picture."""

import numpy as np
import torch
from torch import Tensor, nn

from unclasp import geometry
from unclasp.batch import Prediction
from unclasp.config import DepthAxis
from unclasp.data import Dataset
from unclasp.data.lookup import annotated
from unclasp.data.transforms import PART_STRIDE
from unclasp.errors import UnclaspError
from unclasp.evaluation.protocol import Protocol
from unclasp.evaluation.scoring import External, Truth, crop_box
from unclasp.hands import NUM_JOINTS, NUM_PARTS


class MeanPose(nn.Module):
    """Predicts the same pose for every crop, with the interface of `DFL`.

    Args:
        pose_2p5d: (42, 3) u, v in crop pixels, depth in mm relative to the joint's own wrist.
        image_size: Side of the crops in pixels.
        presence: (2,) probability of the right and of the left hand.
        root_depth: mm, depth of the left wrist minus that of the right wrist.
    """

    depth_axis = DepthAxis.CAMERA

    def __init__(self, pose_2p5d: Tensor, image_size: int, *, presence: Tensor, root_depth: float) -> None:
        super().__init__()
        self.name, self.image_size = "mean pose", image_size
        self.register_buffer("pose_2p5d", pose_2p5d)
        self.register_buffer("presence", presence.logit(eps=1e-6))
        self.register_buffer("root_depth", torch.tensor(root_depth))

    def forward(self, image: Tensor) -> Prediction:
        """Predict the mean pose, and background at every pixel, for crops (B, 3, S, S)."""
        count, side = len(image), self.image_size // PART_STRIDE
        pose = self.get_buffer("pose_2p5d").expand(count, -1, -1)
        logits = pose.new_zeros(count, NUM_PARTS, side, side)
        logits[:, 0] = 1.0
        return Prediction(
            pose_2p5d=pose,
            steps=(),
            part_logits=logits,
            relations=(),
            presence=self.get_buffer("presence").expand(count, -1),
            root_depth=self.get_buffer("root_depth").expand(count),
        )


def mean_pose(
    dataset: Dataset, *, image_size: int, protocol: Protocol | None = None, limit: int | None = None,
    external: External | None = None,
) -> MeanPose:  # fmt: skip
    """Return the mean 2.5D pose over a data set's test crops.

    Each joint is averaged over the samples in which it is valid; a joint that is never valid is placed at the centre
    of the crop. The relative depth of the wrists and the presence of the hands are averaged as well.

    Args:
        dataset: Samples: the training data for a fair baseline, or the test data for the best constant pose.
        image_size: Side of the crops in pixels.
        protocol: Its boxes define the crops.
        limit: Only this many samples, from the first on.
        external: Boxes, for protocols that take them from another program.

    Raises:
        UnclaspError: There are no samples, or a box is missing.
    """
    protocol, external = protocol or Protocol(), external or External()
    total, counts = np.zeros((NUM_JOINTS, 3)), np.zeros((NUM_JOINTS, 1), dtype=np.int64)
    hand_types, root_depths = [], []
    for index in range(len(dataset) if limit is None else min(limit, len(dataset))):
        sample = annotated(dataset, index)
        truth = Truth.of(sample, geometry.crop_matrix(crop_box(sample, protocol, external), image_size))
        total += np.where(truth.valid[:, None], truth.pose_2p5d, 0.0)
        counts += truth.valid[:, None]
        hand_types.append(sample.hand_type)
        if truth.wrists_known:
            root_depths.append(geometry.root_depth(truth.joints_cam))
    if not hand_types:
        raise UnclaspError("a mean pose needs at least one sample; the data set is empty or the limit is 0")
    centre = np.array([image_size / 2, image_size / 2, 0.0])
    pose = np.where(counts > 0, total / np.maximum(counts, 1), centre)
    return MeanPose(
        torch.from_numpy(pose.astype(np.float32)),
        image_size,
        presence=torch.from_numpy(np.mean(hand_types, axis=0, dtype=np.float32)),
        root_depth=float(np.mean(root_depths)) if root_depths else 0.0,
    )
