"""The body of MediaPipe's palm detector (Google 2021), which knows real hands in whole pictures.

Residual blocks of a 5x5 depthwise and a 1x1 convolution with learnt slopes below zero (BlazePalm, Bazarevsky and Zhang
2019; Zhang et al. 2020, arXiv 2006.10214), down to stride 32 and up again to stride 8. The finder (`model.finder`) has
that body and answers of its own; `PalmDetector` has MediaPipe's, boxes and keypoints of palms.
"""

from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.errors import CheckpointError
from unclasp.model.backbone import SameConv2d
from unclasp.model.folding import convolution
from unclasp.model.tflite import Layer, read_layers

WIDTHS: Final = (64, 128, 256, 256)
"""Channels of the maps at strides 4, 8, 16 and 32."""
_STEM: Final = 32
_BLOCKS: Final = 4
_ANCHORS: Final = ((WIDTHS[1], 2), (WIDTHS[2], 6))
"""Channels of the maps at strides 8 and 16, and how many answers each of their cells gives."""
PLACE: Final = 18
"""Numbers that an answer has beside its score: a box's centre and size, and seven keypoints."""


class MoreChannels(nn.Module):
    """Zeros behind the channels that there are."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return functional.pad(x, (0, 0, 0, 0, 0, self.outputs - self.inputs))


class PalmBlock(nn.Module):
    """Depthwise and pointwise convolution beside a shortcut; at stride 2 that is pooled and padded with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = SameConv2d(inputs, inputs, 5, stride, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.slope = nn.PReLU(outputs)
        pool = [] if stride == 1 else [nn.MaxPool2d(stride)]
        more = [] if inputs == outputs else [MoreChannels(inputs, outputs)]
        self.shortcut = nn.Sequential(*pool, *more)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = self.slope(self.shortcut(x) + self.pointwise(self.depthwise(x)))
        return y


class _Up(nn.Module):
    """From a coarser map to a finer one: enlarge, project, add, two blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.slope = nn.PReLU(outputs)
        self.blocks = nn.Sequential(PalmBlock(outputs, outputs), PalmBlock(outputs, outputs))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        joined: Tensor = self.blocks(fine + self.slope(self.project(up)))
        return joined


class PalmBackbone(nn.Module):
    """Pictures to what a palm detector sees in them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM, 5, 2)
        self.slope = nn.PReLU(_STEM)
        self.stages = nn.ModuleList()
        inputs = _STEM
        for outputs in (_STEM, *WIDTHS):
            down = [] if outputs == _STEM else [PalmBlock(inputs, outputs, 2)]
            self.stages.append(nn.Sequential(*down, *(PalmBlock(outputs, outputs) for _ in range(_BLOCKS))))
            inputs = outputs
        self.up16, self.up8 = _Up(WIDTHS[3], WIDTHS[2]), _Up(WIDTHS[2], WIDTHS[1])

    def way_down(self) -> tuple[nn.Module, ...]:
        """Return the layers of `down`."""
        return self.stem, self.slope, self.stages

    def down(self, pictures: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16 and 32 of (B, 3, S, S) RGB pictures, 0 to 1, on the way down."""
        x = self.slope(self.stem(functional.pad(pictures, (1, 2, 1, 2))))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]

    def up(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16 and 32 again, those at 8 and 16 with what the coarser ones know."""
        fine, middle, coarse, coarsest = maps
        coarse = self.up16(coarsest, coarse)
        return [fine, self.up8(coarse, middle), coarse, coarsest]


class PalmOutput(NamedTuple):
    """What a palm detector says of B pictures of S px: for A anchors in the middle of each cell of two maps.

    Scores (B, A, M, M) are how likely an anchor's palm is; places (B, A * 18, M, M) px are for each anchor in turn the
    box's centre, width and height and seven keypoints, centre and keypoints from the cell's middle.
    """

    fine_scores: Tensor
    """A = 2, M = S / 8."""
    fine_places: Tensor
    coarse_scores: Tensor
    """A = 6, M = S / 16."""
    coarse_places: Tensor


class PalmDetector(nn.Module):
    """Pictures to palms."""

    def __init__(self) -> None:
        super().__init__()
        self.body = PalmBackbone()
        self.scores = nn.ModuleList(nn.Conv2d(width, anchors, 1) for width, anchors in _ANCHORS)
        self.places = nn.ModuleList(nn.Conv2d(width, anchors * PLACE, 1) for width, anchors in _ANCHORS)

    def forward(self, pictures: Tensor) -> PalmOutput:
        """Find palms in (B, 3, H, W) RGB pictures, 0 to 255; H and W are multiples of 32."""
        _, fine, coarse, _ = self.body.up(self.body.down(pictures / 255))
        (fine_score, coarse_score), (fine_place, coarse_place) = self.scores, self.places
        return PalmOutput(
            fine_score(fine).sigmoid(), fine_place(fine), coarse_score(coarse).sigmoid(), coarse_place(coarse)
        )


def load_palm_detector(path: Path) -> PalmDetector:
    """Read MediaPipe's file, strictly.

    Args:
        path: palm_detection_full.tflite of the package mediapipe.

    Raises:
        CheckpointError: The file cannot be read, or is of another network.
    """
    net = PalmDetector().eval()
    load_palm_backbone(net.body, path)
    stored = {tuple(layer.weight.shape): layer for layer in read_layers(path) if _is_an_answer(layer)}
    with torch.no_grad():
        for module in (*net.scores, *net.places):
            layer = stored.get(tuple(module.weight.shape))
            if layer is None:
                raise CheckpointError(f"{path} has other answers than MediaPipe's palm_detection_full.tflite")
            module.weight.copy_(layer.weight)
            module.bias.copy_(layer.bias)
    return net


def load_palm_backbone(palms: PalmBackbone, path: Path) -> None:
    """Load the body of MediaPipe's file, strictly.

    Args:
        palms: What to load into.
        path: palm_detection_full.tflite of the package mediapipe.

    Raises:
        CheckpointError: The file cannot be read, or is of another network.
    """
    stored = [layer for layer in read_layers(path) if not _is_an_answer(layer)]
    mine = [module for module in palms.modules() if isinstance(module, nn.Conv2d | nn.PReLU)]
    if [tuple(layer.weight.shape) for layer in stored] != [tuple(module.weight.shape) for module in mine]:
        raise CheckpointError(f"{path} is another network: it must be MediaPipe's palm_detection_full.tflite")
    with torch.no_grad():
        for module, layer in zip(mine, stored, strict=True):
            module.weight.copy_(layer.weight)
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.copy_(layer.bias)
            elif layer.bias.any():
                raise CheckpointError(f"{path}: a depthwise convolution has a bias, which the palm detector's have not")


class _Slopes(nn.Module):
    """max(x, 0) + slope * min(x, 0) as two convolutions, which engines run in the layout of all others."""

    def __init__(self, slope: nn.PReLU) -> None:
        super().__init__()
        below = slope.weight.detach().double().view(-1, 1, 1, 1)
        nothing, groups = torch.zeros(len(below)), len(below)
        self.below = convolution(below, nothing, groups=groups)
        self.above = convolution(1 - below, nothing, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.below(x) + self.above(functional.relu(x))
        return y


def make_lean(root: nn.Module) -> None:
    """Make the palm detector's blocks faster to export, in place, to the same answers: half the time in ONNX Runtime.

    Its engine leaves its own layout for learnt slopes, added channels and paddings, but not for convolutions.
    """
    for module in list(root.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.PReLU):
                setattr(module, name, _Slopes(child))
            elif isinstance(child, MoreChannels):
                kept = torch.eye(child.outputs, child.inputs)[:, :, None, None]
                setattr(module, name, convolution(kept, torch.zeros(child.outputs)))
            elif isinstance(child, SameConv2d) and child.around[0] == child.around[1]:
                weight, nothing = child.weight.detach(), torch.zeros(child.out_channels)
                lean = convolution(weight, nothing, child.stride[0], child.around[0], child.groups)
                setattr(module, name, lean)


def _is_an_answer(layer: Layer) -> bool:
    """Return whether a layer answers for anchors: all others have a multiple of 32 channels."""
    return len(layer.weight) % _STEM > 0
