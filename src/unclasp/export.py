"""Trained models as files for other engines: ONNX, and OpenVINO's format made from it.

What is exported is the optimised network (`model.deploy`). No file is left behind whose answers for pictures that the
model never saw differ from the plain network's.
"""

import copy
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unclasp.batch import ByteArray, FloatArray
from unclasp.config import Config, to_dict
from unclasp.engines.onnx_model import (
    INPUT,
    OUTPUTS,
    ExportedModel,
    ModelMetadata,
    OnnxModel,
    OpenVinoModel,
    openvino_core,
)
from unclasp.errors import UnclaspError
from unclasp.exporting.compact import compacted
from unclasp.exporting.graph import OPSET, document, halved, quantised, simplified
from unclasp.files import whole
from unclasp.hands import JOINT_NAMES, PART_NAMES
from unclasp.model import DFL
from unclasp.model.deploy import optimise

Precision = Literal["fp32", "fp16", "int8"]

CROP: Final = (
    "The tight box around the hands' joints times 1.2 about its centre; its longer side times 1.25 about the same "
    "centre is the side of the square; resampled to S x S px, bilinear, pixel centres at integers, black outside."
)


class Bound(NamedTuple):
    """Differences of u, v in px and depth in mm from the plain network's exact values that an export may have."""

    mean: float
    coordinate: float
    """Of each of the 126 coordinates, the mean over the pictures."""
    largest: float
    """Or twice that of the plain network's own rounding: there are pictures that enlarge every rounding."""


BOUNDS: Final[dict[Precision, Bound]] = {
    "fp32": Bound(1e-3, 1e-3, 1e-3),
    "fp16": Bound(0.2, 0.5, 2.0),
    # In a hard picture a rounding may send a joint elsewhere; what quantisation breaks is off in all pictures.
    "int8": Bound(1.5, 6.0, 128.0),
}
_BATCHES: Final = (1, 3, 16)


class ExportError(UnclaspError):
    """An exported model that does not answer as the network does."""


@dataclass(frozen=True)
class Parity:
    """How far an exported model's poses are from the plain network's exact values, those in double precision."""

    pictures: int
    mean: float
    """px and mm, over all coordinates."""
    largest: float
    """The same for the worst one."""
    coordinate: float
    """The mean over the pictures of the coordinate that differs most."""
    rounding: float = 0.0
    """The largest difference of the plain network in single precision."""

    def __str__(self) -> str:
        return (
            f"poses of {self.pictures} unseen pictures differ by {self.mean:.2g} px or mm in the mean, "
            f"{self.coordinate:.2g} in that of the worst coordinate, {self.largest:.2g} at most"
        )


def export_onnx(
    model: DFL, config: Config, path: Path | str, *, name: str, precision: Precision, unseen: ByteArray,
    calibration: ByteArray | None = None, compact: bool = False,
) -> Parity:  # fmt: skip
    """Write a model as ONNX: plain tensors in and out, any batch size, facts in the metadata.

    Args:
        model: On the CPU.
        config: Its whole config.
        path: Ends in .onnx.
        name: Of the weights.
        precision: int8 quantises the convolutions; what joints do stays in float32.
        unseen: Crops (N, 3, S, S) to compare on.
        calibration: For int8, crops that tell the ranges of values.
        compact: Store the same weights, for fp32, in some two thirds of the space (`exporting.compact`).

    Raises:
        ExportError: The answers differ from the plain network's by more than `BOUNDS`; nothing is written.
        UnclaspError: A package is missing, or an argument.
    """
    if compact and precision != "fp32":
        raise UnclaspError(f"only fp32 can be stored compactly, {precision} is small already: leave out one of them")
    lean = _Plain(optimise(model))
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
            name=name, version=metadata.version("unclasp"), image_size=config.model.image_size, precision=precision,
            crop=CROP, joints=JOINT_NAMES, parts=PART_NAMES, config=to_dict(config),
        )  # fmt: skip
        document(graph, facts)
        temporary.write_bytes(graph.SerializeToString())
        parity = compare(model, OnnxModel(temporary), unseen)
        check(parity, precision)
    return parity


def check(parity: Parity, precision: Precision) -> None:
    """Raise an error if a parity is outside of `BOUNDS`, or not a number."""
    bound = BOUNDS[precision]
    largest = max(bound.largest, 2 * parity.rounding)
    if not (parity.mean <= bound.mean and parity.coordinate <= bound.coordinate and parity.largest <= largest):
        raise ExportError(
            f"the exported model is not the network: its {parity}; expected at most {bound.mean:g}, "
            f"{bound.coordinate:g} and {largest:g} for {precision}; nothing was written"
        )


def compare(model: DFL, exported: ExportedModel, unseen: ByteArray) -> Parity:
    """Compare poses on crops, in batches of 1, 3 and 16."""
    exact = copy.deepcopy(model).double()
    differences: list[FloatArray] = []
    start, rounding = 0, 0.0
    while start < len(unseen):
        size = _BATCHES[min(len(differences), len(_BATCHES) - 1)]
        images = unseen[start : start + size]
        with torch.inference_mode():
            plain, expected = (
                network(torch.from_numpy(images)).pose_2p5d.double().numpy() for network in (model, exact)
            )
        rounding = max(rounding, float(np.abs(plain - expected).max()))
        differences.append(np.abs(exported(images).pose_2p5d - expected).reshape(len(images), -1))
        start += size
    every = np.concatenate(differences)
    return Parity(len(every), float(every.mean()), float(every.max()), float(every.mean(axis=0).max()), rounding)


def export_openvino(model: DFL, source: Path, path: Path | str, *, precision: Precision, unseen: ByteArray) -> Parity:
    """Write what `export_onnx` wrote in OpenVINO's format: PATH and, beside it, a .bin of the same name.

    Args:
        model: To compare with.
        source: The ONNX file.
        path: Ends in .xml.
        precision: fp16 stores weights in half precision.
        unseen: Crops (N, 3, S, S) to compare on.

    Raises:
        ExportError: As `export_onnx`.
        UnclaspError: openvino is missing.
    """
    try:
        openvino = import_module("openvino")
    except ModuleNotFoundError as error:
        raise UnclaspError("OpenVINO's format needs openvino: pip install 'unclasp[openvino]'") from error
    path = Path(path)
    read = openvino_core(openvino).read_model(str(source))
    for key, value in OnnxModel(source).facts.to_metadata().items():
        read.set_rt_info(value, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        temporary = Path(folder) / path.name
        openvino.save_model(read, str(temporary), compress_to_fp16=precision == "fp16")
        parity = compare(model, OpenVinoModel(temporary), unseen)
        check(parity, precision)
        temporary.with_suffix(".bin").replace(path.with_suffix(".bin"))
        temporary.replace(path)
    return parity


class _Plain(nn.Module):
    """Plain tensors out, under the names of `OUTPUTS`."""

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
    """Write a module that makes several named tensors of crops as ONNX, for any batch size.

    This exporter takes seconds where `torch.export` takes a minute.
    """
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            plain, (torch.zeros(2, 3, size, size),), str(path), dynamo=False, opset_version=OPSET,
            input_names=[INPUT], output_names=list(names),
            dynamic_axes={each: {0: "batch"} for each in (INPUT, *names)},
        )  # fmt: skip
