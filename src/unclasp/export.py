"""Export of trained models to ONNX, and from ONNX to OpenVINO's format.

The optimised network (`model.deploy`) is exported. Its poses are compared with those of the plain network on pictures
that the model was not trained on; if they differ by more than `BOUNDS`, no file is written.
"""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unclasp.arrays import Pixels, Singles
from unclasp.config import Config, to_dict
from unclasp.engines.onnx_model import (
    OUTPUTS,
    ExportedModel,
    ModelMetadata,
    OnnxModel,
    OpenVinoModel,
    openvino_core,
)
from unclasp.engines.onnx_session import INPUT
from unclasp.errors import UnclaspError
from unclasp.exporting.compact import compacted
from unclasp.exporting.graph import OPSET, document, halved, quantised, simplified
from unclasp.exporting.tracing import write_traced
from unclasp.files import whole
from unclasp.hands import JOINT_NAMES, PART_NAMES
from unclasp.model import DFL
from unclasp.model.deploy import optimise
from unclasp.version import installed_version

Precision = Literal["fp32", "fp16", "int8"]

CROP: Final = (
    "The tight box around the hands' joints times 1.2 about its centre; its longer side times 1.25 about the same "
    "centre is the side of the square; resampled to S x S px, bilinear, pixel centres at integers, black outside."
)


class Bound(NamedTuple):
    """Largest permitted differences (u, v in px, depth in mm) of an export from the plain network's exact values."""

    mean: float
    """Mean over all coordinates and pictures."""
    coordinate: float
    """Mean over the pictures, for each of the 126 coordinates."""
    largest: float
    """Any single difference. If the plain network's own rounding error is large, twice that error is allowed instead:
    some pictures amplify every rounding error."""


BOUNDS: Final[dict[Precision, Bound]] = {
    "fp32": Bound(1e-3, 1e-3, 1e-3),
    "fp16": Bound(0.2, 0.5, 2.0),
    # In a difficult picture rounding alone can move a joint far; broken quantisation shows up in all pictures.
    "int8": Bound(1.5, 6.0, 128.0),
}
_BATCH_SIZES: Final = (1, 3, 16)
"""Batch sizes of the comparison; the last one repeats."""


class ExportError(UnclaspError):
    """An exported model whose output differs from the network's."""


@dataclass(frozen=True)
class Parity:
    """Differences between the poses of an exported model and of the plain network in double precision."""

    pictures: int
    mean: float
    """Mean difference over all coordinates, in px or mm."""
    largest: float
    """Largest single difference."""
    coordinate: float
    """Mean difference over the pictures, of the coordinate for which it is largest."""
    rounding: float = 0.0
    """Largest difference of the plain network in single precision from itself in double precision."""

    def __str__(self) -> str:
        return (
            f"poses of {self.pictures} unseen pictures differ by {self.mean:.2g} px or mm in the mean, "
            f"{self.coordinate:.2g} in that of the worst coordinate, {self.largest:.2g} at most"
        )


def export_onnx(
    model: DFL, config: Config, path: Path | str, *, name: str, precision: Precision, unseen: Pixels,
    calibration: Pixels | None = None, compact: bool = False,
) -> Parity:  # fmt: skip
    """Export a model to ONNX, with plain tensors in and out, any batch size, and its description in the metadata.

    Args:
        model: The model, on the CPU.
        config: Its complete config.
        path: Output file, ending in .onnx.
        name: Name of the weights.
        precision: With int8, the encoder's convolutions are quantised; the decoder stays in float32.
        unseen: Crops (N, 3, S, S) that the model was not trained on, for the comparison.
        calibration: For int8, crops from which the value ranges are estimated.
        compact: For fp32, store the same weights in about two thirds of the space (`exporting.compact`).

    Returns:
        The differences from the plain network.

    Raises:
        ExportError: The poses differ from the plain network's by more than `BOUNDS`; nothing is written.
        UnclaspError: `compact` is combined with another precision than fp32, int8 lacks `calibration`,
            or the graph has operators that are not ONNX's own.
    """
    if compact and precision != "fp32":
        raise UnclaspError(f"only fp32 can be stored compactly, {precision} is small already: leave out one of them")
    lean = _NamedOutputs(optimise(model))
    with whole(path) as temporary, tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "traced.onnx"
        trace(lean, lean.names, config.model.image_size, traced)
        graph = simplified(traced, Path(folder) / "simple.onnx")
        if precision == "fp16":
            graph = halved(graph)
        elif precision == "int8":
            if calibration is None:
                raise UnclaspError("int8 needs pictures to calibrate with")
            graph = quantised(graph, Path(folder), calibration)
        if compact:
            graph = compacted(graph, [values.numpy() for values in model.state_dict().values()])
        facts = ModelMetadata(
            name=name, version=installed_version(), image_size=config.model.image_size, precision=precision,
            crop=CROP, joints=JOINT_NAMES, parts=PART_NAMES, config=to_dict(config),
        )  # fmt: skip
        document(graph, facts)
        temporary.write_bytes(graph.SerializeToString())
        parity = compare(model, OnnxModel(temporary), unseen)
        check(parity, precision)
    return parity


