"""`unclasp landmarks`."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import need_suffix, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class LandmarksArguments:
    """Convert MediaPipe's landmark network to what touches up predictions; the result is shipped."""

    weights: Annotated[Path, tyro.conf.Positional]
    """hand_landmark_full.tflite of the package mediapipe."""
    out: Path
    """Where to write the network: ends in .onnx."""


def landmarks(words: list[str]) -> int:
    """Run `unclasp landmarks`."""
    arguments = parse(LandmarksArguments, words, "landmarks")
    need_suffix(arguments.out, ".onnx")
    for package in ("onnx", "tflite"):
        if find_spec(package) is None:
            raise UnclaspError(f"this needs the package {package}: pip install 'unclasp[export,weights]'")
    from unclasp.landmarks_export import export_landmarks

    export_landmarks(arguments.weights, arguments.out)
    print(f"landmarks: {arguments.out}")
    return 0
