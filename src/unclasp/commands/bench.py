"""`unclasp bench`."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unclasp.commands.arguments import OptionalPath, need_positive, need_synth, parse

if TYPE_CHECKING:
    from unclasp.model import DFL


@dataclass(frozen=True)
class BenchSynthArguments:
    """Render on one core and tell where the time goes."""

    count: int = 100
    """Pictures to render."""
    size: int = 256
    """Side in px."""
    supersample: int = 2
    """Samples per pixel and axis."""


def synth(words: list[str]) -> int:
    """Run `unclasp bench synth`."""
    arguments = parse(BenchSynthArguments, words, "bench synth")
    need_positive(count=arguments.count, size=arguments.size, supersample=arguments.supersample)
    need_synth()
    from unclasp.bench.medians import synth_speed

    print(synth_speed(arguments.count, size=arguments.size, supersample=arguments.supersample))
    return 0


@dataclass(frozen=True)
class BenchIndexArguments:
    """Make up annotations, index them, and tell what that costs in time and memory.

    At the true size the annotations take 1 GB of disk, and they are removed at the end.
    """

    count: int = 1_361_062
    """Images; InterHand2.6M's training split has as many as the default."""
    workers: int = 8
    """Processes that read the index at the same time."""
    folder: OptionalPath = None
    """Where to write them; the system's folder for temporary files if not given."""
    json: bool = False
    """Print the figures as JSON."""


def index(words: list[str]) -> int:
    """Run `unclasp bench index`."""
    arguments = parse(BenchIndexArguments, words, "bench index")
    need_positive(count=arguments.count, workers=arguments.workers)
    import json

    from unclasp.bench.index import index_cost, told, write_made_up

    with TemporaryDirectory(dir=arguments.folder) as folder:
        write_made_up(Path(folder), arguments.count)
        cost = index_cost(Path(folder), workers=arguments.workers)
    print(json.dumps(cost, indent=1) if arguments.json else told(cost))
    return 0


@dataclass(frozen=True)
class BenchDataArguments:
    """Time how one loader process makes training crops, beside the bare decoding and warping of the same pictures.

    Annotations and pictures are made up, and removed at the end. --count 1361062 is InterHand2.6M's size.
    """

    count: int = 20_000
    """Images that the annotations name."""
    repeats: int = 500
    """Crops to time."""
    workers: int = 8
    """Loader processes whose memory is measured."""
    folder: OptionalPath = None
    """Where to write; the system's folder for temporary files if not given."""


def data(words: list[str]) -> int:
    """Run `unclasp bench data`."""
    arguments = parse(BenchDataArguments, words, "bench data")
    need_positive(count=arguments.count, repeats=arguments.repeats, workers=arguments.workers)
    from unclasp.bench.data import loader_cost

    print(loader_cost(
        arguments.count, repeats=arguments.repeats, workers=arguments.workers, folder=arguments.folder
    ))  # fmt: skip
    return 0


@dataclass(frozen=True)
class BenchLatencyArguments:
    """Time a network in each engine beside its bare backbone. Weights are random: they do not change the time."""

    preset: Annotated[str, tyro.conf.Positional] = "small"
    """See `unclasp presets`."""
    engines: tuple[Literal["plain", "eager", "eager-bf16", "compiled", "onnx", "openvino"], ...] = (
        "plain", "eager", "eager-bf16", "onnx", "openvino",
    )  # fmt: skip
    """plain is the network as trained; the others run the optimised one."""
    linear_head: bool = False
    """Make the part segmentation head linear (segmentation_channels 0)."""
    batch: int = 1
    """Crops per call."""
    threads: int = 2
    """Cores."""
    repeats: int = 50
    """Interleaved calls per line."""
    device: str = "cpu"
    """cpu or cuda."""
    json: bool = False
    """Print the figures as JSON."""


def latency(words: list[str]) -> int:
    """Run `unclasp bench latency`."""
    arguments = parse(BenchLatencyArguments, words, "bench latency")
    import json

    from unclasp.bench.latency import measure

    figures = measure(
        _network(arguments.preset, linear_head=arguments.linear_head),
        name=arguments.preset + ", linear head" * arguments.linear_head, engines=arguments.engines,
        batch=arguments.batch, threads=arguments.threads, repeats=arguments.repeats, device=arguments.device,
    )  # fmt: skip
    print(json.dumps(figures.to_dict(), indent=1) if arguments.json else figures)
    return 0


