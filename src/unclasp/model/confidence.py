"""The confidence of each joint (not in the paper).

A small network maps evidence of doubt to the probability that a joint lies within `WITHIN` of its true position. The
evidence comes from the pose network: how widely a joint's relations to the picture spread, how far its successive
estimates lie from the final position, and which part the segmentation finds at the joint. It also describes what makes
a joint difficult, such as foreshortened bones and the proximity of the other hand. The head is fitted after training,
with the pose network unchanged (`unclasp.training.calibrate`); `train` refuses a config that enables it.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.hands import (
    HAND_PARENTS,
    HAND_SLICES,
    JOINTS_PER_HAND,
    NUM_JOINTS,
    NUM_PARTS,
    PARTS_PER_HAND,
    parts_at_joint,
)

WITHIN: Final = 30.0
"""mm. A joint whose error is at most this counts as found. The error is relative to the joint's wrist; for the wrist
itself, it is in the camera frame, given the true depth. The value is near the median error, so that the probability
separates the better half of the joints from the worse."""
_HIDDEN_CHANNELS: Final = 32
_PARTS_AT_JOINT: Final = 4
_SHAPE_VALUES: Final = 5
_PARENTS: Final = torch.tensor([joint if parent < 0 else parent for joint, parent in enumerate(HAND_PARENTS)])


def evidence_size(iterations: int, *, context: bool = True) -> int:
    """Return F, the number of values per joint that a head reads, for a decoder with this many iterations.

    A head without context does not read the hand's shape.
    """
    spreads = distances = iterations + 1
    steps, presences = iterations, 2
    return spreads + distances + steps + _PARTS_AT_JOINT + presences + _SHAPE_VALUES * context


def evidence(
    pose: Tensor, steps: Sequence[Tensor], relations: Sequence[Tensor], part_logits: Tensor, presence: Tensor | None
) -> Tensor:
    """Collect the evidence from which the confidence of a prediction is computed.

    Args:
        pose: (B, 42, 3) final u, v and depth in the decoder's units: fractions of the crop and of
            `geometry.DEPTH_RANGE`, 0 to 1.
        steps: T tensors (B, 42, 2) of u and v after each iteration.
        relations: T + 1 tensors (B, 42, L) of logits over square maps.
        part_logits: (B, 33, h, w).
        presence: (B, 2) logits of the right and the left hand; None is treated as logits of 0.

    Returns:
        (B, 42, F): for each relation, its spread and the distance of its mean from the joint; the distance of each
        step; the part probabilities at the joint (its own parts, its hand, the other hand, background); the presence
        logits of its own and the other hand; and last the shape: depth, absolute depth, extent of the hand, distance to
        the nearest joint of the other hand and length of the bone to the parent. Lengths are measured in the crop.
    """
    plane = pose[..., :2]
    moments = torch.stack([_moments(_single(logits)) for logits in relations], dim=2)  # (B, N, T + 1, 3)
    means, squares = moments[..., :2], moments[..., 2]
    spreads = (squares - means.square().sum(dim=-1)).clamp(min=0).sqrt()
    estimates = torch.cat((means, torch.stack([_single(step) for step in steps], dim=2)), dim=2)
    distances = (estimates - plane.unsqueeze(2)).norm(dim=-1)
    to_means, to_steps = distances[..., : len(relations)], distances[..., len(relations) :]
    hands = plane.new_zeros(len(plane), 2) if presence is None else _single(presence)
    both = torch.stack((hands, hands.flip(1)), dim=-1)  # (B, hand, (this hand, other hand))
    return torch.cat(
        (
            torch.stack((spreads, to_means), dim=-1).flatten(-2), to_steps, _parts_at(plane, _single(part_logits)),
            torch.repeat_interleave(both, JOINTS_PER_HAND, dim=1), _shape(pose),
        ),
        dim=-1,
    )  # fmt: skip


def _single(values: Tensor) -> Tensor:
    """Return values in single precision, or unchanged if they are in double precision."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    return values if values.dtype == dtype else values.to(dtype)  # a traced graph would keep a no-op cast


