"""An adapter of the library timm."""

from importlib import import_module

from torch import Tensor

from unclasp.errors import UnclaspError
from unclasp.model.backbones.base import STRIDES, Backbone


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
