"""`unclasp evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import parse


@dataclass(frozen=True)
class EvaluateArguments:
    """Score a model: MPJPE, MRRPE, handedness, PCK and AUC, part segmentation, with the whole protocol."""

    data: Annotated[str, tyro.conf.Positional]
    """synthetic:test, or interhand:ROOT[:SPLIT]."""
    weights: Path | None = None
    """A weights file; the shipped small model if not given."""
    mean_pose: bool = False
    """Score the data set's own mean pose instead of a model: what knowing nothing of the picture gives."""
    limit: int | None = None
    """Only the first so many pictures."""
    batch_size: int = 32
    """Crops per forward pass."""
    workers: int = 2
    """Loader processes."""
    device: str = "cpu"
    """cpu, cuda or mps."""
    out: Path | None = None
    """Also write the report as JSON."""
    json: bool = False
    """Print the JSON instead of the table."""


def evaluate(words: list[str]) -> int:
    """Run `unclasp evaluate`."""
    arguments = parse(EvaluateArguments, words, "evaluate")
    from unclasp.checkpoint import load_model, shipped_weights
    from unclasp.data import open_dataset
    from unclasp.evaluate import evaluate as run
    from unclasp.evaluate import mean_pose

    dataset = open_dataset(arguments.data)
    path = arguments.weights or shipped_weights()
    model, config = load_model(path)
    size = config.model.image_size
    scored = mean_pose(dataset, image_size=size, limit=arguments.limit) if arguments.mean_pose else model
    report = run(
        scored.to(arguments.device), dataset, image_size=size, batch_size=arguments.batch_size,
        device=arguments.device, limit=arguments.limit, workers=arguments.workers,
    ).named(model="mean pose" if arguments.mean_pose else path.stem, dataset=arguments.data)  # fmt: skip
    if arguments.out is not None:
        report.save(arguments.out)
    print(report.to_json() if arguments.json else report)
    return 0