def _moments(logits: Tensor) -> Tensor:
    """Return the means (B, N, 3) of u, v and u² + v² under relations over a square map of side 1."""
    side = round(int(logits.shape[-1]) ** 0.5)  # a Python number even while the network is traced
    centres = (torch.arange(side, device=logits.device, dtype=logits.dtype) + 0.5) / side
    # Row-major: u varies fastest.
    grid = torch.stack((centres.repeat(side), centres.repeat_interleave(side)), dim=-1)
    return logits.softmax(dim=-1) @ torch.cat((grid, grid.square().sum(dim=-1, keepdim=True)), dim=-1)


def _parts_at(plane: Tensor, part_logits: Tensor) -> Tensor:
    """Return (B, N, 4) probabilities at each joint: its own parts, its hand, the other hand, and the background."""
    probabilities = part_logits.softmax(dim=1)
    sampled = functional.grid_sample(
        probabilities, (2 * plane.unsqueeze(2) - 1).to(probabilities.dtype), align_corners=False
    )
    at_joint = sampled.squeeze(-1).transpose(1, 2).unsqueeze(2)  # (B, N, 1, 33)
    own, hand, background = (at_joint * _PART_MASKS.to(at_joint)).sum(dim=-1).unbind(dim=-1)
    return torch.stack((own, hand, 1 - hand - background, background), dim=-1)


def _shape(pose: Tensor) -> Tensor:
    """Return (B, 42, 5): depth, absolute depth, hand extent, distance to the other hand, bone length in the crop."""
    right, left = (pose[:, joints, :2] for joints in HAND_SLICES)
    depth = pose[..., 2] - 0.5
    extents = [(hand.amax(dim=1) - hand.amin(dim=1)).amax(dim=-1, keepdim=True) for hand in (right, left)]
    between = (right.unsqueeze(2) - left.unsqueeze(1)).norm(dim=-1)
    return torch.stack(
        (
            depth,
            depth.abs(),
            torch.cat([extent.expand(-1, JOINTS_PER_HAND) for extent in extents], dim=1),
            torch.cat((between.amin(dim=2), between.amin(dim=1)), dim=1),
            torch.cat([(hand - hand[:, _PARENTS]).norm(dim=-1) for hand in (right, left)], dim=1),
        ),
        dim=-1,
    )


def _part_masks() -> Tensor:
    """Return (42, 3, 33) masks of each joint's own parts, the parts of its hand, and the background."""
    masks = torch.zeros(NUM_JOINTS, 3, NUM_PARTS)
    for joint in range(NUM_JOINTS):
        masks[joint, 0, list(parts_at_joint(joint))] = 1
    for side, joints in enumerate(HAND_SLICES):
        masks[joints, 1, 1 + side * PARTS_PER_HAND : 1 + (side + 1) * PARTS_PER_HAND] = 1
    masks[:, 2, 0] = 1
    return masks


_PART_MASKS: Final = _part_masks()


class Confidence(nn.Module):
    """Maps evidence to the logit of a joint being found; both hands share all parameters.

    Args:
        iterations: Number of iterations of the decoder.
        context: Whether to read the hand's shape and the mean evidence of its joints as well.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, iterations: int, *, context: bool) -> None:
        super().__init__()
        size = evidence_size(iterations, context=context)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.joint = nn.Parameter(torch.zeros(JOINTS_PER_HAND, _HIDDEN_CHANNELS))
        self.hidden = nn.Linear(size, _HIDDEN_CHANNELS)
        self.context = nn.Linear(size, _HIDDEN_CHANNELS, bias=False) if context else None
        self.output = nn.Linear(_HIDDEN_CHANNELS, 1)

    def forward(self, signs: Tensor) -> Tensor:
        """Map evidence (B, 42, F) to logits (B, 42)."""
        # Heads without context do not read the shape, which is therefore last in `evidence`.
        normalised = (signs[..., : len(self.mean)] - self.mean) / self.std
        hidden = self.hidden(normalised) + self.joint.repeat(2, 1)
        if self.context is not None:
            hands = [normalised[:, joints].mean(dim=1, keepdim=True) for joints in HAND_SLICES]
            hidden = hidden + self.context(torch.cat(hands, dim=1)).repeat_interleave(JOINTS_PER_HAND, dim=1)
        logits: Tensor = self.output(functional.relu(hidden)).squeeze(-1)
        return logits
