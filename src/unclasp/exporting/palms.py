"""Export of MediaPipe's palm detector to ONNX, for pictures of any size."""

from pathlib import Path
from typing import Final

from unclasp.exporting.half import export_in_half
from unclasp.find.palms import PALMS
from unclasp.model.palms import load_palm_detector, make_lean

_MAX_DIFFERENCES: Final = (0.02, 0.5, 0.02, 0.5)
"""Largest permitted difference of OpenCV's outputs from torch's: probabilities and px in turn."""


def export_palms(weights: Path, path: Path | str) -> None:
    """Convert the network of a .tflite file to ONNX (`half.export_in_half`).

    Args:
        weights: palm_detection_full.tflite of the package mediapipe.
        path: Output file, ending in .onnx.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
        UnclaspError: OpenCV's outputs differ from torch's; nothing is written.
    """
    export_in_half(load_palm_detector(weights), path, PALMS, lean=make_lean, within=_MAX_DIFFERENCES, any_size=True)
