"""Benchmark of the network in each engine, relative to its bare backbone in the same engine and run.

Calls are interleaved, so that other load on the machine affects all of them equally. Ratios are therefore more reliable
than times.
"""

import tempfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from unclasp.bench.device import in_megabytes, peak_memory, synchronise
from unclasp.bench.timing import Run, interleaved
from unclasp.engines.onnx_model import openvino_core
from unclasp.engines.onnx_session import INPUT, open_session
from unclasp.engines.torch_network import check_device
from unclasp.errors import UnclaspError, check_at_least
from unclasp.model import DFL
from unclasp.model.deploy import optimise
from unclasp.model.macs import count_macs

ENGINES: Final = ("plain", "eager", "eager-bf16", "compiled", "onnx", "openvino")
"""plain is the network as trained; all others run the optimised network, in PyTorch with channels_last."""


@dataclass(frozen=True)
class Line:
    """Results of one engine, as medians over the repeats."""

    engine: str
    model_ms: float
    backbone_ms: float
    ratio: float
    """Median of the ratios of consecutive calls."""


@dataclass(frozen=True)
class Latency:
    """Results of all engines and the settings of the run."""

    name: str
    batch: int
    threads: int
    repeats: int
    model_macs: int
    """MACs of the optimised network for one crop."""
    plain_macs: int
    backbone_macs: int
    peak_mb: float | None
    """Peak memory of the process, over all engines; for that of one engine, run it alone. None where it is not
    known."""
    lines: tuple[Line, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        macs = [count / 1e9 for count in (self.plain_macs, self.model_macs, self.backbone_macs)]
        return "\n".join([
            f"{self.name}, batch {self.batch}, {self.threads} threads, medians of {self.repeats} interleaved calls",
            f"GMAC per crop: {macs[0]:.2f} plain, {macs[1]:.2f} optimised, {macs[2]:.2f} backbone; "
            f"peak memory {in_megabytes(self.peak_mb)}",
            f"{'':12}{'model ms':>10}{'backbone ms':>13}{'ratio':>8}",
            *(f"{line.engine:12}{line.model_ms:10.2f}{line.backbone_ms:13.2f}{line.ratio:8.2f}" for line in self.lines),
        ])  # fmt: skip


class BareBackbone(nn.Module):
    """Maps crops to the backbone's coarsest feature map, with the modules of the given network."""

    def __init__(self, model: DFL) -> None:
        super().__init__()
        self.normalise, self.backbone = model.normalise, model.encoder.backbone

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Return the feature map at stride 32, in a tuple."""
        return (self.backbone(self.normalise(image))[-1],)


def measure(
    model: DFL, *, name: str, engines: Sequence[str], batch: int = 1, threads: int, repeats: int, device: str = "cpu"
) -> Latency:
    """Time a network and its backbone in several engines.

    Raises:
        UnclaspError: An engine is unknown, not installed or not available on the device, or a number is below 1.
    """
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown or not engines:
        raise UnclaspError(f"engines are {', '.join(ENGINES)}, got {', '.join(unknown) or 'none'}")
    if device != "cpu" and {"onnx", "openvino"}.intersection(engines):
        raise UnclaspError(f"onnx and openvino are measured on the CPU, got --device {device}")
    check_at_least(1, batch=batch, threads=threads, repeats=repeats)
    check_device(device)
    torch.set_num_threads(threads)
    engines = tuple(dict.fromkeys(engines))  # without duplicates
    size = model.normalise.image_size
    crops = np.random.default_rng(0).integers(0, 256, (batch, 3, size, size)).astype(np.float32)
    lean = optimise(model)
    with tempfile.TemporaryDirectory() as folder:
        runs = {engine: _pair(engine, model, lean, crops, threads, device, Path(folder)) for engine in engines}
        times = interleaved([run for pair in runs.values() for run in pair], repeats)
    lines = []
    for engine, of_model, of_backbone in zip(engines, times[::2], times[1::2], strict=True):
        ratio = median(a / b for a, b in zip(of_model, of_backbone, strict=True))
        lines.append(Line(engine, 1e3 * median(of_model), 1e3 * median(of_backbone), ratio))
    return Latency(
        name, batch, threads, repeats, count_macs(lean, size), count_macs(model, size),
        count_macs(BareBackbone(lean), size), peak_memory(device), tuple(lines),
    )  # fmt: skip


def _pair(
    engine: str, model: DFL, lean: DFL, crops: np.ndarray, threads: int, device: str, folder: Path
) -> tuple[Run, Run]:
    """Return the calls of the network and of its backbone in an engine."""
    if engine == "plain":
        return _torch_run(model, crops, device), _torch_run(BareBackbone(model), crops, device)
    modules = (lean, BareBackbone(lean))
    if engine in ("onnx", "openvino"):
        first, second = (_file_run(engine, module, crops, threads, folder) for module in modules)
        return first, second
    dtype = torch.bfloat16 if engine == "eager-bf16" else torch.float32
    first, second = (
        _torch_run(module, crops, device, dtype=dtype, channels_last=True, compiled=engine == "compiled")
        for module in modules
    )
    return first, second


def _torch_run(
    module: nn.Module, crops: np.ndarray, device: str, *, dtype: torch.dtype = torch.float32,
    channels_last: bool = False, compiled: bool = False,
) -> Run:  # fmt: skip
    module = module.eval().to(device)
    images = torch.from_numpy(crops).to(device)
    if dtype is torch.bfloat16:
        module = _half_weights(module)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.to(memory_format=torch.channels_last)
    called: Callable[[Tensor], Any] = torch.compile(module) if compiled else module
    kind = torch.device(device).type

    def run() -> None:
        with torch.inference_mode(), torch.autocast(kind, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            called(images)
        synchronise(device)

    return run


def _half_weights(module: nn.Module) -> nn.Module:
    """Return a copy with weights in bfloat16, so that autocast need not convert them in every call."""
    copied = deepcopy(module)
    for layer in copied.modules():
        if isinstance(layer, nn.Conv2d) or type(layer) is nn.Linear:
            layer.to(torch.bfloat16)
    return copied


class _ExportedTensors(nn.Module):
    """Returns the tensors to export: those of the backbone, or the pose and the part logits of the network."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        output = self.module(image)
        return tuple(output) if len(output) == 1 else (output.pose_2p5d, output.part_logits)


def write_bare(module: nn.Module, size: int, folder: Path) -> Path:
    """Export a network or its `BareBackbone` to ONNX for timing, without optional outputs and without metadata.

    Raises:
        UnclaspError: A package is missing.
    """
    try:
        export, graph = import_module("unclasp.export"), import_module("unclasp.exporting.graph")
    except ModuleNotFoundError as error:
        raise UnclaspError(f"ONNX needs {error.name}: pip install 'unclasp[export]'") from error
    names = ("map",) if isinstance(module, BareBackbone) else ("pose_2p5d", "part_logits")
    traced, path = folder / "traced.onnx", folder / f"{names[0]}.onnx"
    export.trace(_ExportedTensors(module), names, size, traced)
    path.write_bytes(graph.simplified(traced, folder / "simple.onnx").SerializeToString())
    return path


def _file_run(engine: str, module: nn.Module, crops: np.ndarray, threads: int, folder: Path) -> Run:
    path = write_bare(module, crops.shape[-1], folder)
    try:
        package = import_module("onnxruntime" if engine == "onnx" else "openvino")
    except ModuleNotFoundError as error:
        raise UnclaspError(f"{engine} needs {error.name}: pip install 'unclasp[export,openvino]'") from error
    if engine == "onnx":
        session = open_session(package, path, threads=threads)
        return lambda: session.run(None, {INPUT: crops})
    settings = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads
    }  # fmt: skip
    compiled = openvino_core(package).compile_model(str(path), "CPU", settings)
    return lambda: compiled([crops])
