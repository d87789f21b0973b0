"""Fits a whole picture into the square that a network takes, and maps points of the square back to the picture."""

from typing import NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Floats, Pixels


class Letterbox(NamedTuple):
    """A picture scaled into the middle of a black square, and the mapping back."""

    image: Pixels
    """(S, S, 3) RGB."""
    scale: Floats
    """(2,) px of the square per px of the picture, x and y: equal except for the rounding to whole pixels."""
    offset: Floats
    """(2,) `square = scale * (picture + 0.5) - 0.5 + offset`, x and y, pixel centres at integers."""

    def to_picture(self, points: Floats) -> Floats:
        """Map points (..., 2) of the square to the picture."""
        return np.asarray((points - self.offset + 0.5) / self.scale - 0.5)


def letterbox(image: Pixels, size: int) -> Letterbox:
    """Shrink or enlarge a picture (H, W, 3) so that its longer side fills a square of `size` px."""
    height, width = image.shape[:2]
    longer = max(height, width)
    columns, rows = (max(1, round(side * size / longer)) for side in (width, height))
    left, top = (size - columns) // 2, (size - rows) // 2
    square = np.zeros((size, size, 3), dtype=np.uint8)
    if size < 0.5 * longer:  # averaging four samples per pixel is enough, and fast for any picture size
        image = np.asarray(cv2.resize(image, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    interpolation = cv2.INTER_AREA if size < longer else cv2.INTER_LINEAR
    square[top : top + rows, left : left + columns] = cv2.resize(image, (columns, rows), interpolation=interpolation)
    scale = np.array([columns / width, rows / height])
    return Letterbox(square, scale, np.array([left, top], dtype=np.float64))
