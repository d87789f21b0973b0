"""The network of the hand finder: detects regions with hands, with their boxes, in a downscaled whole picture.

It is a one-stage anchor-free detector after CenterNet (Zhou et al. 2019) and FCOS (Tian et al. 2019). On a map at
stride 4 it predicts the probability that a region's centre lies in a cell, and the distances from each cell to the four
edges of its region's box. The third output, which cells show a hand, is an auxiliary training target.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.model.backbones.efficientnet import SameConv2d
from unclasp.model.palms import WIDTHS, PalmBackbone

STRIDE: Final = 4
"""px per cell of the maps."""
_MAX_LOG_DISTANCE: Final = 6.0
"""Upper limit of the edge outputs."""
_INITIAL_LOGIT: Final = -4.0
"""Initial logit of centres and hands, both of which are rare."""


class FinderMaps(NamedTuple):
    """Output of the network for B pictures of S x S px, on maps of M x M cells with M = S / 4."""

    middle: Tensor
    """(B, M, M) logits that the centre of a region lies in the cell."""
    hand: Tensor
    """(B, M, M) logits that the cell shows a hand."""
    edges: Tensor
    """(B, 4, M, M) log(1 + d) of the distances d, in cells, from the cell's centre to the left, top, right and bottom
    edge of the region's box."""


class FinderNet(nn.Module):
    """The body of a palm detector (`palms`), followed by a light pyramid and head of our own.

    Args:
        channels: Number of channels of the pyramid.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.backbone = PalmBackbone()
        self.everywhere = nn.Linear(WIDTHS[-1], channels)
        self.lateral = nn.ModuleList(_pointwise(width, channels) for width in WIDTHS)
        self.smooth = nn.ModuleList(_separable(channels) for _ in WIDTHS[1:])
        self.head = nn.Sequential(_separable(channels), _separable(channels))
        self.answer = nn.Conv2d(channels, 6, 1)
        nn.init.normal_(self.answer.weight, std=0.01)
        with torch.no_grad():
            assert self.answer.bias is not None  # noqa: S101  nn.Conv2d has one by default
            self.answer.bias.copy_(torch.tensor([_INITIAL_LOGIT, _INITIAL_LOGIT, 1.5, 1.5, 1.5, 1.5]))

    def freeze_down(self) -> None:
        """Freeze the palm detector's bottom-up path to stride 32; training it would take two thirds of a step."""
        for module in self.backbone.way_down():
            module.requires_grad_(False)

    def forward(self, pictures: Tensor) -> FinderMaps:
        """Predict the maps of (B, 3, S, S) RGB pictures, 0 to 255; S is a multiple of 32."""
        maps = self.backbone.up(self.backbone.down(pictures.float() / 255))
        laterals = [layer(features) for layer, features in zip(self.lateral, maps, strict=True)]
        down = laterals.pop() + self.everywhere(maps[-1].mean(dim=(2, 3)))[:, :, None, None]
        for lateral, smooth in zip(reversed(laterals), self.smooth, strict=True):
            down = smooth(lateral + functional.interpolate(down, scale_factor=2.0))
        output = self.answer(self.head(down)).float()
        return FinderMaps(output[:, 0], output[:, 1], output[:, 2:].clamp(max=_MAX_LOG_DISTANCE))


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def _separable(channels: int) -> nn.Sequential:
    """Build a depthwise 5x5 and a pointwise convolution, each with norm and ReLU."""
    return nn.Sequential(
        SameConv2d(channels, channels, 5, groups=channels), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
    )  # fmt: skip


def boxes_of(edges: Tensor) -> Tensor:
    """Convert `FinderMaps.edges` to boxes (B, 4, M, M) x1, y1, x2, y2 px of the picture, pixel centres at integers."""
    side = edges.shape[-1]
    centres = (torch.arange(side, device=edges.device, dtype=edges.dtype) + 0.5) * STRIDE - 0.5
    left, top, right, bottom = ((edges.exp() - 1).clamp(min=0) * STRIDE).unbind(dim=1)
    x, y = centres[None, None, :], centres[None, :, None]
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=1)


class Targets(NamedTuple):
    """Training targets of `FinderMaps` for B pictures."""

    middle: Tensor
    """(B, M, M) 1 at the centres of regions, falling off around them."""
    hand: Tensor
    """(B, M, M) share of the cell's area that shows a hand."""
    boxes: Tensor
    """(B, 4, M, M) box of the region that the cell belongs to."""
    weight: Tensor
    """(B, M, M) weight of the box loss; 0 where the cell belongs to no region."""
    loss_mask: Tensor
    """(B, M, M) 1, or 0 where the losses of centres and hands are masked (`IGNORED` hands)."""


def finder_losses(found: FinderMaps, targets: Targets) -> dict[str, Tensor]:
    """Return the loss terms: focal loss of the centres, cross-entropy of the hands, 1 - GIoU of the boxes."""
    loss_mask, middle = targets.loss_mask, targets.middle
    count = (middle == 1).sum().clamp(min=1)
    probability = found.middle.sigmoid().clamp(1e-4, 1 - 1e-4)
    positive = (1 - probability) ** 2 * probability.log() * (middle == 1)
    negative = (1 - middle) ** 4 * probability**2 * (1 - probability).log() * (middle < 1)
    hand = functional.binary_cross_entropy_with_logits(found.hand, targets.hand, reduction="none")
    boxes, total = boxes_of(found.edges), targets.weight.sum().clamp(min=1)
    box = (1 - generalised_iou(boxes, targets.boxes)) * targets.weight
    return {
        "middle": -((positive + negative) * loss_mask).sum() / count,
        "hand": (hand * loss_mask).sum() / loss_mask.sum().clamp(min=1),
        "box": box.sum() / total,
    }


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised IoU of boxes (B, 4, ...), from -1 to 1 (Rezatofighi et al. 2019)."""
    (ax, ay, bx, by), (cx, cy, dx, dy) = first.unbind(dim=1), second.unbind(dim=1)
    across = (torch.minimum(bx, dx) - torch.maximum(ax, cx)).clamp(min=0)
    down = (torch.minimum(by, dy) - torch.maximum(ay, cy)).clamp(min=0)
    shared = across * down
    union = (bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - shared
    hull = (torch.maximum(bx, dx) - torch.minimum(ax, cx)) * (torch.maximum(by, dy) - torch.minimum(ay, cy))
    return shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


WEIGHTS: Final = {"middle": 1.0, "hand": 1.0, "box": 2.0}
"""Weights of the terms of `finder_losses`."""
