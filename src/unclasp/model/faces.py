"""MediaPipe's face detector for near faces (BlazeFace, Bazarevsky et al. 2019, arXiv 1907.05047).

It consists of the blocks of the palm detector (`model.palms`), with 3x3 kernels and ReLU, down to stride 16, and scores
anchors at strides 8 and 16.
"""

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.model.palms import AnchorOutput, PalmBlock
from unclasp.model.tflite import Layer, copy_layers, read_layers

_STEM_CHANNELS: Final = 24
_TO_STRIDE_8: Final = (24, 28, -32, 36, 42, -48, 56, 64, 72, 80, 88)
"""Channels of the blocks up to the finer map; those with a minus sign have stride 2."""
_TO_STRIDE_16: Final = (-96, 96, 96, 96, 96)
"""The same of those after it, up to the coarser map."""
_ANCHORS: Final = ((_TO_STRIDE_8[-1], 2), (_TO_STRIDE_16[-1], 6))
"""Channels of the maps at strides 8 and 16, and number of anchors per cell."""
PLACE: Final = 16
"""Number of coordinates per anchor: centre and size of a box, and six keypoints."""


class FaceDetector(nn.Module):
    """MediaPipe's face detector."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM_CHANNELS, 5, 2)
        self.fine, self.coarse = _blocks(_STEM_CHANNELS, _TO_STRIDE_8), _blocks(_ANCHORS[0][0], _TO_STRIDE_16)
        self.scores = nn.ModuleList(nn.Conv2d(width, anchors, 1) for width, anchors in _ANCHORS)
        self.places = nn.ModuleList(nn.Conv2d(width, anchors * PLACE, 1) for width, anchors in _ANCHORS)

    def forward(self, pictures: Tensor) -> AnchorOutput:
        """Detect faces in (B, 3, H, W) RGB pictures, 0 to 255; H and W are multiples of 16."""
        stem = functional.relu(self.stem(functional.pad(pictures / 127.5 - 1, (1, 2, 1, 2))))
        fine = self.fine(stem)
        coarse = self.coarse(fine)
        (fine_score, coarse_score), (fine_place, coarse_place) = self.scores, self.places
        return AnchorOutput(
            fine_score(fine).sigmoid(), fine_place(fine), coarse_score(coarse).sigmoid(), coarse_place(coarse)
        )


def _blocks(inputs: int, outputs: tuple[int, ...]) -> nn.Sequential:
    """Return blocks in a row; `outputs` as in `_TO_STRIDE_8`."""
    blocks = []
    for width in outputs:
        blocks.append(PalmBlock(inputs, abs(width), 1 if width > 0 else 2, kernel=3, slope=nn.ReLU()))
        inputs = abs(width)
    return nn.Sequential(*blocks)


def load_face_detector(path: Path) -> FaceDetector:
    """Load MediaPipe's face detector, strictly.

    Args:
        path: face_detection_short_range.tflite of the package mediapipe.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
    """
    net, stored = FaceDetector().eval(), read_layers(path)
    blocks = [block for block in (*net.fine, *net.coarse) if isinstance(block, PalmBlock)]
    separable = [part for block in blocks for part in (block.depthwise, block.pointwise)]
    layers = [net.stem, *separable, *net.scores, *net.places]
    copy_layers(layers, stored, path, "face_detection_short_range.tflite")
    for block, depthwise in zip(blocks, stored[1 : 1 + len(separable) : 2], strict=True):
        _add_bias_before(block.pointwise, depthwise)
    return net


@torch.no_grad()
def _add_bias_before(pointwise: nn.Conv2d, depthwise: Layer) -> None:
    """Add the bias of a depthwise convolution, which `PalmBlock` has not, to that of the pointwise one after it."""
    assert pointwise.bias is not None  # noqa: S101  PalmBlock has one
    pointwise.bias.add_(pointwise.weight.flatten(1) @ depthwise.bias)
