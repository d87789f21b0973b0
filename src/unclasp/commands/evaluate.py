"""`unclasp evaluate`."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unclasp.commands.arguments import DataSet, OptionalInt, OptionalPath, parse
from unclasp.errors import UnclaspError
from unclasp.evaluation.protocol import Protocol
from unclasp.evaluation.scores import WORST_KEPT
from unclasp.files import check_writable

if TYPE_CHECKING:
    from unclasp.data import Dataset
    from unclasp.data.progress import Progress
    from unclasp.evaluate import EvaluateOptions, MeanPose, PosePredictions
    from unclasp.evaluation.exported import ExportedScored
    from unclasp.evaluation.report import Report
    from unclasp.evaluation.scoring import External
    from unclasp.model import DFL


@dataclass(frozen=True)
class EvaluateArguments:
    """Score a model or a file of predictions: MPJPE, MRRPE, handedness, PCK and AUC, parts, and the full protocol."""

    data: DataSet
    """Data set: synthetic:test, interhand:ROOT[:SPLIT], hic:ROOT or rgb2hands:ROOT."""
    weights: OptionalPath = None
    """A weights file, or an exported .onnx or .xml; the shipped model, small, if not given."""
    mean_pose: bool = False
    """Score the data set's mean pose instead of a model: the baseline that ignores the picture."""
    as_predicted: bool = False
    """Score the whole pipeline of `unclasp predict --box`, given the annotated box, instead of one pass over the
    protocol's crop."""
    landmarks: bool = True
    """With --as-predicted: correct joints with the landmark and the fusion network."""
    fusion: OptionalPath = None
    """With --as-predicted: a file of `unclasp fusion train` instead of the shipped one."""
    own_distance: bool = False
    """With --as-predicted: score the joints at the distance that is estimated from the size of the hands, as users get
    them, instead of at the true one."""
    predictions: OptionalPath = None
    """Score the predictions in this file (.npz or .json, docs/evaluation.md) instead of a model."""
    save_predictions: OptionalPath = None
    """Write the model's predictions to this file (.npz or .json). Scoring the file gives the same figures."""
    protocol: Annotated[Protocol, tyro.conf.arg(name="")] = field(default_factory=Protocol)
    """The evaluation protocol."""
    rootnet: OptionalPath = None
    """RootNet's file, for --depth-source rootnet and --box-source rootnet."""
    limit: OptionalInt = None
    """Use only the first N pictures."""
    worst: int = 0
    """List this many of the worst pictures with their mean errors, at most 100."""
    batch_size: int = 32
    """Crops per forward pass; not with --predictions or --as-predicted."""
    workers: int = 2
    """Loader processes per device; not with --predictions or --as-predicted."""
    device: str = "cpu"
    """Device: cpu, cuda or mps; not with --predictions."""
    devices: int = 1
    """Number of devices, with one process each; the figures do not depend on it."""
    out: OptionalPath = None
    """Also write the report as JSON."""
    json: bool = False
    """Print the JSON instead of the table."""


def evaluate(words: list[str]) -> int:
    """Run `unclasp evaluate`."""
    arguments = parse(EvaluateArguments, words, "evaluate")
    _check(arguments)
    for path in (arguments.out, arguments.save_predictions):
        if path is not None:
            check_writable(path)
    from unclasp.commands.progress import bar
    from unclasp.data import open_dataset

    dataset = open_dataset(arguments.data, default_split=None)
    with bar("scoring") as progress:
        report, predictions = _report(arguments, dataset, progress)
    if report is None:  # only the first process reports
        return 0
    worst = f"\n\nworst pictures\n{report.worst_lines(arguments.worst)}" if arguments.worst else ""
    try:  # before the report is printed, which fails if nobody reads it
        _write(arguments, report, predictions)
    finally:  # so that a failure to write does not lose it
        print(report.to_json() if arguments.json else f"{report}{worst}")
    return 0


def _write(arguments: EvaluateArguments, report: "Report", predictions: "PosePredictions | None") -> None:
    """Write the files that were asked for."""
    if arguments.out is not None:
        report.save(arguments.out)
    if predictions is not None and arguments.save_predictions is not None:
        from unclasp.evaluation.prediction_file import write_predictions

        write_predictions(arguments.save_predictions, predictions)


