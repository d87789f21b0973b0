"""Small shipped networks at work: an ONNX file, run by ONNX Runtime where that is installed, else by OpenCV."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal, NamedTuple, Protocol, TypedDict

import cv2
import numpy as np

from unclasp.batch import ByteArray, FloatArray
from unclasp.engines.onnx_session import open_session
from unclasp.errors import CheckpointError
from unclasp.shipped import WEIGHTS

Engine = Literal["any", "opencv"]
"""The faster one that is installed, or OpenCV even where ONNX Runtime is."""
INPUT: Final = "image"
"""(1, 3, S, S) float32 RGB 0 to 255: the one input of such a file."""


class Runner(Protocol):
    """Any engine that holds a network for one square picture."""

    def __call__(self, image: ByteArray, /) -> list[FloatArray]:
        """Answer for one (S, S, 3) RGB picture."""
        ...


class NetworkSpec(NamedTuple):
    """What a shipped network is, and how to do without."""

    what: str
    """Its name in errors."""
    shipped: str
    """Its file's name."""
    size: int
    """S px."""
    outputs: tuple[str, ...]
    """Their names, in the order of the answers."""
    shapes: tuple[tuple[int, ...], ...]
    """Of the answers."""
    without: str
    """What to do where it is missing."""


class RunnerOptions(TypedDict, total=False):
    """Options of `open_runner` that the networks' own functions pass on."""

    engine: Engine
    """OpenCV even where ONNX Runtime is installed."""
    threads: int | None
    """How many cores ONNX Runtime may use."""
    spin: bool
    """Whether threads wait busily within a call."""


def open_runner(
    kind: NetworkSpec, weights: Path | str | None = None, *, engine: Engine = "any", threads: int | None = None,
    spin: bool = False,
) -> Runner:  # fmt: skip
    """Open a network, and see that it answers as expected for a black picture.

    Args:
        kind: What it has to be.
        weights: Ends in .onnx; the shipped file if not given.
        engine: OpenCV even where ONNX Runtime, which is faster, is installed.
        threads: How many cores ONNX Runtime may use; as many as there are if not given. OpenCV has its own setting.
        spin: See `onnx_session.open_session`.

    Raises:
        CheckpointError: The file is missing, damaged or another network.
    """
    path = Path(weights) if weights is not None else WEIGHTS / kind.shipped
    if not path.is_file():
        raise CheckpointError(f"there is no {kind.what} {path}; {kind.without}")
    try:
        runtime: Any = import_module("onnxruntime") if engine == "any" else None
    except ModuleNotFoundError:
        runtime = None
    name = "OpenCV" if runtime is None else "ONNX Runtime"
    try:
        runner: Runner
        if runtime is None:
            runner = OpenCvRunner(path, kind.outputs)
        else:
            runner = OnnxRuntimeRunner(path, kind.outputs, runtime, threads=threads, spin=spin)
        answers = runner(np.zeros((kind.size, kind.size, 3), dtype=np.uint8))
    except Exception as error:  # the engines' exceptions have no other base
        reason = getattr(error, "err", None) or str(error) or type(error).__name__
        raise CheckpointError(f"{path} is no {kind.what} that {name} can read ({reason.splitlines()[0]})") from error
    check_outputs(answers, kind, path)
    return runner


class OpenCvRunner:
    """A network in OpenCV's engine, which is always there."""

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        self._turn = Lock()  # a net holds the input of one call
        self._outputs = list(outputs)
        self._net = cv2.dnn.readNetFromONNX(str(path))

    def __call__(self, image: ByteArray, /) -> list[FloatArray]:
        """Answer for one (S, S, 3) RGB picture."""
        with self._turn:
            self._net.setInput(_as_input(image), INPUT)
            return [np.array(answer, dtype=np.float32) for answer in self._net.forward(self._outputs)]


class OnnxRuntimeRunner:
    """A network in ONNX Runtime."""

    def __init__(self, path: Path, outputs: Sequence[str], runtime: Any, *, threads: int | None, spin: bool) -> None:
        self._outputs = list(outputs)
        self._session = open_session(runtime, path, threads=threads, spin=spin)

    def __call__(self, image: ByteArray, /) -> list[FloatArray]:
        """Answer for one (S, S, 3) RGB picture."""
        answers: list[FloatArray] = self._session.run(self._outputs, {INPUT: _as_input(image)})
        return answers


def _as_input(image: ByteArray) -> FloatArray:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)


def check_outputs(answers: Sequence[FloatArray], kind: NetworkSpec, path: Path) -> None:
    """Raise CheckpointError unless these are finite answers of its shapes."""
    got = [answer.shape for answer in answers]
    if got != list(kind.shapes) or not all(np.isfinite(answer).all() for answer in answers):
        raise CheckpointError(f"{path} is no {kind.what}: expected finite answers of {list(kind.shapes)}, got {got}")
