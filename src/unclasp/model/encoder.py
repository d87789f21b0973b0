"""The encoder (section 3.2): a feature pyramid, part segmentation, and the position features of every level.

Letters: B batch, H and W crop size, L pixels of a level, A appearance and S position channels. Level 0 is the coarsest.
"""

from collections.abc import Collection, Iterator, Sequence
from math import pi
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.hands import NUM_PARTS
from unclasp.model.backbones import STRIDES, Backbone
from unclasp.model.relation import Features

FREQUENCIES: Final = 16
"""Sine waves per axis of the position code, with wavelengths from 2 to 1/16 crop sides (2 px of a 32 px wide map)."""


class Pyramid(nn.Module):
    """Feature pyramid network (Lin et al. 2017), which adds the coarser levels' features to each level.

    Output layers exist for `strides` only; the top-down path always starts at stride 32. Batch normalisation after
    every convolution is our addition: it gives the features of all levels and backbones a similar magnitude. Those of
    EfficientNet-Lite grow from level to level and would saturate the first relations.
    """

    def __init__(self, inputs: dict[int, int], channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleDict({str(stride): _conv(inputs[stride], channels, 1) for stride in STRIDES})
        self.output = nn.ModuleDict({str(stride): _conv(channels, channels, 3) for stride in strides})

    def forward(self, maps: list[Tensor]) -> dict[int, Tensor]:
        """Map the backbone's four maps to one map (B, channels, H / stride, W / stride) for each of the strides."""
        summed = top_down(self.lateral, maps)
        return {stride: self.output[str(stride)](down) for stride, down in summed if str(stride) in self.output}


def top_down(lateral: nn.ModuleDict, maps: list[Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Yield each stride, from the coarsest on, with the sum of its lateral features and those of the coarser levels."""
    down: Tensor | None = None
    for stride, features in zip(reversed(STRIDES), reversed(maps), strict=True):
        own = lateral[str(stride)](features)
        down = own if down is None else own + functional.interpolate(down, scale_factor=2.0)
        yield stride, down


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def part_segmentation(channels: int, hidden: int) -> nn.Sequential:
    """Build the head for the logits of the 33 part classes on the finest map; with `hidden` 0 it is linear."""
    if hidden == 0:
        return nn.Sequential(nn.Conv2d(channels, NUM_PARTS, 1))
    return nn.Sequential(_conv(channels, hidden, 3), nn.ReLU(inplace=True), nn.Conv2d(hidden, NUM_PARTS, 1))


def pixel_centres(size: int) -> Tensor:
    """Return the pixel centres (size * size, 2) of a square map, row-major, as x, y in units of the crop's side.

    Examples:
        >>> pixel_centres(2).tolist()
        [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    """
    centres = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack((x, y), dim=-1).flatten(0, 1)


def sine_code(points: Tensor) -> Tensor:
    """Return the sine-cosine code (..., 64) of points (..., 2) in [0, 1]; a point has the same code on every level."""
    exponents = torch.linspace(0, 5, FREQUENCIES, dtype=points.dtype, device=points.device)
    phases = points.unsqueeze(-1) * (pi * 2**exponents)  # (..., 2, 16)
    return torch.cat((phases.sin(), phases.cos()), dim=-1).flatten(-2)


class PositionFeatures(nn.Module):
    """Position features F^p of each level: a sine code of the pixel centres, mapped by a small shared network.

    They depend on the grid alone, not on the image.
    """

    def __init__(self, channels: int, sizes: Sequence[int]) -> None:
        super().__init__()
        for size in set(sizes):
            self.register_buffer(f"code{size}", sine_code(pixel_centres(size))[None], persistent=False)
        self.sizes = tuple(sizes)
        self.network = nn.Sequential(
            nn.Linear(4 * FREQUENCIES, channels), nn.ReLU(), nn.Linear(channels, channels), nn.LayerNorm(channels)
        )

    def forward(self) -> list[Tensor]:
        """Return F^p (1, L, S) of each level."""
        distinct = {size: self.network(self.get_buffer(f"code{size}")) for size in dict.fromkeys(self.sizes)}
        return [distinct[size] for size in self.sizes]


class Encoded(NamedTuple):
    """Output of the encoder."""

    levels: tuple[Features, ...]
    """F^a (B, L, A) and F^p (1, L, S) of each level that the decoder reads, row-major over pixels."""
    part_logits: Tensor
    """(B, 33, H / 4, W / 4)."""


class Encoder(nn.Module):
    """Maps an image to appearance features F^a = concat(F, S) and position features F^p at each level."""

    def __init__(
        self, backbone: Backbone, pyramid: Pyramid, segmentation: nn.Module, positions: PositionFeatures | None,
        *, strides: Sequence[int], appearance_strides: Collection[int],
    ) -> None:  # fmt: skip
        """Assemble the encoder.

        Args:
            backbone: Maps images to feature maps.
            pyramid: Maps these to maps of equal channels, at least at stride 4 and where appearance is read.
            segmentation: Maps the finest map to part logits.
            positions: Returns the levels' position features; None if the decoder reads none.
            strides: Stride of each level, coarsest first.
            appearance_strides: Strides at which appearance is read; elsewhere it has no channels.
        """
        super().__init__()
        self.backbone = backbone
        self.pyramid = pyramid
        self.segmentation = segmentation
        self.positions = positions
        self.strides = tuple(strides)
        self.appearance_strides = tuple(sorted(appearance_strides))

    def forward(self, image: Tensor) -> Encoded:
        """Encode normalised images (B, 3, H, W)."""
        maps = self.pyramid(self.backbone(image))
        part_logits = self.segmentation(maps[STRIDES[0]])
        parts = part_logits.softmax(dim=1)
        appearances = {
            stride: _tokens(maps[stride], functional.avg_pool2d(parts, stride // STRIDES[0]))
            for stride in self.appearance_strides
        }
        no_appearance = part_logits.new_zeros(image.shape[0], 1, 0)
        positions = self._no_positions(image) if self.positions is None else self.positions()
        levels = (
            Features(appearances.get(stride, no_appearance), position)
            for stride, position in zip(self.strides, positions, strict=True)
        )
        return Encoded(tuple(levels), part_logits)

    def _no_positions(self, image: Tensor) -> list[Tensor]:
        """Return position features without channels, (1, L, 0) for each level, for decoders that read none."""
        height, width = image.shape[-2:]
        return [image.new_zeros(1, (height // stride) * (width // stride), 0) for stride in self.strides]


def _tokens(features: Tensor, parts: Tensor) -> Tensor:
    """Concatenate a map and its part probabilities into tokens (B, L, A)."""
    return torch.cat((features, parts.to(features.dtype)), dim=1).flatten(2).transpose(1, 2)
