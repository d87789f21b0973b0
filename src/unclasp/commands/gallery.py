"""`unclasp gallery`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import OptionalPath, need_positive, need_seed, need_sheet, parse


@dataclass(frozen=True)
class GalleryArguments:
    """Draw predictions beside the ground truth for randomly chosen pictures."""

    data: Annotated[str, tyro.conf.Positional]
    """Data set: synthetic:test or interhand:ROOT[:SPLIT]."""
    out: Path = Path("gallery.png")
    """Output file: .png or .jpg."""
    weights: OptionalPath = None
    """A weights file; the shipped model, small, if not given."""
    count: int = 12
    """Number of pictures."""
    seed: int = 0
    """Seed of the random choice."""
    columns: int = 3
    """Number of pictures per row."""


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
    sheet = draw_gallery(model, dataset, count=arguments.count, seed=arguments.seed, columns=arguments.columns)
    write_sheet(arguments.out, sheet)
    print(f"gallery: {arguments.out}")
    return 0
