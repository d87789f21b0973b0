"""Materials at a surface point: skin with creases, veins and nails, cloth, straps. Compiled by numba.

Textures are solid: they are sampled at the rest position, so they stick to the skin in every pose.
"""

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Floats, Singles
from unclasp.synth.compiled import compiled

Vector = tuple[float, float, float]
Corners = tuple[int, int, int]
"""The vertex rows of a triangle."""

POSITION: Final = 0
NORMAL: Final = 3
REST: Final = 6
"""Rest position, mm; for clothes: around, along, phase."""
ALBEDO: Final = 9
AMBIENT: Final = 12
MARK: Final = 15
"""1 on nails, and on the dial of a watch."""
PALM: Final = 16
BLOTCH: Final = 17
"""Low-frequency noise: blotches of the skin, and veins at its zero crossings."""
ARC: Final = 18
"""mm along the finger, from its base joint."""
PALM_LINES: Final = 19
"""Three signed distances in mm, to the heart, head and life line."""
COLUMNS: Final = 22
"""Number of columns of a vertex row; the constants above are the attributes' first columns."""

SKIN: Final = 0
CLOTH: Final = 1
BAND: Final = 2
"""Kinds of surface, one per face."""

PLAIN: Final = 0
STRIPES: Final = 1
CHECKS: Final = 2

_NOISE_CELLS: Final = 32
_Four = tuple[float, float, float, float]
_Cells = tuple[Singles, Singles, Singles, Singles]


class SkinStrengths(NamedTuple):
    """Strengths of the skin's effects, without unit unless stated."""

    mottle: float
    bump: float
    crease: float
    vein: float
    wrap: float
    """How far diffuse red light wraps past the terminator, as a cosine; green and blue less."""
    roughness: float
    specular: float
    offset: float
    """Offset of this skin in the noise, cells."""
    nail_tint: Vector
    """Colour of the nails relative to the skin under them."""
    nail_paint: float
    """Share of `nail_colour` in the colour of the nails: 0 natural, 1 polished."""
    nail_colour: Vector
    """Linear RGB of the polish."""


class Surface(NamedTuple):
    """Appearance of skin and clothes; colours are linear RGB."""

    noise: Singles
    """(N, N, N, 4) periodic solid noise: value and gradient."""
    finger_joints: Singles
    """(5, 3) ARC in mm of base, middle and end joint of each finger."""
    skin: SkinStrengths
    cloth: Singles
    """(2, 3) both colours of the sleeve."""
    pattern: Singles
    """(5,) PLAIN, STRIPES or CHECKS; radians per mm along and around; contrast and bump of the weave."""
    band: Singles
    """(2, 3) colours of strap and dial."""


class Material(NamedTuple):
    """A surface at one point, ready to be lit."""

    albedo: Vector
    slope: Vector
    """Slope of the bumps, subtracted from the normal."""
    roughness: float
    specular: float
    wrap: float
    cavity: float
    """Share of the light that reaches the bottom of creases."""


@cache
def noise_table() -> Singles:
    """Return the (N, N, N, 4) periodic noise: a value of unit deviation and its gradient per cell; cached."""
    value = np.random.default_rng(7).standard_normal((_NOISE_CELLS,) * 3).astype(np.float32)
    for axis in range(3):
        value = 0.5 * value + 0.25 * (np.roll(value, 1, axis) + np.roll(value, -1, axis))
    value = (value - value.mean()) / value.std()
    gradient = [(np.roll(value, -1, axis) - np.roll(value, 1, axis)) / 2 for axis in range(3)]
    return np.ascontiguousarray(np.stack([value, *gradient], axis=-1), dtype=np.float32)


def sample_noise(table: Singles, points: Floats) -> Singles:
    """Sample the noise trilinearly at (V, 3) points, in cells: (V,)."""
    floor = np.floor(points).astype(np.int64)
    fraction = points - floor
    total = np.zeros(len(points))
    for corner in range(8):
        offset = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        weight = np.where(offset, fraction, 1 - fraction).prod(axis=1)
        cell = (floor + offset) % table.shape[0]
        total += weight * table[cell[:, 0], cell[:, 1], cell[:, 2], 0]
    return total.astype(np.float32)


