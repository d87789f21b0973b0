"""Optimisation for inference: `optimise` rewrites a `DFL` into an equivalent network of lower cost.

Only the order of summation changes, so that outputs agree with the plain network's up to rounding. For a network in
double precision, which is optimised in double precision, they agree to 1e-9 px and mm.

- Batch normalisation is folded into the preceding convolution.
- Position features depend on the grid alone, so everything that relations and updates compute from them is constant.
- Adjacent linear maps are merged: query with key, and value with output.
- The pyramid's 3x3 convolution at stride 4 is removed if only a linear segmentation head and the logits of a relation
  read its output. The head's 1x1 convolution is merged with it, from C to 33 channels. The logits, products of the
  joints' queries with every smoothed pixel, are computed by correlating the map before smoothing with one 3x3 kernel
  per joint, derived from its query.

Letters: B batch, L pixels of a level, C channels of the pyramid, S position channels.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.model.backbones import STRIDES
from unclasp.model.decoder import Decoded, DecoupledDecoder, Estimate, Iteration
from unclasp.model.dfl import DFL
from unclasp.model.encoder import Encoded, Encoder, PositionFeatures, top_down
from unclasp.model.folding import fold_batch_norms, then_pointwise
from unclasp.model.lean import AmongJoints, JointImage, Level, Refine, Start, pixels
from unclasp.model.refine import RefineBlock
from unclasp.model.relation import Features, Similarity

_FINEST = STRIDES[0]


class LeanEncoder(nn.Module):
    """Maps an image to `Level`s; skips the smoothing of levels of which no smoothed form is needed."""

    def __init__(self, encoder: Encoder, *, raw: bool) -> None:
        """Build from an encoder with folded batch normalisation.

        Args:
            encoder: The encoder, whose modules are reused, not copied.
            raw: Return the finest level before smoothing; this requires a linear segmentation head.
        """
        super().__init__()
        self.backbone = encoder.backbone
        self.lateral = encoder.pyramid.lateral
        self.output = nn.ModuleDict(dict(encoder.pyramid.output.items()))
        self.segmentation = encoder.segmentation
        if raw:
            smoothing = cast(nn.Conv2d, cast(nn.Sequential, self.output.pop(str(_FINEST)))[0])
            head = cast(nn.Conv2d, cast(nn.Sequential, encoder.segmentation)[0])
            self.segmentation = then_pointwise(smoothing, head)
        self.strides, self.read = encoder.strides, encoder.appearance_strides

    def forward(self, image: Tensor) -> Encoded:
        """Encode normalised images (B, 3, H, W)."""
        maps = {
            stride: self.output[str(stride)](down) if str(stride) in self.output else down
            for stride, down in top_down(self.lateral, self.backbone(image))
        }
        part_logits = self.segmentation(maps[_FINEST])
        parts = part_logits.softmax(dim=1)
        levels = {stride: Level(maps[stride], pixels(_shrunk(parts, stride // _FINEST))) for stride in self.read}
        # Of levels without appearance only positions are read, which the decoder holds as constants: any level will do.
        chosen = tuple(levels.get(stride, levels[self.strides[0]]) for stride in self.strides)
        return Encoded(cast(tuple[Features, ...], chosen), part_logits)


def _shrunk(parts: Tensor, factor: int) -> Tensor:
    return functional.avg_pool2d(parts, factor) if factor > 1 else parts  # a traced graph would keep pooling by 1


class LeanDecoder(nn.Module):
    """The optimised `DecoupledDecoder`, which reads `Level`s."""

    def __init__(self, decoder: DecoupledDecoder, positions: Sequence[Tensor], smoothing: dict[int, nn.Conv2d]) -> None:
        """Build from a decoder with a single attention head.

        Args:
            decoder: The decoder, whose modules are reused, not copied.
            positions: Position features (L, S) of each level, in double precision.
            smoothing: The smoothing convolution of each level that is passed unsmoothed, by level index.
        """
        super().__init__()
        self.start = Start(decoder.initialise, positions[0])
        among, with_image = [], []
        for index, module in enumerate(decoder.iterations, start=1):
            iteration = cast(Iteration, module)
            layer = iteration.joint_joint
            among.append(nn.Identity() if layer is None else AmongJoints(layer))
            with_image.append(JointImage(iteration.joint_image, positions[index], smoothing.get(index)))
        self.among, self.with_image = nn.ModuleList(among), nn.ModuleList(with_image)
        self.to_steps, self.to_pose = decoder.to_steps, cast(Estimate, decoder.to_pose)
        if isinstance(self.to_pose.refine, nn.Sequential):
            self.to_pose.refine = nn.Sequential(*(Refine(cast(RefineBlock, block)) for block in self.to_pose.refine))

    def forward(self, levels: Sequence[Level]) -> Decoded:
        """Decode T + 1 levels, coarsest first."""
        joints, logits = self.start(levels[0])
        relations, steps = [logits], []
        for among, with_image, to_step, level in zip(
            self.among, self.with_image, self.to_steps, levels[1:], strict=True
        ):
            joints, logits = with_image(among(joints), level)
            relations.append(logits)
            steps.append(to_step(joints))
        return Decoded(self.to_pose(joints), tuple(steps), tuple(relations), torch.cat(joints, dim=-1))


class ConstantPositions(nn.Module):
    """Precomputed position features."""

    def __init__(self, positions: Sequence[Tensor]) -> None:
        super().__init__()
        for index, position in enumerate(positions):
            self.register_buffer(f"level{index}", position[None])
        self.count = len(positions)

    def forward(self) -> list[Tensor]:
        """Return F^p (1, L, S) of each level."""
        return [self.get_buffer(f"level{index}") for index in range(self.count)]


@torch.no_grad()
def optimise(model: DFL) -> DFL:
    """Return a copy of a model that computes the same outputs in fewer operations, for inference only.

    Decoders with several heads and the baselines of Table 1 are not rewritten; only their positions become constants.
    """
    precision = next(model.parameters()).dtype
    # Weights are merged in double precision, so that each value is rounded only once.
    return _rewritten(deepcopy(model).requires_grad_(False)).eval().to(precision)


def _rewritten(copy: DFL) -> DFL:
    fold_batch_norms(copy)
    encoder, decoder = copy.encoder, copy.decoder
    if encoder.positions is None:
        return copy
    positions = [position[0] for position in deepcopy(encoder.positions).double()()]
    if not isinstance(decoder, DecoupledDecoder) or _heads(decoder) > 1:
        encoder.positions = cast(PositionFeatures, ConstantPositions(positions))
        return copy
    at_finest = [index for index, stride in enumerate(encoder.strides) if stride == _FINEST]
    raw = _is_linear(encoder.segmentation) and not any(_gathers(decoder, index) for index in at_finest)
    smoothing = cast(nn.Conv2d, cast(nn.Sequential, encoder.pyramid.output[str(_FINEST)])[0])
    copy.decoder = LeanDecoder(decoder, positions, dict.fromkeys(at_finest, smoothing) if raw else {})
    copy.encoder = cast(Encoder, LeanEncoder(encoder, raw=raw))
    return copy


def _heads(decoder: DecoupledDecoder) -> int:
    return max(module.heads for module in decoder.modules() if isinstance(module, Similarity))


def _is_linear(segmentation: nn.Module) -> bool:
    return isinstance(segmentation, nn.Sequential) and len(segmentation) == 1


def _gathers(decoder: DecoupledDecoder, level: int) -> bool:
    """Return whether the decoder gathers appearance from a level after the first, or only relates joints to it."""
    return "appearance" in cast(Iteration, decoder.iterations[level - 1]).joint_image.kinds_updated
