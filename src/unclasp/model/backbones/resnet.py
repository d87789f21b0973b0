"""ResNet (He et al. 2016), the paper's backbone. Parameter names are torchvision's."""

from torch import Tensor, nn
from torch.nn import functional

from unclasp.model.backbones.base import STRIDES, Backbone


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
