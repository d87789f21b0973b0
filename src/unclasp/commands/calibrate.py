"""`unclasp calibrate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import need_out, need_positive, parse


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
    limit: int = 2000
    """Use at most this many pictures, evenly spread over the data set."""


def calibrate(words: list[str]) -> int:
    """Run `unclasp calibrate`."""
    arguments = parse(CalibrateArguments, words, "calibrate")
    need_out(arguments.out, ".safetensors")
    need_positive(limit=arguments.limit)
    from unclasp.checkpoint import load_model, notes_without_calibration, save_weights
    from unclasp.commands.progress import named_bars
    from unclasp.data import open_dataset
    from unclasp.data.lookup import notes_of
    from unclasp.model.confidence import WITHIN
    from unclasp.training.calibrate import calibrate as run

    model, config = load_model(arguments.weights)
    dataset = open_dataset(arguments.data, default_split=None)
    with named_bars() as progress:
        model, config, calibration = run(model, config, dataset, limit=arguments.limit, progress=progress)
    split = {f"calibrated_{key}": note for key, note in notes_of(dataset).items() if key == "split"}
    fitted = {"calibrated_on": arguments.data, **split, "calibrated_within_mm": WITHIN}
    notes = {**notes_without_calibration(arguments.weights), **fitted}
    save_weights(arguments.out, model.state_dict(), config, notes=notes)
    where = "".join(f", {name}" for name in split.values())
    print(f"fitted on: {arguments.data}{where}\n{calibration}\nweights: {arguments.out}")
    return 0
