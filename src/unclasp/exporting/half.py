"""Networks of others as ONNX, their weights in half precision as in their files: what is shipped, run without torch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from unclasp.engines.onnx_engine import NetworkSpec, open_runner
from unclasp.exporting.runner import export, spots


def export_in_half(
    net: nn.Module, path: Path | str, kind: NetworkSpec, *, lean: Callable[[nn.Module], None], within: Sequence[float],
    any_size: bool = False,
) -> None:  # fmt: skip
    """Write a network, whole, and only if OpenCV answers as torch does.

    Args:
        net: Answers for (1, 3, S, S) RGB pictures, 0 to 255; it is changed.
        path: Ends in .onnx.
        kind: What the file is.
        lean: Changes the network, in place, to what is faster and answers the same.
        within: How far each of OpenCV's answers may be from torch's.
        any_size: It takes pictures of other sizes, too.

    Raises:
        UnclaspError: OpenCV answers otherwise.
    """
    picture, image = spots(kind.size)
    with torch.inference_mode():
        expected = [answer.numpy() for answer in net(image)]
    lean(net)
    net.float()

    def apart(traced: Path) -> float:
        onnx.save(stored_in_half(onnx.load(traced)), traced)
        answers = open_runner(kind, traced, engine="opencv")(picture)
        distances = (float(np.abs(mine - theirs).max()) for mine, theirs in zip(answers, expected, strict=True))
        return max(distance / allowed for distance, allowed in zip(distances, within, strict=True))

    export(net, image, kind.outputs, path, what=kind.what, largest=1.0, apart=apart, any_size=any_size)


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
