"""The hand finder: finds regions in a whole picture, each around the hands of one person that are near each other.

Its network runs on one small square that shows the whole picture, and predicts regions on a map.
"""

from pathlib import Path
from typing import Final, NamedTuple, Unpack

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.arrays import Floats, Pixels, Singles
from unclasp.engines.onnx_engine import NetworkSpec, Runner, RunnerOptions, open_runner
from unclasp.find.boxes import clipped, union_of
from unclasp.find.letterbox import letterbox

SIZE: Final = 192
"""Side of the square that the network takes, px."""
CELLS: Final = SIZE // 4
"""Cells along a side of its output maps."""
OUTPUTS: Final = ("middle", "edges")
"""(1, M, M) probabilities and (1, 4, M, M) as of `model.finder.FinderMaps`; M is `CELLS`."""
FINDER: Final = NetworkSpec(
    "hand finder", "finder.onnx", SIZE, OUTPUTS, ((1, CELLS, CELLS), (1, 4, CELLS, CELLS)),
    "give a box, or use the whole picture: --detector none",
)  # fmt: skip

MIN_SCORE: Final = 0.25
"""Peaks below this probability are no regions."""
_MAX_PEAKS: Final = 24
"""At most this many peaks are decoded, by descending probability."""
_NMS_IOU: Final = 0.4
"""If the IoU of a box with one of a higher score is above this, both are the same region."""
_NMS_OVERLAP: Final = 0.65
"""The same for the share of the smaller box that both cover."""
_MAX_SIZE_RATIO: Final = 3.0
"""Regions are merged only if the larger hand is less than this many times as large as the smaller one."""
_EQUAL_SIZE_RATIO: Final = 1.5
"""Hands with a smaller size ratio count as equally large."""
_MIN_SCORE_RATIO: Final = 0.5
"""Regions are not merged if the lower score is below this share of the higher one."""
_MAX_GAP: Final = 0.8
"""Regions are merged only if the gap between them is below this, in sides of the larger hand (docs/decisions.md,
Finding hands)."""
_MAX_GAP_EQUAL_SIZE: Final = 1.5
"""The same where the hands are about equally large (`_EQUAL_SIZE_RATIO`)."""
_MAX_WIDTH: Final = 3.8
"""Regions are merged only if the longer side of the merged one is below this, in the same unit."""


class FinderOutput(NamedTuple):
    """The network's output for a square, on maps of M x M cells (`CELLS`)."""

    middle: Floats
    """(M, M) probability that a region's middle is in the cell, 0 to 1."""
    boxes: Floats
    """(4, M, M) x1, y1, x2, y2 px of the square: the box of the region whose middle is in the cell."""


class Regions(NamedTuple):
    """Regions of hands in a picture, the most promising first."""

    boxes: Floats
    """(N, 4) x1, y1, x2, y2 px, tight around the joints."""
    scores: Floats
    """(N,) probability of each, 0 to 1."""


