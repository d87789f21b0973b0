"""Brightens dark pictures for the networks, which have seen too few in training."""

import math
from typing import Final

import cv2
import numpy as np

from unclasp.arrays import Pixels

BRIGHTNESS: Final = 128.0
"""A picture is dark if the 99th percentile of its pixels' brightest channels is below this; it is brightened to it."""
_MIN_BRIGHTNESS: Final = 4.0
"""Darker pictures are brightened as if they were this bright: there is nothing in them but noise."""
_SAMPLES: Final = 2**14
"""The brightness is taken from about this many pixels, which is enough, and fast for large pictures."""


def brightened(image: Pixels) -> Pixels:
    """Return a dark picture as a longer exposure would have it, and others as they are.

    All values are multiplied by one factor. That is what an exposure does to linear light, and nearly so to sRGB, whose
    curve is close to a power.

    Args:
        image: (H, W, 3) uint8 RGB; it is not changed.
    """
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // _SAMPLES))
    red, green, blue = np.moveaxis(image[::step, ::step], 2, 0)
    brightness = float(np.percentile(np.maximum(np.maximum(red, green), blue), 99))
    if brightness >= BRIGHTNESS:
        return image
    factor = BRIGHTNESS / max(brightness, _MIN_BRIGHTNESS)
    table = np.clip(np.rint(factor * np.arange(256)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)
