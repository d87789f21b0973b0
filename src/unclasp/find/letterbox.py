"""Fits a whole picture into a frame, as into the square that a network takes, and maps points back to the picture."""

from typing import NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Floats, Pixels


class Letterbox(NamedTuple):
    """A picture scaled into the middle of a black frame, and the mapping back."""

    image: Pixels
    """(H, W, 3) RGB, the frame."""
    scale: Floats
    """(2,) px of the frame per px of the picture, x and y: equal except for the rounding to whole pixels."""
    offset: Floats
    """(2,) `frame = scale * (picture + 0.5) - 0.5 + offset`, x and y, pixel centres at integers."""

    def to_picture(self, points: Floats) -> Floats:
        """Map points (..., 2) of the frame to the picture."""
        return np.asarray((points - self.offset + 0.5) / self.scale - 0.5)


def letterbox(image: Pixels, height: int, width: int | None = None) -> Letterbox:
    """Shrink or enlarge a picture (H, W, 3) so that it fills as much as it can of a frame.

    Args:
        image: (H, W, 3) RGB.
        height: px.
        width: px; by default the frame is a square.
    """
    width = height if width is None else width
    # The side that fills the frame, there and in the picture: as two whole numbers their ratio is exact.
    size, longer = max((height, image.shape[0]), (width, image.shape[1]), key=lambda sides: sides[1] / sides[0])
    columns, rows = (max(1, round(side * size / longer)) for side in image.shape[1::-1])
    left, top, scale = (width - columns) // 2, (height - rows) // 2, np.array([columns, rows]) / image.shape[1::-1]
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    if size < 0.5 * longer:  # averaging four samples per pixel is enough, and fast for any picture size
        image = np.asarray(cv2.resize(image, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    interpolation = cv2.INTER_AREA if size < longer else cv2.INTER_LINEAR
    frame[top : top + rows, left : left + columns] = cv2.resize(image, (columns, rows), interpolation=interpolation)
    return Letterbox(frame, scale, np.array([left, top], dtype=np.float64))
