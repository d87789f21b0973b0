"""Decodes the outputs of MediaPipe's detectors, which score fixed anchors in each cell of two feature maps."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Floats, Singles

STRIDES: Final = (8, 16)
"""Pixels of the square per cell of the finer and of the coarser map."""
ANCHORS: Final = (2, 6)
"""Anchors in each cell of the same two maps."""
OUTPUTS: Final = ("fine_scores", "fine_places", "coarse_scores", "coarse_places")
"""As of `model.palms.AnchorOutput`."""
_NMS_IOU: Final = 0.3
"""If the IoU of a box with one of a higher score is above this, both are the same object."""
_MIDDLE, _EXTENT = slice(0, 2), slice(2, 4)


class Detection(NamedTuple):
    """An object that was detected, in px of the square."""

    score: float
    """Probability, 0 to 1."""
    middle: Floats
    """(2,) of its box."""
    extent: Floats
    """(2,) width and height of its box."""
    keypoints: Floats
    """(K, 2)."""


def output_shapes(size: int, *, keypoints: int) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a detector's outputs: scores and places of the finer map, then those of the coarser one.

    Args:
        size: Side of the square, px.
        keypoints: Number of keypoints of an object, which follow the middle and the extent of its box.
    """
    values = 4 + 2 * keypoints
    cells = [(count, size // stride) for count, stride in zip(ANCHORS, STRIDES, strict=True)]
    return tuple((1, channels, side, side) for count, side in cells for channels in (count, values * count))


def detections(outputs: Sequence[Singles], size: int, min_score: float) -> list[Detection]:
    """Return the distinct objects by descending score.

    Args:
        outputs: Scores and places in turn (`output_shapes`). Places are px, middles and keypoints relative to the
            middle of the cell.
        size: Side of the square, px.
        min_score: Anchors whose score is below this are dropped.
    """
    decoded = [
        _decode_map(scores[0], places[0], size, min_score)
        for scores, places in zip(outputs[::2], outputs[1::2], strict=True)
    ]
    scores, values = (np.concatenate(each) for each in zip(*decoded, strict=True))
    return [
        Detection(score, value[_MIDDLE], value[_EXTENT], value[4:].reshape(-1, 2))
        for score, value in _weighted_nms(scores, values)
    ]


def _decode_map(scores: Singles, values: Singles, size: int, min_score: float) -> tuple[Floats, Floats]:
    """Return the objects on a map: (N,) scores and (N, V) values, px of the square.

    Args:
        scores: (A, M, M), of A anchors in each cell.
        values: (A * V, M, M), relative to the cells' middles.
        size: Side of the square, px.
        min_score: See `detections`.
    """
    anchors, rows, columns = np.nonzero(scores >= min_score)
    of_anchors = values.reshape(len(scores), -1, *values.shape[1:])
    decoded = of_anchors[anchors, :, rows, columns].astype(np.float64)
    middles = (np.column_stack([columns, rows]) + 0.5) * (size / scores.shape[-1]) - 0.5
    decoded[:, _MIDDLE] += middles
    decoded[:, 4:] += np.tile(middles, decoded.shape[1] // 2 - 2)
    usable = np.isfinite(decoded).all(axis=1) & (decoded[:, _EXTENT] > 0).all(axis=1)
    return scores[anchors, rows, columns].astype(np.float64)[usable], decoded[usable]


def _weighted_nms(scores: Floats, values: Floats) -> list[tuple[float, Floats]]:
    """Merge detections of the same object: the highest score, and the mean of the values, weighted by the scores.

    Args:
        scores: (N,).
        values: (N, V).
    """
    half = values[:, _EXTENT] / 2
    low, high, area = values[:, _MIDDLE] - half, values[:, _MIDDLE] + half, values[:, _EXTENT].prod(axis=1)
    remaining = np.argsort(-scores, kind="stable")
    distinct = []
    while len(remaining):
        best = remaining[0]
        sides = np.minimum(high[remaining], high[best]) - np.maximum(low[remaining], low[best])
        overlap = np.maximum(sides, 0).prod(axis=1)
        is_same = overlap > _NMS_IOU * (area[remaining] + area[best] - overlap)
        is_same[0] = True
        same = remaining[is_same]
        distinct.append((float(scores[best]), np.average(values[same], axis=0, weights=scores[same])))
        remaining = remaining[~is_same]
    return distinct
