"""`unclasp fusion collect`, `unclasp fusion train` and `unclasp fusion calibrate`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unclasp.commands.arguments import OptionalInt, OptionalPath, need_out, need_positive, need_seed, parse
from unclasp.errors import UnclaspError

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True)
class CollectArguments:
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


def collect(words: list[str]) -> int:
    """Run `unclasp fusion collect`."""
    arguments = parse(CollectArguments, words, "fusion collect")
    need_out(arguments.out, ".npz")
    need_seed(arguments.seed)
    if arguments.limit is not None:
        need_positive(limit=arguments.limit)
    from rich.progress import Progress

    from unclasp.data import open_dataset
    from unclasp.engines.opening import open_network
    from unclasp.find.landmarks import open_landmarks
    from unclasp.predictor import Predictor
    from unclasp.training.fusion_evidence import collect_evidence

    dataset = open_dataset(arguments.data)
    predictor = Predictor(open_network(arguments.weights), landmarks=open_landmarks())
    with Progress(transient=True) as bars:
        hands = collect_evidence(
            predictor, dataset, arguments.out, mirrored=arguments.mirrored, seed=arguments.seed, limit=arguments.limit,
            progress=_shown(bars, "predict"),
        )  # fmt: skip
    print(f"{hands} hands: {arguments.out}")
    return 0


@dataclass(frozen=True)
class TrainArguments:
    """Train the fusion network, which combines the joints of the pose network and of the landmark network."""

    evidence: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files of unclasp fusion collect, all of the same pose network."""
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
    if not arguments.evidence:
        raise UnclaspError("name at least one file of unclasp fusion collect")
    need_seed(arguments.seed)
    from rich.progress import Progress

    from unclasp.training.fusion_train import train_fusion

    with Progress(transient=True) as bars:
        loss = train_fusion(
            arguments.evidence, arguments.out, epochs=arguments.epochs, seed=arguments.seed,
            progress=_shown(bars, "train"),
        )  # fmt: skip
    print(f"loss {loss:.4f}\nfusion: {arguments.out}")
    return 0


@dataclass(frozen=True)
class CalibrateArguments:
    """Fit the confidence in fused joints."""

    evidence: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files of unclasp fusion collect, of pictures that the fusion network was not trained on."""
    out: Path
    """Output file, ending in .npz."""
    fusion: OptionalPath = None
    """The fusion network, a file of unclasp fusion train; the shipped one if not given."""


def calibrate(words: list[str]) -> int:
    """Run `unclasp fusion calibrate`."""
    arguments = parse(CalibrateArguments, words, "fusion calibrate")
    need_out(arguments.out, ".npz")
    if not arguments.evidence:
        raise UnclaspError("name at least one file of unclasp fusion collect")
    from rich.progress import Progress

    from unclasp.training.fusion_calibrate import calibrate_fusion

    with Progress(transient=True) as bars:
        calibration = calibrate_fusion(
            arguments.evidence, arguments.out, weights=arguments.fusion, progress=_shown(bars, "predict")
        )
    print(f"{calibration}\nfusion: {arguments.out}")
    return 0


def _shown(bars: "Progress", label: str) -> Callable[[int, int], None]:
    """Add a bar, and return what updates it."""
    task = bars.add_task(label, total=None)
    return lambda done, total: bars.update(task, completed=done, total=total)
