"""Weights files of the finder for training, as safetensors; `exporting.finder` converts them for predictions."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from unclasp.checkpoint import in_half_precision, mean_of, read_tensors, tensor_file
from unclasp.errors import CheckpointError
from unclasp.files import write_bytes
from unclasp.model.finder import FinderNet
from unclasp.model.loading import load_strictly
from unclasp.version import installed_version

FORMAT: Final = "finder 2"
"""Version of the file format: metadata keys and tensor names."""


def save_finder(
    path: Path | str, state: dict[str, Tensor], *, channels: int, notes: dict[str, Any] | None = None
) -> None:
    """Write a finder's weights atomically: parameters in half precision, buffers in single precision.

    Args:
        path: Output file, ending in .safetensors.
        state: The network's `state_dict`.
        channels: Number of channels of the pyramid.
        notes: JSON-serialisable values to store with it, such as the number of training steps.
    """
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    with torch.device("meta"):
        tensors = in_half_precision(state, FinderNet(channels))
    facts = {
        "format": FORMAT, "unclasp": installed_version(), "channels": str(channels),
        "notes": json.dumps(notes or {}),
    }  # fmt: skip
    write_bytes(path, tensor_file(tensors, facts))


def load_finder(path: Path | str) -> FinderNet:
    """Load a finder from a file of `save_finder`, in evaluation mode and single precision on the CPU.

    Raises:
        CheckpointError: The file is missing, damaged or does not contain a finder.
    """
    path = Path(path)
    tensors, facts = read_tensors(path)
    channels = facts.get("channels", "")
    if facts.get("format") != FORMAT or not re.fullmatch("[1-9][0-9]{0,2}", channels):
        raise CheckpointError(
            f"{path}: expected weights of a finder, format {FORMAT!r} and 1 to 999 channels, got "
            f"{facts.get('format', 'none')!r} and {channels[:9]!r}; was it written by unclasp finder train?"
        )
    net = FinderNet(int(channels))
    counters = {key: value for key, value in net.state_dict().items() if key.endswith("num_batches_tracked")}
    load_strictly(net, counters | tensors, str(path))
    return net.eval()


def average_finders(paths: Sequence[Path], out: Path) -> None:
    """Average several checkpoints of one training, as `checkpoint.average_weights` does for the pose network.

    Raises:
        CheckpointError: A file is missing, damaged or does not contain a finder, or their numbers of channels differ.
    """
    nets = [load_finder(path) for path in paths]
    channels = nets[0].answer.in_channels
    for path, net in zip(paths, nets, strict=True):
        if net.answer.in_channels != channels:
            raise CheckpointError(
                f"{path} has {net.answer.in_channels} channels, {paths[0]} has {channels}: only stages of one training "
                "can be averaged"
            )
    save_finder(out, mean_of([net.state_dict() for net in nets]), channels=channels, notes={"average_of": len(nets)})
