"""What benchmarks measure of the device that they run on."""

import sys

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def peak_memory(device: torch.device | str) -> float | None:
    """Return the peak memory of this process so far, in MB; on CUDA, that of the device. None where it is not known."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def in_megabytes(memory: float | None) -> str:
    """Return an amount of memory as text."""
    return "unknown" if memory is None else f"{memory:.0f} MB"


def synchronise(device: torch.device | str) -> None:
    """Wait until a device has done what it was given."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
