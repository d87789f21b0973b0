"""MediaPipe's landmark network as ONNX, in half precision as in its file: what is shipped, and run without torch."""

from pathlib import Path
from typing import Final

import torch

from unclasp.half_export import apart_in_half
from unclasp.landmarks import LANDMARKS, OUTPUTS, SIZE
from unclasp.model.folding import fold_batch_norms
from unclasp.model.landmarks import load_landmarks
from unclasp.runner_export import export, spots

_LARGEST: Final = 0.02
"""px and probability: how far OpenCV's answers may be from torch's."""


def export_landmarks(weights: Path, path: Path | str) -> None:
    """Write the network of a .tflite file as ONNX, whole, and only if OpenCV answers as torch does.

    Args:
        weights: hand_landmark_full.tflite of the package mediapipe.
        path: Ends in .onnx.

    Raises:
        CheckpointError: The file cannot be read, or is of another network.
        UnclaspError: OpenCV answers otherwise.
    """
    net = load_landmarks(weights)
    picture, image = spots(SIZE)
    with torch.inference_mode():
        expected = [answer.numpy() for answer in net(image)]
    fold_batch_norms(net)
    net.float()

    export(
        net, image, OUTPUTS, path, what="landmark network", largest=_LARGEST,
        apart=lambda traced: max(apart_in_half(traced, LANDMARKS, picture, expected)),
    )  # fmt: skip
