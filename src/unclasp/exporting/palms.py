"""MediaPipe's palm detector as ONNX, for squares of any size."""

from pathlib import Path
from typing import Final

from unclasp.exporting.half import export_in_half
from unclasp.find.palms import PALMS
from unclasp.model.palms import load_palm_detector, make_lean

_WITHIN: Final = (0.02, 0.5, 0.02, 0.5)
"""Probabilities and px in turn: how far OpenCV's answers may be from torch's."""


def export_palms(weights: Path, path: Path | str) -> None:
    """Write the network of a .tflite file as ONNX (`half.export_in_half`).

    Args:
        weights: palm_detection_full.tflite of the package mediapipe.
        path: Ends in .onnx.

    Raises:
        CheckpointError: The file cannot be read, or is of another network.
        UnclaspError: OpenCV answers otherwise.
    """
    export_in_half(load_palm_detector(weights), path, PALMS, lean=make_lean, within=_WITHIN, any_size=True)
