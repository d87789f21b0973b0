"""Tracing of a network to an ONNX file."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


def write_traced(
    net: nn.Module, image: Tensor, path: Path, *, opset: int, input_name: str, outputs: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]] | None,
) -> None:  # fmt: skip
    """Trace a network and write it to an ONNX file, silently.

    The TorchScript-based exporter takes seconds where `torch.export` takes a minute.

    Args:
        net: Maps a picture to a tensor, or to a tuple of tensors.
        image: The picture to trace it with.
        path: Output file.
        opset: Version of ONNX's operators.
        input_name: Name of the input.
        outputs: Names of the outputs.
        dynamic_axes: For inputs and outputs, the axes whose size may vary, and what they are called.
    """
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (image,), str(path), dynamo=False, opset_version=opset, input_names=[input_name],
            output_names=list(outputs), dynamic_axes=dynamic_axes,
        )  # fmt: skip
