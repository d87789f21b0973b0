"""`unclasp faces`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import parse, ready_to_convert


@dataclass(frozen=True)
class FacesArguments:
    """Convert MediaPipe's face detector, which tells faces from hands, to ONNX. The package includes the result."""

    weights: Annotated[Path, tyro.conf.Positional]
    """The file face_detection_short_range.tflite of the package mediapipe."""
    out: Path
    """Output file, ending in .onnx."""


def faces(words: list[str]) -> int:
    """Run `unclasp faces`."""
    arguments = parse(FacesArguments, words, "faces")
    ready_to_convert(arguments.out)
    from unclasp.exporting.mediapipe import export_faces

    export_faces(arguments.weights, arguments.out)
    print(f"faces: {arguments.out}")
    return 0
