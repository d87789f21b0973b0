"""`unclasp fusion collect`, `unclasp fusion train` and `unclasp fusion calibrate`."""

from dataclasses import dataclass
from pathlib import Path

from unclasp.commands.arguments import (
    DataSet,
    Files,
    OptionalInt,
    OptionalPath,
    need_out,
    need_positive,
    need_seed,
    parse,
)
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class CollectArguments:
    """Run a pose network and the landmark network on a data set, to train their fusion."""

    data: DataSet
    """Data set that the pose network was not trained on: interhand:ROOT[:SPLIT] or synthetic:SPLIT."""
    out: Path
    """Output file, ending in .npz."""
    weights: OptionalPath = None
    """Weights of the pose network, as for `unclasp predict`; small if not given."""
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
    from unclasp.commands.progress import bar
    from unclasp.data import open_dataset
    from unclasp.data.lookup import notes_of
    from unclasp.engines.opening import open_network
    from unclasp.find.landmarks import open_landmarks
    from unclasp.predictor import Predictor
    from unclasp.training.fusion_evidence import collect_evidence

    dataset = open_dataset(arguments.data, default_split=None)
    predictor = Predictor(open_network(arguments.weights), landmarks=open_landmarks())
    with bar("predict") as progress:
        hands = collect_evidence(
            predictor, dataset, arguments.out, mirrored=arguments.mirrored, seed=arguments.seed, limit=arguments.limit,
            progress=progress,
        )  # fmt: skip
    split = notes_of(dataset).get("split")
    where = "" if split is None else f" of {split}"
    print(f"{hands} hands{where}: {arguments.out}")
    return 0


@dataclass(frozen=True)
class TrainArguments:
    """Train the fusion network, which combines the joints of the pose network and of the landmark network."""

    evidence: Files
    """Files of `unclasp fusion collect`, all of the same pose network."""
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
    _need_evidence(arguments.evidence, arguments.out)
    need_seed(arguments.seed)
    from unclasp.commands.progress import bar
    from unclasp.training.fusion_train import train_fusion

    with bar("train") as progress:
        loss = train_fusion(
            arguments.evidence, arguments.out, epochs=arguments.epochs, seed=arguments.seed,
            progress=progress,
        )  # fmt: skip
    print(f"loss {loss:.4f}\nfusion: {arguments.out}")
    return 0


@dataclass(frozen=True)
class CalibrateArguments:
    """Fit the confidence in fused joints."""

    evidence: Files
    """Files of `unclasp fusion collect`, of pictures that the fusion network was not trained on."""
    out: Path
    """Output file, ending in .npz."""
    fusion: OptionalPath = None
    """The fusion network, a file of `unclasp fusion train`; the shipped one if not given."""


def calibrate(words: list[str]) -> int:
    """Run `unclasp fusion calibrate`."""
    arguments = parse(CalibrateArguments, words, "fusion calibrate")
    need_out(arguments.out, ".npz")
    _need_evidence(arguments.evidence, arguments.out)
    from unclasp.commands.progress import bar
    from unclasp.training.fusion_calibrate import calibrate_fusion

    with bar("predict") as progress:
        calibration = calibrate_fusion(arguments.evidence, arguments.out, weights=arguments.fusion, progress=progress)
    print(f"{calibration}\nfusion: {arguments.out}")
    return 0


def _need_evidence(evidence: tuple[Path, ...], out: Path) -> None:
    """Raise an error unless there is evidence, which the output must not overwrite."""
    if not evidence:
        raise UnclaspError("name at least one file of unclasp fusion collect")
    if out.resolve() in (path.resolve() for path in evidence):
        raise UnclaspError(f"--out {out} is a file of evidence, which it would overwrite; choose another name")
