"""What happens to an ONNX graph between tracing and writing: simpler, narrower, documented."""

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

from unclasp.batch import ByteArray, FloatArray
from unclasp.engines.onnx_model import INPUT, INPUT_DESCRIPTION, OUTPUTS, ModelMetadata
from unclasp.errors import UnclaspError

OPSET: Final = 18
"""The first with Col2Im, which the folded convolution at stride 4 uses."""
_FIRST: Final = tuple(f"/encoder/backbone/{name}" for name in ("_conv_stem/", "Clip", "_blocks.0/_depthwise_conv/"))
"""What stays in single precision: the stem of the EfficientNets, and the convolution that its output goes to."""
_KEPT_PERCENT: Final = 99.999
_QUANTISED: Final = ("/encoder/backbone/", "/encoder/lateral", "/encoder/output", "/encoder/segmentation")


def simplified(path: Path, target: Path) -> onnx.ModelProto:
    """Fold constants and drop what does nothing, with ONNX's own operators alone."""
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
    """Return it in half precision, but for what sums many values and for what goes in and out."""
    halved: onnx.ModelProto = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=["Softmax", "LayerNormalization", "ReduceSum", "ReduceMean"]
    )
    _sort(halved.graph)
    return halved


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes after those that they read from, as ONNX demands and the converter forgets."""
    known = {"", *(each.name for each in graph.input), *(each.name for each in graph.initializer)}
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


class _Reader:
    """Crops as the quantiser asks for them."""

    def __init__(self, images: ByteArray) -> None:
        self._images: Iterator[ByteArray] = iter(images)

    def get_next(self) -> dict[str, FloatArray] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT: image[None].astype(np.float32)}


def quantised(model: onnx.ModelProto, folder: Path, calibration: ByteArray) -> onnx.ModelProto:
    """Return it with convolutions in 8 bits, their ranges from crops (N, 3, S, S); `folder` is for files between."""
    path, target = folder / "float.onnx", folder / "int8.onnx"
    path.write_bytes(model.SerializeToString())
    with _silenced():
        quantization.quantize_static(
            str(path), str(target), _Reader(calibration), quant_format=quantization.QuantFormat.QDQ,
            nodes_to_quantize=_to_quantise(model), per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            # The widest of all values would widen the steps of the others: 0.3 mm lost, more with more crops.
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"ActivationSymmetric": False, "CalibPercentile": _KEPT_PERCENT},
        )  # fmt: skip
    return onnx.load(target)


def _to_quantise(model: onnx.ModelProto) -> list[str]:
    """Return the convolutions and what stands between them, but for the stem and the parts' logits at the end.

    The stem sees the picture itself; quantising it, too, more than doubles what the shipped model is off.
    """
    kinds = {"Conv", "Add", "Relu", "Clip", "MaxPool", "Resize"}
    nodes = [
        node
        for node in model.graph.node
        if node.op_type in kinds
        and any(scope in node.name for scope in _QUANTISED)
        and not any(scope in node.name for scope in _FIRST)
    ]
    made = {output.name for output in model.graph.output}
    return [node.name for node in nodes if not made.intersection(node.output)]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep the quantiser's progress to itself, which it logs and prints."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def document(model: onnx.ModelProto, facts: ModelMetadata) -> None:
    """Write facts, names and units into a graph, and check it."""
    model.producer_name, model.producer_version = "unclasp", facts.version
    model.doc_string = "2.5D pose of two interacting hands from crops."
    onnx.helper.set_model_props(model, facts.to_metadata())
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = INPUT_DESCRIPTION if value.name == INPUT else OUTPUTS[value.name]
    onnx.checker.check_model(model)
