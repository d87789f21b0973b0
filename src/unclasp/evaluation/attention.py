"""Draws the relations of a joint to the pixels of a crop (Figures 1 and 6)."""

import itertools
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.canvas import INK, PAPER, Canvas, resized
from unclasp.config import Relation
from unclasp.data.transforms import crop_image
from unclasp.model import DFL
from unclasp.model.attention import AttentionMaps, attention_maps
from unclasp.model.relation import KINDS

_CELL: Final = 220
"""Side of each picture in px."""
_GAP: Final = 10
_LABELS: Final = 104
"""Width of the column of labels, in px."""
_HEADING: Final = 34
"""Height of the row of headings, in px."""
_SHADE: Final = 0.45
"""Brightness of the picture behind a map."""


def draw_attention(model: DFL, image: Pixels, box: Floats, joint: int, *, truth: Floats | None = None) -> Pixels:
    """Draw the maps of one joint: a column for each stage, a row for each kind of features and one for their sum.

    Each map is scaled to its own maximum and laid over the grey crop; a ring marks where the network puts the joint,
    and a cross where it is, if that is given. The crop by itself is on the left.

    Args:
        model: See `attention_maps`.
        image: (H, W, 3) RGB.
        box: (4,) px, the square that the crop shows.
        joint: Index of the joint, 0 to 41.
        truth: (2,) px of the picture, where the joint truly is.

    Returns:
        (H', W', 3) RGB.

    Raises:
        UnclaspError: The network has no such maps.
    """
    crop = crop_image(image, box, model.image_size)
    tensor = torch.from_numpy(np.ascontiguousarray(crop.image.transpose(2, 0, 1)))
    stages, prediction = attention_maps(model, tensor)
    place = resized(prediction.pose_2p5d[0, joint, :2].numpy(), _CELL / model.image_size)
    picture = np.asarray(cv2.resize(crop.image, (_CELL, _CELL), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    marks = [_ring(place)]
    if truth is not None:
        in_crop = geometry.apply_affine(crop.crop_from_image, truth[None])[0]
        marks += _cross(resized(in_crop, _CELL / model.image_size))
    rows = _rows(stages)
    page = np.full(
        (_HEADING + len(rows) * (_CELL + _GAP), _LABELS + (1 + len(stages)) * (_CELL + _GAP), 3), PAPER, dtype=np.uint8
    )
    _paste(page, _marked(picture, marks), 0, 0)
    for row, of_stages in enumerate(rows.values()):
        for column, maps in enumerate(of_stages, start=1):
            if maps is not None:
                _paste(page, _marked(_overlaid(picture, maps[joint].numpy()), marks), row, column)
    return _labelled(page, list(rows), [stage.stage for stage in stages])


def _rows(stages: list[AttentionMaps]) -> dict[str, list[Tensor | None]]:
    """Return the maps of each stage by row: a row for each kind that takes part anywhere, and one for the relation."""
    rows: dict[str, list[Tensor | None]] = {}
    for kind in KINDS[Relation.BOTH]:
        if any(kind in stage.of_kinds for stage in stages):
            rows[kind] = [stage.of_kinds.get(kind) for stage in stages]
    return {**rows, "as used": [stage.relation for stage in stages]}


def _overlaid(picture: Pixels, heat: Floats) -> Pixels:
    """Lay a map (M, M) over a picture (S, S, 3), the warmer and more opaque, the higher it is."""
    size = picture.shape[1], picture.shape[0]
    grey = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) * _SHADE
    share = cv2.resize((heat / heat.max()).astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    colours = cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.asarray(np.rint(grey + (colours - grey) * np.sqrt(share)[..., None]), dtype=np.uint8)


def _ring(place: Floats) -> Floats:
    """Return the points (25, 2) px of a circle."""
    angles = np.linspace(0, 2 * np.pi, 25)
    return np.asarray(place + 5.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _cross(place: Floats) -> list[Floats]:
    """Return the ends (2, 2) px of its two lines."""
    return [place + 5.4 * np.array([[-1, -turn], [1, turn]]) for turn in (1, -1)]


def _marked(picture: Pixels, marks: Sequence[Floats]) -> Pixels:
    """Draw lines through points (N, 2) px, light with a dark edge."""
    canvas = Canvas(picture, 3)
    for width, colour in ((3.4, INK), (1.4, PAPER)):
        for points in marks:
            for start, end in itertools.pairwise(points):
                canvas.line(start, end, width, colour)
    return canvas.finished()


def _paste(page: Pixels, cell: Pixels, row: int, column: int) -> None:
    top, left = _HEADING + row * (_CELL + _GAP), _LABELS + column * (_CELL + _GAP)
    page[top : top + _CELL, left : left + _CELL] = cell


def _labelled(page: Pixels, rows: list[str], stages: list[str]) -> Pixels:
    canvas = Canvas(page, 2)
    for column, stage in enumerate(["crop", *stages]):
        canvas.text(stage, _LABELS + column * (_CELL + _GAP), _HEADING - 11, colour=INK)
    for row, kind in enumerate(rows):
        canvas.text(kind, _LABELS - 12, _HEADING + row * (_CELL + _GAP) + _CELL / 2, colour=INK, align=1.0)
    return canvas.finished()
