"""The shading kernels, which compute the light from visible surfaces to the camera, on one core, compiled by numba.

Diffuse light is wrapped past the terminator, red further than blue: a cheap approximation of subsurface scattering. The
highlight is GGX. Ambient light is occluded per vertex by small shadow maps for a dome of directions; only the key
light's shadow is tested per sample.

Shading is adaptive: a pixel whose samples all lie on one surface is shaded once, at its centre; a pixel on a contour is
shaded at each of its covered samples.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Bools, Ints, Pixels, Singles
from unclasp.hands import PARTS_PER_HAND
from unclasp.synth.compiled import compiled
from unclasp.synth.material import (
    ALBEDO,
    AMBIENT,
    CLOTH,
    NORMAL,
    POSITION,
    SKIN,
    Material,
    Surface,
    Vector,
    blend3,
    skin_at,
    worn_at,
)
from unclasp.synth.raster import Raster, barycentric

_MERGE_MM: Final = 5.0
"""Samples whose depths differ by less than this belong to one surface."""
_KEY_BIAS_MM: Final = 2.0
_BOUNCE: Final = 0.35
"""Share of blocked ambient light that is reflected by the skin that blocks it."""


class Lights(NamedTuple):
    """The directional lights and the key light's shadow map. Camera frame; colours are linear RGB."""

    directions: Singles
    """(2, 3) unit vectors towards the key light and the fill light."""
    colours: Singles
    """(2, 3)."""
    shadow: Singles
    """(S, S) the key light's shadow map: the largest -depth in mm; -inf for no surface."""
    shadow_from_camera: Singles
    """(3, 4) transform from a camera point (mm) to (column, row, depth) of the shadow map."""
    softness: float
    """Spacing of the shadow's nine filter taps, in map cells."""


class Mesh(NamedTuple):
    """Hands and clothes as one mesh. V vertices, F faces; camera frame, mm."""

    rows: Singles
    """(V, COLUMNS) vertex attributes (`material`), which are interpolated."""
    faces: Ints
    """(F, 3) outward."""
    kinds: Pixels
    """(F,) SKIN, CLOTH or BAND."""
    fingers: Ints
    """(F,) finger 0-4 of a skin face, -1 elsewhere."""
    left: Bools
    """(F,) whether a face belongs to the left hand."""
    model_row: Ints
    """(V,) vertex of the hand model, -1 for clothes."""


@compiled
def _place(transform: Singles, x: float, y: float, z: float) -> Vector:
    """Apply a (3, 4) transform to a point."""
    m = transform
    return (
        m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3],
        m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3],
        m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3],
    )


@compiled
def _bilinear_visibility(shadow: Singles, column: float, row: float, key: float) -> float:
    """Return the bilinear share of the four cells around (column, row) that are not in shadow; 1 outside the map."""
    size = shadow.shape[0]
    i, j = math.floor(column), math.floor(row)
    if i < 0 or j < 0 or i >= size - 1 or j >= size - 1:
        return 1.0
    fx, fy = column - i, row - j
    top = (1.0 - fx) * (key > shadow[j, i]) + fx * (key > shadow[j, i + 1])
    bottom = (1.0 - fx) * (key > shadow[j + 1, i]) + fx * (key > shadow[j + 1, i + 1])
    return float((1.0 - fy) * top + fy * bottom)


@compiled
def occluded_ambient(
    rows: Singles, dome: Singles, dome_colours: Singles, maps: Singles, maps_from_camera: Singles, bias: float
) -> None:
    """Write the AMBIENT columns: the dome's light at each vertex, with one dim, tinted bounce of blocked light.

    Args:
        rows: (V, COLUMNS), changed.
        dome: (L, 3) unit vectors.
        dome_colours: (L, 3) linear RGB.
        maps: (L, S, S) shadow maps, as in `Lights`.
        maps_from_camera: (L, 3, 4).
        bias: mm.
    """
    for v in range(rows.shape[0]):
        nx, ny, nz = rows[v, NORMAL], rows[v, NORMAL + 1], rows[v, NORMAL + 2]
        x, y, z = rows[v, POSITION], rows[v, POSITION + 1], rows[v, POSITION + 2]
        red, green, blue = 0.0, 0.0, 0.0
        for light in range(dome.shape[0]):
            cosine = nx * dome[light, 0] + ny * dome[light, 1] + nz * dome[light, 2]
            if cosine <= 0.0:
                continue
            column, row, depth = _place(maps_from_camera[light], x + bias * nx, y + bias * ny, z + bias * nz)
            visible = _bilinear_visibility(maps[light], column, row, bias - depth)
            back = _BOUNCE * (1.0 - visible)
            red += cosine * dome_colours[light, 0] * (visible + back * rows[v, ALBEDO])
            green += cosine * dome_colours[light, 1] * (visible + back * rows[v, ALBEDO + 1])
            blue += cosine * dome_colours[light, 2] * (visible + back * rows[v, ALBEDO + 2])
        rows[v, AMBIENT], rows[v, AMBIENT + 1], rows[v, AMBIENT + 2] = red, green, blue


