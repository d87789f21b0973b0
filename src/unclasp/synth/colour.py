"""Colour spaces: sRGB as displayed, linear light as rendered, and CIELAB, in which skin is measured."""

import numpy as np

from unclasp.arrays import Doubles, Floats, Pixels, Singles


def linear_from_srgb(canvas: Pixels) -> Singles:
    """Convert 8-bit sRGB to linear light (0-1)."""
    value = np.arange(256) / 255
    table = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(table.astype(np.float32)[canvas])


def srgb_from_linear(linear: Floats) -> Doubles:
    """Convert linear light, from 0 on, to sRGB, of which 1 is white."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def displayed(linear: Floats) -> Doubles:
    """Convert linear light to sRGB from 0 to 255."""
    return np.asarray(255 * srgb_from_linear(np.clip(linear, 0, 1).astype(np.float64)))


def linear_from_lab(lab: Floats) -> Singles:
    """Convert CIELAB (D65) to linear sRGB, clipped to 0.005-0.95; any shape (..., 3).

    Examples:
        >>> [round(float(value), 2) for value in linear_from_lab(np.array([50.0, 0.0, 0.0]))]
        [0.18, 0.18, 0.18]
    """
    lightness = (lab[..., 0] + 16) / 116
    root = np.stack([lightness + lab[..., 1] / 500, lightness, lightness - lab[..., 2] / 200], axis=-1)
    xyz = np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29)) * np.array([0.95047, 1.0, 1.08883])
    rgb_from_xyz = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    return np.asarray(np.clip(xyz @ rgb_from_xyz.T, 0.005, 0.95), dtype=np.float32)
