"""Photographic changes of a training crop: another exposure, other colours or surfaces, a softer or noisier camera.

Not in the paper. Rendered pictures are more alike than photographs are; what a model learns from them carries over
better when it cannot rely on their colours and on their sharpness.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from unclasp.batch import ByteArray


@dataclass(frozen=True)
class PhotometricChange:
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
    texture: float = 0.0
    """Share of the crop that is replaced by what a random filter of all channels makes of it."""
    seed: int = 0
    """Of the noise and the filter."""


def random_photometric(strength: float, rng: np.random.Generator, *, texture: float = 0.0) -> PhotometricChange:
    """Draw each change by itself, a third of the time; at strength 1 the strongest is plain to see.

    Args:
        strength: Of all changes but the texture's.
        rng: Source of randomness.
        texture: How often the texture changes.
    """
    chosen = rng.random(6) < 1 / 3
    exponent, factor = np.exp(strength * rng.uniform(-0.7, 0.7, 2))
    colours = 1 - min(strength, 1.0) * rng.uniform(0, 1.3)
    shrink, blur, noise = strength * rng.uniform((0, 0, 0), (2.0, 1.2, 18.0))
    return PhotometricChange(
        gamma=float(exponent) if chosen[0] else 1.0,
        contrast=float(factor) if chosen[1] else 1.0,
        saturation=max(float(colours), 0.0) if chosen[2] else 1.0,
        shrink=1 + float(shrink) if chosen[3] else 1.0,
        blur=float(blur) if chosen[4] else 0.0,
        noise=float(noise) if chosen[5] else 0.0,
        seed=int(rng.integers(2**31)),
        texture=float(rng.uniform(0.2, 1)) if texture and rng.random() < texture else 0.0,
    )


def apply_photometric(image: ByteArray, look: PhotometricChange) -> ByteArray:
    """Return the (H, W, 3) RGB crop as it looks with the changes, in the order in which a camera makes them."""
    if look.blur > 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), look.blur), dtype=np.uint8)
    if look.shrink > 1:
        height, width = image.shape[:2]
        small = cv2.resize(image, None, fx=1 / look.shrink, fy=1 / look.shrink, interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    if look.texture > 0:
        image = _retexture(image, look.texture, np.random.default_rng(look.seed))
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


def _retexture(image: ByteArray, share: float, rng: np.random.Generator) -> ByteArray:
    """Blend a crop with a random mixture of its channels, each then filtered at random; its contrast stays about.

    Shapes survive a random filter and colours and textures do not (random convolutions, Xu et al. 2021, arXiv
    2007.13003, there with one filter for each pair of channels).
    """
    size = int(rng.choice([1, 3, 5]))
    centred = image.astype(np.float32) - np.float32(127)
    mixed = np.asarray(cv2.transform(centred, rng.standard_normal((3, 3), dtype=np.float32)))
    if size > 1:
        filters = rng.standard_normal((3, size, size), dtype=np.float32)
        channels = [
            cv2.filter2D(channel, -1, each, borderType=cv2.BORDER_REFLECT)
            for channel, each in zip(cv2.split(mixed), filters, strict=True)
        ]
        mixed = np.asarray(cv2.merge(channels))
    gain = rng.uniform(0.6, 1.2) * float(centred.std()) / (float(mixed.std()) + 1e-3)
    blended = cv2.addWeighted(centred, 1 - share, mixed, share * gain, 127.0)
    return np.clip(blended, 0, 255).astype(np.uint8)
