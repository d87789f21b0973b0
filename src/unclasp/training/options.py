"""Where and on what to run, and from where."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unclasp.errors import check_at_least


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and on what a training run goes.

    Only the start, the precision and the number of devices change what is learned: each device normalises by the
    statistics of its own part of a batch, and mixes styles within it.
    """

    out: Path = Path("runs/latest")
    """Folder of the run: state.pt, weights.safetensors, log.jsonl."""
    resume: bool = False
    """Go on from the folder's state.pt, to the same weights as if nothing had happened."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """What computes; auto takes the fastest that is there."""
    devices: int = 1
    """How many devices, one process each."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Number format of the network's arithmetic; weights are always kept in single precision."""
    workers: int = 1
    """Loader processes per device."""
    save_every: int = 500
    """Steps between checkpoints."""
    report_every: int = 20
    """Steps between lines of the log."""
    backbone_weights: Path | None = None
    """ImageNet weights for the backbone, in torchvision's or the backbone's own names, or MediaPipe's
    hand_landmark_full.tflite for the backbone hand_landmarks; only at the start of a run."""
    start_weights: Path | None = None
    """A weights file of the same model to start from, without its backbone if that has weights of its own; only at the
    start of a run."""
    max_steps: int | None = None
    """Stop after so many steps in all, to go on later with --resume; the schedule is not shortened."""

    def __post_init__(self) -> None:
        check_at_least(
            1,
            devices=self.devices,
            save_every=self.save_every,
            report_every=self.report_every,
            max_steps=self.max_steps,
        )
        check_at_least(0, workers=self.workers)
