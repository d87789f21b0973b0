"""Draws PCK curves with their AUC in the legend (Figure 4), from saved reports."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import numpy as np

from unclasp import metrics
from unclasp.arrays import Pixels
from unclasp.canvas import INK, PAPER, Box, Canvas, Colour, lay_card
from unclasp.errors import DataError
from unclasp.evaluation.report import Report
from unclasp.evaluation.scores import BUCKETS, Bucket

_PLOT: Final = 340
"""Side of the square between the axes, in px."""
_CARD_PADDING: Final = (52, 40, 20, 50)
"""px around it, left, above, right and below, for headings and numbers."""
_GAP: Final = 16
_AUC_WIDTH: Final = 90
"""Width of the AUC in the legend and the space before it, in px."""
_LEGEND_LINE: Final = 22
"""Height of a line of the legend in px."""
_GRID: Final = (232, 230, 224)
_COLOURS: Final[tuple[Colour, ...]] = (
    (214, 66, 62), (36, 110, 196), (232, 140, 20), (30, 140, 100), (140, 80, 190), (90, 90, 96), (190, 50, 130),
    (120, 150, 30),
)  # fmt: skip
MAX_REPORTS: Final = len(_COLOURS)


def draw_curves(reports: Sequence[tuple[str, Report]]) -> Pixels:
    """Draw the PCK curves of several reports, with a card for each bucket that one of them has pictures in.

    Args:
        reports: 1 to `MAX_REPORTS` reports of the same protocol, each with its name for the legend.

    Returns:
        (H, W, 3) RGB.

    Raises:
        DataError: There are too many reports or none, their protocols differ, or none has a curve.
    """
    if not 1 <= len(reports) <= MAX_REPORTS:
        raise DataError(f"expected 1 to {MAX_REPORTS} reports to draw, got {len(reports)}")
    (first_name, first), *others = reports
    for name, report in others:
        different = [key for key, value in asdict(first.protocol).items() if asdict(report.protocol)[key] != value]
        if different:
            raise DataError(
                f"{first_name} and {name} differ in {', '.join(different)}, so that their curves cannot be compared; "
                "score both under one protocol"
            )
    buckets = [bucket for bucket in BUCKETS if any(report.pck[bucket] is not None for _, report in reports)]
    if "all" in buckets and len(buckets) == 2:
        buckets.remove("all")  # the same as the only other one
    if not buckets:
        raise DataError("no report has a PCK curve: none of their joints is annotated")
    left, above, right, below = _CARD_PADDING
    width = left + _PLOT + right
    height = above + _PLOT + below + _LEGEND_LINE * len(reports)
    page = np.full((height + 2 * _GAP, len(buckets) * (width + _GAP) + _GAP, 3), PAPER, dtype=np.uint8)
    cards = [(x := _GAP + number * (width + _GAP), _GAP, x + width, _GAP + height) for number in range(len(buckets))]
    for card in cards:
        lay_card(page, card)
    canvas = Canvas(page, 3)
    for bucket, card in zip(buckets, cards, strict=True):
        _draw_card(canvas, card, bucket, reports)
    return canvas.finished()


def _draw_card(canvas: Canvas, card: Box, bucket: Bucket, reports: Sequence[tuple[str, Report]]) -> None:
    x, y = card[0] + _CARD_PADDING[0], card[1] + _CARD_PADDING[1]
    bottom, highest = y + _PLOT, float(metrics.PCK_THRESHOLDS[-1])
    for share in np.linspace(0, 1, 6):
        along = _PLOT * float(share)
        canvas.line(np.array([x, bottom - along]), np.array([x + _PLOT, bottom - along]), 1.0, _GRID)
        canvas.line(np.array([x + along, y]), np.array([x + along, bottom]), 1.0, _GRID)
        canvas.text(f"{share:.1f}", x - 10, bottom - along + 4, align=1.0)
        canvas.text(f"{share * highest:.0f}", x + along, bottom + 18, align=0.5)
    canvas.text(f"{bucket.title()}: share of joints within a distance", x, y - 16, colour=INK)
    canvas.text("mm", x + _PLOT, bottom + 36, align=1.0)
    line = bottom + _CARD_PADDING[3] + 8
    is_same_data = len({report.dataset for _, report in reports}) == 1
    for (name, report), colour in zip(reports, _COLOURS[: len(reports)], strict=True):
        label = name if is_same_data else f"{name}, {report.dataset}"
        curve = report.pck[bucket]
        if curve is None:
            continue
        points = np.column_stack([x + _PLOT * metrics.PCK_THRESHOLDS / highest, bottom - _PLOT * np.asarray(curve)])
        for start, end in itertools.pairwise(points):
            canvas.line(start, end, 2.2, colour)
        canvas.line(np.array([x, line - 4]), np.array([x + 22, line - 4]), 3.0, colour)
        canvas.text(f"AUC {report.figures[f'auc_{bucket}']:.3f}", x + _PLOT, line, colour=INK, align=1.0)
        canvas.text(_shortened(canvas, label, _PLOT - 32 - _AUC_WIDTH), x + 32, line, colour=INK)
        line += _LEGEND_LINE


def _shortened(canvas: Canvas, words: str, width: float) -> str:
    """Return a text without as much of its middle as it takes to fit a width in px."""
    shown, kept = words, len(words)
    while kept > 2 and canvas.width_of(shown) > width:
        kept -= 1
        shown = f"{words[: kept // 2]}...{words[len(words) - kept // 2 :]}"
    return shown
