"""Draws a person behind the hands with a few soft strokes: torso, neck, and a head with hair and a simple face."""

from typing import Final

import cv2
import numpy as np

from unclasp.arrays import Doubles
from unclasp.synth.strokes import CLOUDS, Colour, Strokes

_TORSO: Final = np.array(
    [
        (-0.28, 0.15), (-0.9, 0.42), (-1.12, 0.9), (-1.1, 2.2), (-0.85, 4.0),
        (0.85, 4.0), (1.1, 2.2), (1.12, 0.9), (0.9, 0.42), (0.28, 0.15),
    ]
)  # fmt: skip
"""Outline of shoulders and trunk relative to the chin, in head heights."""


def draw_person(strokes: Strokes, chin: Doubles, size: float, *, skin: Colour, cloth: Colour) -> None:
    """Draw a person who faces the camera.

    Args:
        strokes: The canvas.
        chin: (2,) pixels.
        size: Height of the head in pixels.
        skin: (3,) sRGB.
        cloth: (3,) sRGB of the shirt.
    """
    _torso(strokes, chin, size * strokes.uniform(0.9, 1.15), skin, cloth)
    _head(strokes, chin, size, skin)


def _torso(strokes: Strokes, chin: Doubles, unit: float, skin: Colour, cloth: Colour) -> None:
    """Draw shoulders and trunk below the chin (pixels), in the sleeves' cloth, and the neck."""
    outline = chin + unit * (_TORSO + strokes.rng.normal(0, 0.03, _TORSO.shape))
    mask = np.zeros(strokes.canvas.shape[:2], dtype=np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 255)
    strokes.polygon(outline, cloth)
    if strokes.rng.random() < 0.35:
        strokes.stripes(mask)
    strokes.texture(CLOUDS, strokes.uniform(0.03, 0.15), zoom=strokes.uniform(0.7, 2.0), region=mask)
    depth = strokes.uniform(0.2, 0.55)
    neck = np.array([(-0.24, -0.35), (-0.22, 0.08), (-0.32, 0.2), (0, depth), (0.32, 0.2), (0.22, 0.08), (0.24, -0.35)])
    strokes.polygon(chin + unit * neck, 0.82 * skin)


def _head(strokes: Strokes, chin: Doubles, size: float, skin: Colour) -> None:
    """Draw a slightly tilted head of `size` pixels above the chin, lit from one side and out of focus."""
    tilt = strokes.rng.normal(0, 9)
    turn = np.radians(tilt)
    up, right = np.array([np.sin(turn), -np.cos(turn)]), np.array([np.cos(turn), np.sin(turn)])
    centre = chin + 0.5 * size * up
    grey = strokes.uniform(10, 120 if strokes.rng.random() < 0.3 else 55)
    hair = np.array([1.0, strokes.uniform(0.75, 0.95), strokes.uniform(0.55, 0.9)]) * grey
    if strokes.rng.random() < 0.45:
        strokes.blob(centre - 0.25 * size * up, (0.5 * size, 0.85 * size), tilt, hair)
        strokes.polygon(chin + size * np.array([(-0.2, -0.2), (-0.2, 0.3), (0.2, 0.3), (0.2, -0.2)]), 0.78 * skin)
    strokes.blob(centre + 0.1 * size * up, (0.43 * size, 0.54 * size), tilt, hair)
    lit = strokes.uniform(-0.12, 0.12) * size * right
    for step in range(5):
        shade = 0.8 + 0.07 * step
        strokes.blob(
            centre + 0.25 * step * lit,
            (0.36 * size * (1 - 0.13 * step), 0.5 * size * (1 - 0.13 * step)),
            tilt,
            np.clip(shade * skin, 0, 255),
        )
    _features(strokes, centre, up * size, right * size, tilt=tilt, hair=hair, skin=skin)
    strokes.blob(centre + 0.43 * size * up, (0.34 * size, 0.15 * size), tilt, hair)
    strokes.blur(strokes.uniform(0.008, 0.03) * size * 256 / strokes.side)


def _features(
    strokes: Strokes, centre: Doubles, up: Doubles, right: Doubles, *, tilt: float, hair: Colour, skin: Colour
) -> None:
    """Draw eyes, brows, nose and mouth; `up` and `right` have the length of the head's height."""
    size = float(np.linalg.norm(up))
    for eye in (-1, 1):
        spot = centre + 0.05 * up + eye * 0.15 * right
        strokes.blob(spot, (0.06 * size, 0.035 * size), tilt, 0.72 * skin)
        strokes.blob(spot, (0.05 * size, 0.02 * size), tilt, 0.3 * skin)
        strokes.blob(spot + 0.09 * up, (0.08 * size, 0.016 * size), tilt, 0.6 * hair + 0.2 * skin)
    strokes.blob(centre - 0.02 * up + 0.01 * right, (0.03 * size, 0.1 * size), tilt, np.clip(1.06 * skin, 0, 255))
    strokes.blob(centre - 0.13 * up, (0.055 * size, 0.025 * size), tilt, 0.78 * skin)
    strokes.blob(centre - 0.27 * up, (0.12 * size, 0.03 * size), tilt, skin * [0.8, 0.55, 0.55])
