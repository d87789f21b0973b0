"""`unclasp landmarks`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import need_suffix, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class LandmarksArguments:
    """Make the landmark network that touches up predictions from MediaPipe's file; the result is shipped."""

    weights: Annotated[Path, tyro.conf.Positional]
    """hand_landmark_full.tflite of the package mediapipe."""
    out: Path
    """Where to write the network: ends in .onnx."""


def landmarks(words: list[str]) -> int:
    """Run `unclasp landmarks`."""
    arguments = parse(LandmarksArguments, words, "landmarks")
    need_suffix(arguments.out, ".onnx")
    try:
        from unclasp.landmarks_export import export_landmarks
    except ModuleNotFoundError as error:
        raise UnclaspError(f"this needs the package {error.name}: pip install 'unclasp[export]'") from error
    export_landmarks(arguments.weights, arguments.out)
    print(f"landmarks: {arguments.out}")
    return 0
