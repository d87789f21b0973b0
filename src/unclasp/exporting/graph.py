"""Processing of an ONNX graph between tracing and writing: simplification, reduced precision, documentation."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.transformers.float16 import convert_float_to_float16

from unclasp.arrays import Pixels, Singles
from unclasp.engines.onnx_model import INPUT_DESCRIPTION, OUTPUTS, ModelMetadata
from unclasp.engines.onnx_session import INPUT
from unclasp.errors import UnclaspError

OPSET: Final = 18
"""The first opset with Col2Im, which the folded convolution at stride 4 uses."""
_UNQUANTISED: Final = tuple(
    f"/encoder/backbone/{name}" for name in ("_conv_stem/", "Clip", "_blocks.0/_depthwise_conv/")
)
"""Nodes that are not quantised: the stem of the EfficientNets, and the convolution that reads its output."""
_CALIBRATION_PERCENTILE: Final = 99.999
"""Percentile of the activations that the quantised range covers."""
_QUANTISED_SCOPES: Final = ("/encoder/backbone/", "/encoder/lateral", "/encoder/output", "/encoder/segmentation")
"""Parts of the names of the nodes that are quantised."""


def simplified(path: Path, target: Path) -> onnx.ModelProto:
    """Fold constants and remove redundant nodes, using ONNX's own operators only.

    Args:
        path: The graph as traced.
        target: File for the simplified graph, which ONNX Runtime writes.

    Raises:
        UnclaspError: The graph has operators that are not ONNX's own.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = onnx.load(target)
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if foreign:
        raise UnclaspError(f"the graph has operators that are not ONNX's own: {', '.join(sorted(foreign))}")
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    return model


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph in half precision, except for operators that sum many values and for inputs and outputs."""
    converted: onnx.ModelProto = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=["Softmax", "LayerNormalization", "ReduceSum", "ReduceMean"]
    )
    _sort(converted.graph)
    return converted


def _sort(graph: onnx.GraphProto) -> None:
    """Sort nodes topologically, as ONNX requires; the converter does not."""
    known = {"", *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)}
    ordered: list[onnx.NodeProto] = []
    waiting = list(graph.node)
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise UnclaspError(f"the graph reads what nothing writes, at {waiting[0].name}")
        known.update(name for node in ready for name in node.output)
        ordered += ready
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(ordered)


class _CalibrationReader:
    """Calibration crops in the form that the quantiser expects."""

    def __init__(self, images: Pixels) -> None:
        self._images: Iterator[Pixels] = iter(images)

    def get_next(self) -> dict[str, Singles] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT: image[None].astype(np.float32)}


def quantised(model: onnx.ModelProto, folder: Path, calibration: Pixels) -> onnx.ModelProto:
    """Return a graph with 8-bit convolutions.

    Args:
        model: The graph, in single precision.
        folder: Folder for intermediate files.
        calibration: Crops (N, 3, S, S) from which the value ranges are estimated.
    """
    path, target = folder / "float.onnx", folder / "int8.onnx"
    path.write_bytes(model.SerializeToString())
    with _silenced():
        quantization.quantize_static(
            str(path), str(target), _CalibrationReader(calibration), quant_format=quantization.QuantFormat.QDQ,
            nodes_to_quantize=_to_quantise(model), per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            # A range up to the largest value would coarsen the steps of all others: 0.3 mm worse, more with more crops.
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"ActivationSymmetric": False, "CalibPercentile": _CALIBRATION_PERCENTILE},
        )  # fmt: skip
    return onnx.load(target)


def _to_quantise(model: onnx.ModelProto) -> list[str]:
    """Return the encoder's convolutions and the nodes between them, except for the stem and the final part logits.

    The stem reads the picture itself; quantising it as well more than doubles the error of the shipped model.
    """
    kinds = {"Conv", "Add", "Relu", "Clip", "MaxPool", "Resize"}
    nodes = [
        node
        for node in model.graph.node
        if node.op_type in kinds
        and any(scope in node.name for scope in _QUANTISED_SCOPES)
        and not any(scope in node.name for scope in _UNQUANTISED)
    ]
    graph_outputs = {output.name for output in model.graph.output}
    return [node.name for node in nodes if not graph_outputs.intersection(node.output)]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Suppress the progress that the quantiser logs and prints."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def document(model: onnx.ModelProto, facts: ModelMetadata) -> None:
    """Store a model's metadata and the descriptions of its inputs and outputs in its graph, and check the graph."""
    model.producer_name, model.producer_version = "unclasp", facts.version
    model.doc_string = "2.5D pose of two interacting hands from crops."
    onnx.helper.set_model_props(model, facts.to_metadata())
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = INPUT_DESCRIPTION if value.name == INPUT else OUTPUTS[value.name]
    onnx.checker.check_model(model)
