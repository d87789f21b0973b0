"""What each command takes and does.

The arguments are dataclasses, whose docstrings are the help text; heavy imports wait for the run.
"""

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro
from rich.console import Console
from rich.progress import track

from unclasp import config as configs
from unclasp.config import Config
from unclasp.errors import UnclaspError

if TYPE_CHECKING:
    from unclasp.picture import Source
    from unclasp.predictor import Predictor

_Arguments = TypeVar("_Arguments")
Sources = Annotated[tuple[str, ...], tyro.conf.Positional]


def _parse(kind: type[_Arguments], words: list[str], name: str, default: _Arguments | None = None) -> _Arguments:
    options: dict[str, Any] = {} if default is None else {"default": default}
    parsed: _Arguments = tyro.cli(kind, args=words, prog=f"unclasp {name}", **options)
    return parsed


@dataclass(frozen=True)
class PredictArguments:
    """Find the hands in pictures.

    Each picture gets OUT/NAME.png, the overlay with 3D views, and OUT/NAME.json (docs/json-schema.md).
    """

    sources: Sources
    """Pictures, folders or globs."""
    out: Path = Path("unclasp-out")
    """Folder for the results."""
    weights: Path | None = None
    """A weights file; the shipped small model if not given."""
    box: tuple[float, float, float, float] | None = None
    """x1 y1 x2 y2 px around the hands, for every picture; looked for if not given."""
    focal: tuple[float, float] | None = None
    """Focal length fx fy in px; a field of view of 60 degrees is assumed if not given."""
    device: str = "cpu"
    """Where the network runs: cpu, cuda, mps."""
    flip_test: bool = False
    """Average over the picture and its mirror image."""
    json: bool = False
    """Print a JSON list of what was done instead of lines for people."""


def predict(words: list[str]) -> int:
    """Run `unclasp predict`."""
    arguments = _parse(PredictArguments, words, "predict")
    from unclasp.picture import find_pictures, output_stems
    from unclasp.predictor import Predictor

    if not arguments.sources:
        raise UnclaspError("name at least one picture, folder or glob")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise UnclaspError(f"--out must be a folder, got the file {arguments.out}")
    sources = [source for source in find_pictures(arguments.sources) if not _is_earlier_result(source, arguments.out)]
    if not sources:
        raise UnclaspError(f"the sources hold nothing but the earlier results in {arguments.out}")
    paths = [source.path for source in sources if source.path is not None]
    stems = iter(output_stems(paths))
    untouchable = {path.resolve() for path in paths}
    predictor = Predictor.load(arguments.weights, device=arguments.device, flip_test=arguments.flip_test)
    done: list[dict[str, Any]] = []
    errors = Console(stderr=True)
    shown = track(sources, "predict", console=errors, disable=len(sources) == 1 or not sys.stderr.isatty())
    for source in shown:
        if source.path is None:
            entry: dict[str, Any] = {"source": source.given, "error": source.error}
        else:
            entry = _predict_one(predictor, source.path, next(stems), arguments, untouchable=untouchable)
        done.append(entry)
        if "error" in entry:
            errors.print(f"error: {entry['error']}", markup=False, highlight=False, soft_wrap=True)
        elif not arguments.json:
            print(f"{entry['source']}: {' and '.join(entry['hands']) or 'no hand'} -> {entry['overlay']}")
    if arguments.json:
        print(json.dumps(done, indent=1))
    failed = sum("error" in entry for entry in done)
    if failed:
        errors.print(f"{failed} of {len(done)} sources failed", highlight=False)
    return 0 if not failed else 1 if failed < len(done) else 2


def _is_earlier_result(source: "Source", out: Path) -> bool:
    """Tell whether a searched folder led into the folder of results that lies inside of it."""
    if source.path is None:
        return False
    out = out.resolve()
    return out in source.path.resolve().parents and Path(source.given).resolve() in out.parents


