"""Options of a training run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unclasp.errors import check_at_least


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a training run: output, devices, precision and starting point.

    Only the starting point, the precision and the number of devices affect the result, besides rounding, which depends
    on the kind of device and the number of CPU threads. The number of devices does so because each device normalises by
    the statistics of its own part of a batch and mixes styles within that part.
    """

    out: Path = Path("runs/latest")
    """Output folder, with state.pt, weights.safetensors and log.jsonl."""
    resume: bool = False
    """Continue from the folder's state.pt; the result is the same as that of an uninterrupted run."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device; auto selects the fastest available."""
    devices: int = 1
    """Number of devices, with one process each."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Precision of the network's arithmetic; weights are always kept in single precision."""
    workers: int = 1
    """Loader processes per device."""
    save_every: int = 500
    """Steps between checkpoints."""
    keep_every: int | None = None
    """Also keep the weights after every so-many-th step, as weights-STEP.safetensors."""
    report_every: int = 20
    """Steps between lines of the log."""
    backbone_weights: Path | None = None
    """Pretrained weights of the backbone, used only at the start of a run: ImageNet weights, with parameter names of
    torchvision or of the backbone's own files, or MediaPipe's hand_landmark_full.tflite for the backbone
    hand_landmarks."""
    start_weights: Path | None = None
    """A weights file of the same model to start from, used only at the start of a run. Its backbone is ignored if
    `backbone_weights` is given, and its confidence head always."""
    max_steps: int | None = None
    """Stop after this many steps in total, to continue later with --resume; the schedule is not shortened."""

    def __post_init__(self) -> None:
        check_at_least(
            1, devices=self.devices, save_every=self.save_every, report_every=self.report_every,
            keep_every=self.keep_every, max_steps=self.max_steps,
        )  # fmt: skip
        check_at_least(0, workers=self.workers)
