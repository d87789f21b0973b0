"""`unclasp bench`."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unclasp.commands.arguments import (
    OptionalBox,
    OptionalPath,
    Preset,
    need_positive,
    need_synth,
    parse,
    with_numbers_last,
)

if TYPE_CHECKING:
    from unclasp.model import DFL


@dataclass(frozen=True)
class BenchSynthArguments:
    """Measure the speed of the rendering engine on one core, and how its time divides."""

    count: int = 100
    """Number of pictures to render."""
    size: int = 256
    """Side of the pictures in px."""
    supersample: int = 2
    """Samples per pixel along each axis."""


def synth(words: list[str]) -> int:
    """Run `unclasp bench synth`."""
    arguments = parse(BenchSynthArguments, words, "bench synth")
    need_positive(count=arguments.count, size=arguments.size, supersample=arguments.supersample)
    need_synth()
    from unclasp.bench.synth import synth_speed

    print(synth_speed(arguments.count, size=arguments.size, supersample=arguments.supersample))
    return 0


@dataclass(frozen=True)
class BenchIndexArguments:
    """Measure the time and memory that an index costs, on synthetic annotations.

    With the default count the annotations take 1 GB of disk space; they are removed at the end.
    """

    count: int = 1_361_062
    """Number of images; the default is the size of InterHand2.6M's training split."""
    workers: int = 8
    """Number of processes that read the index at the same time."""
    folder: OptionalPath = None
    """Folder for the annotations; the system's temporary folder if not given."""
    json: bool = False
    """Print the figures as JSON."""


def index(words: list[str]) -> int:
    """Run `unclasp bench index`."""
    arguments = parse(BenchIndexArguments, words, "bench index")
    need_positive(count=arguments.count, workers=arguments.workers)
    from unclasp.bench.index import index_cost, summary, write_made_up

    with TemporaryDirectory(dir=arguments.folder) as folder:
        write_made_up(Path(folder), arguments.count)
        cost = index_cost(Path(folder), workers=arguments.workers)
    print(json.dumps(cost, indent=1) if arguments.json else summary(cost))
    return 0


@dataclass(frozen=True)
class BenchDataArguments:
    """Time a loader process that makes training crops, beside bare decoding and warping of the same pictures.

    Annotations and pictures are synthetic, and removed at the end. --count 1361062 is InterHand2.6M's size.
    """

    count: int = 20_000
    """Number of images in the annotations."""
    repeats: int = 500
    """Number of crops to time."""
    workers: int = 8
    """Number of loader processes whose memory is measured."""
    folder: OptionalPath = None
    """Folder for the data; the system's temporary folder if not given."""


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
    """Time a network in each engine, beside its bare backbone. Weights are random, which does not affect the time."""

    preset: Preset = "small"
    """Name of a preset (`unclasp presets`)."""
    engines: tuple[Literal["plain", "eager", "eager-bf16", "compiled", "onnx", "openvino"], ...] = (
        "plain", "eager", "eager-bf16", "onnx", "openvino",
    )  # fmt: skip
    """Engines to time. plain is the network as trained; the others run the optimised network."""
    linear_head: bool = False
    """Use a linear part segmentation head (segmentation_channels 0)."""
    batch: int = 1
    """Crops per call."""
    threads: int = 2
    """CPU threads to use."""
    repeats: int = 50
    """Number of timed calls per line of the table; the lines are interleaved."""
    device: str = "cpu"
    """Device: cpu or cuda."""
    json: bool = False
    """Print the figures as JSON."""


def latency(words: list[str]) -> int:
    """Run `unclasp bench latency`."""
    arguments = parse(BenchLatencyArguments, words, "bench latency")
    from unclasp.bench.latency import measure

    network, name = _network(arguments.preset, linear_head=arguments.linear_head)
    figures = measure(
        network, name=name, engines=arguments.engines, batch=arguments.batch, threads=arguments.threads,
        repeats=arguments.repeats, device=arguments.device,
    )  # fmt: skip
    print(json.dumps(figures.to_dict(), indent=1) if arguments.json else figures)
    return 0


@dataclass(frozen=True)
class BenchPiecesArguments:
    """Measure the cost of each part of the optimised network in ONNX Runtime. Weights are random."""

    preset: Preset = "small"
    """Name of a preset (`unclasp presets`)."""
    linear_head: bool = False
    """Use a linear part segmentation head (segmentation_channels 0)."""
    threads: int = 2
    """CPU threads to use."""
    repeats: int = 30
    """Number of timed calls."""


def pieces(words: list[str]) -> int:
    """Run `unclasp bench pieces`."""
    arguments = parse(BenchPiecesArguments, words, "bench pieces")
    from unclasp.bench.pieces import pieces as measure
    from unclasp.bench.pieces import summary

    network, name = _network(arguments.preset, linear_head=arguments.linear_head)
    measured = measure(network, threads=arguments.threads, repeats=arguments.repeats)
    print(summary(name, measured, threads=arguments.threads, repeats=arguments.repeats))
    return 0


def _network(name: str, *, linear_head: bool) -> "tuple[DFL, str]":
    """Return a preset's network with random weights, the same in each call, and what the table calls it."""
    import torch

    from unclasp.config import with_model
    from unclasp.model import build
    from unclasp.presets import preset

    config = preset(name)
    if linear_head:
        name, config = f"{name}, linear head", with_model(config, segmentation_channels=0)
    torch.manual_seed(0)
    return build(config.model).eval(), name


@dataclass(frozen=True)
class BenchTrainArguments:
    """Time a training step, beside a forward and backward pass of the backbone alone."""

    preset: Preset = "small"
    """Name of a preset (`unclasp presets`)."""
    batch: int = 32
    """Crops per step."""
    repeats: int = 10
    """Number of timed steps; those of the network and of the backbone are interleaved."""
    threads: int = 2
    """CPU threads to use."""
    bf16: bool = True
    """Use autocast to bfloat16."""
    compiled: bool = False
    """Compile with torch.compile."""
    device: str = "cpu"
    """Device: cpu or cuda."""


def train(words: list[str]) -> int:
    """Run `unclasp bench train`."""
    arguments = parse(BenchTrainArguments, words, "bench train")
    from unclasp.bench.train import train_speed
    from unclasp.engines.torch_network import check_device
    from unclasp.presets import preset

    check_device(arguments.device)
    print(train_speed(
        preset(arguments.preset), name=arguments.preset, batch=arguments.batch, repeats=arguments.repeats,
        threads=arguments.threads, device=arguments.device, half=arguments.bf16, compiled=arguments.compiled,
    ))  # fmt: skip
    return 0


@dataclass(frozen=True)
class BenchFinderArguments:
    """Time the hand finder on a picture."""

    width: int = 4000
    """Width of the picture in px."""
    height: int = 3000
    """Height of the picture in px."""
    threads: int = 2
    """CPU threads to use."""
    repeats: int = 50
    """Number of timed calls per figure."""


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
    """Time the stages of a prediction, from file to overlay."""

    picture: Annotated[Path, tyro.conf.Positional]
    """The picture to predict."""
    weights: OptionalPath = None
    """A weights file, or an exported .onnx or .xml; the shipped model, small, if not given."""
    box: OptionalBox = None
    """Box around the hands in px; searched for if not given."""
    threads: int = 2
    """CPU threads to use."""
    repeats: int = 20
    """Number of timed predictions."""
    fresh: bool = False
    """Time new processes, from start to first pose."""


def predict(words: list[str]) -> int:
    """Run `unclasp bench predict`."""
    arguments = parse(BenchPredictArguments, with_numbers_last(words), "bench predict")
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
