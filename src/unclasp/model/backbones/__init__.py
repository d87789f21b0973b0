"""Image backbones: ResNet, EfficientNet-Lite0, MediaPipe's hand landmark body, one for tests, and a timm adapter.

Each takes normalised images (B, 3, H, W), with H and W multiples of 32, and returns the feature maps at strides 4, 8,
16 and 32, in that order. Parameter names match the published ImageNet files, so that these load strictly.
"""

from collections.abc import Callable
from typing import Final

from unclasp.errors import UnclaspError
from unclasp.model.backbones.base import STRIDES, Backbone
from unclasp.model.backbones.efficientnet import EfficientNetLite0, HandLandmarks
from unclasp.model.backbones.resnet import BasicBlock, Bottleneck, ResNet
from unclasp.model.backbones.timm import Timm
from unclasp.model.backbones.tiny import Tiny

__all__ = ["BACKBONES", "STRIDES", "Backbone", "build_backbone"]

BACKBONES: Final[dict[str, Callable[[], Backbone]]] = {
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2)),
    "resnet34": lambda: ResNet(BasicBlock, (3, 4, 6, 3)),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3)),
    "efficientnet_lite0": EfficientNetLite0,
    "hand_landmarks": HandLandmarks,
    "tiny": Tiny,
}


def build_backbone(name: str) -> Backbone:
    """Build the backbone called `name`, with random weights.

    Raises:
        UnclaspError: No backbone has that name, timm is missing, or its model lacks maps at some strides.
    """
    if name.startswith("timm:"):
        return Timm(name.removeprefix("timm:"))
    if name not in BACKBONES:
        raise UnclaspError(f"there is no backbone {name!r}; choose one of {', '.join(BACKBONES)}, or timm:NAME")
    return BACKBONES[name]()
