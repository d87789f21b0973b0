"""Choice of the engine for a model: torch for weights files, ONNX Runtime or OpenVINO for exported models.

Shipped models exist in both forms; on the CPU they are run by ONNX Runtime, which loads sooner and takes half the time.
On the way from a picture to a pose, torch is only imported if a weights file or another device requires it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from unclasp.engines.network import Network
from unclasp.engines.onnx_model import EXPORTED, ExportedNetwork
from unclasp.errors import UnclaspError
from unclasp.shipped import existing_weights, exported_file

if TYPE_CHECKING:
    import torch


def open_network(
    weights: Path | str | None = None, *, device: "torch.device | str" = "cpu", threads: int | None = None
) -> Network:
    """Open a shipped model, a weights file of `unclasp train`, or an .onnx or .xml file of `unclasp export`.

    Args:
        weights: The file, or the name of a shipped model (`shipped.weights_file`); by default `small`.
        device: The device. Torch runs the network on all devices but the CPU; on the CPU it runs weights files, and
            shipped models if ONNX Runtime is not installed.
        threads: Number of cores that one call may use; by default all. With torch, the setting is process-wide.

    Raises:
        CheckpointError: The file is missing, damaged or was not written by unclasp.
        UnclaspError: The device is not available, an exported model is requested on another device than the CPU, or
            the engine's package is missing.
    """
    if weights is not None and Path(weights).suffix in EXPORTED:
        if not is_cpu(device):
            raise UnclaspError(f"exported models run on the cpu, got device {str(device)!r}")
        return ExportedNetwork(weights, threads=threads)
    if is_cpu(device) and (exported := exported_file(weights)):
        return ExportedNetwork(exported, threads=threads)
    existing_weights(weights)  # what is missing needs no torch
    try:
        from unclasp.engines.torch_network import load_network  # noqa: PLC0415 (see the module docstring)
    except ModuleNotFoundError as error:
        raise UnclaspError(
            f"{weights or 'the shipped model'} needs the package {error.name}: pip install {error.name}, or give an "
            f"exported model ({' or '.join(EXPORTED)})"
        ) from error
    return load_network(weights, device=device, threads=threads)


def is_cpu(device: "torch.device | str") -> bool:
    """Return whether a device is the CPU, which torch also calls cpu:0."""
    return str(device).partition(":")[0] == "cpu"