class Finder:
    """Finds the regions of hands in whole pictures.

    Args:
        run: Runs the network.
    """

    def __init__(self, run: Runner) -> None:
        self.run = run

    def __call__(self, image: Pixels) -> Regions:
        """Return the regions in an (H, W, 3) RGB picture; there may be none."""
        square = letterbox(image, SIZE)
        regions = merge_nearby(decode_regions(self.maps(square.image)))
        height, width = image.shape[:2]
        boxes = square.to_picture(regions.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        return Regions(clipped(boxes, width, height), regions.scores)

    def maps(self, square: Pixels) -> FinderOutput:
        """Run the network on one (S, S, 3) RGB square, S being `SIZE`."""
        middle, edges = self.run(square)
        return FinderOutput(middle[0], boxes_of(edges[0]))


def boxes_of(edges: Singles) -> Singles:
    """Turn edges (4, M, M) into boxes (4, M, M) px, as `model.finder.boxes_of` does for tensors."""
    stride = SIZE / CELLS
    centres = (np.arange(CELLS, dtype=np.float32) + 0.5) * stride - 0.5
    left, top, right, bottom = np.maximum(np.exp(edges) - 1, 0) * stride
    x, y = centres[None, :], centres[:, None]
    return np.stack([x - left, y - top, x + right, y + bottom]).astype(np.float32)


def decode_regions(output: FinderOutput) -> Regions:
    """Return the distinct regions of an output in px of the square, by descending score."""
    middle = output.middle.astype(np.float32)
    around = cv2.dilate(middle, np.ones((3, 3), dtype=np.uint8))
    rows, columns = np.nonzero((middle >= around) & (middle >= MIN_SCORE))
    order = np.argsort(-middle[rows, columns], kind="stable")[:_MAX_PEAKS]
    rows, columns = rows[order], columns[order]
    boxes, scores = _boxes_at(output, rows, columns), middle[rows, columns].astype(np.float64)
    kept: list[int] = []
    for index, box in enumerate(boxes):
        others = boxes[kept]
        overlap = _intersection(box, others)
        area, areas = _area(box[None])[0], _area(others)
        if not (
            (overlap > _NMS_IOU * (area + areas - overlap)) | (overlap > _NMS_OVERLAP * np.minimum(area, areas))
        ).any():
            kept.append(index)
    return Regions(boxes[kept], scores[kept])


def _boxes_at(output: FinderOutput, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Floats:
    """Return (N, 4) the boxes of cells: means over 3 x 3 neighbours, weighted by the squared probabilities."""
    weight = np.asarray(output.middle, dtype=np.float32) ** 2
    stacked = np.concatenate([output.boxes * weight, weight[None]]).transpose(1, 2, 0)
    summed = cv2.boxFilter(stacked, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)[rows, columns]
    return np.asarray(summed[:, :4] / summed[:, 4:], dtype=np.float64)


class _Merged(NamedTuple):
    """A region, merged from one or more."""

    box: Floats
    """(4,) px."""
    score: float
    """The highest of theirs."""
    hand: float
    """px: the longest side of any of them."""


def merge_nearby(regions: Regions) -> Regions:
    """Merge regions that one crop should hold: of similar size, and no farther apart than a pair of hands is wide.

    The result is in descending order of the score times the side of the largest region that was merged.
    """
    parts = zip(regions.boxes, regions.scores, _sides(regions.boxes), strict=True)
    merged = [_Merged(box, float(score), float(side)) for box, score, side in parts]
    while pair := _closest(merged):
        first, second = pair
        both = _Merged(union_of(first.box, second.box), max(first.score, second.score), max(first.hand, second.hand))
        merged = [*(each for each in merged if each is not first and each is not second), both]
    merged.sort(key=lambda each: -each.score * each.hand)
    boxes = np.reshape([each.box for each in merged], (-1, 4))
    return Regions(boxes, np.array([each.score for each in merged]))


def _closest(regions: list[_Merged]) -> tuple[_Merged, _Merged] | None:
    """Return the two regions to merge next, those with the smallest gap, or None."""
    pairs = [(first, second) for index, second in enumerate(regions) for first in regions[:index]]
    return min(filter(_belong_together, pairs), key=_gap, default=None)


def _belong_together(pair: tuple[_Merged, _Merged]) -> bool:
    low, high = sorted(each.score for each in pair)
    small, large = sorted(each.hand for each in pair)
    width = float(_sides(union_of(*(each.box for each in pair)))) / large
    max_gap = _MAX_GAP_EQUAL_SIZE if large < _EQUAL_SIZE_RATIO * small else _MAX_GAP
    are_similar = low >= _MIN_SCORE_RATIO * high and large < _MAX_SIZE_RATIO * small
    return are_similar and width < _MAX_WIDTH and _gap(pair) < max_gap


def _gap(pair: tuple[_Merged, _Merged]) -> float:
    """Return the distance between two boxes in sides of the larger hand, 0 where they overlap."""
    first, second = (each.box for each in pair)
    gaps = np.maximum(np.maximum(first[:2] - second[2:], second[:2] - first[2:]), 0)
    return float(np.hypot(*gaps)) / max(each.hand for each in pair)


def _sides(boxes: Floats) -> Floats:
    """Return the longer sides of boxes (..., 4)."""
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).max(axis=-1))


def _area(boxes: Floats) -> Floats:
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))


def _intersection(box: Floats, others: Floats) -> Floats:
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.asarray(np.prod(np.maximum(sides, 0), axis=1))


def open_finder(weights: Path | str | None = None, **options: Unpack[RunnerOptions]) -> Finder:
    """Open a finder written by `unclasp finder train`, or the shipped one, as `onnx_engine.open_runner` does."""
    return Finder(open_runner(FINDER, weights, **options))