@compiled
def blend(rows: Singles, corners: Corners, weights: Vector, column: int) -> float:
    """Interpolate one attribute."""
    a, b, c = corners
    return float(weights[0] * rows[a, column] + weights[1] * rows[b, column] + weights[2] * rows[c, column])


@compiled
def blend3(rows: Singles, corners: Corners, weights: Vector, column: int) -> Vector:
    """Interpolate three attributes."""
    return (
        blend(rows, corners, weights, column),
        blend(rows, corners, weights, column + 1),
        blend(rows, corners, weights, column + 2),
    )


@compiled
def _mix4(low: _Cells, high: _Cells, across: _Four, share: float, channel: int) -> float:
    """Interpolate one channel between four cells below and four above."""
    a, b, c, d = across
    below = a * low[0][channel] + b * low[1][channel] + c * low[2][channel] + d * low[3][channel]
    above = a * high[0][channel] + b * high[1][channel] + c * high[2][channel] + d * high[3][channel]
    return float((1 - share) * below + share * above)


@compiled
def _solid(table: Singles, x: float, y: float, z: float) -> _Four:
    """Trilinear value and gradient of the periodic noise, as a 4-tuple."""
    mask = table.shape[0] - 1
    floor_x, floor_y, floor_z = math.floor(x), math.floor(y), math.floor(z)
    tx, ty, tz = x - floor_x, y - floor_y, z - floor_z
    i, j, k = floor_x & mask, floor_y & mask, floor_z & mask
    i1, j1, k1 = (i + 1) & mask, (j + 1) & mask, (k + 1) & mask
    low = (table[i, j, k], table[i, j1, k], table[i1, j, k], table[i1, j1, k])
    high = (table[i, j, k1], table[i, j1, k1], table[i1, j, k1], table[i1, j1, k1])
    across = ((1 - tx) * (1 - ty), (1 - tx) * ty, tx * (1 - ty), tx * ty)
    return (
        _mix4(low, high, across, tz, 0),
        _mix4(low, high, across, tz, 1),
        _mix4(low, high, across, tz, 2),
        _mix4(low, high, across, tz, 3),
    )


@compiled
def _bell(x: float, width: float) -> float:
    """Return a bump of height 1 that falls to zero at |x| = width."""
    t = x / width
    t = 1.0 - t * t
    return t * t if t > 0.0 else 0.0


@compiled
def _crease(surface: Surface, finger: int, arc: float, palm: float, lines: Vector, wobble: float) -> float:
    """Return the depth, 0-1, of creases: at the finger joints, on the knuckles, and the three lines of the palm."""
    depth = 0.0
    arc = arc + 0.4 * wobble
    if finger >= 0:
        base, middle, end = surface.finger_joints[finger]
        if palm > 0.4:
            depth += _bell(arc - middle - 1.2, 1.3) + 0.7 * _bell(arc - middle + 2.0, 1.1)
            depth += 0.8 * _bell(arc - end, 1.3)
            if finger > 0:
                depth += 0.8 * _bell(arc - base - 0.48 * (middle - base), 1.3)
            depth *= min(1.0, (palm - 0.4) * 4.0)
        else:
            wrinkle = max(0.0, math.sin(arc * 1.9 + 1.6 * wobble)) * (0.7 + 0.4 * wobble)
            depth += 0.4 * wrinkle * (_bell(arc - middle, 7.0) + 0.6 * _bell(arc - end, 5.0))
    elif palm > 0.4:
        for line in range(3):
            depth += (0.6 + 0.3 * wobble) * _bell(lines[line] + 0.4 * wobble, 1.6)
    return min(max(depth, 0.0), 1.0)


