"""How far each joint can be trusted (not in the paper).

What the network shows of its own doubt (how widely a joint's relations to the picture spread, how far its successive
estimates are apart, which part the segmentation sees where the joint is put) goes through a small network to the
probability that the joint lies within `WITHIN` of the truth. It reads what the pose network gives and passes
nothing back, so that it can be fitted afterwards: see `unclasp.calibrate`.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.hands import HAND_SLICES, NUM_JOINTS, NUM_PARTS, PARTS_PER_HAND, parts_at_joint

WITHIN: Final = 20.0
"""mm: a joint this close to where it is counts as found; seen from the camera, its wrist's depth given."""
_HIDDEN: Final = 32
_PARTS_AT_JOINT: Final = 4


def evidence_size(iterations: int) -> int:
    """Return the number of signs of doubt per joint for a decoder of so many iterations."""
    return 2 * (iterations + 1) + iterations + _PARTS_AT_JOINT + 2


def evidence(
    plane: Tensor,
    steps: Sequence[Tensor],
    relations: Sequence[Tensor],
    part_logits: Tensor,
    presence: Tensor | None,
) -> Tensor:
    """Collect a prediction's signs of doubt.

    Args:
        plane: (B, 42, 2) final u and v as shares of the crop, 0 to 1.
        steps: T tensors (B, 42, 2), the same after each iteration.
        relations: T + 1 tensors (B, 42, L) of logits over square maps.
        part_logits: (B, 33, h, w).
        presence: (B, 2) logits of right and left hand; None counts as undecided.

    Returns:
        (B, 42, F): spread and distance to the joint of each relation, distance of each step, probabilities of parts
        where the joint is put (its own, its hand's, the other hand's, background), presence of both hands.
    """
    signs = []
    for logits in relations:
        mean, spread = _moments(_single(logits))
        signs += [spread, (mean - plane).norm(dim=-1)]
    signs += [(_single(step) - plane).norm(dim=-1) for step in steps]
    signs += _parts_at(plane, _single(part_logits))
    hands = plane.new_zeros(len(plane), 2) if presence is None else _single(presence)
    own = torch.repeat_interleave(hands, NUM_JOINTS // 2, dim=1)
    signs += [own, own.roll(NUM_JOINTS // 2, dims=1)]
    return torch.stack(signs, dim=-1)


def _single(values: Tensor) -> Tensor:
    """Return values in single precision, or double if they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (B, N, 2) and standard deviation (B, N) of relations over a square map, as shares of its side."""
    side = round(int(logits.shape[-1]) ** 0.5)  # a number also where the network is traced
    centres = (torch.arange(side, device=logits.device, dtype=logits.dtype) + 0.5) / side
    # Row-major: u runs fastest.
    grid = torch.stack((centres.repeat(side), centres.repeat_interleave(side)), dim=-1)
    relation = logits.softmax(dim=-1)
    mean = relation @ grid
    square = relation @ grid.square().sum(dim=-1, keepdim=True)
    variance = square.squeeze(-1) - mean.square().sum(dim=-1)
    return mean, variance.clamp(min=0).sqrt()


def _parts_at(plane: Tensor, part_logits: Tensor) -> list[Tensor]:
    """Return four (B, N): how likely the joint's own parts, its hand, the other hand and the background are there."""
    probabilities = part_logits.softmax(dim=1)
    sampled = functional.grid_sample(
        probabilities, (2 * plane.unsqueeze(2) - 1).to(probabilities.dtype), align_corners=False
    )
    at_joint = sampled.squeeze(-1).transpose(1, 2)  # (B, N, 33)
    own = (at_joint * _ADJACENT.to(at_joint)).sum(dim=-1)
    hand = (at_joint * _SAME_HAND.to(at_joint)).sum(dim=-1)
    background = at_joint[..., 0]
    return [own, hand, 1 - hand - background, background]


def _adjacent() -> Tensor:
    table = torch.zeros(NUM_JOINTS, NUM_PARTS)
    for joint in range(NUM_JOINTS):
        table[joint, list(parts_at_joint(joint))] = 1
    return table


def _same_hand() -> Tensor:
    table = torch.zeros(NUM_JOINTS, NUM_PARTS)
    for side, joints in enumerate(HAND_SLICES):
        table[joints, 1 + side * PARTS_PER_HAND : 1 + (side + 1) * PARTS_PER_HAND] = 1
    return table


_ADJACENT: Final = _adjacent()
_SAME_HAND: Final = _same_hand()


class Confidence(nn.Module):
    """Evidence to the logit of a joint being found; the two hands share everything."""

    mean: Tensor
    std: Tensor

    def __init__(self, iterations: int) -> None:
        super().__init__()
        size = evidence_size(iterations)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.joint = nn.Parameter(torch.zeros(NUM_JOINTS // 2, _HIDDEN))
        self.hidden = nn.Linear(size, _HIDDEN)
        self.output = nn.Linear(_HIDDEN, 1)

    def forward(self, signs: Tensor) -> Tensor:
        """Return (B, 42) logits of evidence (B, 42, F)."""
        normalised = (signs - self.mean) / self.std
        hidden = functional.relu(self.hidden(normalised) + self.joint.repeat(2, 1))
        logits: Tensor = self.output(hidden).squeeze(-1)
        return logits
