"""The pose network `DFL`: `build` creates it from a config, `load_backbone` loads pretrained backbone weights."""

from unclasp.model.assembly import build
from unclasp.model.dfl import DFL
from unclasp.model.imagenet import load_backbone

__all__ = ["DFL", "build", "load_backbone"]
