"""A canvas with the drawing operations of backgrounds, based on cv2: fills, blobs, stripes, textures, blur."""

from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.arrays import Doubles, Pixels, Singles

Colour = Doubles
"""(3,) sRGB 0-255."""

_TEXTURE: Final = 512
CLOUDS: Final = 0
GRAIN: Final = 1
WOOD: Final = 2
"""Kinds of texture."""


@cache
def _textures() -> Singles:
    """Return (3, N, N) textures of unit standard deviation: clouds, grain and wood; cached."""
    rng = np.random.default_rng(11)
    clouds = np.zeros((_TEXTURE, _TEXTURE), dtype=np.float32)
    for octave in range(2, 9):
        cells = rng.standard_normal((2**octave, 2**octave)).astype(np.float32)
        clouds += cv2.resize(cells, (_TEXTURE, _TEXTURE), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    grain = cv2.GaussianBlur(rng.standard_normal((_TEXTURE, _TEXTURE)).astype(np.float32), (0, 0), 0.8)
    rings = rng.standard_normal((16, 128)).astype(np.float32)
    wood = cv2.resize(rings, (_TEXTURE, _TEXTURE), interpolation=cv2.INTER_CUBIC)
    stack = np.stack([clouds, grain, wood])
    stack -= stack.mean(axis=(1, 2), keepdims=True)
    return np.asarray(stack / stack.std(axis=(1, 2), keepdims=True), dtype=np.float32)


class Strokes:
    """An 8-bit sRGB canvas and its drawing operations. Positions and sizes are in pixels."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng = rng
        self.width, self.height = size
        self.side = min(size)
        self.canvas: Pixels = np.zeros((self.height, self.width, 3), dtype=np.uint8)

    def uniform(self, low: float, high: float) -> float:
        """Draw a random number."""
        return float(self.rng.uniform(low, high))

    def colour(self, *, light: tuple[float, float] = (10, 240), vivid: float = 0.28) -> Colour:
        """Draw a random sRGB colour; most are muted."""
        grey = self.uniform(*light)
        spread = self.rng.beta(1.1, 1 / vivid) * 0.9
        warmth, green = self.rng.standard_normal(2)
        tint = warmth * np.array([1.0, 0.1, -1.1]) + 0.45 * green * np.array([-1.0, 1.6, -0.6])
        return np.asarray(np.clip(grey * (1 + spread * tint), 0, 255))

    def gradient(self, first: Colour, second: Colour, *, angle: float | None = None) -> None:
        """Fill the canvas with a linear gradient between two colours; `angle` in radians, random if None."""
        angle = self.uniform(0, 2 * np.pi) if angle is None else angle
        x = np.arange(self.width, dtype=np.float32) / self.width - 0.5
        y = np.arange(self.height, dtype=np.float32) / self.height - 0.5
        share = np.clip(0.5 + 0.8 * (np.cos(angle) * x[None] + np.sin(angle) * y[:, None]), 0, 1)[..., None]
        self.canvas = (first + (second - first) * share.astype(np.float32)).astype(np.uint8)

    def texture(self, kind: int, strength: float, *, zoom: float = 1.0, region: Pixels | None = None) -> None:
        """Multiply the canvas, or a region of it (a mask), by a random window of a texture."""
        source = _textures()[kind]
        size = int(np.clip(self.side / zoom, 8, _TEXTURE - 1))
        x, y = self.rng.integers(0, _TEXTURE - size, 2)
        window = cv2.resize(
            source[y : y + size, x : x + size], (self.width, self.height), interpolation=cv2.INTER_LINEAR
        )
        if self.rng.random() < 0.5:
            window = window[::-1] if kind == WOOD else cv2.flip(window, 1)
        factor = np.clip(128 + 128 * strength * window, 0, 255).astype(np.uint8)
        self._multiply(factor, 1 / 128, region)

    def _multiply(self, factor: Pixels, scale: float, region: Pixels | None) -> None:
        changed = cv2.multiply(self.canvas, cv2.merge([factor] * 3), scale=scale)
        if region is None:
            self.canvas = np.asarray(changed, dtype=np.uint8)
        else:
            cv2.copyTo(changed, region, self.canvas)

    def blob(self, centre: npt.ArrayLike, axes: npt.ArrayLike, angle: float, colour: Colour) -> None:
        """Fill an ellipse: centre and half axes in pixels, angle in degrees."""
        centre, axes = np.asarray(centre, dtype=np.float64), np.asarray(axes, dtype=np.float64)
        cv2.ellipse(
            self.canvas, (int(centre[0]), int(centre[1])), (max(1, int(axes[0])), max(1, int(axes[1]))), angle, 0, 360,
            colour.tolist(), -1, cv2.LINE_AA,
        )  # fmt: skip

    def polygon(self, points: npt.ArrayLike, colour: Colour) -> None:
        """Fill a polygon with corners in pixels."""
        cv2.fillPoly(self.canvas, [np.asarray(points).astype(np.int32)], colour.tolist(), cv2.LINE_AA)

    def box(self, centre: npt.ArrayLike, size: npt.ArrayLike, angle: float, colour: Colour) -> None:
        """Fill a rotated rectangle: centre and size in pixels, angle in degrees."""
        centre, size = np.asarray(centre, dtype=np.float64), np.asarray(size, dtype=np.float64)
        corners = cv2.boxPoints((centre.tolist(), size.tolist(), angle))
        self.polygon(corners, colour)

    def blur(self, sigma: float) -> None:
        """Blur the canvas; sigma is in 1/256 of the smaller side."""
        sigma *= self.side / 256
        if sigma > 0.3:
            self.canvas = np.asarray(cv2.GaussianBlur(self.canvas, (0, 0), sigma), dtype=np.uint8)

    def anywhere(self) -> Doubles:
        """Draw a random point on the canvas or slightly outside."""
        return self.rng.uniform(-0.1, 1.1, 2) * (self.width, self.height)

    def stripes(self, region: Pixels | None = None) -> None:
        """Multiply by one or two sets of stripes, like cloth, blinds or tiles; only in a region (a mask) if given."""
        period, angle = self.uniform(0.015, 0.15) * self.side, self.uniform(0, np.pi)
        x, y = np.arange(self.width, dtype=np.float32)[None], np.arange(self.height, dtype=np.float32)[:, None]
        factor = np.full((self.height, self.width), 128, dtype=np.float32)
        depth, duty = self.uniform(0.08, 0.6), self.uniform(-0.6, 0.6)
        for turn in range(1 if self.rng.random() < 0.5 else 2):
            along = np.cos(angle + turn * np.pi / 2) * x + np.sin(angle + turn * np.pi / 2) * y
            factor *= 1 - depth * (np.sin(along * (2 * np.pi / period)) > duty)
        self._multiply(factor.astype(np.uint8), 1 / 110, region)

    def bokeh(self) -> None:
        """Add discs of out-of-focus light."""
        layer = np.zeros_like(self.canvas)
        for _ in range(int(self.rng.integers(3, 25))):
            colour = self.colour(light=(40, 160), vivid=0.5)
            centre = self.anywhere().astype(int).tolist()
            cv2.circle(layer, centre, int(self.uniform(0.01, 0.06) * self.side), colour.tolist(), -1, cv2.LINE_AA)
        self.canvas = np.asarray(cv2.add(self.canvas, layer), dtype=np.uint8)
