"""Export of MediaPipe's networks to ONNX, with weights in half precision as in their original files.

The exported files are shipped and run without torch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from torch import nn

from unclasp.engines.onnx_engine import NetworkSpec, open_runner
from unclasp.exporting.tracing import export, spots
from unclasp.find.faces import FACES
from unclasp.find.landmarks import LANDMARKS
from unclasp.find.palms import PALMS
from unclasp.model.faces import load_face_detector
from unclasp.model.folding import fold_batch_norms
from unclasp.model.landmarks import load_landmarks
from unclasp.model.palms import load_palm_detector, make_lean

LANDMARK_DIFFERENCES: Final = (0.02, 0.02, 0.02, 0.02)
"""Largest permitted differences of ONNX Runtime's outputs from torch's: joints in px, two probabilities, features."""
DETECTOR_DIFFERENCES: Final = (0.02, 0.5, 0.02, 0.5)
"""The same for the palm and the face detector: probabilities and px in turn."""


def export_landmarks(weights: Path, path: Path | str) -> None:
    """Convert the hand landmark network, hand_landmark_full.tflite of the package mediapipe, to an .onnx file.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
        UnclaspError: ONNX Runtime's outputs differ from torch's; nothing is written.
    """
    _export(load_landmarks(weights), path, LANDMARKS, lean=fold_batch_norms, within=LANDMARK_DIFFERENCES)


def export_palms(weights: Path, path: Path | str) -> None:
    """Convert the palm detector, palm_detection_full.tflite of the package mediapipe, for pictures of any size.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
        UnclaspError: ONNX Runtime's outputs differ from torch's; nothing is written.
    """
    _export(load_palm_detector(weights), path, PALMS, lean=make_lean, within=DETECTOR_DIFFERENCES, any_size=True)


def export_faces(weights: Path, path: Path | str) -> None:
    """Convert the face detector, face_detection_short_range.tflite of the package, for pictures of any size.

    Raises:
        CheckpointError: The file cannot be read, or contains another network.
        UnclaspError: ONNX Runtime's outputs differ from torch's; nothing is written.
    """
    _export(load_face_detector(weights), path, FACES, lean=make_lean, within=DETECTOR_DIFFERENCES, any_size=True)


def _export(
    net: nn.Module, path: Path | str, kind: NetworkSpec, *, lean: Callable[[nn.Module], None], within: Sequence[float],
    any_size: bool = False,
) -> None:  # fmt: skip
    """Export a network, atomically, provided that the outputs in ONNX Runtime are those in torch but for `within`.

    `lean` rewrites the network, in place, into a faster one with the same outputs.
    """
    picture, image = spots(kind.size)
    with torch.inference_mode():
        expected = [output.numpy() for output in net(image)]
    lean(net)
    net.float()

    def relative_difference(traced: Path) -> float:
        onnx.save(_stored_in_half(onnx.load(traced)), traced)
        outputs = open_runner(kind, traced)(picture)
        differences = (float(np.abs(output - truth).max()) for output, truth in zip(outputs, expected, strict=True))
        return max(difference / limit for difference, limit in zip(differences, within, strict=True))

    export(net, image, kind.outputs, path, what=kind.what, largest=1.0, apart=relative_difference, any_size=any_size)


def _stored_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights in half precision, in place, and return the model.

    Inference stays in single precision: engines convert the weights once, when they open the file.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or not tensor.dims:
            continue
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        name, tensor_name = tensor.name, f"{tensor.name}_half"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor_name))
        casts.append(onnx.helper.make_node("Cast", [tensor_name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
