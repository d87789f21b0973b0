"""Random square views of whole pictures, and the training targets of the hand finder for them."""

from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Bools, Floats, Pixels, Singles
from unclasp.synth.regions import IGNORED

_WHOLE_PROBABILITY: Final = 0.4
"""Probability that a view shows the whole picture."""
_MIN_VISIBLE_SHARE: Final = 0.35
"""Regions of which a view shows a smaller share are ignored by the loss."""
_MIN_VISIBLE_PX: Final = 8.0
"""Regions with fewer pixels in the view are ignored by the loss."""
_MIN_BUMP: Final = 0.3
"""Cells where a region's bump is higher than this learn its box; cells that show the hand have a higher weight."""


class Labels(NamedTuple):
    """The finder's targets for one view of S px, on maps of M = S / stride cells."""

    middle: Singles
    """(M, M) heat map with a Gaussian bump of height 1 in the middle of each region."""
    hand: Singles
    """(M, M) share of each cell's pixels that show a hand."""
    boxes: Singles
    """(4, M, M) x1, y1, x2, y2 px of the view: the box of the region that a cell learns."""
    weight: Singles
    """(M, M) weight of a cell's box in the loss; the weights of a region sum to one, before overlaps."""
    loss_mask: Singles
    """(M, M) 1 where `middle` and `hand` count in the loss, 0 on hands that are ignored."""


def random_window(rng: np.random.Generator, width: int, height: int) -> Floats:
    """Draw a random window of a picture as x1, y1, x2, y2, in px measured from its corner; often the whole picture."""
    if rng.random() < _WHOLE_PROBABILITY:
        return np.array([0.0, 0.0, width, height])
    side = np.array([width, height]) * rng.uniform(0.45, 1.0) * rng.uniform(0.8, 1.0, 2)
    low = rng.uniform(0, 1, 2) * (np.array([width, height]) - side)
    return np.concatenate([low, low + side])


def cut(image: Pixels, window: Floats, size: int, *, flip: bool, nearest: bool = False) -> tuple[Pixels, Floats]:
    """Letterbox a window of a picture into a square, as `find.letterbox` does with a whole picture.

    Returns:
        The square (S, S, ...), and the 2x3 matrix from the picture's px to the square's.
    """
    extent = window[2:] - window[:2]
    scale = size / extent.max()
    offset = (size - scale * extent) / 2 - scale * (window[:2] - 0.5) - 0.5
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    if flip:
        matrix[0] = [-scale, 0, size - 1 - offset[0]]
    interpolation = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    square = np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=interpolation), dtype=np.uint8)
    low, high = (np.rint((size + sign * scale * extent) / 2).astype(int) for sign in (-1, 1))
    inside = np.zeros_like(square)
    inside[low[1] : high[1], low[0] : high[0]] = square[low[1] : high[1], low[0] : high[0]]
    return inside, matrix


def labels(mask: Pixels, cut_mask: Pixels, boxes: Singles, matrix: Floats, stride: int) -> Labels:
    """Return the training targets of a view.

    Args:
        mask: (H, W) of the whole picture: r + 1 on region r, IGNORED where nothing is learnt, 0 elsewhere.
        cut_mask: (S, S) the same for the view.
        boxes: (R, 4) x1, y1, x2, y2 px of the whole picture.
        matrix: 2x3 from `cut`.
        stride: px of the view per cell.
    """
    cells = len(cut_mask) // stride
    before, after = (np.bincount(m.ravel(), minlength=256) for m in (mask, cut_mask))
    scale = abs(matrix[0, 0])
    corners = np.array([boxes[:, :2], boxes[:, 2:]]) @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.sort(corners, axis=0)
    view_low, view_high = _bounds(matrix, mask.shape, len(cut_mask))
    cut_mask = cut_mask.copy()
    middle, weight = np.zeros((2, cells, cells), dtype=np.float32)
    cell_boxes = np.zeros((4, cells, cells), dtype=np.float32)
    centres = (np.arange(cells) + 0.5) * stride - 0.5
    for region, (first, last) in enumerate(zip(low, high, strict=True), start=1):
        visible = after[region] / max(before[region] * scale**2, 1e-6)
        if visible < _MIN_VISIBLE_SHARE or after[region] < _MIN_VISIBLE_PX:
            cut_mask[cut_mask == region] = IGNORED
            continue
        box = np.concatenate([np.clip(first, view_low, view_high), np.clip(last, view_low, view_high)])
        spread = np.maximum((box[2:] - box[:2]) / 9, 0.55 * stride)
        x, y = (np.exp(-0.5 * ((centres - (box[i] + box[i + 2]) / 2) / spread[i]) ** 2) for i in (0, 1))
        bump = y[:, None] * x[None]
        bump = bump / bump.max()
        middle = np.maximum(middle, bump).astype(np.float32)
        region_weight = (bump > _MIN_BUMP) + 0.5 * _shares(cut_mask == region, stride)
        region_weight = region_weight / region_weight.sum()
        stronger = region_weight > weight
        weight[stronger] = region_weight[stronger]
        cell_boxes[:, stronger] = box[:, None]
    loss_mask = 1.0 - (_shares(cut_mask == IGNORED, stride) > 0.1)
    hand = _shares((cut_mask > 0) & (cut_mask != IGNORED), stride)
    return Labels(middle, hand, cell_boxes, weight, loss_mask.astype(np.float32))


def _bounds(matrix: Floats, shape: tuple[int, ...], size: int) -> tuple[Floats, Floats]:
    """Return the corners, in px of the view, of the part of the picture that the view shows."""
    ends = np.array([[-0.5, -0.5], [shape[1] - 0.5, shape[0] - 0.5]]) @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.sort(ends, axis=0)
    return np.maximum(low, -0.5), np.minimum(high, size - 0.5)


def _shares(mask: Bools, stride: int) -> Singles:
    cells = len(mask) // stride
    return np.asarray(mask.reshape(cells, stride, cells, stride).mean(axis=(1, 3)), dtype=np.float32)
