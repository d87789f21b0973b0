"""Export of third-party networks to ONNX, with weights in half precision as in their original files.

These files are shipped and run without torch.
"""

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
    """Export a network to ONNX, atomically, provided that OpenCV's outputs match torch's.

    Args:
        net: Takes (1, 3, S, S) RGB pictures, 0 to 255; it is modified.
        path: Output file, ending in .onnx.
        kind: Description of the network.
        lean: Rewrites the network in place into a faster one with the same outputs.
        within: Largest permitted difference of OpenCV's from torch's values, for each output.
        any_size: Whether the exported network accepts pictures of other sizes.

    Raises:
        UnclaspError: The outputs differ; nothing is written.
    """
    picture, image = spots(kind.size)
    with torch.inference_mode():
        expected = [output.numpy() for output in net(image)]
    lean(net)
    net.float()

    def relative_difference(traced: Path) -> float:
        onnx.save(stored_in_half(onnx.load(traced)), traced)
        outputs = open_runner(kind, traced, engine="opencv")(picture)
        differences = (float(np.abs(output - truth).max()) for output, truth in zip(outputs, expected, strict=True))
        return max(difference / limit for difference, limit in zip(differences, within, strict=True))

    export(net, image, kind.outputs, path, what=kind.what, largest=1.0, apart=relative_difference, any_size=any_size)


def stored_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
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