def check(parity: Parity, precision: Precision) -> None:
    """Raise ExportError if a difference exceeds `BOUNDS` or is not a number."""
    bound = BOUNDS[precision]
    largest = max(bound.largest, 2 * parity.rounding)
    if not (parity.mean <= bound.mean and parity.coordinate <= bound.coordinate and parity.largest <= largest):
        raise ExportError(
            f"the exported model does not match the network: its {parity}; expected at most {bound.mean:g}, "
            f"{bound.coordinate:g} and {largest:g} for {precision}; nothing was written"
        )


def compare(model: DFL, exported: ExportedModel, unseen: Pixels) -> Parity:
    """Compare the poses of an exported model with the network's on crops (N, 3, S, S), in batches of 1, 3 and 16."""
    exact = copy.deepcopy(model).double()
    differences: list[Singles] = []
    start, rounding = 0, 0.0
    while start < len(unseen):
        size = _BATCH_SIZES[min(len(differences), len(_BATCH_SIZES) - 1)]
        images = unseen[start : start + size]
        with torch.inference_mode():
            plain, expected = (
                network(torch.from_numpy(images)).pose_2p5d.double().numpy() for network in (model, exact)
            )
        rounding = max(rounding, float(np.abs(plain - expected).max()))
        differences.append(np.abs(exported(images).pose_2p5d - expected).reshape(len(images), -1))
        start += size
    all_differences = np.concatenate(differences)
    return Parity(
        pictures=len(all_differences), mean=float(all_differences.mean()), largest=float(all_differences.max()),
        coordinate=float(all_differences.mean(axis=0).max()), rounding=rounding,
    )  # fmt: skip


def export_openvino(model: DFL, source: Path, path: Path | str, *, precision: Precision, unseen: Pixels) -> Parity:
    """Convert a file of `export_onnx` to OpenVINO's format: `path` and, beside it, a .bin file of the same name.

    Args:
        model: The model to compare with.
        source: The ONNX file.
        path: Output file, ending in .xml.
        precision: With fp16, weights are stored in half precision.
        unseen: Crops (N, 3, S, S) that the model was not trained on, for the comparison.

    Returns:
        The differences from the plain network.

    Raises:
        ExportError: The poses differ from the plain network's by more than `BOUNDS`; nothing is written.
        UnclaspError: The package openvino is missing.
    """
    try:
        openvino = import_module("openvino")
    except ModuleNotFoundError as error:
        raise UnclaspError("OpenVINO's format needs openvino: pip install 'unclasp[openvino]'") from error
    path = Path(path)
    converted = openvino_core(openvino).read_model(str(source))
    for key, value in OnnxModel(source).facts.to_metadata().items():
        converted.set_rt_info(value, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        temporary = Path(folder) / path.name
        openvino.save_model(converted, str(temporary), compress_to_fp16=precision == "fp16")
        parity = compare(model, OpenVinoModel(temporary), unseen)
        check(parity, precision)
        temporary.with_suffix(".bin").replace(path.with_suffix(".bin"))
        temporary.replace(path)
    return parity


class _NamedOutputs(nn.Module):
    """A network that returns those of `OUTPUTS` that it has, as a tuple of tensors in the order of `names`."""

    def __init__(self, model: DFL) -> None:
        super().__init__()
        self.model = model
        with torch.inference_mode():
            size = model.normalise.image_size
            prediction = model(torch.zeros(1, 3, size, size))._asdict()
        self.names = tuple(name for name in OUTPUTS if prediction.get(name) is not None)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        prediction = self.model(image)._asdict()
        return tuple(prediction[name] for name in self.names)


def trace(plain: nn.Module, names: Sequence[str], size: int, path: Path) -> None:
    """Export a module to ONNX, for any batch size.

    Args:
        plain: Maps crops (B, 3, S, S) to one tensor per name.
        names: Names of the outputs.
        size: S, side of the crops in px.
        path: Output file.
    """
    write_traced(
        plain, torch.zeros(2, 3, size, size), path, opset=OPSET, outputs=names,
        dynamic_axes={name: {0: "batch"} for name in (INPUT, *names)},
    )  # fmt: skip
