"""Inference of the small shipped networks from ONNX files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from unclasp.arrays import Pixels, Singles
from unclasp.engines.onnx_session import INPUT, import_engine, open_session
from unclasp.errors import CheckpointError, first_line
from unclasp.shipped import WEIGHTS


class NetworkSpec(NamedTuple):
    """Description of a shipped network."""

    what: str
    """Name of the network in error messages."""
    shipped: str
    """Name of the shipped file."""
    size: int
    """S, side of the input in px."""
    outputs: tuple[str, ...]
    """Names of the outputs, in the order in which a runner returns them."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of the outputs for an input of `size`."""
    without: str
    """What to do if the file is missing, for the error message."""


class Runner:
    """A network that takes one square picture."""

    def __init__(self, path: Path, outputs: Sequence[str], runtime: Any, *, threads: int | None, spin: bool) -> None:
        self._outputs = list(outputs)
        self._session = open_session(runtime, path, threads=threads, spin=spin)

    def __call__(self, image: Pixels, /) -> list[Singles]:
        """Return the outputs for one (S, S, 3) RGB picture."""
        crop = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
        outputs: list[Singles] = self._session.run(self._outputs, {INPUT: crop})
        return outputs


class RunnerOptions(TypedDict, total=False):
    """Options of `open_runner` that the functions opening particular networks pass on."""

    threads: int | None
    """Number of cores that the network may use."""
    spin: bool
    """Whether threads spin while they wait within a call."""


def open_runner(
    kind: NetworkSpec, weights: Path | str | None, *, threads: int | None = None, spin: bool = False
) -> Runner:
    """Open a network, and check the shapes of its outputs on a black picture.

    Args:
        kind: The network that the file must contain.
        weights: A file ending in .onnx; the shipped one if None.
        threads: Number of cores that it may use, by default all.
        spin: See `onnx_session.open_session`.

    Raises:
        CheckpointError: The file is missing, damaged or contains another network.
        UnclaspError: The package onnxruntime is missing.
    """
    path = Path(weights) if weights is not None else WEIGHTS / kind.shipped
    if not path.is_file():
        raise CheckpointError(f"there is no {kind.what} {path}; {kind.without}")
    runtime = import_engine("onnxruntime", path)
    try:
        runner = Runner(path, kind.outputs, runtime, threads=threads, spin=spin)
        outputs = runner(np.zeros((kind.size, kind.size, 3), dtype=np.uint8))
    except Exception as error:  # the engine's exceptions have no more specific base
        problem = f"{path} is no {kind.what} that ONNX Runtime can read ({first_line(error)})"
        raise CheckpointError(f"{problem}; copy it again, or {kind.without}") from error
    check_outputs(outputs, kind, path)
    return runner


def check_outputs(outputs: Sequence[Singles], kind: NetworkSpec, path: Path) -> None:
    """Raise CheckpointError unless the outputs are finite and have the shapes that `kind` demands."""
    got = [output.shape for output in outputs]
    if got != list(kind.shapes) or not all(np.isfinite(output).all() for output in outputs):
        raise CheckpointError(f"{path} is no {kind.what}: expected finite outputs of {list(kind.shapes)}, got {got}")
