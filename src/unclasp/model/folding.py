"""Folding of adjacent linear maps: batch normalisation into convolutions, and convolutions into one another."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from unclasp.model.backbones.efficientnet import SameConv2d

_PAIRS = (
    ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("_conv_stem", "_bn0"), ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"),
)  # fmt: skip
"""Attribute names of convolutions and the norms that follow them, in the blocks of `backbone`."""


def fold_batch_norms(root: nn.Module) -> None:
    """Fold every batch normalisation into the convolution before it, in place, using its running statistics.

    Pairs are recognised in `Sequential`s and in the blocks of our own backbones; all other modules are left unchanged.
    """
    for module in list(root.modules()):
        children = dict(module.named_children())
        pairs = pairwise(children) if isinstance(module, nn.Sequential) else iter(_PAIRS)
        for first, second in pairs:
            conv, norm = children.get(first), children.get(second)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, _with_norm(conv, norm))
                setattr(module, second, nn.Identity())


def _with_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Module:
    if norm.running_mean is None or norm.running_var is None:
        return nn.Sequential(conv, norm)
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() - gain * norm.running_mean.double()
    if conv.bias is not None:
        bias = bias + gain * conv.bias.double()
    weight = conv.weight.double() * gain[:, None, None, None]
    if not isinstance(conv, SameConv2d):
        return convolution(weight, bias, conv.stride[0], int(conv.padding[0]), conv.groups)
    near, far = conv.around[:2]
    if near == far:
        return convolution(weight, bias, conv.stride[0], near, conv.groups)
    return nn.Sequential(nn.ZeroPad2d(conv.around), convolution(weight, bias, conv.stride[0], 0, conv.groups))


def convolution(weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    """Return a convolution with the given weight and bias, which are not trainable."""
    outputs, inputs, kernel, _ = weight.shape
    with torch.device("meta"):
        conv = nn.Conv2d(inputs * groups, outputs, kernel, stride, padding, groups=groups)
    conv.weight, conv.bias = _constant(weight), _constant(bias)
    return conv


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer with the given weight and bias, which are not trainable."""
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = _constant(weight), _constant(bias)
    return layer


def then_pointwise(conv: nn.Conv2d, pointwise: nn.Conv2d) -> nn.Conv2d:
    """Merge a convolution and the 1x1 convolution that follows it into one with bias."""
    mix = pointwise.weight.double().flatten(1)
    weight = torch.einsum("oc,cikl->oikl", mix, conv.weight.double())
    bias = mix @ bias_of(conv) + bias_of(pointwise)
    return convolution(weight, bias, conv.stride[0], int(conv.padding[0]))


def bias_of(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """Return a layer's bias in double precision, or zeros if it has none."""
    return layer.weight.new_zeros(layer.weight.shape[0]).double() if layer.bias is None else layer.bias.double()


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.contiguous(), requires_grad=False)
