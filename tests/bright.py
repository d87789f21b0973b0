"""A finder's network without weights."""

import numpy as np

from unclasp.arrays import Pixels, Singles
from unclasp.find.finder import CELLS, SIZE

STRIDE = SIZE / CELLS


def outputs(score: float, cell: tuple[int, int], box: np.ndarray) -> list[Singles]:
    """Return the outputs for one region: its box (4,) px of the square, its middle in a cell (row, column)."""
    middle, edges = np.zeros((1, CELLS, CELLS), np.float32), np.zeros((1, 4, CELLS, CELLS), np.float32)
    row, column = cell
    centre = (np.array([column, row]) + 0.5) * STRIDE - 0.5
    distances = np.concatenate([centre - box[:2], box[2:] - centre])
    middle[0, row, column], edges[0, :, row, column] = score, np.log1p(np.maximum(distances, 0) / STRIDE)
    return [middle, edges]


class Bright:
    """Takes what is bright for one region."""

    def __call__(self, square: Pixels, /) -> list[Singles]:
        rows, columns = np.nonzero(square[..., 0] > 127)
        if not len(rows):
            return outputs(0.0, (0, 0), np.zeros(4))
        box = np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
        return outputs(0.9, (int((rows.min() + rows.max()) / 8), int((columns.min() + columns.max()) / 8)), box)
