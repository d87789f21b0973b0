"""`unclasp fusion look` and `unclasp fusion train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import OptionalInt, need_out, need_positive, need_seed, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class LookArguments:
    """Run a pose network and the landmark network on a data set, to train their fusion."""

    data: Annotated[str, tyro.conf.Positional]
    """Data set that the pose network was not trained on: interhand:ROOT[:SPLIT] or synthetic:SPLIT."""
    out: Path
    """Output file, ending in .npz."""
    weights: str | None = None
    """Weights of the pose network, as for unclasp predict; small if not given."""
    mirrored: bool = False
    """Use the mirror images of the pictures."""
    seed: int = 0
    """Seed of the random shifts and scales of the crops."""
    limit: OptionalInt = None
    """Use only the first N pictures."""


def look(words: list[str]) -> int:
    """Run `unclasp fusion look`."""
    arguments = parse(LookArguments, words, "fusion look")
    need_out(arguments.out, ".npz")
    need_seed(arguments.seed)
    if arguments.limit is not None:
        need_positive(limit=arguments.limit)
    from rich.progress import Progress

    from unclasp.data import open_dataset
    from unclasp.engines.opening import open_network
    from unclasp.find.landmarks import open_landmarks
    from unclasp.predictor import Predictor
    from unclasp.training.fusion_train import collect_evidence

    dataset = open_dataset(arguments.data)
    predictor = Predictor(open_network(arguments.weights), landmarks=open_landmarks())
    with Progress(transient=True) as bars:
        task = bars.add_task("predict", total=None)
        hands = collect_evidence(
            predictor, dataset, arguments.out, mirrored=arguments.mirrored, seed=arguments.seed, limit=arguments.limit,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )  # fmt: skip
    print(f"{hands} hands: {arguments.out}")
    return 0


@dataclass(frozen=True)
class TrainArguments:
    """Train the fusion network, which combines the joints of the pose network and of the landmark network."""

    looks: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files of unclasp fusion look, all of the same pose network."""
    out: Path
    """Output file, ending in .npz."""
    epochs: int = 12
    """Passes over the hands."""
    seed: int = 0
    """Seed of the initialisation and the order."""


def train(words: list[str]) -> int:
    """Run `unclasp fusion train`."""
    arguments = parse(TrainArguments, words, "fusion train")
    need_out(arguments.out, ".npz")
    need_positive(epochs=arguments.epochs)
    if not arguments.looks:
        raise UnclaspError("name at least one file of unclasp fusion look")
    need_seed(arguments.seed)
    from rich.progress import Progress

    from unclasp.training.fusion_train import train_fusion

    with Progress(transient=True) as bars:
        task = bars.add_task("train", total=arguments.epochs)
        loss = train_fusion(
            arguments.looks, arguments.out, epochs=arguments.epochs, seed=arguments.seed,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )  # fmt: skip
    print(f"loss {loss:.4f}\nfusion: {arguments.out}")
    return 0
