"""Where and on what to run: choices that change nothing about the result."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and on what a training run goes; none of it changes what is learned."""

    out: Path = Path("runs/latest")
    """Folder of the run: state.pt, weights.safetensors, log.jsonl."""
    resume: bool = False
    """Go on from the folder's state.pt, to the same weights as if nothing had happened."""
    accelerator: str = "auto"
    """cpu, cuda, mps or auto."""
    devices: int = 1
    """How many devices, one process each."""
    precision: str = "32-true"
    """32-true, bf16-mixed or 16-mixed."""
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
