"""`unclasp linearise`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import need_synth, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class LineariseArguments:
    """Replace a model's part segmentation head by a linear one, fitted to what it says of synthetic pictures.

    Fewer multiplications, and another function: score both with `unclasp evaluate`.
    """

    weights: Annotated[Path | None, tyro.conf.Positional] = None
    """A weights file; the shipped small model if not given."""
    out: Path = Path("linear.safetensors")
    """The weights file to write."""
    pictures: int = 96
    """Synthetic pictures to fit to, of the validation split."""
    steps: int = 500
    """Steps of the fit."""


def linearise(words: list[str]) -> int:
    """Run `unclasp linearise`."""
    arguments = parse(LineariseArguments, words, "linearise")
    if min(arguments.pictures, arguments.steps) < 1:
        raise UnclaspError("--pictures and --steps must be at least 1")
    need_synth()
    from unclasp.checkpoint import load_model, save_weights, shipped_weights
    from unclasp.data.crops import synthetic_crops
    from unclasp.linearise import linearised

    path = arguments.weights or shipped_weights()
    model, config = load_model(path)
    crops = synthetic_crops("val", arguments.pictures, config.model.image_size)
    fitted, linear = linearised(model, config, crops, steps=arguments.steps)
    save_weights(arguments.out, fitted.state_dict(), linear, notes={"linearised": path.stem})
    print(f"{arguments.out}: {path.stem} with a linear part segmentation head, fitted to {len(crops)} pictures")
    return 0
