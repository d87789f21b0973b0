"""`unclasp label`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unclasp.commands.arguments import OptionalPath, Sources, need_folder, need_positive, parse
from unclasp.errors import UnclaspError

if TYPE_CHECKING:
    from unclasp.batch import Sample


@dataclass(frozen=True)
class LabelArguments:
    """Write a data set to train on from pictures without annotations: predicted hands that are certain are its labels.

    It has InterHand2.6M's layout, without part masks. Train on it together with rendered pictures: unclasp train
    --also.
    """

    pictures: Sources
    """Pictures, videos, folders or quoted patterns."""
    out: Path
    """Output folder."""
    weights: OptionalPath = None
    """A weights file; the shipped model, small, if not given."""
    split: str = "train"
    """Name of the split on disk."""
    min_confidence: float = 0.5
    """Mean confidence, 0 to 1, from which a hand is certain."""
    every: int = 25
    """Use every Nth frame of videos."""


def label(words: list[str]) -> int:
    """Run `unclasp label`."""
    arguments = parse(LabelArguments, words, "label")
    need_folder(arguments.out)
    need_positive(every=arguments.every)
    if not 0 <= arguments.min_confidence <= 1:
        raise UnclaspError(f"--min-confidence must lie in [0, 1], got {arguments.min_confidence}")
    from unclasp import Predictor, StreamOptions
    from unclasp.commands.progress import track
    from unclasp.data.store import write_samples
    from unclasp.training.pseudo_labels import sample_of

    poses = Predictor.load(arguments.weights).stream(
        list(arguments.pictures), options=StreamOptions(smooth=False, every=arguments.every)
    )
    seen = 0

    def samples() -> Iterator["Sample"]:
        nonlocal seen
        for pose in track(poses, "pictures", total=None):
            seen += 1
            sample = sample_of(pose, min_confidence=arguments.min_confidence)
            if sample is not None:
                yield sample

    count = write_samples(arguments.out, samples(), split=arguments.split)
    print(f"{arguments.out}: labels for {count} of {seen} pictures; train with --also interhand:{arguments.out}")
    return 0
