"""Inference of the small shipped networks from ONNX files, with ONNX Runtime if installed and OpenCV otherwise."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal, NamedTuple, Protocol, TypedDict

import cv2
import numpy as np

from unclasp.arrays import Pixels, Singles
from unclasp.engines.onnx_session import open_session
from unclasp.errors import CheckpointError
from unclasp.shipped import WEIGHTS

Engine = Literal["any", "opencv"]
"""any: ONNX Runtime if it is installed, else OpenCV. opencv: always OpenCV, which is slower."""
INPUT: Final = "image"
"""Name of the only input of these files: (1, 3, S, S) float32 RGB, 0 to 255."""


class Runner(Protocol):
    """A network in any engine that takes one square picture."""

    def __call__(self, image: Pixels, /) -> list[Singles]:
        """Return the outputs for one (S, S, 3) RGB picture."""
        ...


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


class RunnerOptions(TypedDict, total=False):
    """Options of `open_runner` that the functions opening particular networks pass on."""

    engine: Engine
    """See `Engine`."""
    threads: int | None
    """Number of cores that ONNX Runtime may use."""
    spin: bool
    """Whether threads spin while they wait within a call."""


def open_runner(
    kind: NetworkSpec, weights: Path | str | None = None, *, engine: Engine = "any", threads: int | None = None,
    spin: bool = False,
) -> Runner:  # fmt: skip
    """Open a network, and check the shapes of its outputs on a black picture.

    Args:
        kind: The network that the file must contain.
        weights: A file ending in .onnx; by default the shipped file.
        engine: "opencv" uses OpenCV even if ONNX Runtime, which is faster, is installed.
        threads: Number of cores that ONNX Runtime may use, by default all. OpenCV has a setting of its own.
        spin: See `onnx_session.open_session`.

    Raises:
        CheckpointError: The file is missing, damaged or contains another network.
    """
    path = Path(weights) if weights is not None else WEIGHTS / kind.shipped
    if not path.is_file():
        raise CheckpointError(f"there is no {kind.what} {path}; {kind.without}")
    try:
        runtime: Any = import_module("onnxruntime") if engine == "any" else None
    except ImportError:
        runtime = None
    name = "OpenCV" if runtime is None else "ONNX Runtime"
    try:
        runner: Runner
        if runtime is None:
            runner = OpenCvRunner(path, kind.outputs)
        else:
            runner = OnnxRuntimeRunner(path, kind.outputs, runtime, threads=threads, spin=spin)
        outputs = runner(np.zeros((kind.size, kind.size, 3), dtype=np.uint8))
    except Exception as error:  # the engines' exceptions have no more specific base
        reason = getattr(error, "err", None) or str(error) or type(error).__name__
        raise CheckpointError(f"{path} is no {kind.what} that {name} can read ({reason.splitlines()[0]})") from error
    check_outputs(outputs, kind, path)
    return runner


class OpenCvRunner:
    """A network run by OpenCV, which is always installed."""

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        self._lock = Lock()  # a net holds the input of a single call
        self._outputs = list(outputs)
        self._net = cv2.dnn.readNetFromONNX(str(path))

    def __call__(self, image: Pixels, /) -> list[Singles]:
        """Return the outputs for one (S, S, 3) RGB picture."""
        with self._lock:
            self._net.setInput(_as_input(image), INPUT)
            return [np.array(output, dtype=np.float32) for output in self._net.forward(self._outputs)]


class OnnxRuntimeRunner:
    """A network run by ONNX Runtime."""

    def __init__(self, path: Path, outputs: Sequence[str], runtime: Any, *, threads: int | None, spin: bool) -> None:
        self._outputs = list(outputs)
        self._session = open_session(runtime, path, threads=threads, spin=spin)

    def __call__(self, image: Pixels, /) -> list[Singles]:
        """Return the outputs for one (S, S, 3) RGB picture."""
        outputs: list[Singles] = self._session.run(self._outputs, {INPUT: _as_input(image)})
        return outputs


def _as_input(image: Pixels) -> Singles:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)


def check_outputs(outputs: Sequence[Singles], kind: NetworkSpec, path: Path) -> None:
    """Raise CheckpointError unless the outputs are finite and have the shapes that `kind` demands."""
    got = [output.shape for output in outputs]
    if got != list(kind.shapes) or not all(np.isfinite(output).all() for output in outputs):
        raise CheckpointError(f"{path} is no {kind.what}: expected finite outputs of {list(kind.shapes)}, got {got}")
