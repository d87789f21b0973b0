"""`unclasp average`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import need_out, need_stages, parse


@dataclass(frozen=True)
class AverageArguments:
    """Average the weights of several stages of one training: often better on pictures unlike those trained on."""

    weights: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Weights files of the same model, two or more."""
    out: Path
    """Where to write their average. A confidence head is left out: calibrate anew."""


def average(words: list[str]) -> int:
    """Run `unclasp average`."""
    arguments = parse(AverageArguments, words, "average")
    need_stages(arguments.weights)
    need_out(arguments.out, ".safetensors")
    from unclasp.checkpoint import average_weights

    average_weights(arguments.weights, arguments.out)
    print(f"weights: {arguments.out}")
    return 0
