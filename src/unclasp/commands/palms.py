"""`unclasp palms`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import parse, ready_to_convert


@dataclass(frozen=True)
class PalmsArguments:
    """Convert MediaPipe's palm detector to ONNX. The package includes the result."""

    weights: Annotated[Path, tyro.conf.Positional]
    """The file palm_detection_full.tflite of the package mediapipe."""
    out: Path
    """Output file, ending in .onnx."""


def palms(words: list[str]) -> int:
    """Run `unclasp palms`."""
    arguments = parse(PalmsArguments, words, "palms")
    ready_to_convert(arguments.out)
    from unclasp.exporting.mediapipe import export_palms

    export_palms(arguments.weights, arguments.out)
    print(f"palms: {arguments.out}")
    return 0
