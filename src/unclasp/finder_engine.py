"""The finder's network at work: an ONNX file, run by ONNX Runtime where that is installed, else by OpenCV."""

from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

import cv2
import numpy as np

from unclasp.batch import ByteArray, FloatArray
from unclasp.errors import CheckpointError
from unclasp.finder import Finder, SquareAnswer
from unclasp.onnx_session import open_session

SIZE: Final = 192
"""px: side of the square that a finder sees."""
CELLS: Final = SIZE // 4
"""Cells along a side of its maps."""
INPUT: Final = "image"
OUTPUTS: Final = ("middle", "edges")
"""(1, 3, S, S) float32 RGB 0 to 255 in; (1, M, M) probabilities and (1, 4, M, M) as of `model.finder.Found` out."""
_NOTHING: Final = np.zeros((1, 3, SIZE, SIZE), dtype=np.float32)


def open_finder(
    weights: Path | str | None = None, *, engine: Literal["any", "opencv"] = "any", threads: int | None = None,
    spin: bool = False,
) -> Finder:  # fmt: skip
    """Open a finder that `unclasp finder train` wrote, or the shipped one.

    Args:
        weights: Ends in .onnx.
        engine: OpenCV even where ONNX Runtime, which is faster, is installed.
        threads: How many cores ONNX Runtime may use; as many as there are if not given. OpenCV has its own setting.
        spin: See `onnx_session.open_session`.

    Raises:
        CheckpointError: The file is missing, damaged or no finder.
    """
    path = Path(weights) if weights is not None else Path(__file__).parent / "weights" / "finder.onnx"
    if not path.is_file():
        raise CheckpointError(
            f"there is no hand finder {path}; give a box, or look at the whole picture: --detector none"
        )
    try:
        runtime: Any = import_module("onnxruntime") if engine == "any" else None
    except ModuleNotFoundError:
        runtime = None
    return Finder(OpenCvFinder(path) if runtime is None else OnnxFinder(path, runtime, threads=threads, spin=spin))


class OpenCvFinder:
    """A finder in OpenCV's engine, which is always there."""

    image_size = SIZE

    def __init__(self, path: Path) -> None:
        self._turn = Lock()  # a net holds the input of one call
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
            answers = self._run(_NOTHING)
        except cv2.error as error:
            raise CheckpointError(f"{path} is no model that OpenCV can read ({error.err})") from error
        _check(answers, path)

    def __call__(self, square: ByteArray, /) -> SquareAnswer:
        """Answer for one (S, S, 3) RGB picture."""
        middle, edges = self._run(_as_input(square))
        return SquareAnswer(middle[0], boxes_of(edges[0]))

    def _run(self, image: FloatArray) -> list[FloatArray]:
        with self._turn:
            self._net.setInput(image, INPUT)
            return [np.array(answer, dtype=np.float32) for answer in self._net.forward(list(OUTPUTS))]


class OnnxFinder:
    """A finder in ONNX Runtime."""

    image_size = SIZE

    def __init__(self, path: Path, runtime: Any, *, threads: int | None, spin: bool) -> None:
        try:
            self._session = open_session(runtime, path, threads=threads, spin=spin)
            answers = self._session.run(list(OUTPUTS), {INPUT: _NOTHING})
        except Exception as error:  # the engine's exceptions have no other base
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{path} is no model that ONNX Runtime can read ({reason})") from error
        _check(answers, path)

    def __call__(self, square: ByteArray, /) -> SquareAnswer:
        """Answer for one (S, S, 3) RGB picture."""
        middle, edges = self._session.run(list(OUTPUTS), {INPUT: _as_input(square)})
        return SquareAnswer(middle[0], boxes_of(edges[0]))


def boxes_of(edges: FloatArray) -> FloatArray:
    """Turn edges (4, M, M) into boxes (4, M, M) px, as `model.finder.boxes_of` does for tensors."""
    stride = SIZE / CELLS
    centres = (np.arange(CELLS, dtype=np.float32) + 0.5) * stride - 0.5
    left, top, right, bottom = np.maximum(np.exp(edges) - 1, 0) * stride
    x, y = centres[None, :], centres[:, None]
    return np.stack([x - left, y - top, x + right, y + bottom]).astype(np.float32)


def _as_input(square: ByteArray) -> FloatArray:
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None], dtype=np.float32)


def _check(answers: list[FloatArray], path: Path) -> None:
    shapes, expected = [answer.shape for answer in answers], [(1, CELLS, CELLS), (1, 4, CELLS, CELLS)]
    if shapes != expected or not all(np.isfinite(answer).all() for answer in answers):
        raise CheckpointError(f"{path} is no hand finder: expected finite answers of {expected}, got {shapes}")
