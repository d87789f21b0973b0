"""Weights of networks of others in half precision, as their files have them, and how far answers are apart then."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from unclasp.batch import ByteArray, FloatArray
from unclasp.onnx_engine import Kind, open_runner


def apart_in_half(path: Path, kind: Kind, picture: ByteArray, expected: Sequence[FloatArray]) -> list[float]:
    """Store a file's weights in half precision, and return how far each of OpenCV's answers is then from these."""
    onnx.save(stored_in_half(onnx.load(path)), path)
    answers = open_runner(kind, path, engine="opencv")(picture)
    return [float(np.abs(mine - theirs).max()) for mine, theirs in zip(answers, expected, strict=True)]


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
