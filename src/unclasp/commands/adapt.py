"""`unclasp adapt`."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from unclasp.commands.arguments import OptionalPath, Sources, need_out, need_positive, parse


@dataclass(frozen=True)
class AdaptArguments:
    """Adapt a trained model to pictures of your own kind, without annotations.

    Its first layers get the statistics of crops around the hands that it finds in them. All other weights stay, but
    for the bias of the presence; the confidence is not fitted again.
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
    """Use at most this many crops."""


def adapt(words: list[str]) -> int:
    """Run `unclasp adapt`."""
    arguments = parse(AdaptArguments, words, "adapt")
    need_out(arguments.out, ".safetensors")
    need_positive(every=arguments.every, max_crops=arguments.max_crops)
    from unclasp import Predictor, StreamOptions
    from unclasp.checkpoint import load_model, load_notes, save_weights
    from unclasp.commands.progress import track
    from unclasp.shipped import model_name, weights_file
    from unclasp.training.adapt import adapted, hand_crops

    path = weights_file(arguments.weights)
    model, config = load_model(path)
    poses = Predictor.load(arguments.weights).stream(
        list(arguments.pictures), options=StreamOptions(smooth=False, every=arguments.every)
    )
    found = (crop for pose in poses for crop in hand_crops(pose, config.model.image_size))
    crops = list(track(islice(found, arguments.max_crops), "crops", total=arguments.max_crops))
    changed = adapted(model, crops)
    notes = {**load_notes(path), "adapted": model_name(path), "adapted_crops": len(crops)}
    save_weights(arguments.out, changed.state_dict(), config, notes=notes)
    print(f"{arguments.out}: {model_name(path)} with the statistics of {len(crops)} crops in its first layers")
    return 0
