"""`unclasp train`."""

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from unclasp import presets
from unclasp.commands.arguments import OptionalData, need_folder, parse
from unclasp.config import Config
from unclasp.errors import UnclaspError
from unclasp.training.options import RunOptions


@dataclass(frozen=True)
class TrainArguments:
    """Train a preset; every field of its configuration is an option.

    The output folder holds state.pt (for --resume), weights.safetensors (for use) and log.jsonl.
    """

    data: str
    """Data set: synthetic:train, or interhand:ROOT[:SPLIT] for a folder in InterHand2.6M's layout."""
    also: OptionalData = None
    """A second data set to train on at the same time, such as one of `unclasp label`."""
    also_share: float = 0.25
    """Share of the second data set's samples; it is repeated, or only a part of it is used."""
    run: Annotated[RunOptions, tyro.conf.arg(name=""), tyro.conf.DisallowNone] = field(default_factory=RunOptions)
    """Options of the run."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=presets.small)
    """The preset's configuration."""


def train(words: list[str]) -> int:
    """Run `unclasp train PRESET`."""
    if not words or words[0].startswith("-"):
        if not {"-h", "--help"} & set(words):
            raise UnclaspError("usage: unclasp train PRESET --data DATA; unclasp presets lists the presets")
        words = ["small", *words]
    preset = presets.preset(words[0])
    # With a default object, tyro needs a value for `data`, too; MISSING keeps it required.
    arguments = parse(TrainArguments, words[1:], "train PRESET", TrainArguments(data=tyro.MISSING, config=preset))
    need_folder(arguments.run.out)
    from unclasp.data import open_dataset
    from unclasp.data.mixed import Mixed
    from unclasp.model.backbones import BACKBONES
    from unclasp.train import train as run

    options = arguments.run
    is_random = not (options.resume or options.start_weights or options.backbone_weights)
    if is_random and arguments.config.model.backbone in BACKBONES and arguments.config.model.backbone != "tiny":
        print("the backbone starts from random weights; give others by --backbone-weights", file=sys.stderr)

    data = open_dataset(arguments.data)
    if arguments.also is not None:
        data = Mixed(data, open_dataset(arguments.also), arguments.also_share)
    weights = run(arguments.config, data, options)
    if weights is not None:
        print(f"weights: {weights}")
    return 0