def _check(arguments: EvaluateArguments) -> None:
    _check_method(arguments)
    _check_protocol(arguments)
    for flag, value, least, most in (
        ("--devices", arguments.devices, 1, math.inf), ("--worst", arguments.worst, 0, WORST_KEPT),
        ("--batch-size", arguments.batch_size, 1, math.inf), ("--workers", arguments.workers, 0, math.inf),
    ):  # fmt: skip
        if not least <= value <= most:
            bounds = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise UnclaspError(f"{flag} must be {bounds}, got {value}")
    saved, out = arguments.save_predictions, arguments.out
    if saved is not None and saved.suffix not in (".npz", ".json"):
        raise UnclaspError(f"--save-predictions must end in .npz or .json, got {saved}")
    if saved is not None and out is not None and saved.resolve() == out.resolve():
        raise UnclaspError(f"--out and --save-predictions are both {saved}: give each a file of its own")


def _check_method(arguments: EvaluateArguments) -> None:
    """Check that there is one thing to score, and that all options apply to it."""
    values = (arguments.weights, arguments.mean_pose, arguments.predictions)
    methods = [flag for flag, value in zip(("--weights", "--mean-pose", "--predictions"), values, strict=True) if value]
    if len(methods) > 1:
        raise UnclaspError(f"{' and '.join(methods)} exclude each other: choose one thing to score")
    if arguments.predictions is not None and (arguments.save_predictions is not None or arguments.devices != 1):
        raise UnclaspError("--predictions has nothing to save and runs in one process; leave out the other option")
    if arguments.as_predicted and (arguments.predictions or arguments.mean_pose or arguments.devices != 1):
        raise UnclaspError("--as-predicted scores a model in one process; leave out the other option")
    if not (arguments.as_predicted or arguments.landmarks):
        raise UnclaspError("--no-landmarks is for --as-predicted: a single pass never uses the landmark network")
    if arguments.own_distance and not arguments.as_predicted:
        raise UnclaspError("--own-distance is for --as-predicted: a single pass estimates no distance")
    if arguments.fusion is not None and not arguments.as_predicted:
        raise UnclaspError("--fusion is for --as-predicted: a single pass never uses the fusion network")
    if arguments.predictions is not None:
        _refuse(arguments, "workers", "batch_size", "device", reason="--predictions runs no network")
    if arguments.as_predicted:
        _refuse(arguments, "workers", "batch_size", reason="--as-predicted takes one picture at a time")


def _refuse(arguments: EvaluateArguments, *names: str, reason: str) -> None:
    given = [each.name for each in fields(arguments)
             if each.name in names and getattr(arguments, each.name) != each.default]  # fmt: skip
    if given:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UnclaspError(f"{reason}: leave out {flags}")


def _check_protocol(arguments: EvaluateArguments) -> None:
    protocol = arguments.protocol
    if arguments.own_distance and protocol.depth_source != "gt":
        raise UnclaspError(f"--own-distance and --depth-source {protocol.depth_source} exclude each other: choose one")
    if arguments.as_predicted and protocol.box_source != "annotated":
        raise UnclaspError("--as-predicted takes the annotated boxes; leave out --box-source")
    if "given" in (protocol.depth_source, protocol.box_source):
        raise UnclaspError("depths and boxes can only be given to the library; on the command line use rootnet")
    if protocol.needs_rootnet and arguments.rootnet is None:
        raise UnclaspError("--depth-source or --box-source rootnet needs RootNet's file: add --rootnet FILE")
    if arguments.rootnet is not None and not protocol.needs_rootnet:
        raise UnclaspError("--rootnet is not used: add --depth-source rootnet, --box-source rootnet, or both")


def _report(
    arguments: EvaluateArguments, dataset: "Dataset", progress: "Progress"
) -> "tuple[Report | None, PosePredictions | None]":
    from unclasp.evaluate import EvaluateOptions, Recorder

    external, notes = _external(arguments, dataset)
    options = EvaluateOptions(
        protocol=arguments.protocol, external=external, limit=arguments.limit, batch_size=arguments.batch_size,
        workers=arguments.workers, progress=progress,
        recorder=None if arguments.save_predictions is None else Recorder(),
    )  # fmt: skip
    report: Report | None
    predictions: PosePredictions | None = None
    if arguments.predictions is not None:
        report = _run_file(arguments.predictions, dataset, options)
    elif arguments.as_predicted:
        report, predictions = _run_predictor(arguments, dataset, options)
        notes = {**notes, "prediction": _pipeline_in_words(arguments)}
    else:
        report, predictions = _run_model(arguments, dataset, options)
    return None if report is None else report.named(dataset=arguments.data).noting(notes), predictions