@dataclass(frozen=True)
class BenchPiecesArguments:
    """Tell what each piece of the optimised network costs in ONNX Runtime. Weights are random."""

    preset: Annotated[str, tyro.conf.Positional] = "small"
    """See `unclasp presets`."""
    linear_head: bool = False
    """Make the part segmentation head linear (segmentation_channels 0)."""
    threads: int = 2
    """Cores."""
    repeats: int = 30
    """Calls."""


def pieces(words: list[str]) -> int:
    """Run `unclasp bench pieces`."""
    arguments = parse(BenchPiecesArguments, words, "bench pieces")
    from unclasp.bench.pieces import pieces as measure
    from unclasp.bench.pieces import told

    network = _network(arguments.preset, linear_head=arguments.linear_head)
    measured = measure(network, threads=arguments.threads, repeats=arguments.repeats)
    name = arguments.preset + ", linear head" * arguments.linear_head
    print(told(name, measured, threads=arguments.threads, repeats=arguments.repeats))
    return 0


def _network(name: str, *, linear_head: bool) -> "DFL":
    """Return a preset's network with random weights, the same at each call."""
    import torch

    from unclasp.config import preset, with_model
    from unclasp.model import build

    config = preset(name)
    torch.manual_seed(0)
    return build((with_model(config, segmentation_channels=0) if linear_head else config).model).eval()


@dataclass(frozen=True)
class BenchTrainArguments:
    """Time a training step beside the backbone's own forward and backward pass."""

    preset: Annotated[str, tyro.conf.Positional] = "small"
    """See `unclasp presets`."""
    batch: int = 32
    """Crops per step."""
    repeats: int = 10
    """Interleaved steps."""
    threads: int = 2
    """Cores."""
    bf16: bool = True
    """Autocast to bfloat16."""
    compiled: bool = False
    """Through torch.compile."""
    device: str = "cpu"
    """cpu or cuda."""


def train(words: list[str]) -> int:
    """Run `unclasp bench train`."""
    arguments = parse(BenchTrainArguments, words, "bench train")
    from unclasp.bench.train import train_speed
    from unclasp.config import preset
    from unclasp.engines.torch_network import check_device

    check_device(arguments.device)
    print(train_speed(
        preset(arguments.preset), name=arguments.preset, batch=arguments.batch, repeats=arguments.repeats,
        threads=arguments.threads, device=arguments.device, half=arguments.bf16, compiled=arguments.compiled,
    ))  # fmt: skip
    return 0


@dataclass(frozen=True)
class BenchFinderArguments:
    """Time the finder of hands on a picture, in each engine."""

    width: int = 4000
    """px of the picture."""
    height: int = 3000
    """px of the picture."""
    threads: int = 2
    """Cores."""
    repeats: int = 50
    """Calls per figure."""


def finder(words: list[str]) -> int:
    """Run `unclasp bench finder`."""
    arguments = parse(BenchFinderArguments, words, "bench finder")
    from unclasp.bench.finder import finder_speed

    print(finder_speed(
        width=arguments.width, height=arguments.height, repeats=arguments.repeats, threads=arguments.threads
    ))  # fmt: skip
    return 0


@dataclass(frozen=True)
class BenchPredictArguments:
    """Time a prediction from the file to the overlay, by stage."""

    picture: Annotated[Path, tyro.conf.Positional]
    """Any picture."""
    weights: OptionalPath = None
    """A weights file, or an exported .onnx or .xml; the shipped model, small, if not given."""
    box: tuple[float, float, float, float] | None = None
    """x1 y1 x2 y2 px around the hands; found first if not given."""
    threads: int = 2
    """Cores."""
    repeats: int = 20
    """Predictions."""
    fresh: bool = False
    """Time fresh processes instead, from their start to the first pose."""


def predict(words: list[str]) -> int:
    """Run `unclasp bench predict`."""
    arguments = parse(BenchPredictArguments, words, "bench predict")
    need_positive(threads=arguments.threads, repeats=arguments.repeats)
    if arguments.fresh:
        from unclasp.bench.start import start_speed

        print(start_speed(arguments.picture, arguments.weights, repeats=arguments.repeats, box=arguments.box))
        return 0
    from unclasp.bench.predict import predict_speed
    from unclasp.engines.opening import open_network

    network = open_network(arguments.weights, threads=arguments.threads)
    print(predict_speed(
        arguments.picture, network, repeats=arguments.repeats, box=arguments.box, threads=arguments.threads
    ))  # fmt: skip
    return 0
