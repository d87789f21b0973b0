"""How far each joint can be trusted (not in the paper).

What the network shows of its own doubt (how widely a joint's relations to the picture spread, how far its successive
estimates are apart, which part the segmentation sees where the joint is put) and what makes a joint hard to tell (bones
that point at the camera, another hand over it) goes through a small network to the probability that the joint lies
within `WITHIN` of where it is. It reads what the pose network gives and passes nothing back, so that it can be fitted
afterwards: see `unclasp.training.calibrate`.
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
"""mm: a joint this close to where it is counts as found: relative to its wrist, and a wrist in the camera's frame, its
depth given. Near the median error, so that the probability tells the better half of the joints from the worse."""
_HIDDEN: Final = 32
_PARTS_AT_JOINT: Final = 4
_SHAPE: Final = 5
_PARENTS: Final = torch.tensor([joint if parent < 0 else parent for joint, parent in enumerate(HAND_PARENTS)])


def evidence_size(iterations: int, *, context: bool = True) -> int:
    """Return the number of signs per joint, F of `evidence`, for a decoder of so many iterations.

    A head without context reads all but the hand's shape.
    """
    spreads = distances = iterations + 1
    steps, presences = iterations, 2
    return spreads + distances + steps + _PARTS_AT_JOINT + presences + _SHAPE * context


def evidence(
    pose: Tensor,
    steps: Sequence[Tensor],
    relations: Sequence[Tensor],
    part_logits: Tensor,
    presence: Tensor | None,
) -> Tensor:
    """Collect a prediction's signs of doubt.

    Args:
        pose: (B, 42, 3) final u, v and depth as the decoder has them: shares of the crop and of `geometry.DEPTH_RANGE`,
            0 to 1.
        steps: T tensors (B, 42, 2), u and v after each iteration.
        relations: T + 1 tensors (B, 42, L) of logits over square maps.
        part_logits: (B, 33, h, w).
        presence: (B, 2) logits of right and left hand; None counts as undecided.

    Returns:
        (B, 42, F): spread and distance to the joint of each relation, distance of each step, probabilities of parts
        where the joint is put (its own, its hand's, the other hand's, background), presence of both hands, and last
        the shape: depth and its distance from the wrist's, extent of the hand, distance to the nearest joint of the
        other hand, and length of the bone to the parent, all as they look in the crop.
    """
    plane = pose[..., :2]
    moments = torch.stack([_moments(_single(logits)) for logits in relations], dim=2)  # (B, N, T + 1, 3)
    means, squares = moments[..., :2], moments[..., 2]
    spreads = (squares - means.square().sum(dim=-1)).clamp(min=0).sqrt()
    estimates = torch.cat((means, torch.stack([_single(step) for step in steps], dim=2)), dim=2)
    distances = (estimates - plane.unsqueeze(2)).norm(dim=-1)
    to_means, to_steps = distances[..., : len(relations)], distances[..., len(relations) :]
    hands = plane.new_zeros(len(plane), 2) if presence is None else _single(presence)
    both = torch.stack((hands, hands.flip(1)), dim=-1)  # (B, own hand, (its own, the other))
    return torch.cat(
        (
            torch.stack((spreads, to_means), dim=-1).flatten(-2), to_steps, _parts_at(plane, _single(part_logits)),
            torch.repeat_interleave(both, JOINTS_PER_HAND, dim=1), _shape(pose),
        ),
        dim=-1,
    )  # fmt: skip


def _single(values: Tensor) -> Tensor:
    """Return values in single precision, or double if they are."""
    wanted = torch.promote_types(values.dtype, torch.float32)
    return values if values.dtype == wanted else values.to(wanted)  # a traced graph would keep a cast to the same


def _moments(logits: Tensor) -> Tensor:
    """Return the means (B, N, 3) of u, v and u² + v² by relations over a square map, as shares of its side."""
    side = round(int(logits.shape[-1]) ** 0.5)  # a number also where the network is traced
    centres = (torch.arange(side, device=logits.device, dtype=logits.dtype) + 0.5) / side
    # Row-major: u runs fastest.
    grid = torch.stack((centres.repeat(side), centres.repeat_interleave(side)), dim=-1)
    return logits.softmax(dim=-1) @ torch.cat((grid, grid.square().sum(dim=-1, keepdim=True)), dim=-1)


def _parts_at(plane: Tensor, part_logits: Tensor) -> Tensor:
    """Return (B, N, 4): how likely the joint's own parts, its hand, the other hand and the background are there."""
    probabilities = part_logits.softmax(dim=1)
    sampled = functional.grid_sample(
        probabilities, (2 * plane.unsqueeze(2) - 1).to(probabilities.dtype), align_corners=False
    )
    at_joint = sampled.squeeze(-1).transpose(1, 2).unsqueeze(2)  # (B, N, 1, 33)
    own, hand, background = (at_joint * _TABLES.to(at_joint)).sum(dim=-1).unbind(dim=-1)
    return torch.stack((own, hand, 1 - hand - background, background), dim=-1)


def _shape(pose: Tensor) -> Tensor:
    """Return (B, 42, 5) how near the camera, large, near the other hand and foreshortened the predicted hand is."""
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


def _tables() -> Tensor:
    """Return (42, 3, 33) 1 for each joint's own parts, those of its hand, and the background."""
    tables = torch.zeros(NUM_JOINTS, 3, NUM_PARTS)
    for joint in range(NUM_JOINTS):
        tables[joint, 0, list(parts_at_joint(joint))] = 1
    for side, joints in enumerate(HAND_SLICES):
        tables[joints, 1, 1 + side * PARTS_PER_HAND : 1 + (side + 1) * PARTS_PER_HAND] = 1
    tables[:, 2, 0] = 1
    return tables


_TABLES: Final = _tables()


class Confidence(nn.Module):
    """Evidence to the logit of a joint being found; the two hands share everything.

    Args:
        iterations: Of the decoder.
        context: Read the hand's shape and the mean of its joints' evidence, too.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, iterations: int, *, context: bool) -> None:
        super().__init__()
        size = evidence_size(iterations, context=context)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.joint = nn.Parameter(torch.zeros(JOINTS_PER_HAND, _HIDDEN))
        self.hidden = nn.Linear(size, _HIDDEN)
        self.context = nn.Linear(size, _HIDDEN, bias=False) if context else None
        self.output = nn.Linear(_HIDDEN, 1)

    def forward(self, signs: Tensor) -> Tensor:
        """Return (B, 42) logits of evidence (B, 42, F)."""
        # Heads without context know nothing of the shape, which is last in `evidence` for that.
        normalised = (signs[..., : len(self.mean)] - self.mean) / self.std
        hidden = self.hidden(normalised) + self.joint.repeat(2, 1)
        if self.context is not None:
            hands = [normalised[:, joints].mean(dim=1, keepdim=True) for joints in HAND_SLICES]
            hidden = hidden + self.context(torch.cat(hands, dim=1)).repeat_interleave(JOINTS_PER_HAND, dim=1)
        logits: Tensor = self.output(functional.relu(hidden)).squeeze(-1)
        return logits
