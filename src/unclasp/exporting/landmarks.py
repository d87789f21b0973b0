"""Export of MediaPipe's hand landmark network to ONNX."""

from pathlib import Path
from typing import Final

from unclasp.exporting.half import export_in_half
from unclasp.find.landmarks import LANDMARKS
from unclasp.model.folding import fold_batch_norms
from unclasp.model.landmarks import load_landmarks

_MAX_DIFFERENCES: Final = (0.02, 0.02, 0.02, 0.02)
"""Largest permitted difference of OpenCV's outputs from torch's: joints in px, two probabilities, features."""


def export_landmarks(weights: Path, path: Path | str) -> None:
    """Convert the network of a .tflite file to ONNX (`half.export_in_half`).

    Args:
        weights: hand_landmark_full.tflite of the package mediapipe.
        path: Output file, ending in .onnx.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
        UnclaspError: OpenCV's outputs differ from torch's; nothing is written.
    """
    export_in_half(load_landmarks(weights), path, LANDMARKS, lean=fold_batch_norms, within=_MAX_DIFFERENCES)
