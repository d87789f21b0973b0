"""Compact ONNX files: two thirds of the size, with bit-identical weights.

Weights files store parameters in half precision. In an exported network, batch normalisation is folded into the
convolutions, so each weight is a half-precision value times one gain per output channel, rounded once. This module
stores the two factors; engines multiply them when they open the file.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from unclasp.arrays import Doubles, Singles

Half = npt.NDArray[np.float16]


class Rows(NamedTuple):
    """Weights factored into half-precision values and one gain per row."""

    half: Half
    """(rows, ...) values in half precision."""
    gains: Doubles
    """(rows, 1, ...) factor of each row."""

    @property
    def product(self) -> Singles:
        """(rows, ...) weights in single precision."""
        return (self.half.astype(np.float64) * self.gains).astype(np.float32)


def compacted(model: onnx.ModelProto, parameters: Iterable[Singles]) -> onnx.ModelProto:
    """Store each weight of a graph, in place, in the smallest lossless form.

    Args:
        model: The graph, in single precision.
        parameters: Parameters of the weights file; the graph contains some of them, unchanged or scaled by row.

    Returns:
        `model` itself.
    """
    candidates: dict[tuple[int, ...], list[Half]] = {}
    for values in parameters:
        half = _exact_half(values)
        if half is not None and values.ndim > 1:
            candidates.setdefault(values.shape, []).append(half)
    tensors: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        stored, decoding = [tensor], list[onnx.NodeProto]()
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims:
            stored, decoding = _compact_tensor(tensor, candidates)
        tensors += stored
        nodes += decoding
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(tensors)
    model.graph.node.extend(nodes)
    return model


def _compact_tensor(
    tensor: onnx.TensorProto, candidates: dict[tuple[int, ...], list[Half]]
) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    """Return the tensors to store in place of one, and the nodes that compute it from them."""
    name, values = tensor.name, numpy_helper.to_array(tensor)
    half = _exact_half(values)
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


def _exact_half(values: Singles) -> Half | None:
    """Return values in half precision if that is lossless, else None."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if half.astype(np.float32).tobytes() == values.tobytes() else None


def as_rows(values: Singles, candidates: Sequence[Half]) -> Rows | None:
    """Factor weights (rows, ...) into one of the candidates times a gain per row, or return None if none is exact.

    A product that rounds to a given weight lies between the midpoints to the neighbouring floats. Each weight of a row
    thus bounds the row's gain from both sides, and together they leave a narrow interval, from which the middle is
    taken. The result is accepted only if it reproduces every bit.
    """
    low, high = (_midpoint_towards(values, end) for end in (-np.inf, np.inf))
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


def _midpoint_towards(values: Singles, end: float) -> Doubles:
    """Return the midpoint between each value and the next single-precision float in the direction of `end`."""
    neighbour = np.nextafter(values, np.float32(end))
    return (values.astype(np.float64) + neighbour.astype(np.float64)) / 2
