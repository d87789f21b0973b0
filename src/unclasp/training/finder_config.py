"""What the finder of hands is asked for, how it is trained, and where the training goes."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.errors import UnclaspError, check_at_least
from unclasp.geometry import expand_box

IGNORED: Final = 255
"""In masks of regions: hands too hidden or too far outside of the picture to be asked for, and not to be denied."""
_TOGETHER: Final = 1.15


def are_one_region(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> bool:
    """Return whether two hands are one region: their boxes x1, y1, x2, y2, a little enlarged, meet."""
    a, b = expand_box(first, _TOGETHER), expand_box(second, _TOGETHER)
    return bool((a[:2] <= b[2:]).all() and (b[:2] <= a[2:]).all())


@dataclass(frozen=True, kw_only=True)
class FinderConfig:
    """How a finder is trained."""

    image_size: int = 192
    """Side of its square in px, a multiple of 32; predictions use 192, whatever it was trained on."""
    channels: int = 48
    """Width of its pyramid."""
    steps: int = 1500
    """Optimiser steps; the learning rate falls to nothing along a cosine."""
    batch_size: int = 32
    """Views per step."""
    learning_rate: float = 2e-3
    """At the start."""
    backbone_rate: float = 0.3
    """Factor for what the palm detector's weights start."""
    freeze_down: bool = True
    """Keep the palm detector's way down to stride 32 as it came, and with it what it knows of real hands."""
    weight_decay: float = 1e-4
    """Of weights, not of biases and norms."""
    ema_decay: float = 0.998
    """Of the averaged weights, which are kept."""
    close_up_share: float = 0.2
    """Share of views from the close-ups, where there are any."""
    seed: int = 0
    """Of the views and of their order."""

    def __post_init__(self) -> None:
        check_at_least(1, channels=self.channels, steps=self.steps, batch_size=self.batch_size)
        if self.image_size < 1 or self.image_size % 32:
            raise UnclaspError(f"image_size must be a positive multiple of 32, got {self.image_size}")
        check_at_least(0, seed=self.seed)
        if not 0 < self.learning_rate < math.inf:
            raise UnclaspError(f"learning_rate must be greater than 0, got {self.learning_rate}")
        for name in ("backbone_rate", "weight_decay", "ema_decay", "close_up_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UnclaspError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class FinderRun:
    """Where and on what the training goes."""

    out: Path = Path("finder.safetensors")
    """The weights to write; beside it, .jsonl, the log."""
    backbone_weights: Path | None = None
    """MediaPipe's palm_detection_full.tflite to start from."""
    start_weights: Path | None = None
    """A finder to start from."""
    device: str = "cpu"
    """cpu or cuda."""
    bf16: bool = True
    """Autocast to bfloat16."""
    save_every: int = 250
    """Steps between saves."""
    report_every: int = 10
    """Steps between lines of the log."""

    def __post_init__(self) -> None:
        check_at_least(1, save_every=self.save_every, report_every=self.report_every)
