"""`unclasp landmarks`, `unclasp palms` and `unclasp faces`: conversion of MediaPipe's networks."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from unclasp.commands.arguments import need_out, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class _Output:
    out: Path
    """Output file, ending in .onnx."""


@dataclass(frozen=True)
class LandmarksArguments(_Output):
    """Convert MediaPipe's landmark network, which corrects joints, to ONNX. The package includes the result."""

    weights: Annotated[Path, tyro.conf.Positional]
    """The file hand_landmark_full.tflite of the package mediapipe."""


@dataclass(frozen=True)
class PalmsArguments(_Output):
    """Convert MediaPipe's palm detector to ONNX. The package includes the result."""

    weights: Annotated[Path, tyro.conf.Positional]
    """The file palm_detection_full.tflite of the package mediapipe."""


@dataclass(frozen=True)
class FacesArguments(_Output):
    """Convert MediaPipe's face detector, which tells faces from hands, to ONNX. The package includes the result."""

    weights: Annotated[Path, tyro.conf.Positional]
    """The file face_detection_short_range.tflite of the package mediapipe."""


def landmarks(words: list[str]) -> int:
    """Run `unclasp landmarks`."""
    return _convert("landmarks", parse(LandmarksArguments, words, "landmarks"))


def palms(words: list[str]) -> int:
    """Run `unclasp palms`."""
    return _convert("palms", parse(PalmsArguments, words, "palms"))


def faces(words: list[str]) -> int:
    """Run `unclasp faces`."""
    return _convert("faces", parse(FacesArguments, words, "faces"))


def _convert(name: str, arguments: LandmarksArguments | PalmsArguments | FacesArguments) -> int:
    need_out(arguments.out, ".onnx")
    for package in ("onnx", "tflite"):
        if find_spec(package) is None:
            raise UnclaspError(f"this needs the package {package}: pip install 'unclasp[export,weights]'")
    from unclasp.exporting.mediapipe import export_faces, export_landmarks, export_palms

    export = {"landmarks": export_landmarks, "palms": export_palms, "faces": export_faces}[name]
    export(arguments.weights, arguments.out)
    print(f"{name}: {arguments.out}")
    return 0
