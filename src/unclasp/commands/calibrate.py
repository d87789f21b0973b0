"""`unclasp calibrate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import OptionalInt, need_out, parse


@dataclass(frozen=True)
class CalibrateArguments:
    """Fit a trained model's confidence in each joint; the pose network stays as it is.

    Prints what the confidences are worth on a quarter of the pictures, which the fit does not see.
    """

    weights: Annotated[Path, tyro.conf.Positional]
    """A weights file of `unclasp train`."""
    out: Path
    """Where to write the weights with the fitted head; may be the same file."""
    data: str = "synthetic:val"
    """Pictures that the model was not trained on."""
    limit: OptionalInt = None
    """Only the first so many of them."""


def calibrate(words: list[str]) -> int:
    """Run `unclasp calibrate`."""
    arguments = parse(CalibrateArguments, words, "calibrate")
    need_out(arguments.out, ".safetensors")
    from rich.progress import Progress

    from unclasp.checkpoint import load_model, load_notes, save_weights
    from unclasp.data import open_dataset
    from unclasp.model.confidence import WITHIN
    from unclasp.training.calibrate import calibrate as run

    model, config = load_model(arguments.weights)
    with Progress(transient=True) as shown:
        task = shown.add_task("look at pictures", total=None)
        model, config, calibration = run(
            model, config, open_dataset(arguments.data), limit=arguments.limit,
            progress=lambda done, total: shown.update(task, completed=done, total=total),
        )  # fmt: skip
    fitted = {"calibrated_on": arguments.data, "calibrated_within_mm": WITHIN}
    notes = {**load_notes(arguments.weights), **fitted}
    save_weights(arguments.out, model.state_dict(), config, notes=notes)
    print(f"{calibration}\nweights: {arguments.out}")
    return 0
