"""Runs the hand finder's network."""

from pathlib import Path
from typing import Final, Unpack

import numpy as np

from unclasp.batch import ByteArray, FloatArray
from unclasp.engines.onnx_engine import NetworkSpec, Runner, RunnerOptions, open_runner
from unclasp.find.finder import Finder, FinderOutput

SIZE: Final = 192
"""Side of the square that the network takes, px."""
CELLS: Final = SIZE // 4
"""Cells along a side of its output maps."""
OUTPUTS: Final = ("middle", "edges")
"""(1, M, M) probabilities and (1, 4, M, M) as of `model.finder.FinderMaps`."""
FINDER: Final = NetworkSpec(
    "hand finder", "finder.onnx", SIZE, OUTPUTS, ((1, CELLS, CELLS), (1, 4, CELLS, CELLS)),
    "give a box, or use the whole picture: --detector none",
)  # fmt: skip


def open_finder(weights: Path | str | None = None, **options: Unpack[RunnerOptions]) -> Finder:
    """Open a finder written by `unclasp finder train`, or the shipped one.

    Args:
        weights: Ends in .onnx.
        options: As of `onnx_engine.open_runner`.

    Raises:
        CheckpointError: The file is missing, damaged or no finder.
    """
    return Finder(FinderEngine(open_runner(FINDER, weights, **options)))


class FinderEngine:
    """The finder's network, run by any engine."""

    image_size = SIZE

    def __init__(self, run: Runner) -> None:
        self.run = run

    def __call__(self, square: ByteArray, /) -> FinderOutput:
        """Run on one (S, S, 3) RGB picture."""
        middle, edges = self.run(square)
        return FinderOutput(middle[0], boxes_of(edges[0]))


def boxes_of(edges: FloatArray) -> FloatArray:
    """Turn edges (4, M, M) into boxes (4, M, M) px, as `model.finder.boxes_of` does for tensors."""
    stride = SIZE / CELLS
    centres = (np.arange(CELLS, dtype=np.float32) + 0.5) * stride - 0.5
    left, top, right, bottom = np.maximum(np.exp(edges) - 1, 0) * stride
    x, y = centres[None, :], centres[:, None]
    return np.stack([x - left, y - top, x + right, y + bottom]).astype(np.float32)
