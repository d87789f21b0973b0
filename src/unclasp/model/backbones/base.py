"""The interface of all backbones."""

from typing import Final

from torch import nn

STRIDES: Final = (4, 8, 16, 32)
"""The strides of the feature maps, in the order in which a backbone returns them."""


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
