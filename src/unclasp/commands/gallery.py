"""`unclasp gallery`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from unclasp.commands.arguments import (
    DataSet,
    OptionalInt,
    OptionalPath,
    need_positive,
    need_seed,
    need_sheet,
    parse,
)

_COUNT: Final = 12
"""Number of pictures unless another one is asked for."""


@dataclass(frozen=True)
class GalleryArguments:
    """Draw predictions beside the ground truth for randomly chosen pictures."""

    data: DataSet
    """Data set: synthetic:test or interhand:ROOT[:SPLIT]."""
    out: Path = Path("gallery.png")
    """Output file: .png or .jpg."""
    weights: OptionalPath = None
    """A weights file; the shipped model, small, if not given."""
    count: OptionalInt = None
    """Number of pictures; 12 if not given, or all of a smaller data set."""
    seed: int = 0
    """Seed of the random choice."""
    columns: int = 3
    """Number of pictures per row."""
    side_views: bool = False
    """Beside each picture, draw each hand in 3D from the side, the predicted one over the true one in grey, aligned by
    the wrist, as in the paper's Figures 3 and 5."""


def gallery(words: list[str]) -> int:
    """Run `unclasp gallery`."""
    arguments = parse(GalleryArguments, words, "gallery")
    need_sheet(arguments.out)
    need_positive(columns=arguments.columns)
    need_seed(arguments.seed)
    from unclasp.checkpoint import load_model
    from unclasp.commands.sheets import write_sheet
    from unclasp.data import open_dataset
    from unclasp.evaluation.gallery import draw_gallery

    model, _ = load_model(arguments.weights)
    dataset = open_dataset(arguments.data, default_split=None)
    count = min(_COUNT, len(dataset)) if arguments.count is None else arguments.count
    sheet = draw_gallery(
        model, dataset, count=count, seed=arguments.seed, columns=arguments.columns, side_views=arguments.side_views
    )
    write_sheet(arguments.out, sheet)
    print(f"gallery: {arguments.out}")
    return 0
