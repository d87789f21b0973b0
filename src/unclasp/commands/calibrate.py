"""`unclasp calibrate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import OptionalInt, need_out, parse


@dataclass(frozen=True)
class CalibrateArguments:
    """Fit a confidence for each joint of a trained model; the pose network is unchanged.

    Prints the quality of the confidences on a quarter of the pictures, which is held out.
    """

    weights: Annotated[Path, tyro.conf.Positional]
    """A weights file of `unclasp train`."""
    out: Path
    """Output file, the weights with the fitted confidence head; it may be the input file."""
    data: str = "synthetic:val"
    """Data set that the model was not trained on."""
    limit: OptionalInt = None
    """Use only the first N pictures."""


def calibrate(words: list[str]) -> int:
    """Run `unclasp calibrate`."""
    arguments = parse(CalibrateArguments, words, "calibrate")
    need_out(arguments.out, ".safetensors")
    from unclasp.checkpoint import load_model, load_notes, save_weights
    from unclasp.commands.progress import bar
    from unclasp.data import open_dataset
    from unclasp.model.confidence import WITHIN
    from unclasp.training.calibrate import calibrate as run

    model, config = load_model(arguments.weights)
    with bar("predict") as progress:
        model, config, calibration = run(
            model, config, open_dataset(arguments.data), limit=arguments.limit, progress=progress
        )
    fitted = {"calibrated_on": arguments.data, "calibrated_within_mm": WITHIN}
    notes = {**load_notes(arguments.weights), **fitted}
    save_weights(arguments.out, model.state_dict(), config, notes=notes)
    print(f"{calibration}\nweights: {arguments.out}")
    return 0
