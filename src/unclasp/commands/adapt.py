"""`unclasp adapt`."""

from dataclasses import dataclass
from pathlib import Path

from unclasp.commands.arguments import OptionalPath, Sources, need_out, need_positive, parse


@dataclass(frozen=True)
class AdaptArguments:
    """Adapt a trained model to pictures of your own kind, without annotations.

    Its first layers get the statistics of crops around the hands that it finds in them; all other weights stay.
    """

    pictures: Sources
    """Pictures, videos, folders or quoted patterns; some hundred hands are enough."""
    out: Path
    """Output file, ending in .safetensors."""
    weights: OptionalPath = None
    """A weights file; the shipped model, small, if not given."""
    every: int = 25
    """Use every Nth frame of videos."""
    max_crops: int = 2000
    """Stop at this many crops."""


def adapt(words: list[str]) -> int:
    """Run `unclasp adapt`."""
    arguments = parse(AdaptArguments, words, "adapt")
    need_out(arguments.out, ".safetensors")
    need_positive(every=arguments.every, max_crops=arguments.max_crops)
    import numpy as np

    from unclasp import Predictor, StreamOptions
    from unclasp.arrays import Pixels
    from unclasp.checkpoint import load_model, load_notes, save_weights
    from unclasp.shipped import model_name, weights_file
    from unclasp.training.adapt import adapted, hand_crops

    path = weights_file(arguments.weights)
    model, config = load_model(path)
    poses = Predictor.load(arguments.weights).stream(
        list(arguments.pictures), options=StreamOptions(smooth=False, every=arguments.every)
    )
    crops: list[Pixels] = []
    size = config.model.image_size
    for pose in poses:
        crops.extend(hand_crops(pose, size))
        if len(crops) >= arguments.max_crops:
            break
    changed = adapted(model, np.stack(crops) if crops else np.empty((0, size, size, 3), dtype=np.uint8))
    notes = {**load_notes(path), "adapted": model_name(path), "adapted_crops": len(crops)}
    save_weights(arguments.out, changed.state_dict(), config, notes=notes)
    print(f"{arguments.out}: {model_name(path)} with the statistics of {len(crops)} crops in its first layers")
    return 0
