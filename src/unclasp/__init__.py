"""The 3D pose of two interacting hands from one RGB picture."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unclasp.model import DFL, build
    from unclasp.pose import HandPose
    from unclasp.predictor import Predictor

    __version__: str

# ONNX Runtime's wheels report their use to their maker, by a file in the home folder and over the network, unless told
# not to before they are imported. Whoever wants that can set it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["DFL", "HandPose", "Predictor", "__version__", "build"]

_HOMES = {
    "DFL": "unclasp.model",
    "build": "unclasp.model",
    "HandPose": "unclasp.pose",
    "Predictor": "unclasp.predictor",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use: importing unclasp alone loads nothing heavy."""
    if name == "__version__":
        return import_module("importlib.metadata").version("unclasp")
    if name not in _HOMES:
        raise AttributeError(f"module 'unclasp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
