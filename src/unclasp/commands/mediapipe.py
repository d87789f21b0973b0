"""`unclasp landmarks`, `unclasp palms` and `unclasp faces`: conversion of MediaPipe's networks."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import need_out, parse
from unclasp.errors import UnclaspError


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
    return _convert("landmarks", arguments.weights, arguments.out)


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
    return _convert("palms", arguments.weights, arguments.out)


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
    return _convert("faces", arguments.weights, arguments.out)


def _convert(name: str, weights: Path, out: Path) -> int:
    need_out(out, ".onnx")
    for package in ("onnx", "tflite"):
        if find_spec(package) is None:
            raise UnclaspError(f"this needs the package {package}: pip install 'unclasp[export,weights]'")
    from unclasp.exporting.mediapipe import export_faces, export_landmarks, export_palms

    export = {"landmarks": export_landmarks, "palms": export_palms, "faces": export_faces}[name]
    export(weights, out)
    print(f"{name}: {out}")
    return 0
