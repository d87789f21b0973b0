"""`unclasp average`."""

from dataclasses import dataclass
from pathlib import Path

from unclasp.commands.arguments import Files, need_out, need_stages, parse


@dataclass(frozen=True)
class AverageArguments:
    """Average the weights of several stages of one training run. The average often generalises better."""

    weights: Files
    """At least two weights files of the same model."""
    out: Path
    """Output file. The confidence head is dropped: run `unclasp calibrate` again."""


def average(words: list[str]) -> int:
    """Run `unclasp average`."""
    arguments = parse(AverageArguments, words, "average")
    need_stages(arguments.weights)
    need_out(arguments.out, ".safetensors")
    from unclasp.checkpoint import average_weights

    average_weights(arguments.weights, arguments.out)
    print(f"weights: {arguments.out}")
    return 0
