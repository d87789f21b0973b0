"""`unclasp landmarks`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import parse, ready_to_convert


@dataclass(frozen=True)
class LandmarksArguments:
    """Convert MediaPipe's landmark network, which corrects joints, to ONNX. The package includes the result."""

    weights: Annotated[Path, tyro.conf.Positional]
    """The file hand_landmark_full.tflite of the package mediapipe."""
    out: Path
    """Output file, ending in .onnx."""


def landmarks(words: list[str]) -> int:
    """Run `unclasp landmarks`."""
    arguments = parse(LandmarksArguments, words, "landmarks")
    ready_to_convert(arguments.out)
    from unclasp.exporting.mediapipe import export_landmarks

    export_landmarks(arguments.weights, arguments.out)
    print(f"landmarks: {arguments.out}")
    return 0