def _predict_one(
    predictor: "Predictor", path: Path, stem: str, arguments: PredictArguments, *, untouchable: set[Path]
) -> dict[str, Any]:
    import cv2

    from unclasp.files import write_bytes
    from unclasp.picture import read_picture

    try:
        image = read_picture(path)
        pose = replace(predictor(image, arguments.box, focal=arguments.focal), source=str(path))
        overlay, numbers = arguments.out / f"{stem}.png", arguments.out / f"{stem}.json"
        if overlay.resolve() in untouchable:
            raise UnclaspError(f"{overlay} is one of the sources and is not overwritten; choose another --out")
        drawn = cv2.imencode(".png", pose.plot(image)[..., ::-1])[1].tobytes()
        write_bytes(overlay, drawn)
        pose.save_json(numbers)  # last: where there is a JSON, the result is whole
    except (UnclaspError, OSError, MemoryError, cv2.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        told = reason if str(path) in reason else f"{path}: {reason}"
        return {"source": str(path), "error": told}
    return {"source": str(path), "hands": list(pose.sides), "overlay": str(overlay), "json": str(numbers)}


@dataclass(frozen=True)
class TrainArguments:
    """Train a preset; every field of its config is an option.

    A run's folder holds state.pt (for --resume), weights.safetensors (to use) and log.jsonl.
    """

    data: str
    """synthetic:train, or interhand:ROOT[:SPLIT] for a folder in InterHand2.6M's layout."""
    out: Path = Path("runs/latest")
    """Folder of the run."""
    resume: bool = False
    """Go on from the folder's state.pt, to the same weights as if nothing had happened."""
    accelerator: str = "auto"
    """cpu, cuda, mps or auto."""
    devices: int = 1
    """How many devices, one process each."""
    precision: str = "32-true"
    """32-true, bf16-mixed or 16-mixed."""
    workers: int = 1
    """Loader processes per device."""
    save_every: int = 500
    """Steps between checkpoints."""
    report_every: int = 20
    """Steps between lines of the log."""
    backbone_weights: Path | None = None
    """ImageNet weights for the backbone, in torchvision's or the backbone's own names."""
    start_weights: Path | None = None
    """A weights file of the same model to start from."""
    max_steps: int | None = None
    """Stop after so many steps in all, to go on later with --resume."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=configs.small)
    """The preset, field by field."""


def train(words: list[str]) -> int:
    """Run `unclasp train PRESET`."""
    if not words or words[0].startswith("-"):
        if not {"-h", "--help"} & set(words):
            raise UnclaspError("usage: unclasp train PRESET --data DATA; unclasp presets lists the presets")
        words = ["small", *words]
    preset = configs.preset(words[0])
    # tyro needs a value for the required `data` when a default is given; it stays required.
    arguments = _parse(TrainArguments, words[1:], "train PRESET", TrainArguments(data=tyro.MISSING, config=preset))
    from unclasp.data import open_dataset
    from unclasp.train import RunOptions
    from unclasp.train import train as run

    options = {name: value for name, value in vars(arguments).items() if name not in ("data", "config")}
    weights = run(arguments.config, open_dataset(arguments.data), RunOptions(**options))
    print(f"weights: {weights}")
    return 0


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
    arguments = _parse(EvaluateArguments, words, "evaluate")
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


@dataclass(frozen=True)
class PreviewArguments:
    """Draw a contact sheet of synthetic pictures: picture, skeleton, parts."""

    out: Path = Path("sheet.png")
    """Picture to write."""
    count: int = 12
    """How many samples."""
    seed: int = 0
    """Seed of the samples."""
    size: int = 256
    """Side of the pictures in px."""
    columns: int = 2
    """Samples per row."""


def synth_preview(words: list[str]) -> int:
    """Run `unclasp synth preview`."""
    arguments = _parse(PreviewArguments, words, "synth preview")
    import cv2

    from unclasp.files import write_bytes

    _need_synth()
    from unclasp.synth.generate import generate
    from unclasp.synth.preview import contact_sheet

    samples = [generate(arguments.seed, i, size=arguments.size) for i in track(range(arguments.count), "render")]
    sheet = contact_sheet(samples, columns=arguments.columns)
    write_bytes(arguments.out, cv2.imencode(arguments.out.suffix or ".png", sheet[..., ::-1])[1].tobytes())
    print(f"{arguments.count} samples: {arguments.out}")
    return 0


@dataclass(frozen=True)
class WriteArguments:
    """Write synthetic pictures in InterHand2.6M's layout, with part masks.

    An interrupted run goes on where it stopped.
    """

    out: Path
    """Folder of the data set; train on it with --data interhand:OUT."""
    count: int = 1000
    """How many pictures; a larger count adds to what is there."""
    seed: int = 1
    """Seed of the pictures. 2 and 3 are those of synthetic:val and synthetic:test: do not train on them."""
    split: str = "train"
    """Name of the split on disk."""
    size: int = 256
    """Side of the pictures in px."""
    processes: int = 1
    """Rendered at the same time."""


def synth_write(words: list[str]) -> int:
    """Run `unclasp synth write`."""
    arguments = _parse(WriteArguments, words, "synth write")
    _need_synth()
    from unclasp.data.write import CAPTURE_SIZE, write_dataset

    written = write_dataset(
        arguments.out, arguments.count, seed=arguments.seed, split=arguments.split, image_size=arguments.size,
        processes=arguments.processes,
    )  # fmt: skip
    captures = -(-arguments.count // CAPTURE_SIZE)
    for _ in track(written, f"render ({CAPTURE_SIZE} a step)", total=captures):
        pass
    print(f"{arguments.count} pictures: {arguments.out}")
    return 0


@dataclass(frozen=True)
class BenchSynthArguments:
    """Render on one core and tell where the time goes."""

    count: int = 100
    """Pictures to render."""
    size: int = 256
    """Side in px."""
    supersample: int = 2
    """Samples per pixel and axis."""


def bench_synth(words: list[str]) -> int:
    """Run `unclasp bench synth`."""
    arguments = _parse(BenchSynthArguments, words, "bench synth")
    _need_synth()
    from unclasp.bench import synth_speed

    print(synth_speed(arguments.count, size=arguments.size, supersample=arguments.supersample))
    return 0


def presets(words: list[str]) -> int:
    """Run `unclasp presets`."""
    if words:
        raise UnclaspError(f"unclasp presets takes no arguments, got {' '.join(words)}")
    print("\n".join(configs.PRESETS))
    return 0


def _need_synth() -> None:
    try:
        import numba  # noqa: F401
    except ModuleNotFoundError as error:
        raise UnclaspError("rendering needs numba: pip install 'unclasp[synth]'") from error
