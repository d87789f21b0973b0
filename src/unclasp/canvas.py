"""Drawing primitives: a supersampled canvas, light cards, and the colours of the page.

Positions and sizes are in pixels of the finished picture, with pixel centres at integers; colours are RGB.
"""

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from unclasp.arrays import Floats, Pixels

Colour = tuple[float, float, float]
Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels."""

PAPER: Final = (243, 242, 238)
CARD: Final = (253, 252, 250)
MUTED: Final = (109, 106, 99)
INK: Final = (52, 50, 48)
_EDGE: Final = (226, 224, 218)
_RADIUS: Final = 12
_SHIFT, _FARTHEST = 5, 1 << 17


class Canvas:
    """A supersampled picture to draw on, `factor` times as wide and high as the finished one.

    Args:
        image: (H, W, 3); it is not changed.
        factor: Samples per pixel in each direction.
        box: Only this part is supersampled, and drawn on; all of it if not given.
    """

    def __init__(self, image: Pixels, factor: int, box: Box | None = None) -> None:
        x1, y1, x2, y2 = (0, 0, image.shape[1], image.shape[0]) if box is None else box
        self.factor, self._image, self._corner = factor, image, (x1, y1)
        part, size = image[y1:y2, x1:x2], ((x2 - x1) * factor, (y2 - y1) * factor)
        enlarged = part.copy() if factor == 1 else cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)
        self.samples = np.asarray(enlarged, dtype=np.uint8)

    def finished(self) -> Pixels:
        """Return the finished picture, which is unchanged to the bit where nothing was drawn."""
        part = self.samples
        height, width = (side // self.factor for side in part.shape[:2])
        if self.factor > 1:
            part = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if part.shape == self._image.shape:
            return part
        (x, y), whole = self._corner, self._image.copy()
        whole[y : y + height, x : x + width] = part
        return whole

    def line(self, start: Floats, end: Floats, width: float, colour: Colour) -> None:
        """Draw a line with round caps."""
        thickness = max(1, round(width * self.factor))
        cv2.line(self.samples, self._fixed(start), self._fixed(end), colour, thickness, cv2.LINE_AA, _SHIFT)

    def disc(self, centre: Floats, radius: float, colour: Colour) -> None:
        """Draw a filled disc."""
        fixed_radius = round(radius * self.factor * (1 << _SHIFT))
        cv2.circle(self.samples, self._fixed(centre), fixed_radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def text(
        self, words: str, x: float, y: float, *, colour: Colour = MUTED, size: float = 0.42, align: float = 0.0
    ) -> float:
        """Write a text with its baseline at y and return its width; the share `align`, 0 to 1, of it is left of x."""
        scale, font = size * self.factor, cv2.FONT_HERSHEY_DUPLEX
        width = self.width_of(words, size=size)
        place = round((x - align * width) * self.factor), round(y * self.factor)
        left, low = (at - start * self.factor for at, start in zip(place, self._corner, strict=True))
        cv2.putText(self.samples, words, (left, low), font, scale, colour, 1, cv2.LINE_AA)
        return width

    def width_of(self, words: str, *, size: float = 0.42) -> float:
        """Return the width of a text."""
        box, _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_DUPLEX, size * self.factor, 1)
        return float(box[0]) / self.factor

    def caption(self, words: str, x: float, y: float, *, align: float = 0.0) -> None:
        """Write a text on a card, clearing the grid behind it."""
        width = self.width_of(words)
        left = x - align * width
        self.line(np.array([left, y - 5]), np.array([left + width, y - 5]), 18.0, CARD)
        self.text(words, x, y, align=align)

    def _fixed(self, point: Floats) -> tuple[int, int]:
        # In plain numbers: NumPy takes ten times as long for two of them.
        x, y = (
            min(max((float(at) + 0.5) * self.factor - 0.5, -_FARTHEST), _FARTHEST) - start * self.factor
            for at, start in zip(point, self._corner, strict=True)
        )
        return round(x * (1 << _SHIFT)), round(y * (1 << _SHIFT))


def resized(points: Floats, ratio: Floats | float) -> Floats:
    """Return points (..., 2) px of a picture in the pixels of that picture resized by `ratio`."""
    return np.asarray((points + 0.5) * ratio - 0.5)


def lay_card(page: Pixels, box: Box) -> None:
    """Draw a light card with a hairline border; in place."""
    lay(page, _EDGE, box)
    lay(page, CARD, box, inset=1.0)


def lay(page: Pixels, content: Pixels | Colour, box: Box, *, inset: float = 0.0) -> None:
    """Paste a picture or a plain colour into a box with rounded corners, `inset` px inside its edges; in place."""
    size = box[2] - box[0], box[3] - box[1]
    radius = min(_RADIUS, min(size) / 8)
    x, y = (np.maximum(np.abs(np.arange(side) + 0.5 - side / 2) - (side / 2 - radius), 0) for side in size)
    region = page[box[1] : box[3], box[0] : box[2]]
    laid = np.broadcast_to(np.asarray(content), region.shape)
    # Only a frame is blended; within it nothing shines through.
    edge = math.ceil(radius) if radius >= inset + 0.5 else max(size)
    right, low = (max(edge, side - edge) for side in size)
    region[edge:low, edge:right] = laid[edge:low, edge:right]
    for rows, columns in (
        (slice(edge), slice(None)), (slice(low, None), slice(None)),
        (slice(edge, low), slice(edge)), (slice(edge, low), slice(right, None)),
    ):  # fmt: skip
        part = region[rows, columns]
        mask = np.clip(radius - inset + 0.5 - np.hypot(x[None, columns], y[rows, None]), 0.0, 1.0)[..., None]
        part[:] = np.rint(part + (laid[rows, columns].astype(np.float32) - part) * mask)


def in_rows(cells: Sequence[Pixels], *, columns: int, background: Colour) -> Pixels:
    """Lay pictures of the same size out in rows of at most `columns`; what the last row lacks is `background`."""
    columns = min(columns, len(cells))
    filled = [*cells, *[np.full_like(cells[0], background)] * (-len(cells) % columns)]
    rows = [np.concatenate(filled[start : start + columns], axis=1) for start in range(0, len(filled), columns)]
    return np.concatenate(rows, axis=0)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Blend two colours; `share` is the weight of the second."""
    r, g, b = (a + (z - a) * share for a, z in zip(colour, other, strict=True))
    return r, g, b
