"""Converts light to an 8-bit picture with the mostly mild effects of camera, photographer and file format."""

import math
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.arrays import Doubles, Pixels, Singles
from unclasp.synth.colour import srgb_from_linear
from unclasp.synth.compiled import compiled
from unclasp.synth.light import Setting

_CURVE_STEPS: Final = 1024
_NOISE_SIZE: Final = 512


class _Finish(NamedTuple):
    """What a photo has besides exposure, white balance and tone curve."""

    saturation: float
    vignette: float
    """Share of light that is lost in the corners."""
    shot: float
    """Standard deviation of the noise that grows with the light, in display values at mid grey."""
    read: float
    """The same of the noise that does not."""


@cache
def _noise() -> Singles:
    """Return (2, N, N, 4) fields of standard normal noise: white noise, and noise as smooth as a camera's."""
    white = np.random.default_rng(23).standard_normal((_NOISE_SIZE, _NOISE_SIZE, 4)).astype(np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), 0.75)
    return np.stack([white, smooth / smooth.std()]).astype(np.float32)


def photograph(
    rng: np.random.Generator, hands: Singles, backdrop: Singles, *, setting: Setting, metered: float = 1.0
) -> Pixels:
    """Compose hands and backdrop and photograph them: (H, W, 3) uint8 RGB.

    Args:
        rng: Random generator.
        hands: (H, W, 4) linear RGB multiplied by coverage, and coverage.
        backdrop: (H, W, 3) linear RGB.
        setting: The kind of light; a studio may have the colour cast of capture domes.
        metered: Brightness of what the camera is exposed for, relative to the hands.
    """
    exposure = _exposure(rng, hands, backdrop, metered)
    light = _compose(rng, hands, backdrop)
    light = _lens(rng, light)
    curve = _tone_curve(rng)
    gains = exposure * _white_balance(rng, studio=setting == "studio")
    grey = rng.random() < 0.1
    saturation = 0.0 if grey else np.clip(rng.normal(1.0, 0.13), 0.55, 1.4)
    vignette = rng.uniform(0.0, 0.5) if rng.random() < 0.35 else 0.0
    finish = _Finish(float(saturation), vignette, *_sensor(rng))
    noise, start = _noise()[int(rng.random() < 0.7)], rng.integers(0, _NOISE_SIZE, 2)
    image = np.empty(light.shape, dtype=np.uint8)
    _develop(light, curve, gains, finish, noise, start, image)
    image = _file(rng, image)
    if grey:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    return np.ascontiguousarray(image)


def _exposure(rng: np.random.Generator, hands: Singles, backdrop: Singles, metered: float) -> float:
    """Return the exposure: metered on the hands more than on the scene, with a random error."""
    inside = hands[..., 3] > 0.9
    luminance = hands[..., 1][inside][::7]
    bright = metered * float(np.percentile(luminance, 80)) if luminance.size > 20 else 0.3
    scene = float(backdrop[::8, ::8].mean())
    log = (
        0.72 * np.log(0.30 / max(bright, 0.01))
        + 0.22 * np.log(np.clip(0.25 / max(scene, 0.01), 0.35, 2.0))
        + rng.normal(-0.05, 0.27)
    )
    return float(np.exp(np.clip(log, -2.0, 3.0)))


def _compose(rng: np.random.Generator, hands: Singles, backdrop: Singles) -> Singles:
    """Compose the hands over the backdrop; in 40 % of the pictures, they cast a soft shadow on it."""
    coverage = hands[..., 3:]
    light = backdrop
    if rng.random() < 0.4:
        height, width = coverage.shape[:2]
        small = cv2.resize(coverage, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
        shift = rng.normal(0, 0.05 * min(small.shape), 2).astype(int)
        small = cv2.GaussianBlur(np.roll(small, shift, axis=(0, 1)), (0, 0), float(rng.uniform(0.6, 5)))
        shadow = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
        light = light * (1 - np.float32(rng.uniform(0.1, 0.6)) * shadow)
    return np.ascontiguousarray(hands[..., :3] + (1 - coverage) * light, dtype=np.float32)


def _lens(rng: np.random.Generator, light: Singles) -> Singles:
    """Blur in some pictures, by defocus or motion, in proportion to the picture's size."""
    scale = min(light.shape[:2]) / 256
    kind = rng.random()
    if kind < 0.5:
        return _blurred(light, scale * float(rng.uniform(0.3, 0.8)))
    if kind < 0.58:
        return _blurred(light, scale * float(rng.uniform(0.8, 2.0)))
    if kind < 0.70:
        return _moved(light, scale * float(1.5 + 7.5 * rng.beta(1, 2.5)), float(rng.uniform(0, np.pi)))
    return light


def _blurred(light: Singles, sigma: float) -> Singles:
    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), dtype=np.float32)


