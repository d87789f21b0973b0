"""MediaPipe's landmark network as ONNX, in half precision as in its file: what is shipped, and run without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch

from unclasp.batch import ByteArray, FloatArray
from unclasp.landmarks import LANDMARKS, OUTPUTS, SIZE
from unclasp.model.folding import fold_batch_norms
from unclasp.model.landmarks import load_landmarks
from unclasp.onnx_engine import Kind, open_runner
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
        apart=lambda traced: apart_in_half(traced, LANDMARKS, picture, expected),
    )  # fmt: skip


def apart_in_half(path: Path, kind: Kind, picture: ByteArray, expected: Sequence[FloatArray]) -> float:
    """Store a file's weights in half precision, and return how far OpenCV's answers are then from these."""
    onnx.save(stored_in_half(onnx.load(path)), path)
    answers = open_runner(kind, path, engine="opencv")(picture)
    return max(float(np.abs(mine - theirs).max()) for mine, theirs in zip(answers, expected, strict=True))


def stored_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that keeps its weights in half precision and computes in single: engines widen them once."""
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
