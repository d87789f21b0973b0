"""Photometric augmentation of training crops: exposure, colour, texture, sharpness and noise.

Not in the paper. Rendered pictures vary less than photographs; a model trained on them generalises better when it
cannot rely on their colours and their sharpness.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.arrays import Pixels


@dataclass(frozen=True)
class PhotometricChange:
    """The parameters of one augmentation; the defaults change nothing."""

    gamma: float = 1.0
    """Exponent of the brightness: below 1 lifts the shadows."""
    contrast: float = 1.0
    """Factor on the difference from the mean brightness."""
    saturation: float = 1.0
    """From 0, grey, to 1, unchanged."""
    shrink: float = 1.0
    """Factor by which the crop is downscaled, and then upscaled again."""
    blur: float = 0.0
    """Standard deviation of a Gaussian blur in px."""
    noise: float = 0.0
    """Standard deviation of the sensor noise in grey levels."""
    texture: float = 0.0
    """Weight of a randomly filtered version of the crop in a blend with the original."""
    seed: int = 0
    """Seed of the noise and the filter."""


def random_photometric(strength: float, rng: np.random.Generator, *, texture: float = 0.0) -> PhotometricChange:
    """Draw the changes; each one independently occurs with a probability of 1/3.

    Args:
        strength: Strength of all changes except the texture's; at 1, the strongest ones are obvious to the eye.
        rng: Random generator.
        texture: Probability of a change of texture.
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


def apply_photometric(image: Pixels, look: PhotometricChange) -> Pixels:
    """Apply the changes to a crop (H, W, 3) RGB, optics first and tone curve last."""
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
        image = np.asarray(cv2.add(image, grain * np.float32(look.noise), dtype=cv2.CV_8U), dtype=np.uint8)
    if look.saturation < 1:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = np.asarray(cv2.addWeighted(image, look.saturation, grey, 1 - look.saturation, 0), dtype=np.uint8)
    if look.gamma != 1 or look.contrast != 1:
        levels = 255 * (np.arange(256) / 255) ** look.gamma
        middle = float(np.bincount(image.ravel(), minlength=256) @ levels) / image.size
        table = _rounded(middle + look.contrast * (levels - middle))
        image = np.asarray(cv2.LUT(image, table), dtype=np.uint8)
    return image


def _retexture(image: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Blend a crop with a random mixture of its channels, each randomly filtered, at roughly the same contrast.

    A random filter preserves shapes and destroys colours and textures (random convolutions, Xu et al. 2021, arXiv
    2007.13003, which use one filter for each pair of channels).
    """
    size = int(rng.choice([1, 3, 5]))
    centred = image.astype(np.float32) - np.float32(127)
    mixed = np.asarray(cv2.transform(centred, rng.standard_normal((3, 3), dtype=np.float32)))
    if size > 1:
        filters = rng.standard_normal((3, size, size), dtype=np.float32)
        channels = [
            cv2.filter2D(channel, -1, kernel, borderType=cv2.BORDER_REFLECT)
            for channel, kernel in zip(cv2.split(mixed), filters, strict=True)
        ]
        mixed = np.asarray(cv2.merge(channels))
    gain = rng.uniform(0.6, 1.2) * float(centred.std()) / (float(mixed.std()) + 1e-3)
    blended = cv2.addWeighted(centred, 1 - share, mixed, share * gain, 127.0)
    return _rounded(blended)


def _rounded(values: npt.NDArray[np.floating | np.integer]) -> Pixels:
    """Return values as levels 0 to 255; cutting decimals off would darken the picture with each change."""
    return np.asarray(np.rint(np.clip(values, 0, 255)), dtype=np.uint8)
