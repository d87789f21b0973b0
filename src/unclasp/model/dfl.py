"""The complete network (figure 2), and `build`, which alone decides the sizes of its modules.

Letters: B batch, S side of the square crop in pixels.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from unclasp.batch import Prediction
from unclasp.config import Decoder, DepthAxis, ModelConfig, Relation
from unclasp.errors import UnclaspError
from unclasp.geometry import DEPTH_RANGE
from unclasp.hands import HAND_SLICES
from unclasp.model.backbones import STRIDES, Backbone, build_backbone
from unclasp.model.confidence import Confidence, evidence
from unclasp.model.decoder import (
    DecoupledDecoder,
    Estimate,
    FusedDecoder,
    Initialisation,
    Iteration,
    PooledDecoder,
    needs,
)
from unclasp.model.encoder import Encoder, PositionFeatures, Pyramid, part_segmentation
from unclasp.model.refine import spatial_refinement
from unclasp.model.relation import KINDS, Kind, Readout, RelationLayer, Widths
from unclasp.model.units import depth_of, pixels_of


class Normalise(nn.Module):
    """Normalises RGB values in 0..255 as the backbone's pretrained weights expect.

    Comparable published methods only divide by 255. Here each backbone keeps the normalisation of its pretrained
    weights: ImageNet's for ResNet, the division by 255 for MediaPipe's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(backbone.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, S, S) RGB, uint8 or float in 0..255, to floats as the backbone expects.

        Raises:
            UnclaspError: The image has another shape.
        """
        expected = (3, self.image_size, self.image_size)
        if image.shape[1:] != expected:
            raise UnclaspError(f"image must be (B, {', '.join(map(str, expected))}), got {tuple(image.shape)}")
        return (image - self.mean) / self.std


class RootDepth(nn.Module):
    """Head for the depth of the left wrist relative to the right one, from the crop's and both hands' mean features."""

    def __init__(self, overview_channels: int, joint_channels: int, hidden: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(overview_channels + 2 * joint_channels, hidden), nn.ReLU(), Readout(hidden, 1, bias=0.0)
        )

    def forward(self, overview: Tensor, joints: Tensor) -> Tensor:
        """Map crop features (B, A) and joint features (B, 42, C) to the relative depth (B,) in mm."""
        hands = [joints[:, hand].mean(dim=1) for hand in HAND_SLICES]
        depth: Tensor = self.network(torch.cat((overview, *hands), dim=-1))
        return DEPTH_RANGE / 2 * depth.squeeze(-1)


class DFL(nn.Module):
    """The pose network: predicts the 2.5D pose of two interacting hands from crops."""

    name = "DFL"

    def __init__(
        self, normalise: Normalise, encoder: Encoder, decoder: nn.Module, *,
        presence: nn.Module | None = None, root_depth: nn.Module | None = None,
        confidence: nn.Module | None = None, depth_axis: DepthAxis = DepthAxis.CAMERA,
    ) -> None:  # fmt: skip
        """Assemble the network.

        Args:
            normalise: Maps RGB crops (B, 3, S, S) to the backbone's input.
            encoder: Maps normalised crops to `encoder.Encoded`.
            decoder: Maps `Encoded.levels` to `decoder.Decoded`.
            presence: Maps the mean appearance of the coarsest level (B, A) to logits (B, 2) of the right and left hand.
            root_depth: Maps the same mean and `Decoded.joints` (B, 42, C) to the depth of the left wrist minus that of
                the right one, (B,) mm.
            confidence: Maps `confidence.evidence` (B, 42, F) to logits (B, 42).
            depth_axis: Axis along which depths are measured; it is only reported and does not affect the computation.
        """
        super().__init__()
        self.normalise = normalise
        self.encoder = encoder
        self.decoder = decoder
        self.presence = presence
        self.root_depth = root_depth
        self.confidence = confidence
        self.depth_axis = depth_axis

    @property
    def image_size(self) -> int:
        """S, side of the crops in px."""
        return self.normalise.image_size

    def forward(self, image: Tensor) -> Prediction:
        """Predict from crops (B, 3, S, S) RGB, uint8 or float in 0..255."""
        encoded = self.encoder(self.normalise(image))
        decoded = self.decoder(encoded.levels)
        overview = encoded.levels[0].appearance.mean(dim=1)
        presence = None if self.presence is None else self.presence(overview)
        size = self.image_size
        return Prediction(
            pose_2p5d=torch.cat((pixels_of(decoded.pose[..., :2], size), depth_of(decoded.pose[..., 2:])), dim=-1),
            steps=tuple(pixels_of(step, size) for step in decoded.steps),
            part_logits=encoded.part_logits,
            relations=decoded.relations,
            presence=presence,
            root_depth=None if self.root_depth is None else self.root_depth(overview, decoded.joints),
            confidence=None
            if self.confidence is None
            else self.confidence(
                evidence(decoded.pose, decoded.steps, decoded.relations, encoded.part_logits, presence)
            ),
        )


class _DecoderParts(NamedTuple):
    """A decoder and its requirements on the encoder."""

    decoder: nn.Module
    joint_channels: int
    strides: tuple[int, ...]
    appearance_strides: frozenset[int]
    reads_position: bool


def _decoupled(config: ModelConfig) -> _DecoderParts:
    widths = Widths(config.appearance_channels, config.position_channels)
    hidden = Widths(*(config.feedforward * width for width in widths))
    choices = [config.init_relation, config.joint_image_relation, config.regress_from]
    if config.joint_joint:
        choices.append(config.joint_joint_relation)
    if all(choice is Relation.POSITION for choice in choices):
        raise UnclaspError(
            "with all relations by position the pose cannot depend on the picture; let one use appearance"
        )
    needed = needs(config)
    levels: list[frozenset[Kind]] = [
        needed.initial.union(KINDS[config.init_relation]),
        *(kinds.union(KINDS[config.joint_image_relation]) for kinds in needed.joint_image),
    ]
    return _DecoderParts(
        _assemble(config, widths, hidden),
        joint_channels=sum(widths),
        strides=config.strides,
        appearance_strides=frozenset(
            stride for stride, kinds in zip(config.strides, levels, strict=True) if "appearance" in kinds
        ),
        reads_position=any("position" in kinds for kinds in levels),
    )


def _fused(config: ModelConfig) -> _DecoderParts:
    by = Relation.POSITION
    alone = replace(config, init_relation=by, joint_joint_relation=by, joint_image_relation=by, regress_from=by)
    appearance, position = config.appearance_channels, config.position_channels
    # As many hidden channels as both kinds of the decoupled decoder have together, for a similar number of parameters.
    hidden = Widths(0, config.feedforward * (appearance + position))
    decoder = _assemble(replace(alone, root_depth_head=False), Widths(0, position), hidden)
    return _DecoderParts(
        FusedDecoder(nn.Linear(appearance, position), decoder),
        joint_channels=position,
        strides=config.strides,
        appearance_strides=frozenset(config.strides),
        reads_position=True,
    )


def _pooled(config: ModelConfig) -> _DecoderParts:
    channels = config.appearance_channels
    strides = config.strides[:1]
    return _DecoderParts(PooledDecoder(channels), channels, strides, frozenset(strides), reads_position=False)


_DECODERS: Final[dict[Decoder, Callable[[ModelConfig], _DecoderParts]]] = {
    Decoder.DECOUPLED: _decoupled, Decoder.FUSED: _fused, Decoder.POOLED: _pooled,
}  # fmt: skip


def _assemble(config: ModelConfig, widths: Widths, hidden: Widths) -> DecoupledDecoder:
    needed = needs(config)
    iterations = [
        Iteration(
            RelationLayer(widths, config.joint_joint_relation, updates=of_joints, heads=config.heads, hidden=hidden)
            if config.joint_joint
            else None,
            RelationLayer(widths, config.joint_image_relation, updates=of_image, heads=config.heads, hidden=hidden),
        )
        for of_joints, of_image in zip(needed.joint_joint, needed.joint_image, strict=True)
    ]
    refined = widths.of(KINDS[config.regress_from][-1])
    refine = (
        spatial_refinement(refined, layers=config.refine_layers, heads=config.heads, feedforward=config.feedforward)
        if config.refine
        else None
    )
    return DecoupledDecoder(
        Initialisation(widths, config.init_relation, residual=config.init_residual),
        iterations,
        to_steps=[Estimate(widths, config.regress_from, 2) for _ in iterations],
        to_pose=Estimate(widths, config.regress_from, 3, refine=refine),
    )


def build(config: ModelConfig) -> DFL:
    """Build the network that a config describes, with random weights.

    Raises:
        UnclaspError: The backbone is unknown, or with these relations the pose cannot depend on the picture.
    """
    parts = _DECODERS[config.decoder](config)
    reads_mean = config.presence_head or config.root_depth_head
    appearance_strides = parts.appearance_strides.union(parts.strides[:1] if reads_mean else ())
    backbone = build_backbone(config.backbone)
    encoder = Encoder(
        backbone,
        Pyramid(backbone.channels, config.fpn_channels, sorted({*appearance_strides, STRIDES[0]})),
        part_segmentation(config.fpn_channels, config.segmentation_channels),
        PositionFeatures(config.position_channels, [config.image_size // stride for stride in parts.strides])
        if parts.reads_position
        else None,
        strides=parts.strides,
        appearance_strides=appearance_strides,
    )
    appearance = config.appearance_channels
    return DFL(
        Normalise(backbone, config.image_size),
        encoder,
        parts.decoder,
        presence=nn.Linear(appearance, 2) if config.presence_head else None,
        root_depth=RootDepth(appearance, parts.joint_channels, config.position_channels)
        if config.root_depth_head
        else None,
        confidence=Confidence(config.iterations, context=config.confidence_context) if config.confidence_head else None,
        depth_axis=config.depth_axis,
    )
