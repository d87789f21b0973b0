"""`unclasp linearise`."""

from dataclasses import dataclass
from pathlib import Path

from unclasp.commands.arguments import OptionalFile, need_out, need_positive, need_synth, parse


@dataclass(frozen=True)
class LineariseArguments:
    """Replace the part segmentation head by a linear one, fitted to its output on synthetic pictures.

    Cheaper, but not the same function: compare both with `unclasp evaluate`.
    """

    weights: OptionalFile = None
    """A weights file; the shipped model, small, if not given."""
    out: Path = Path("linear.safetensors")
    """Output file. The confidence head is dropped: run `unclasp calibrate` again."""
    pictures: int = 96
    """Number of synthetic pictures, from the validation split, for the fit."""
    steps: int = 500
    """Number of optimisation steps."""


def linearise(words: list[str]) -> int:
    """Run `unclasp linearise`."""
    arguments = parse(LineariseArguments, words, "linearise")
    need_out(arguments.out, ".safetensors")
    need_positive(pictures=arguments.pictures, steps=arguments.steps)
    need_synth()
    from unclasp.checkpoint import load_model, notes_without_calibration, save_weights
    from unclasp.data.crops import synthetic_crops
    from unclasp.shipped import model_name, weights_file
    from unclasp.training.linearise import linearised

    path = weights_file(arguments.weights)
    model, config = load_model(path)
    crops = synthetic_crops("val", arguments.pictures, config.model.image_size)
    fitted, linear = linearised(model, config, crops, steps=arguments.steps)
    notes = {**notes_without_calibration(path), "linearised": model_name(path)}
    save_weights(arguments.out, fitted.state_dict(), linear, notes=notes)
    print(f"{arguments.out}: {model_name(path)} with a linear part segmentation head, fitted to {len(crops)} pictures")
    if config.model.confidence_head:
        print("the confidence head was fitted to the original model and is dropped: run unclasp calibrate again")
    return 0
