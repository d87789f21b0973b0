"""MediaPipe's palm detector (Google 2021) and its body, which was trained on real hands in whole pictures.

The body consists of residual blocks of a 5x5 depthwise and a 1x1 convolution with PReLU (BlazePalm, Bazarevsky and
Zhang 2019; Zhang et al. 2020, arXiv 2006.10214), down to stride 32 and up again to stride 8. The hand finder
(`model.finder`) uses the body with a head of its own; `PalmDetector` has MediaPipe's outputs, boxes and keypoints of
palms.
"""

from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.errors import CheckpointError
from unclasp.model.backbones.efficientnet import SameConv2d
from unclasp.model.folding import convolution
from unclasp.model.tflite import Layer, copy_layers, read_layers

WIDTHS: Final = (64, 128, 256, 256)
"""Channels of the maps at strides 4, 8, 16 and 32."""
_STEM_CHANNELS: Final = 32
_BLOCKS_PER_STAGE: Final = 4
_ANCHORS: Final = ((WIDTHS[1], 2), (WIDTHS[2], 6))
"""Channels of the maps at strides 8 and 16, and number of anchors per cell."""
PLACE: Final = 18
"""Number of coordinates per anchor: centre and size of a box, and seven keypoints."""


class MoreChannels(nn.Module):
    """Appends channels of zeros."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return functional.pad(x, (0, 0, 0, 0, 0, self.outputs - self.inputs))


class PalmBlock(nn.Module):
    """Residual block of depthwise and pointwise convolution; at stride 2 the shortcut is max-pooled.

    If the block adds channels, the shortcut is padded with zeros. The face detector has the same blocks, with smaller
    kernels and ReLU.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, *, kernel: int = 5, slope: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.depthwise = SameConv2d(inputs, inputs, kernel, stride, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.slope = nn.PReLU(outputs) if slope is None else slope
        pool = [] if stride == 1 else [nn.MaxPool2d(stride)]
        widen = [] if inputs == outputs else [MoreChannels(inputs, outputs)]
        self.shortcut = nn.Sequential(*pool, *widen)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = self.slope(self.shortcut(x) + self.pointwise(self.depthwise(x)))
        return y


class _Up(nn.Module):
    """Merges a coarser map into a finer one: upsample, project, add, two blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.slope = nn.PReLU(outputs)
        self.blocks = nn.Sequential(PalmBlock(outputs, outputs), PalmBlock(outputs, outputs))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        merged: Tensor = self.blocks(fine + self.slope(self.project(up)))
        return merged


class PalmBackbone(nn.Module):
    """The body of the palm detector: maps pictures to feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM_CHANNELS, 5, 2)
        self.slope = nn.PReLU(_STEM_CHANNELS)
        self.stages = nn.ModuleList()
        inputs = _STEM_CHANNELS
        for outputs in (_STEM_CHANNELS, *WIDTHS):
            down = [] if outputs == _STEM_CHANNELS else [PalmBlock(inputs, outputs, 2)]
            self.stages.append(nn.Sequential(*down, *(PalmBlock(outputs, outputs) for _ in range(_BLOCKS_PER_STAGE))))
            inputs = outputs
        self.up16, self.up8 = _Up(WIDTHS[3], WIDTHS[2]), _Up(WIDTHS[2], WIDTHS[1])

    def way_down(self) -> tuple[nn.Module, ...]:
        """Return the layers of the bottom-up path (`down`)."""
        return self.stem, self.slope, self.stages

    def down(self, pictures: Tensor) -> list[Tensor]:
        """Return the bottom-up maps at strides 4, 8, 16 and 32 of (B, 3, S, S) RGB pictures, 0 to 1."""
        x = self.slope(self.stem(functional.pad(pictures, (1, 2, 1, 2))))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]

    def up(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16 and 32, with coarser features merged into those at 8 and 16."""
        fine, middle, coarse, coarsest = maps
        coarse = self.up16(coarsest, coarse)
        return [fine, self.up8(coarse, middle), coarse, coarsest]


class AnchorOutput(NamedTuple):
    """Output of a detector for B pictures of S x S px: for A anchors at the centre of each cell of two maps.

    Scores (B, A, M, M) are the probabilities that an anchor is a palm, or a face. Places (B, A * `PLACE`, M, M), in px,
    contain for each anchor in turn the box's centre, width and height, and the keypoints; centre and keypoints are
    relative to the cell's centre.
    """

    fine_scores: Tensor
    """A = 2, M = S / 8."""
    fine_places: Tensor
    coarse_scores: Tensor
    """A = 6, M = S / 16."""
    coarse_places: Tensor


class PalmDetector(nn.Module):
    """MediaPipe's palm detector."""

    def __init__(self) -> None:
        super().__init__()
        self.body = PalmBackbone()
        self.scores = nn.ModuleList(nn.Conv2d(width, anchors, 1) for width, anchors in _ANCHORS)
        self.places = nn.ModuleList(nn.Conv2d(width, anchors * PLACE, 1) for width, anchors in _ANCHORS)

    def forward(self, pictures: Tensor) -> AnchorOutput:
        """Detect palms in (B, 3, H, W) RGB pictures, 0 to 255; H and W are multiples of 32."""
        _, fine, coarse, _ = self.body.up(self.body.down(pictures / 255))
        (fine_score, coarse_score), (fine_place, coarse_place) = self.scores, self.places
        return AnchorOutput(
            fine_score(fine).sigmoid(), fine_place(fine), coarse_score(coarse).sigmoid(), coarse_place(coarse)
        )


def load_palm_detector(path: Path) -> PalmDetector:
    """Load MediaPipe's palm detector, strictly.

    Args:
        path: palm_detection_full.tflite of the package mediapipe.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
    """
    net = PalmDetector().eval()
    load_palm_backbone(net.body, path)
    stored = {tuple(layer.weight.shape): layer for layer in read_layers(path) if _is_output_layer(layer)}
    with torch.no_grad():
        for module in (*net.scores, *net.places):
            layer = stored.get(tuple(module.weight.shape))
            if layer is None:
                raise CheckpointError(f"{path} has other output layers than MediaPipe's palm_detection_full.tflite")
            module.weight.copy_(layer.weight)
            module.bias.copy_(layer.bias)
    return net


def load_palm_backbone(palms: PalmBackbone, path: Path) -> None:
    """Load the body of MediaPipe's palm detector, strictly.

    Args:
        palms: The body to load into.
        path: palm_detection_full.tflite of the package mediapipe.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
    """
    stored = [layer for layer in read_layers(path) if not _is_output_layer(layer)]
    layers = [module for module in palms.modules() if isinstance(module, nn.Conv2d | nn.PReLU)]
    copy_layers(layers, stored, path, "palm_detection_full.tflite")
    if any(layer.bias.any() for module, layer in zip(layers, stored, strict=True) if isinstance(module, SameConv2d)):
        raise CheckpointError(f"{path}: a depthwise convolution has a bias, which the palm detector's have not")


class _ConvPReLU(nn.Module):
    """PReLU as two depthwise convolutions, which engines run in the same memory layout as other convolutions.

    max(x, 0) + slope * min(x, 0) equals slope * x + (1 - slope) * max(x, 0).
    """

    def __init__(self, slope: nn.PReLU) -> None:
        super().__init__()
        below = slope.weight.detach().double().view(-1, 1, 1, 1)
        zeros, groups = torch.zeros(len(below)), len(below)
        self.below = convolution(below, zeros, groups=groups)
        self.above = convolution(1 - below, zeros, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.below(x) + self.above(functional.relu(x))
        return y


def make_lean(root: nn.Module) -> None:
    """Rewrite `PalmBlock`s, in place, into equivalent ones that take half the time in ONNX Runtime.

    ONNX Runtime leaves its blocked memory layout for PReLU, channel padding and spatial padding, but not for
    convolutions, so all of these become convolutions.
    """
    for module in list(root.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.PReLU):
                setattr(module, name, _ConvPReLU(child))
            elif isinstance(child, MoreChannels):
                identity = torch.eye(child.outputs, child.inputs)[:, :, None, None]
                setattr(module, name, convolution(identity, torch.zeros(child.outputs)))
            elif isinstance(child, SameConv2d) and child.around[0] == child.around[1]:
                weight, zeros = child.weight.detach(), torch.zeros(child.out_channels)
                lean = convolution(weight, zeros, child.stride[0], child.around[0], child.groups)
                setattr(module, name, lean)


def _is_output_layer(layer: Layer) -> bool:
    """Return whether a layer is an output layer; all others have a multiple of 32 channels."""
    return len(layer.weight) % _STEM_CHANNELS > 0