def _pipeline_in_words(arguments: EvaluateArguments) -> str:
    fusion = "the shipped fusion network" if arguments.fusion is None else arguments.fusion.name
    refined = f"; joints corrected by the landmark network, fused by {fusion} where possible"
    return (
        "all of unclasp predict --box, with the true camera; crops closer, of each hand that is apart, upright"
        f"{refined if arguments.landmarks else ''}"
    )


def _run_file(path: Path, dataset: "Dataset", options: "EvaluateOptions") -> "Report":
    from unclasp.evaluate import score_predictions
    from unclasp.evaluation.prediction_file import read_predictions

    return score_predictions(
        read_predictions(path), dataset, protocol=options.protocol, name=path.stem, external=options.external,
        limit=options.limit, progress=options.progress,
    )  # fmt: skip


def _run_predictor(
    arguments: EvaluateArguments, dataset: "Dataset", options: "EvaluateOptions"
) -> "tuple[Report, PosePredictions]":
    from unclasp.evaluate import predictions_of, score_predictions
    from unclasp.predictor import Predictor

    predictor = Predictor.load(
        arguments.weights, device=arguments.device, detector="none", landmarks=arguments.landmarks,
        fusion=arguments.fusion,
    )  # fmt: skip
    predictions = predictions_of(
        predictor, dataset, own_distance=arguments.own_distance, limit=options.limit, progress=options.progress
    )
    network = predictor.network
    report = score_predictions(
        predictions, dataset, protocol=options.protocol, name=network.name, external=options.external,
        limit=options.limit,
    )  # fmt: skip
    return report.named(image_size=network.image_size), predictions


def _run_model(
    arguments: EvaluateArguments, dataset: "Dataset", options: "EvaluateOptions"
) -> "tuple[Report | None, PosePredictions | None]":
    from unclasp.evaluate import evaluate as run
    from unclasp.evaluate import mean_pose
    from unclasp.evaluation.exported import ExportedScored
    from unclasp.evaluation.ranks import evaluate_over, launch, under_torchrun
    from unclasp.shipped import model_name, weights_file

    several, path = arguments.devices > 1 or under_torchrun(), weights_file(arguments.weights)
    scored: DFL | MeanPose | ExportedScored = _opened(path, arguments.device, several=several)
    name = model_name(path)
    if arguments.mean_pose:
        scored = mean_pose(
            dataset, image_size=scored.image_size, protocol=options.protocol, limit=options.limit,
            external=options.external,
        )  # fmt: skip
        name = scored.name
    report: Report | None
    if isinstance(scored, ExportedScored):
        report = run(scored, dataset, options)
    elif several:
        report = evaluate_over(launch(arguments.device, arguments.devices), scored, dataset, options)
    else:
        report = run(scored.to(arguments.device), dataset, options, device=arguments.device)
    if report is None:
        return None, None
    recorder = options.recorder
    return report.named(model=name), None if recorder is None else recorder.predictions(scored.image_size)


def _opened(path: Path, device: str, *, several: bool) -> "DFL | ExportedScored":
    """Open a model, optimised or as exported; `several` for several processes."""
    from unclasp.checkpoint import load_model
    from unclasp.engines.onnx_model import EXPORTED
    from unclasp.engines.torch_network import check_device
    from unclasp.evaluation.exported import ExportedScored
    from unclasp.model.deploy import optimise

    if path.suffix not in EXPORTED:
        if not several:
            check_device(device)
        return optimise(load_model(path)[0])
    if device != "cpu" or several:
        raise UnclaspError(
            f"{path}: exported models are scored on the cpu, in one process; leave out --device and --devices"
        )
    return ExportedScored(path)


def _external(arguments: EvaluateArguments, dataset: "Dataset") -> "tuple[External, dict[str, str]]":
    from unclasp.evaluation.scoring import External

    if arguments.rootnet is None:
        return External(), {}
    from unclasp.data.rootnet import read_rootnet

    rootnet = read_rootnet(arguments.rootnet, dataset)
    return External(boxes=rootnet.boxes, root_depths=rootnet.root_depths), {"RootNet": arguments.rootnet.name}
