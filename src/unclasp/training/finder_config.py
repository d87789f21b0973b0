"""Configuration of the hand finder's training: the recipe, and the options of a run."""

import math
from dataclasses import dataclass
from pathlib import Path

from unclasp.errors import UnclaspError, check_at_least, check_seed


@dataclass(frozen=True, kw_only=True)
class FinderConfig:
    """Training recipe of a finder."""

    image_size: int = 192
    """Side of the square input in px, a multiple of 32; predictions always use 192."""
    channels: int = 48
    """Number of channels of the pyramid."""
    steps: int = 1500
    """Optimiser steps; the learning rate follows a cosine down to 0."""
    batch_size: int = 32
    """Views per step."""
    learning_rate: float = 2e-3
    """Learning rate after the warm-up."""
    backbone_rate: float = 0.3
    """Factor of the learning rate for the palm detector's body."""
    freeze_down: bool = True
    """Freeze the palm detector's bottom-up path to stride 32, to keep what it has learned from real hands."""
    weight_decay: float = 1e-4
    """Weight decay; biases and norms have none."""
    ema_decay: float = 0.998
    """Decay of the averaged weights, which are the result."""
    close_up_share: float = 0.2
    """Share of the views that are taken from close-ups, if there are any."""
    seed: int = 0
    """Seed of the views and their order."""

    def __post_init__(self) -> None:
        check_at_least(1, channels=self.channels, steps=self.steps, batch_size=self.batch_size)
        if self.image_size < 1 or self.image_size % 32:
            raise UnclaspError(f"image_size must be a positive multiple of 32, got {self.image_size}")
        check_seed(self.seed)
        if not 0 < self.learning_rate < math.inf:
            raise UnclaspError(f"learning_rate must be greater than 0, got {self.learning_rate}")
        for name in ("backbone_rate", "weight_decay", "ema_decay", "close_up_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UnclaspError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class FinderRun:
    """Options of a training run."""

    out: Path = Path("finder.safetensors")
    """The weights file to write; the log is written beside it, with the suffix .jsonl."""
    backbone_weights: Path | None = None
    """MediaPipe's palm_detection_full.tflite, from which the body is initialised."""
    start_weights: Path | None = None
    """Weights of a finder to start from."""
    device: str = "cpu"
    """Device: cpu or cuda."""
    bf16: bool = True
    """Compute in bfloat16 where that is exact enough (autocast)."""
    save_every: int = 250
    """Steps between saves."""
    report_every: int = 10
    """Steps between lines of the log."""

    def __post_init__(self) -> None:
        check_at_least(1, save_every=self.save_every, report_every=self.report_every)
