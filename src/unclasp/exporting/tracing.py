"""Tracing of networks to ONNX files, and the export of the small ones that `onnx_engine` runs."""

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from unclasp.arrays import Pixels
from unclasp.engines.onnx_session import INPUT
from unclasp.errors import UnclaspError
from unclasp.files import whole

_OPSET: Final = 17


def write_traced(
    net: nn.Module, image: Tensor, path: Path, *, opset: int, outputs: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]] | None,
) -> None:  # fmt: skip
    """Trace a network and write it to an ONNX file, silently.

    The TorchScript-based exporter takes seconds where `torch.export` takes a minute.

    Args:
        net: Maps a picture, which the file calls `INPUT`, to a tensor or to a tuple of tensors.
        image: The picture to trace it with.
        path: Output file.
        opset: Version of ONNX's operators.
        outputs: Names of the outputs.
        dynamic_axes: For inputs and outputs, the axes whose size may vary, and what they are called.
    """
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (image,), str(path), dynamo=False, opset_version=opset, input_names=[INPUT],
            output_names=list(outputs), dynamic_axes=dynamic_axes,
        )  # fmt: skip


def spots(size: int) -> tuple[Pixels, Tensor]:
    """Return a picture for comparisons, as (S, S, 3) uint8 and as (1, 3, S, S) float32 with the same values."""
    coarse = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(coarse, (size, size)), dtype=np.uint8)
    return picture, torch.from_numpy(picture).permute(2, 0, 1)[None].float()


def export(
    net: nn.Module, image: Tensor, outputs: Sequence[str], path: Path | str, *, what: str, largest: float,
    apart: Callable[[Path], float], any_size: bool = False,
) -> None:  # fmt: skip
    """Trace a network and write it to an ONNX file, provided that its outputs match.

    Args:
        net: Takes (1, 3, S, S) RGB pictures, 0 to 255.
        image: Such a picture.
        outputs: Names of the outputs.
        path: Output file, ending in .onnx.
        what: Name of the network in error messages.
        largest: Largest permitted difference of the traced file's outputs from the network's.
        apart: Returns the difference for a traced file; it may modify the file first.
        any_size: Whether the exported network accepts pictures of other sizes.

    Raises:
        UnclaspError: The difference is larger than `largest`; nothing is written.
    """
    with whole(path) as temporary, tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        traced = Path(folder) / "traced.onnx"
        write_traced(
            net, image, traced, opset=_OPSET, outputs=outputs, dynamic_axes=_any_size(outputs) if any_size else None,
        )  # fmt: skip
        difference = apart(traced)
        if not difference <= largest:
            raise UnclaspError(
                f"the exported {what} does not match the network: outputs differ by {difference:.3g}; not written"
            )
        temporary.write_bytes(traced.read_bytes())


def _any_size(outputs: Sequence[str]) -> dict[str, dict[int, str]]:
    """Return the dynamic axes: height and width of the input and of each output, all of which are maps."""
    return {INPUT: {2: "height", 3: "width"}} | {name: {2: f"{name}_height", 3: f"{name}_width"} for name in outputs}