@compiled
def _key_visibility(lights: Lights, position: Vector, normal: Vector) -> float:
    """Return the share of key light that reaches a point, from nine bilinear taps of the shadow map."""
    x = position[0] + _KEY_BIAS_MM * normal[0]
    y = position[1] + _KEY_BIAS_MM * normal[1]
    z = position[2] + _KEY_BIAS_MM * normal[2]
    column, row, depth = _place(lights.shadow_from_camera, x, y, z)
    visible = 0.0
    for tap_y in range(-1, 2):
        for tap_x in range(-1, 2):
            visible += _bilinear_visibility(
                lights.shadow, column + tap_x * lights.softness, row + tap_y * lights.softness, _KEY_BIAS_MM - depth
            )
    return visible / 9.0


@compiled
def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def _unit(x: float, y: float, z: float) -> Vector:
    scale = 1.0 / math.sqrt(x * x + y * y + z * z + 1e-12)
    return scale * x, scale * y, scale * z


@compiled
def _highlight(normal: Vector, towards_eye: Vector, towards_light: Vector, roughness: float) -> float:
    """Return the Cook-Torrance highlight: GGX distribution, Schlick's Fresnel term (F0 0.028), cosine included."""
    n_dot_l, n_dot_v = _dot(normal, towards_light), max(_dot(normal, towards_eye), 0.02)
    half = _unit(
        towards_eye[0] + towards_light[0], towards_eye[1] + towards_light[1], towards_eye[2] + towards_light[2]
    )
    n_dot_h = max(0.0, _dot(normal, half))
    alpha = roughness * roughness
    falloff = n_dot_h * n_dot_h * (alpha * alpha - 1.0) + 1.0
    shade = 0.5 * alpha
    geometry = 4.0 * (n_dot_l * (1.0 - shade) + shade) * (n_dot_v * (1.0 - shade) + shade)
    grazing = 1.0 - max(0.0, _dot(towards_eye, half))
    fresnel = 0.028 + 0.972 * grazing * grazing * grazing * grazing * grazing
    return alpha * alpha / (math.pi * falloff * falloff) * fresnel * n_dot_l / geometry


@compiled
def _lit(material: Material, ambient: Vector, position: Vector, smooth_normal: Vector, lights: Lights) -> Vector:
    """Return the linear RGB that a material sends to the camera."""
    albedo, slope, wrap = material.albedo, material.slope, material.wrap
    normal = _unit(smooth_normal[0] - slope[0], smooth_normal[1] - slope[1], smooth_normal[2] - slope[2])
    towards_eye = _unit(-position[0], -position[1], -position[2])
    grazing = 1.0 - max(_dot(normal, towards_eye), 0.0)
    rim = (0.02 + 0.35 * grazing * grazing * grazing * grazing) * material.specular * (1.0 - 0.8 * material.roughness)
    red = material.cavity * ambient[0] * (albedo[0] + rim)
    green = material.cavity * ambient[1] * (albedo[1] + rim)
    blue = material.cavity * ambient[2] * (albedo[2] + rim)
    for light in range(2):
        direction = (lights.directions[light, 0], lights.directions[light, 1], lights.directions[light, 2])
        cosine = _dot(normal, direction)
        if cosine <= -wrap:
            continue
        visible = material.cavity
        if light == 0:
            visible *= _key_visibility(lights, position, smooth_normal)
        if visible <= 0.0:
            continue
        shine = 0.0
        if cosine > 0.0:
            shine = material.specular * _highlight(normal, towards_eye, direction, material.roughness)
        wrap_green, wrap_blue = 0.45 * wrap, 0.30 * wrap
        diffuse_red = max(0.0, cosine + wrap) / ((1.0 + wrap) * (1.0 + wrap))
        diffuse_green = max(0.0, cosine + wrap_green) / ((1.0 + wrap_green) * (1.0 + wrap_green))
        diffuse_blue = max(0.0, cosine + wrap_blue) / ((1.0 + wrap_blue) * (1.0 + wrap_blue))
        red += visible * lights.colours[light, 0] * (albedo[0] * diffuse_red + shine)
        green += visible * lights.colours[light, 1] * (albedo[1] * diffuse_green + shine)
        blue += visible * lights.colours[light, 2] * (albedo[2] * diffuse_blue + shine)
    return red, green, blue


