"""`unclasp finder render`, `unclasp finder train` and `unclasp finder average`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import (
    Files,
    OptionalData,
    need_folder,
    need_out,
    need_positive,
    need_seed,
    need_stages,
    need_synth,
    parse,
)
from unclasp.errors import UnclaspError
from unclasp.training.finder_config import FinderConfig, FinderRun


@dataclass(frozen=True)
class RenderArguments:
    """Render whole pictures with annotated hand regions, for training the hand finder.

    An interrupted run resumes where it stopped.
    """

    out: Path
    """Output folder."""
    count: int = 6000
    """Number of pictures; with a larger count, pictures are added to those in the folder. A smaller one is refused."""
    seed: int = 1
    """Seed of the pictures. 2 is reserved for validation."""
    size: int = 224
    """Longer side in px."""
    gloved: float = 0.0
    """Share of people who wear gloves, 0 to 1, in addition to those whose skin the engine paints as gloves."""


def render(words: list[str]) -> int:
    """Run `unclasp finder render`."""
    arguments = parse(RenderArguments, words, "finder render")
    need_folder(arguments.out)
    need_positive(count=arguments.count, size=arguments.size)
    need_seed(arguments.seed)
    if not 0 <= arguments.gloved <= 1:
        raise UnclaspError(f"--gloved must lie in [0, 1], got {arguments.gloved}")
    need_synth()
    from unclasp.commands.progress import track
    from unclasp.data.wholes import SHARD, write_wholes

    written = write_wholes(
        arguments.out, arguments.count, seed=arguments.seed, size=arguments.size, gloved=arguments.gloved
    )
    for _ in track(written, f"render ({SHARD} a step)", total=-(-arguments.count // SHARD)):
        pass
    print(f"{arguments.count} pictures: {arguments.out}")
    return 0


@dataclass(frozen=True)
class TrainArguments:
    """Train the hand finder. Writes its weights and, beside them, the .onnx file that prediction uses."""

    data: Path
    """Folder of `unclasp finder render`."""
    close_ups: OptionalData = None
    """Pictures of `unclasp synth write` to mix in: interhand:ROOT[:SPLIT]."""
    config: Annotated[FinderConfig, tyro.conf.arg(name="")] = field(default_factory=FinderConfig)
    """Training configuration."""
    run: Annotated[FinderRun, tyro.conf.arg(name=""), tyro.conf.DisallowNone] = field(default_factory=FinderRun)
    """Options of the run."""


def train(words: list[str]) -> int:
    """Run `unclasp finder train`."""
    arguments = parse(TrainArguments, words, "finder train")
    need_out(arguments.run.out, ".safetensors")  # the export is written beside it, as .onnx
    from unclasp.data import open_dataset
    from unclasp.data.wholes import Wholes
    from unclasp.engines.torch_network import check_device
    from unclasp.training.finder_train import train_finder

    check_device(arguments.run.device)
    close_ups = None if arguments.close_ups is None else open_dataset(arguments.close_ups)
    weights = train_finder(arguments.config, Wholes(arguments.data), close_ups, arguments.run)
    print(f"weights: {weights}\nfinder: {weights.with_suffix('.onnx')}")
    return 0


@dataclass(frozen=True)
class AverageArguments:
    """Average the weights of several stages of a training run. Writes the weights and, beside them, the .onnx file."""

    weights: Files
    """At least two files of `unclasp finder train`."""
    out: Path
    """Output file."""


def average(words: list[str]) -> int:
    """Run `unclasp finder average`."""
    arguments = parse(AverageArguments, words, "finder average")
    need_stages(arguments.weights)
    need_out(arguments.out, ".safetensors")
    from unclasp.exporting.finder import export_finder
    from unclasp.training.finder_weights import average_finders, load_finder

    average_finders(arguments.weights, arguments.out)
    exported = arguments.out.with_suffix(".onnx")
    export_finder(load_finder(arguments.out), exported)
    print(f"weights: {arguments.out}\nfinder: {exported}")
    return 0
