"""The network: `build` makes it from a config, `DFL` is it, `load_backbone` gives it ImageNet's weights."""

from unclasp.model.dfl import DFL, build
from unclasp.model.imagenet import load_backbone

__all__ = ["DFL", "build", "load_backbone"]
