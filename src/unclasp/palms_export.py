"""MediaPipe's palm detector as ONNX, for any size, in half precision: what is shipped, and run without torch."""

from pathlib import Path
from typing import Final

import torch

from unclasp.half_export import apart_in_half
from unclasp.model.palms import load_palm_detector, make_lean
from unclasp.palms import OUTPUTS, PALMS, SIZE
from unclasp.runner_export import export, spots

_LARGEST: Final = 1.0
_APART: Final = (0.02, 0.5, 0.02, 0.5)
"""Probabilities and px: how far OpenCV's answers may be from torch's."""


def export_palms(weights: Path, path: Path | str) -> None:
    """Write the network of a .tflite file as ONNX, whole, and only if OpenCV answers as torch does.

    Args:
        weights: palm_detection_full.tflite of the package mediapipe.
        path: Ends in .onnx.

    Raises:
        CheckpointError: The file cannot be read, or is of another network.
        UnclaspError: OpenCV answers otherwise.
    """
    net = load_palm_detector(weights)
    picture, image = spots(SIZE)
    with torch.inference_mode():
        expected = [answer.numpy() for answer in net(image)]
    make_lean(net)
    net.float()

    def apart(traced: Path) -> float:
        distances = apart_in_half(traced, PALMS, picture, expected)
        return max(distance / allowed for distance, allowed in zip(distances, _APART, strict=True))

    export(net, image, OUTPUTS, path, what="palm detector", largest=_LARGEST, apart=apart, any_size=True)
