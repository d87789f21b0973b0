"""`unclasp palms`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import parse, ready_to_convert


@dataclass(frozen=True)
class PalmsArguments:
    """Convert MediaPipe's palm detector to what spots hands where the finder is not enough; the result is shipped."""

    weights: Annotated[Path, tyro.conf.Positional]
    """palm_detection_full.tflite of the package mediapipe."""
    out: Path
    """Where to write the network: ends in .onnx."""


def palms(words: list[str]) -> int:
    """Run `unclasp palms`."""
    arguments = parse(PalmsArguments, words, "palms")
    ready_to_convert(arguments.out)
    from unclasp.exporting.palms import export_palms

    export_palms(arguments.weights, arguments.out)
    print(f"palms: {arguments.out}")
    return 0
