"""Small networks as ONNX, as `onnx_engine` runs them: traced, compared, and written whole or not at all."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from unclasp.batch import ByteArray
from unclasp.engines.onnx_engine import INPUT
from unclasp.errors import UnclaspError
from unclasp.files import whole

_OPSET: Final = 17


def spots(size: int) -> tuple[ByteArray, Tensor]:
    """Return a picture to compare on: (S, S, 3), and (1, 3, S, S) of the same values in float32."""
    coarse = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(coarse, (size, size)), dtype=np.uint8)
    return picture, torch.from_numpy(picture).permute(2, 0, 1)[None].float()


def export(
    net: nn.Module, image: Tensor, outputs: Sequence[str], path: Path | str, *, what: str, largest: float,
    apart: Callable[[Path], float], any_size: bool = False,
) -> None:  # fmt: skip
    """Trace a network and write it.

    Args:
        net: Takes (1, 3, S, S) RGB, 0 to 255.
        image: Such a picture.
        outputs: Names of its answers.
        path: Ends in .onnx.
        what: Its name in errors.
        largest: How far the traced file's answers may be from the network's.
        apart: Tells how far those of a file are; it may change the file before.
        any_size: The network takes pictures of other sizes, too.

    Raises:
        UnclaspError: They are further.
    """
    with whole(path) as temporary, tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        traced = Path(folder) / "traced.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net, (image,), str(traced), dynamo=False, opset_version=_OPSET, input_names=[INPUT],
                output_names=list(outputs), dynamic_axes=_any_size(outputs) if any_size else None,
            )  # fmt: skip
        distance = apart(traced)
        if not distance <= largest:
            raise UnclaspError(f"the exported {what} is not the network: answers differ by {distance:.3g}; not written")
        temporary.write_bytes(traced.read_bytes())


def _any_size(outputs: Sequence[str]) -> dict[str, dict[int, str]]:
    """Return the names of the sizes that are left open in the input and in each output, all of them maps."""
    return {INPUT: {2: "height", 3: "width"}} | {each: {2: f"{each}_height", 3: f"{each}_width"} for each in outputs}