def _moved(light: Singles, length: float, angle: float) -> Singles:
    """Apply motion blur along a straight line; length in pixels, angle in radians."""
    middle = math.ceil(length / 2)
    kernel = np.zeros((2 * middle + 1, 2 * middle + 1), dtype=np.float32)
    steps = np.linspace(-length / 2, length / 2, 8 * middle + 4)
    columns, rows = np.rint(middle + steps * np.cos(angle)), np.rint(middle + steps * np.sin(angle))
    np.add.at(kernel, (rows.astype(np.int64), columns.astype(np.int64)), 1.0)
    smeared = cv2.filter2D(light, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return np.asarray(smeared, dtype=np.float32)


def _white_balance(rng: np.random.Generator, *, studio: bool) -> Doubles:
    """Draw (3,) channel gains, mostly along the daylight axis, a little along green; studios may lean to olive."""
    gains = np.exp(
        np.array([0.5, 0.0, -0.5]) * rng.normal(0.02, 0.11) + np.array([-0.3, 0.4, -0.3]) * rng.normal(0, 0.05)
    )
    if studio and rng.random() < 0.25:
        gains = gains * np.array([rng.uniform(0.75, 1.0), 1.0, rng.uniform(0.55, 0.95)])
    return np.asarray(gains / (gains @ [0.21, 0.72, 0.07]))


def _tone_curve(rng: np.random.Generator) -> Singles:
    """Return the (N,) table from the square root of linear light (0-2) to 0-255: shoulder, sRGB, gamma, contrast."""
    linear = np.linspace(0, 2, _CURVE_STEPS) ** 2
    knee = rng.uniform(0.55, 0.9)
    shoulder = np.where(linear < knee, linear, knee + (1 - knee) * (1 - np.exp(-(linear - knee) / (1 - knee))))
    display = srgb_from_linear(shoulder) ** np.exp(rng.normal(0, 0.10))
    contrast = rng.normal(0.12, 0.22)
    display = display + contrast * (display * display * (3 - 2 * display) - display)
    black = max(0.0, rng.normal(-0.02, 0.03))
    return np.asarray(255 * np.clip(black + (1 - black) * display, 0, 1), dtype=np.float32)


def _sensor(rng: np.random.Generator) -> tuple[float, float]:
    """Draw the standard deviations of shot and read noise, in display values at mid grey."""
    level = rng.uniform(0.3, 2.2) if rng.random() < 0.82 else rng.uniform(2.2, 7)
    return level * rng.uniform(0.4, 1.0), level * rng.uniform(0.2, 1.0)


@compiled
def _expose(curve: Singles, light: float) -> float:
    """Look up a value of linear light in the tone curve."""
    last = curve.shape[0] - 1
    return float(curve[min(last, int(math.sqrt(max(0.0, light)) * 0.5 * last))])


@compiled
def _develop(
    light: Singles, curve: Singles, gains: Doubles, finish: _Finish, noise: Singles, start: npt.NDArray[np.int64],
    image: Pixels,
) -> None:  # fmt: skip
    """Apply gains, vignette, tone curve, saturation and noise per pixel."""
    height, width = light.shape[:2]
    saturation, vignette, shot, read = finish
    mask = noise.shape[0] - 1
    reach = 4.0 / (width * width + height * height)
    for y in range(height):
        for x in range(width):
            dx, dy = x - 0.5 * width, y - 0.5 * height
            fall = 1.0 - vignette * (dx * dx + dy * dy) * reach
            red = _expose(curve, light[y, x, 0] * gains[0] * fall)
            green = _expose(curve, light[y, x, 1] * gains[1] * fall)
            blue = _expose(curve, light[y, x, 2] * gains[2] * fall)
            grey = 0.3 * red + 0.59 * green + 0.11 * blue
            grain = noise[(y + start[0]) & mask, (x + start[1]) & mask]
            sigma = 0.7 * (read + shot * math.sqrt(grey / 128.0))
            colour = (red, green, blue)
            for channel in range(3):
                value = grey + saturation * (colour[channel] - grey) + sigma * (grain[3] + grain[channel]) + 0.5
                image[y, x, channel] = np.uint8(min(255.0, max(0.0, value)))


def _file(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Lower the resolution in some pictures, sharpen in some, compress most as JPEG."""
    height, width = image.shape[:2]
    changed: cv2.typing.MatLike = image
    if rng.random() < 0.25:
        factor = float(rng.uniform(1.2, 2.2) if rng.random() < 0.8 else rng.uniform(2.2, 4))
        small = cv2.resize(image, (int(width / factor), int(height / factor)), interpolation=cv2.INTER_AREA)
        interpolation = cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC
        changed = cv2.resize(small, (width, height), interpolation=interpolation)
    elif rng.random() < 0.15:
        soft = cv2.GaussianBlur(image, (0, 0), 1.0)
        amount = float(rng.uniform(0.2, 0.8))
        changed = cv2.addWeighted(image, 1 + amount, soft, -amount, 0)
    if rng.random() < 0.75:
        changed = _compressed(changed, int(96 - 66 * rng.beta(1.1, 2.5)))
    return np.asarray(changed, dtype=np.uint8)


def _compressed(image: cv2.typing.MatLike, quality: int) -> cv2.typing.MatLike:
    """Encode as JPEG of a quality from 30 to 96 and decode again."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image if decoded is None else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
