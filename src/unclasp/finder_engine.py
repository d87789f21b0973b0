"""The finder's network at work."""

from pathlib import Path
from typing import Final

import numpy as np

from unclasp.batch import ByteArray, FloatArray
from unclasp.errors import CheckpointError
from unclasp.finder import Finder, SquareAnswer
from unclasp.onnx_engine import Engine, Runner, open_runner

SIZE: Final = 192
"""px: side of the square that a finder sees."""
CELLS: Final = SIZE // 4
"""Cells along a side of its maps."""
OUTPUTS: Final = ("middle", "edges")
"""(1, M, M) probabilities and (1, 4, M, M) as of `model.finder.Found`."""
_SHAPES: Final = [(1, CELLS, CELLS), (1, 4, CELLS, CELLS)]


def open_finder(
    weights: Path | str | None = None, *, engine: Engine = "any", threads: int | None = None, spin: bool = False
) -> Finder:
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
    return Finder(
        FinderEngine(
            open_runner(
                path, OUTPUTS, _SHAPES, size=SIZE, what="hand finder", engine=engine, threads=threads, spin=spin
            )
        )
    )


class FinderEngine:
    """A finder's network in any engine."""

    image_size = SIZE

    def __init__(self, run: Runner) -> None:
        self.run = run

    def __call__(self, square: ByteArray, /) -> SquareAnswer:
        """Answer for one (S, S, 3) RGB picture."""
        middle, edges = self.run(square)
        return SquareAnswer(middle[0], boxes_of(edges[0]))


def boxes_of(edges: FloatArray) -> FloatArray:
    """Turn edges (4, M, M) into boxes (4, M, M) px, as `model.finder.boxes_of` does for tensors."""
    stride = SIZE / CELLS
    centres = (np.arange(CELLS, dtype=np.float32) + 0.5) * stride - 0.5
    left, top, right, bottom = np.maximum(np.exp(edges) - 1, 0) * stride
    x, y = centres[None, :], centres[:, None]
    return np.stack([x - left, y - top, x + right, y + bottom]).astype(np.float32)
