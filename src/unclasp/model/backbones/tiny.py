"""A backbone for tests."""

from itertools import pairwise

from torch import Tensor, nn

from unclasp.model.backbones.base import STRIDES, Backbone


class Tiny(Backbone):
    """A patch layer and three strided convolutions, for tests."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 12, 16, 24)
        first = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        others = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
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
