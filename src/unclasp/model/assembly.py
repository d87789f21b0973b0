"""Builds the network that a config describes; this module alone decides the sizes of its parts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from torch import nn

from unclasp.config import Decoder, ModelConfig, Relation
from unclasp.errors import UnclaspError
from unclasp.model.backbones import STRIDES, build_backbone
from unclasp.model.confidence import Confidence
from unclasp.model.decoder import DecoupledDecoder, Estimate, FusedDecoder, Initialisation, Iteration, PooledDecoder
from unclasp.model.dfl import DFL, Normalise, RootDepth
from unclasp.model.encoder import Encoder, PositionFeatures, Pyramid, part_segmentation
from unclasp.model.refine import spatial_refinement
from unclasp.model.relation import KINDS, Kind, RelationLayer, Widths


class Needs(NamedTuple):
    """The kinds of features that each stage must produce, because a later stage reads them."""

    initial: frozenset[Kind]
    joint_joint: tuple[frozenset[Kind], ...]
    joint_image: tuple[frozenset[Kind], ...]


def needs(config: ModelConfig) -> Needs:
    """Determine, backwards from the pose, which features each stage must produce, so that no unused layer is built.

    In the paper's model, for example, the last appearance features are unused: the pose is computed from the last
    position features alone.
    """
    estimate = frozenset(KINDS[config.regress_from])
    after: frozenset[Kind] = estimate | (frozenset(KINDS[Relation.BOTH]) if config.root_depth_head else frozenset())
    joint_joint: list[frozenset[Kind]] = []
    joint_image: list[frozenset[Kind]] = []
    for _ in range(config.iterations):
        joint_image.append(after)
        between = after.union(KINDS[config.joint_image_relation])
        joint_joint.append(between)
        after = between.union(KINDS[config.joint_joint_relation]) if config.joint_joint else between
    return Needs(after, tuple(reversed(joint_joint)), tuple(reversed(joint_image)))


class _DecoderParts(NamedTuple):
    """A decoder and its requirements on the encoder."""

    decoder: nn.Module
    joint_channels: int
    strides: tuple[int, ...]
    appearance_strides: frozenset[int]
    """Contains the coarsest stride, whose mean appearance the heads read: what depends on the picture begins there."""
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
        _assemble(config, needed, widths, hidden),
        joint_channels=sum(widths),
        strides=config.strides,
        appearance_strides=frozenset(
            stride for stride, kinds in zip(config.strides, levels, strict=True) if "appearance" in kinds
        ),
        reads_position=any("position" in kinds for kinds in levels),
    )


def _fused(config: ModelConfig) -> _DecoderParts:
    # The single stream takes the place of the position features; the appearance features have no channels.
    by = Relation.POSITION
    alone = replace(
        config, init_relation=by, joint_joint_relation=by, joint_image_relation=by, regress_from=by,
        root_depth_head=False,
    )  # fmt: skip
    appearance, position = config.appearance_channels, config.position_channels
    # As many hidden channels as both kinds of the decoupled decoder have together, for a similar number of parameters.
    hidden = Widths(0, config.feedforward * (appearance + position))
    decoder = _assemble(alone, needs(alone), Widths(0, position), hidden)
    return _DecoderParts(
        FusedDecoder(nn.Linear(appearance, position), decoder),
        joint_channels=position,
        strides=config.strides,
        appearance_strides=frozenset(config.strides),
        reads_position=True,
    )


def _pooled(config: ModelConfig) -> _DecoderParts:
    channels = config.appearance_channels
    strides = STRIDES[-1:]
    return _DecoderParts(PooledDecoder(channels), channels, strides, frozenset(strides), reads_position=False)


_DECODERS: Final[dict[Decoder, Callable[[ModelConfig], _DecoderParts]]] = {
    Decoder.DECOUPLED: _decoupled, Decoder.FUSED: _fused, Decoder.POOLED: _pooled,
}  # fmt: skip


def _assemble(config: ModelConfig, needed: Needs, widths: Widths, hidden: Widths) -> DecoupledDecoder:
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
        UnclaspError: The backbone is unknown, with these relations the pose cannot depend on the picture, or `config`
            is no `ModelConfig`.
    """
    if not isinstance(config, ModelConfig):
        raise UnclaspError(f"expected a ModelConfig, got {type(config).__name__}; of a Config, give config.model")
    parts = _DECODERS[config.decoder](config)
    backbone = build_backbone(config.backbone)
    encoder = Encoder(
        backbone,
        Pyramid(backbone.channels, config.fpn_channels, sorted({*parts.appearance_strides, STRIDES[0]})),
        part_segmentation(config.fpn_channels, config.segmentation_channels),
        PositionFeatures(config.position_channels, [config.image_size // stride for stride in parts.strides])
        if parts.reads_position
        else None,
        strides=parts.strides,
        appearance_strides=parts.appearance_strides,
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
