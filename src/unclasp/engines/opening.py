"""Which engine runs a model: torch for a weights file, ONNX Runtime or OpenVINO for an exported one.

A shipped model has both forms; on the CPU ONNX Runtime, which is there sooner and takes half the time, runs it. torch
is imported where a weights file or another device asks for it and nowhere else on the way from a picture to a pose.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unclasp.engines.network import Network
from unclasp.engines.onnx_model import EXPORTED, OnnxNetwork
from unclasp.errors import UnclaspError
from unclasp.shipped import exported_file

if TYPE_CHECKING:
    import torch


def open_network(
    weights: Path | str | None = None, *, device: "torch.device | str" = "cpu", threads: int | None = None
) -> Network:
    """Open a shipped model, a weights file of `unclasp train`, or an .onnx or .xml of `unclasp export`.

    Args:
        weights: The file, or the shipped model's name (`shipped.weights_file`); `small` if not given.
        device: Where torch runs it; on the CPU it does so for weights files, and for shipped models where ONNX Runtime
            is missing.
        threads: How many cores one call may use; as many as there are if not given. With torch this holds for all
            that the process does.

    Raises:
        CheckpointError: The file is missing, damaged or not ours.
        UnclaspError: The device is not there, or is not the CPU for an exported model, or an engine is missing.
    """
    if weights is not None and Path(weights).suffix in EXPORTED:
        if not is_cpu(device):
            raise UnclaspError(f"exported models run on the cpu, got device {str(device)!r}")
        return OnnxNetwork(weights, threads=threads)
    if is_cpu(device) and (exported := exported_file(weights)):
        with suppress(ImportError):  # it is there, but cannot be loaded on this machine
            return OnnxNetwork(exported, threads=threads)
    try:
        from unclasp.engines.torch_network import load_network  # noqa: PLC0415 (see above)
    except ModuleNotFoundError as error:
        raise UnclaspError(
            f"{weights or 'the shipped model'} needs the package {error.name}: pip install {error.name}, or give an "
            f"exported model ({' or '.join(EXPORTED)})"
        ) from error
    return load_network(weights, device=device, threads=threads)


def is_cpu(device: "torch.device | str") -> bool:
    """Tell whether a device is the CPU, which torch also calls cpu:0."""
    return str(device).partition(":")[0] == "cpu"
