"""`unclasp export`."""

import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unclasp.commands.arguments import OptionalFile, OptionalName, OptionalPath, need_positive, need_synth, parse
from unclasp.errors import UnclaspError
from unclasp.files import check_writable

if TYPE_CHECKING:
    from unclasp.config import Config
    from unclasp.model import DFL

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True)
class ExportArguments:
    """Export a model to ONNX or OpenVINO, and check that its outputs match the network's."""

    weights: OptionalFile = None
    """A weights file; the shipped model, small, if not given."""
    preset: OptionalName = None
    """Instead of weights: a preset with random weights, for measuring speed."""
    out: OptionalPath = None
    """Output file; NAME.onnx or NAME.xml in the current folder if not given."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Precision of the weights. fp16 halves the file; int8 quantises the convolutions, calibrated on synthetic
    pictures."""
    compact: bool = False
    """Store the same weights in two thirds of the space, like the shipped model. Only for fp32 in ONNX."""
    format: Literal["onnx", "openvino"] = "onnx"
    """File format. openvino writes an .xml file and a .bin file beside it."""
    pictures: int = 50
    """Number of synthetic pictures, not used for training, on which outputs are compared."""
    calibration: int = 128
    """Number of other synthetic pictures, for calibrating int8."""


def export(words: list[str]) -> int:
    """Run `unclasp export`."""
    arguments = parse(ExportArguments, words, "export")
    _check(arguments)
    from unclasp.data.crops import synthetic_crops
    from unclasp.export import export_onnx, export_openvino

    name, model, config = _model(arguments)
    out = arguments.out or Path(Path(name).name + _SUFFIXES[arguments.format])
    check_writable(out)
    size = config.model.image_size
    unseen = synthetic_crops("test", arguments.pictures, size)
    calibration = synthetic_crops("val", arguments.calibration, size) if arguments.precision == "int8" else None
    with tempfile.TemporaryDirectory() as folder:
        file = out if arguments.format == "onnx" else Path(folder) / "model.onnx"
        parity = export_onnx(
            model, config, file, name=name, precision=arguments.precision, unseen=unseen, calibration=calibration,
            compact=arguments.compact,
        )  # fmt: skip
        if arguments.format == "openvino":
            parity = export_openvino(model, file, out, precision=arguments.precision, unseen=unseen)
    print(f"{out}: {name}, {arguments.precision}; {parity}")
    return 0


def _check(arguments: ExportArguments) -> None:
    """Raise an error for invalid arguments and missing packages, before anything is loaded."""
    out, suffix = arguments.out, _SUFFIXES[arguments.format]
    if out is not None and out.suffix != suffix:
        raise UnclaspError(f"--out must end in {suffix} for --format {arguments.format}, got {out}")
    if arguments.preset is not None and arguments.weights is not None:
        raise UnclaspError(f"give a weights file or --preset, not both, got {arguments.weights} and {arguments.preset}")
    if arguments.compact and (arguments.format != "onnx" or arguments.precision != "fp32"):
        options = f"--precision {arguments.precision} --format {arguments.format}"
        raise UnclaspError(f"--compact is only for fp32 in ONNX, got {options}: omit it")
    need_positive(pictures=arguments.pictures, calibration=arguments.calibration)
    need_synth()
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise UnclaspError(f"exporting needs {package}: pip install 'unclasp[export]'")


def _model(arguments: ExportArguments) -> "tuple[str, DFL, Config]":
    """Return the name of the model to export, the model and its config."""
    import torch

    from unclasp.checkpoint import load_model
    from unclasp.model import build
    from unclasp.presets import preset
    from unclasp.shipped import model_name, weights_file

    if arguments.preset is None:
        path = weights_file(arguments.weights)
        return model_name(path), *load_model(path)
    config = preset(arguments.preset)
    torch.manual_seed(0)
    return arguments.preset, build(config.model).eval(), config
