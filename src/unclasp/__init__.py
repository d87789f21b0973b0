"""The 3D pose of two interacting hands from one RGB picture."""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unclasp.checkpoint import load_model
    from unclasp.errors import UnclaspError
    from unclasp.model import DFL, build
    from unclasp.picture import Photo, decode_photo, read_photo, read_picture
    from unclasp.pose import HandPose
    from unclasp.predictor import Predictor
    from unclasp.streaming import StreamOptions
    from unclasp.video import Frame

    __version__: str

# ONNX Runtime's wheels report their use to their maker, by a file in the home folder and over the network, unless told
# not to before they are imported. Whoever wants that can set it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "DFL", "Frame", "HandPose", "Photo", "Predictor", "StreamOptions", "UnclaspError", "__version__", "build",
    "decode_photo", "load_model", "read_photo", "read_picture",
]  # fmt: skip

_HOMES = {
    "DFL": "unclasp.model",
    "Frame": "unclasp.video",
    "build": "unclasp.model",
    "HandPose": "unclasp.pose",
    "Photo": "unclasp.picture",
    "Predictor": "unclasp.predictor",
    "StreamOptions": "unclasp.streaming",
    "UnclaspError": "unclasp.errors",
    "decode_photo": "unclasp.picture",
    "load_model": "unclasp.checkpoint",
    "read_photo": "unclasp.picture",
    "read_picture": "unclasp.picture",
}

_OF_TORCH = ("DFL", "build", "load_model")


def __getattr__(name: str) -> Any:
    """Import public names on first use: importing unclasp alone loads nothing heavy."""
    if name == "__version__":
        return import_module("unclasp.version").installed_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'unclasp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Tell the public names before they are imported, too; without torch, as `help` gets them all, those without it."""
    missing = () if find_spec("torch") else _OF_TORCH
    return sorted({*globals(), *__all__}.difference(missing))