@compiled
def _shade_sample(mesh: Mesh, raster: Raster, surface: Surface, lights: Lights, f: int, x: int, y: int) -> Vector:
    """Return the linear RGB of face f at the grid point (x, y)."""
    corners = (mesh.faces[f, 0], mesh.faces[f, 1], mesh.faces[f, 2])
    weights = barycentric(raster.points, raster.keys, corners, x, y)
    if mesh.kinds[f] == SKIN:
        material = skin_at(surface, mesh.rows, corners, weights, mesh.fingers[f])
    else:
        material = worn_at(surface, mesh.rows, corners, weights, mesh.kinds[f] == CLOTH)
    position = blend3(mesh.rows, corners, weights, POSITION)
    normal = blend3(mesh.rows, corners, weights, NORMAL)
    ambient = blend3(mesh.rows, corners, weights, AMBIENT)
    return _lit(material, ambient, position, _unit(normal[0], normal[1], normal[2]), lights)


@compiled
def _coverage(sub: Raster, row: int, column: int, samples: int, key: float) -> tuple[int, bool]:
    """Return a pixel's number of covered samples, and whether all of them and its centre are one surface."""
    covered, near, far = 0, key, key
    for j in range(row * samples, (row + 1) * samples):
        for i in range(column * samples, (column + 1) * samples):
            if sub.face[j, i] >= 0:
                covered += 1
                near, far = max(near, sub.key[j, i]), min(far, sub.key[j, i])
    return covered, covered == samples * samples and far > 0.0 and 1.0 / far - 1.0 / near < _MERGE_MM


@compiled
def shade(mesh: Mesh, centre: Raster, sub: Raster, surface: Surface, lights: Lights) -> Singles:
    """Return (H, W, 4): linear RGB multiplied by coverage, and coverage.

    Args:
        mesh: The mesh to shade.
        centre: The mesh on the grid with one sample per pixel.
        sub: The mesh on the supersampled grid.
        surface: Skin and clothes.
        lights: The light.
    """
    height, width = centre.face.shape
    out = np.zeros((height, width, 4), dtype=np.float32)
    samples = sub.face.shape[0] // height
    weight = 1.0 / (samples * samples)
    for row in range(height):
        for column in range(width):
            covered, single = _coverage(sub, row, column, samples, centre.key[row, column])
            out[row, column, 3] = covered * weight
            if covered == 0:
                continue
            if single:
                colour = _shade_sample(mesh, centre, surface, lights, centre.face[row, column], column, row)
                out[row, column, 0], out[row, column, 1], out[row, column, 2] = colour
                continue
            for j in range(row * samples, (row + 1) * samples):
                for i in range(column * samples, (column + 1) * samples):
                    if sub.face[j, i] >= 0:
                        colour = _shade_sample(mesh, sub, surface, lights, sub.face[j, i], i, j)
                        out[row, column, 0] += weight * colour[0]
                        out[row, column, 1] += weight * colour[1]
                        out[row, column, 2] += weight * colour[2]
    return out


@compiled
def label_parts(
    raster: Raster, corners: Ints, left: Bools, model_rows: Ints, probabilities: Singles, dominant: Pixels
) -> Pixels:
    """Return the part class (H, W) of each pixel: argmax of the interpolated part probabilities, +16 for the left hand.

    Args:
        raster: `Raster` with one sample per pixel.
        corners: (F, 3).
        left: (F,) whether a face belongs to the left hand.
        model_rows: (V,) vertex of the hand model, -1 for vertices of clothes.
        probabilities: (M, 17) of the hand model, 0 = forearm.
        dominant: (M,) their argmax.
    """
    height, width = raster.face.shape
    parts = np.zeros((height, width), dtype=np.uint8)
    for row in range(height):
        for column in range(width):
            f = raster.face[row, column]
            if f < 0 or model_rows[corners[f, 0]] < 0:
                continue
            a, b, c = model_rows[corners[f, 0]], model_rows[corners[f, 1]], model_rows[corners[f, 2]]
            part = int(dominant[a])
            if dominant[b] != part or dominant[c] != part:
                triple = (corners[f, 0], corners[f, 1], corners[f, 2])
                wa, wb, wc = barycentric(raster.points, raster.keys, triple, column, row)
                best = -1.0
                for candidate in range(probabilities.shape[1]):
                    share = (
                        wa * probabilities[a, candidate]
                        + wb * probabilities[b, candidate]
                        + wc * probabilities[c, candidate]
                    )
                    if share > best:
                        best, part = share, candidate
            if part > 0:
                parts[row, column] = part + PARTS_PER_HAND if left[f] else part
    return parts
