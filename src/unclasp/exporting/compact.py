"""ONNX files that take two thirds of the space and have the same weights to the bit.

Weights files keep parameters in half precision, but an exported network has batch normalisation in its convolutions, so
that its weights are numbers in half precision times one number for each output channel, rounded once. That is how they
are stored here; engines multiply when they open the file.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from unclasp.batch import FloatArray

Half = npt.NDArray[np.float16]
Doubles = npt.NDArray[np.float64]


class Rows(NamedTuple):
    """Weights as products."""

    half: Half
    """(rows, ...) in half precision."""
    gains: Doubles
    """(rows, 1, ...) what each row is multiplied by."""

    @property
    def product(self) -> FloatArray:
        """(rows, ...) the weights."""
        return (self.half.astype(np.float64) * self.gains).astype(np.float32)


def compacted(model: onnx.ModelProto, parameters: Iterable[FloatArray]) -> onnx.ModelProto:
    """Store each weight of a graph, in place, as shortly as loses nothing.

    Args:
        model: In single precision.
        parameters: What the weights file holds; some of it is in the graph, as it is or multiplied by rows.
    """
    candidates: dict[tuple[int, ...], list[Half]] = {}
    for values in parameters:
        half = _in_half(values)
        if half is not None and values.ndim > 1:
            candidates.setdefault(values.shape, []).append(half)
    tensors: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        kept, made = [tensor], list[onnx.NodeProto]()
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims:
            kept, made = _stored(tensor, candidates)
        tensors += kept
        nodes += made
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(tensors)
    model.graph.node.extend(nodes)
    return model


def _stored(
    tensor: onnx.TensorProto, candidates: dict[tuple[int, ...], list[Half]]
) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    """Return what to keep of a tensor, and what makes it of that."""
    name, values = tensor.name, numpy_helper.to_array(tensor)
    half = _in_half(values)
    make, single, double = onnx.helper.make_node, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    if half is not None:
        return [numpy_helper.from_array(half, f"{name}_half")], [make("Cast", [f"{name}_half"], [name], to=single)]
    rows = as_rows(values, candidates.get(values.shape, []))
    if rows is None:
        return [tensor], []
    return [numpy_helper.from_array(rows.half, f"{name}_half"), numpy_helper.from_array(rows.gains, f"{name}_gains")], [
        make("Cast", [f"{name}_half"], [f"{name}_double"], to=double),
        make("Mul", [f"{name}_double", f"{name}_gains"], [f"{name}_product"]),
        make("Cast", [f"{name}_product"], [name], to=single),
    ]


def _in_half(values: FloatArray) -> Half | None:
    """Return values in half precision if that loses nothing."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if half.astype(np.float32).tobytes() == values.tobytes() else None


def as_rows(values: FloatArray, candidates: Sequence[Half]) -> Rows | None:
    """Return weights (rows, ...) as the rows of one of some tensors times a number each, if that gives every bit.

    A product that is rounded to a weight lies between the middles to the numbers beside it, which bounds the row's
    number from both sides, as tightly as 24 bits of many weights do.
    """
    low, high = (_middle_towards(values, end) for end in (-np.inf, np.inf))
    axes = tuple(range(1, values.ndim))
    for half in candidates:
        wide = half.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            bounds = np.sort([low / wide, high / wide], axis=0)
            least = np.where(wide == 0, -np.inf, bounds[0]).max(axis=axes, keepdims=True)
            most = np.where(wide == 0, np.inf, bounds[1]).min(axis=axes, keepdims=True)
            gains = np.where(np.isfinite(least) & np.isfinite(most), (least + most) / 2, 0.0)
        rows = Rows(half, gains)
        if rows.product.tobytes() == values.tobytes():
            return rows
    return None


def _middle_towards(values: FloatArray, end: float) -> Doubles:
    """Return the middle between each value and the next one in single precision."""
    beside = np.nextafter(values, np.float32(end))
    return (values.astype(np.float64) + beside.astype(np.float64)) / 2
