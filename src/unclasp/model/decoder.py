"""The decoder (section 3.3): joints gather features level by level, and their positions become the pose.

Letters: B batch, L pixels of a level, T iterations, A appearance and S position channels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unclasp.config import Relation
from unclasp.hands import NUM_JOINTS
from unclasp.model.relation import KINDS, Features, Kind, Readout, RelationLayer, Widths, aggregate, relate


class Decoded(NamedTuple):
    """Output of a decoder. Poses are in units in which the crop and the depth range span 0 to 1."""

    pose: Tensor
    """(B, 42, 3) u, v, depth."""
    steps: tuple[Tensor, ...]
    """T estimates (B, 42, 2) u, v, one after each iteration."""
    relations: tuple[Tensor, ...]
    """Logits (B, 42, L) of the initialisation and of each J-I relation, averaged over heads."""
    joints: Tensor
    """(B, 42, C) final joint features, for the optional heads."""


class Initialisation(nn.Module):
    """Initial joint features: learnable queries attend to the coarsest level, without further learned maps (eq. 1-2).

    The paper has queries for appearance only, as joints have no preferred position; some ablations of Table 2 have
    queries for position as well.
    """

    appearance: Tensor
    position: Tensor

    def __init__(self, widths: Widths, by: Relation, *, residual: bool) -> None:
        super().__init__()
        self.by = by
        self.residual = residual
        for kind in KINDS[Relation.BOTH]:
            if kind in KINDS[by]:
                self.register_parameter(kind, nn.Parameter(torch.randn(NUM_JOINTS, widths.of(kind))))
            else:
                self.register_buffer(kind, torch.zeros(NUM_JOINTS, 0), persistent=False)

    @property
    def queries(self) -> Features:
        """The queries (42, C) of each kind."""
        return Features(self.appearance, self.position)

    def forward(self, level: Features) -> tuple[Features, Tensor]:
        """Return the joint features and the relation's logits (B, 42, L)."""
        logits = relate(self.queries, level, self.by).expand(level.appearance.shape[0], -1, -1)
        joints = aggregate(logits.softmax(dim=-1), level)
        if self.residual:
            joints = joints._replace(**{kind: joints.of(kind) + self.queries.of(kind) for kind in KINDS[self.by]})
        return joints, logits


class Iteration(nn.Module):
    """One iteration: optionally J-J among the joints (section 3.3.2), then J-I with a level (section 3.3.3)."""

    def __init__(self, joint_joint: RelationLayer | None, joint_image: RelationLayer) -> None:
        super().__init__()
        self.joint_joint = joint_joint
        self.joint_image = joint_image

    def forward(self, joints: Features, level: Features) -> tuple[Features, Tensor]:
        """Return the joint features and the logits (B, H, 42, L) of J-I."""
        if self.joint_joint is not None:
            joints, _ = self.joint_joint(joints, joints)
        joints, logits = self.joint_image(joints, level)
        return joints, logits


class Estimate(nn.Module):
    """Maps joint features to coordinates: a linear layer on the chosen kinds, one of which may be refined first."""

    def __init__(self, widths: Widths, read: Relation, outputs: int, *, refine: nn.Module | None = None) -> None:
        """Build the layer.

        Args:
            widths: Channels of the joint features.
            read: The kinds of features that are read.
            outputs: 2 for u, v or 3 for u, v, depth.
            refine: Maps (B, 42, C) to (B, 42, C); applied to positions, or to appearance if only that is read.
        """
        super().__init__()
        self.kinds = KINDS[read]
        self.refined: Kind = self.kinds[-1]
        self.refine = nn.Identity() if refine is None else refine
        self.readout = Readout(widths.total(self.kinds), outputs, bias=0.5)

    def forward(self, joints: Features) -> Tensor:
        """Return (B, 42, outputs)."""
        refined = joints._replace(**{self.refined: self.refine(joints.of(self.refined))})
        coordinates: Tensor = self.readout(torch.cat([refined.of(kind) for kind in self.kinds], dim=-1))
        return coordinates


class DecoupledDecoder(nn.Module):
    """The paper's decoder: appearance and position are kept separate and interact through relations only."""

    def __init__(
        self, initialise: Initialisation, iterations: Sequence[Iteration], *,
        to_steps: Sequence[nn.Module], to_pose: nn.Module,
    ) -> None:  # fmt: skip
        """Assemble the decoder.

        Args:
            initialise: Maps the coarsest level to joint features.
            iterations: T modules that update the joint features, one for each further level.
            to_steps: T modules that map joint features to in-plane estimates (B, 42, 2), one for each iteration.
            to_pose: Maps the final joint features to the pose (B, 42, 3).
        """
        super().__init__()
        self.initialise = initialise
        self.iterations = nn.ModuleList(iterations)
        self.to_steps = nn.ModuleList(to_steps)
        self.to_pose = to_pose

    def forward(self, levels: Sequence[Features]) -> Decoded:
        """Decode T + 1 levels, coarsest first."""
        joints, logits = self.initialise(levels[0])
        relations, steps = [logits], []
        for iteration, to_step, level in zip(self.iterations, self.to_steps, levels[1:], strict=True):
            joints, logits = iteration(joints, level)
            relations.append(logits.mean(dim=1))
            steps.append(to_step(joints))
        return Decoded(self.to_pose(joints), tuple(steps), tuple(relations), torch.cat(joints, dim=-1))


class FusedDecoder(nn.Module):
    """The baseline without decoupling (Table 1, rows 2-4): one stream, in which appearance and position are added."""

    def __init__(self, project: nn.Module, decoder: DecoupledDecoder) -> None:
        """Assemble the decoder.

        Args:
            project: Maps appearance (B, L, A) to the position channels (B, L, S).
            decoder: A decoder of position features only, which here contain the sum.
        """
        super().__init__()
        self.project = project
        self.decoder = decoder

    def forward(self, levels: Sequence[Features]) -> Decoded:
        """Decode T + 1 levels, coarsest first."""
        fused = [
            Features(level.appearance[..., :0], self.project(level.appearance) + level.position) for level in levels
        ]
        decoded: Decoded = self.decoder(fused)
        return decoded


class PooledDecoder(nn.Module):
    """The baseline without a decoder (Table 1, row 1): a linear layer on the mean appearance of the coarsest level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.readout = Readout(channels, 3 * NUM_JOINTS, bias=0.5)

    def forward(self, levels: Sequence[Features]) -> Decoded:
        """Decode the coarsest level."""
        pooled = levels[0].appearance.mean(dim=1)
        pose = self.readout(pooled).unflatten(-1, (NUM_JOINTS, 3))
        return Decoded(pose, (), (), pooled.unsqueeze(1).expand(-1, NUM_JOINTS, -1))