@compiled
def skin_at(surface: Surface, rows: Singles, corners: Corners, weights: Vector, finger: int) -> Material:
    """Return the `Material` of skin, or of a nail."""
    skin = surface.skin
    rx, ry, rz = blend3(rows, corners, weights, REST)
    red, green, blue = blend3(rows, corners, weights, ALBEDO)
    palm, blotch = blend(rows, corners, weights, PALM), blend(rows, corners, weights, BLOTCH)
    mid = _solid(surface.noise, 0.31 * rx + skin.offset, 0.31 * ry, 0.31 * rz + skin.offset)
    fine = _solid(surface.noise, 0.93 * ry, 0.93 * rz + skin.offset, 0.93 * rx)
    lines = blend3(rows, corners, weights, PALM_LINES)
    crease = skin.crease * _crease(surface, finger, blend(rows, corners, weights, ARC), palm, lines, mid[0])
    mottle = 1.0 + skin.mottle * (0.45 * blotch + 0.35 * mid[0] + 0.25 * fine[0])
    flush = skin.mottle * (0.45 * blotch + 0.3 * mid[0])
    vein = skin.vein * max(0.0, 1.0 - 6.0 * abs(blotch)) * max(0.0, 1.0 - 2.0 * palm)
    red *= (mottle + 0.25 * flush) * (1.0 - 0.35 * crease) * (1.0 - vein)
    green *= (mottle - 0.30 * flush) * (1.0 - 0.55 * crease) * (1.0 - 0.55 * vein)
    blue *= (mottle - 0.30 * flush) * (1.0 - 0.60 * crease) * (1.0 - 0.35 * vein)
    nail = min(1.0, max(0.0, 3.0 * (blend(rows, corners, weights, MARK) - 0.35)))
    tint, paint, colour = skin.nail_tint, skin.nail_paint * nail, skin.nail_colour
    red = (1.0 - paint) * red * (1.0 + nail * (tint[0] - 1.0)) + paint * colour[0]
    green = (1.0 - paint) * green * (1.0 + nail * (tint[1] - 1.0)) + paint * colour[1]
    blue = (1.0 - paint) * blue * (1.0 + nail * (tint[2] - 1.0)) + paint * colour[2]
    bump = skin.bump * (1.0 - 0.9 * nail)
    slope = (
        bump * (0.6 * fine[1] + 0.4 * mid[1]),
        bump * (0.6 * fine[2] + 0.4 * mid[2]),
        bump * (0.6 * fine[3] + 0.4 * mid[3]),
    )
    roughness, specular = skin.roughness * (1.0 - 0.4 * nail), skin.specular * (1.0 + 0.5 * nail)
    return Material((red, green, blue), slope, roughness, specular, skin.wrap, 1.0 - 0.5 * crease)


@compiled
def worn_at(surface: Surface, rows: Singles, corners: Corners, weights: Vector, is_cloth: bool) -> Material:
    """Return the `Material` of a sleeve or of a strap."""
    rx, ry, rz = blend3(rows, corners, weights, REST)
    mid = _solid(surface.noise, 0.11 * rx + rz, 0.16 * ry, rz)
    fine = _solid(surface.noise, 0.9 * rx, 0.9 * ry + rz, rz)
    if is_cloth:
        colours, pattern, second = surface.cloth, surface.pattern, 0.0
        along, around = math.sin(ry * pattern[1]), math.sin(rx * pattern[2])
        if pattern[0] == STRIPES:
            second = min(1.0, max(0.0, 0.5 + 6.0 * along))
        elif pattern[0] == CHECKS:
            second = 0.5 * (along > 0.3) + 0.5 * (around > 0.3)
        weave, bump, roughness, specular = 1.0 + pattern[3] * (0.6 * fine[0] + 0.4 * mid[0]), pattern[4], 0.85, 0.25
    else:
        colours, second = surface.band, blend(rows, corners, weights, MARK)
        weave, bump, roughness, specular = 1.0, 0.05, 0.4, 2.0
    albedo = (
        weave * ((1.0 - second) * colours[0, 0] + second * colours[1, 0]),
        weave * ((1.0 - second) * colours[0, 1] + second * colours[1, 1]),
        weave * ((1.0 - second) * colours[0, 2] + second * colours[1, 2]),
    )
    slope = (
        bump * (mid[1] + 0.3 * fine[1]),
        bump * (mid[2] + 0.3 * fine[2]),
        bump * (mid[3] + 0.3 * fine[3]),
    )
    return Material(albedo, slope, roughness, specular, 0.1, 1.0)
