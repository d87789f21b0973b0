"""The network behind the finder of hands: where regions of hands are in a small whole picture, and how large.

One stage without anchors, after CenterNet (Zhou et al. 2019) and FCOS (Tian et al. 2019): on a map at stride 4, the
likelihood of a region's middle, and from each cell the distances to the four edges of its region's box. The third
answer, which cells show a hand, is there to learn from.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.model.backbone import SameConv2d
from unclasp.model.palms import WIDTHS, PalmBackbone

STRIDE: Final = 4
"""px per cell of the maps."""
_FARTHEST: Final = 6.0
_RARE: Final = -4.0


class FinderMaps(NamedTuple):
    """The network's answer for B pictures of S px, on maps of M = S / 4 cells."""

    middle: Tensor
    """(B, M, M) logits of a region's middle being in the cell."""
    hand: Tensor
    """(B, M, M) logits of the cell showing a hand."""
    edges: Tensor
    """(B, 4, M, M) logarithms of the distances in cells from the cell's centre to the box's left, top, right, bottom
    edge, each plus one."""


class FinderNet(nn.Module):
    """The body of a palm detector (`palms`), and behind it a light pyramid and head of our own.

    Args:
        channels: Width of the pyramid.
    """

    def __init__(self, channels: int = 48) -> None:
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
            self.answer.bias.copy_(torch.tensor([_RARE, _RARE, 1.5, 1.5, 1.5, 1.5]))

    def freeze_down(self) -> None:
        """Leave the palm detector's way down to stride 32 as it came: two thirds of a training step's time."""
        for module in self.backbone.way_down():
            module.requires_grad_(False)

    def forward(self, pictures: Tensor) -> FinderMaps:
        """Find regions in (B, 3, S, S) RGB pictures, 0 to 255; S is a multiple of 32."""
        maps = self.backbone.up(self.backbone.down(pictures.float() / 255))
        laterals = [layer(features) for layer, features in zip(self.lateral, maps, strict=True)]
        down = laterals.pop() + self.everywhere(maps[-1].mean(dim=(2, 3)))[:, :, None, None]
        for lateral, smooth in zip(reversed(laterals), self.smooth, strict=True):
            down = smooth(lateral + functional.interpolate(down, scale_factor=2.0))
        answer = self.answer(self.head(down)).float()
        return FinderMaps(answer[:, 0], answer[:, 1], answer[:, 2:].clamp(max=_FARTHEST))


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def _separable(channels: int) -> nn.Sequential:
    """Mix over 5x5 places, then over channels."""
    return nn.Sequential(
        SameConv2d(channels, channels, 5, groups=channels), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
    )  # fmt: skip


def boxes_of(edges: Tensor) -> Tensor:
    """Turn `FinderMaps.edges` into boxes (B, 4, M, M) x1, y1, x2, y2 px of the picture, centres at integers."""
    side = edges.shape[-1]
    centres = (torch.arange(side, device=edges.device, dtype=edges.dtype) + 0.5) * STRIDE - 0.5
    left, top, right, bottom = ((edges.exp() - 1).clamp(min=0) * STRIDE).unbind(dim=1)
    x, y = centres[None, None, :], centres[None, :, None]
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=1)


class Targets(NamedTuple):
    """What `FinderMaps` should be for B pictures."""

    middle: Tensor
    """(B, M, M) 1 at the middles, falling off around them."""
    hand: Tensor
    """(B, M, M) share of the cell that shows a hand."""
    boxes: Tensor
    """(B, 4, M, M) box of the cell's region."""
    weight: Tensor
    """(B, M, M) of the boxes; 0 where the cell is of no region."""
    asked: Tensor
    """(B, M, M) 1, or 0 where hands are IGNORED."""


def finder_losses(found: FinderMaps, targets: Targets) -> dict[str, Tensor]:
    """Return the terms of the loss: focal loss of the middles, cross-entropy of the hands, 1 - GIoU of the boxes."""
    asked, middle = targets.asked, targets.middle
    count = (middle == 1).sum().clamp(min=1)
    likely = found.middle.sigmoid().clamp(1e-4, 1 - 1e-4)
    hit = (1 - likely) ** 2 * likely.log() * (middle == 1)
    miss = (1 - middle) ** 4 * likely**2 * (1 - likely).log() * (middle < 1)
    hand = functional.binary_cross_entropy_with_logits(found.hand, targets.hand, reduction="none")
    boxes, total = boxes_of(found.edges), targets.weight.sum().clamp(min=1)
    box = (1 - generalised_iou(boxes, targets.boxes)) * targets.weight
    return {
        "middle": -((hit + miss) * asked).sum() / count,
        "hand": (hand * asked).sum() / asked.sum().clamp(min=1),
        "box": box.sum() / total,
    }


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised intersection over union of boxes (B, 4, ...), -1 to 1 (Rezatofighi et al. 2019)."""
    (ax, ay, bx, by), (cx, cy, dx, dy) = first.unbind(dim=1), second.unbind(dim=1)
    across = (torch.minimum(bx, dx) - torch.maximum(ax, cx)).clamp(min=0)
    down = (torch.minimum(by, dy) - torch.maximum(ay, cy)).clamp(min=0)
    shared = across * down
    union = (bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - shared
    hull = (torch.maximum(bx, dx) - torch.minimum(ax, cx)) * (torch.maximum(by, dy) - torch.minimum(ay, cy))
    return shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


WEIGHTS: Final = {"middle": 1.0, "hand": 1.0, "box": 2.0}
"""Of the terms of `finder_losses`."""
