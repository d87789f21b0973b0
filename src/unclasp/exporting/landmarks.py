"""MediaPipe's hand landmark network as ONNX."""

from pathlib import Path
from typing import Final

from unclasp.exporting.half import export_in_half
from unclasp.find.landmarks import LANDMARKS
from unclasp.model.folding import fold_batch_norms
from unclasp.model.landmarks import load_landmarks

_WITHIN: Final = (0.02, 0.02, 0.02, 0.02)
"""px, probabilities and features: how far OpenCV's answers may be from torch's."""


def export_landmarks(weights: Path, path: Path | str) -> None:
    """Write the network of a .tflite file as ONNX (`half.export_in_half`).

    Args:
        weights: hand_landmark_full.tflite of the package mediapipe.
        path: Ends in .onnx.

    Raises:
        CheckpointError: The file cannot be read, or is of another network.
        UnclaspError: OpenCV answers otherwise.
    """
    export_in_half(load_landmarks(weights), path, LANDMARKS, lean=fold_batch_norms, within=_WITHIN)
