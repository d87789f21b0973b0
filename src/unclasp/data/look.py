"""Photographic changes of a training crop: another exposure, fewer colours, a softer or noisier camera.

Not in the paper. Rendered pictures are more alike than photographs are; what a model learns from them carries over
better when it cannot rely on their colours and on their sharpness.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from unclasp.batch import ByteArray


@dataclass(frozen=True)
class Look:
    """One draw of the photographic changes; the defaults change nothing."""

    gamma: float = 1.0
    """Exponent of the brightness: below 1 lifts the shadows."""
    contrast: float = 1.0
    """Factor of the distance from the mean brightness."""
    saturation: float = 1.0
    """0 is grey."""
    shrink: float = 1.0
    """The crop is made smaller by this and enlarged again."""
    blur: float = 0.0
    """Standard deviation of a Gaussian blur in px."""
    noise: float = 0.0
    """Standard deviation of the sensor's noise in grey levels."""
    seed: int = 0
    """Of the noise."""


def random_look(strength: float, rng: np.random.Generator) -> Look:
    """Draw each change by itself, a third of the time; at strength 1 the strongest is plain to see."""
    chosen = rng.random(6) < 1 / 3
    exponent, factor = np.exp(strength * rng.uniform(-0.7, 0.7, 2))
    colours = 1 - min(strength, 1.0) * rng.uniform(0, 1.3)
    shrink, blur, noise = strength * rng.uniform((0, 0, 0), (2.0, 1.2, 18.0))
    return Look(
        gamma=float(exponent) if chosen[0] else 1.0,
        contrast=float(factor) if chosen[1] else 1.0,
        saturation=max(float(colours), 0.0) if chosen[2] else 1.0,
        shrink=1 + float(shrink) if chosen[3] else 1.0,
        blur=float(blur) if chosen[4] else 0.0,
        noise=float(noise) if chosen[5] else 0.0,
        seed=int(rng.integers(2**31)),
    )


def apply_look(image: ByteArray, look: Look) -> ByteArray:
    """Return the (H, W, 3) RGB crop as it looks with the changes, in the order in which a camera makes them."""
    if look.blur > 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), look.blur), dtype=np.uint8)
    if look.shrink > 1:
        height, width = image.shape[:2]
        small = cv2.resize(image, None, fx=1 / look.shrink, fy=1 / look.shrink, interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    if look.noise > 0:
        grain = np.random.default_rng(look.seed).standard_normal(image.shape, dtype=np.float32)
        image = np.clip(image + look.noise * grain, 0, 255).astype(np.uint8)
    if look.saturation < 1:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
        image = (look.saturation * image + (1 - look.saturation) * grey).astype(np.uint8)
    if look.gamma != 1 or look.contrast != 1:
        levels = 255 * (np.arange(256) / 255) ** look.gamma
        middle = float(levels[image].mean())
        table = np.clip(middle + look.contrast * (levels - middle), 0, 255).astype(np.uint8)
        image = table[image]
    return image
