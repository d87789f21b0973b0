"""The shading kernels: light, skin and cloth at the visible samples, on one core, compiled by numba.

Skin is a wrapped diffuse term per colour channel (light bleeds red past the terminator: a cheap subsurface scattering), a GGX
highlight, creases, veins and a bump from solid noise that is stuck to the rest pose. The ambient light is occluded per vertex
by small shadow maps of a dome of directions; only the key light has a shadow per sample.

Shading is adaptive: a picture pixel whose samples all lie on one surface is shaded once, at its centre; a pixel on a contour
is shaded at each of its covered samples.
"""

import math
from typing import Final, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from unclasp.synth.raster import Floats, Ints, barycentric

POSITION: Final = 0
NORMAL: Final = 3
REST: Final = 6
ALBEDO: Final = 9
AMBIENT: Final = 12
NAIL: Final = 15
PALM: Final = 16
VEIN: Final = 17
ARC: Final = 18
PALM_CREASE: Final = 19
COLUMNS: Final = 22
"""Layout of a vertex row: where each attribute begins. ARC: mm along the finger from its base joint; PALM_CREASE: signed
distances in mm to the three lines of the palm; REST: mm, where solid noise and patterns live."""

SKIN: Final = 0
CLOTH: Final = 1
BAND: Final = 2
"""Kinds of surface, one per face."""

NOISE_CELLS: Final = 32
_MERGE_MM: Final = 5.0
"""Samples whose depths lie within this belong to one surface."""


class Lights(NamedTuple):
    """The directional lights and the key light's shadow map. Camera frame; colours are linear RGB."""

    directions: Floats
    """(2, 3) unit vectors towards the key light and the fill light."""
    colours: Floats
    """(2, 3)."""
    shadow: Floats
    """(S, S) key light's map of -depth in mm, the largest wins; -inf where nothing stands."""
    shadow_from_camera: Floats
    """(3, 4) maps a camera point (mm) to (column, row, depth) of the shadow map."""
    softness: float
    """Spacing of the shadow's nine filter taps, in map cells."""


class Surface(NamedTuple):
    """Appearance of the skin and of what is worn: linear RGB colours and strengths of the effects."""

    noise: Floats
    """(N, N, N, 4) periodic solid noise: value and gradient."""
    finger_joints: Floats
    """(5, 3) ARC in mm of base, middle and end joint of each finger."""
    skin: Floats
    """(10,) see `skin_vector`."""
    cloth: Floats
    """(2, 3) both colours of the sleeve."""
    pattern: Floats
    """(5,) kind (0 plain, 1 stripes, 2 checks), frequency per mm along and around, contrast of the weave, bump."""
    band: Floats
    """(2, 3) colours of strap and dial."""


def skin_vector(
    *, mottle: float, bump: float, crease: float, vein: float, wrap: float, roughness: float, specular: float,
    offset: float, nail: tuple[float, float],
) -> Floats:  # fmt: skip
    """Pack the strengths of the skin's effects in the order the kernel reads them."""
    return np.array([mottle, bump, crease, vein, wrap, roughness, specular, offset, *nail], dtype=np.float32)


def noise_table(seed: int = 7) -> Floats:
    """Make the (N, N, N, 4) periodic noise: value of unit deviation and its gradient per cell."""
    value = np.random.default_rng(seed).standard_normal((NOISE_CELLS,) * 3).astype(np.float32)
    for axis in range(3):
        value = 0.5 * value + 0.25 * (np.roll(value, 1, axis) + np.roll(value, -1, axis))
    value = (value - value.mean()) / value.std()
    gradient = [(np.roll(value, -1, axis) - np.roll(value, 1, axis)) / 2 for axis in range(3)]
    return np.ascontiguousarray(np.stack([value, *gradient], axis=-1), dtype=np.float32)


@nb.njit(cache=True, nogil=True, inline="always")
def _solid(table, x, y, z):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Trilinear value and gradient of the periodic noise."""
    mask = table.shape[0] - 1
    floor_x, floor_y, floor_z = math.floor(x), math.floor(y), math.floor(z)
    tx, ty, tz = np.float32(x - floor_x), np.float32(y - floor_y), np.float32(z - floor_z)
    i, j, k = int(floor_x) & mask, int(floor_y) & mask, int(floor_z) & mask
    i1, j1, k1 = (i + 1) & mask, (j + 1) & mask, (k + 1) & mask
    one = np.float32(1.0)
    w00, w01, w10, w11 = (one - tx) * (one - ty), (one - tx) * ty, tx * (one - ty), tx * ty
    sz = one - tz
    a, b, c, d = table[i, j, k], table[i, j1, k], table[i1, j, k], table[i1, j1, k]
    e, f, g, h = table[i, j, k1], table[i, j1, k1], table[i1, j, k1], table[i1, j1, k1]
    value = sz * (w00 * a[0] + w01 * b[0] + w10 * c[0] + w11 * d[0]) + tz * (w00 * e[0] + w01 * f[0] + w10 * g[0] + w11 * h[0])
    gx = sz * (w00 * a[1] + w01 * b[1] + w10 * c[1] + w11 * d[1]) + tz * (w00 * e[1] + w01 * f[1] + w10 * g[1] + w11 * h[1])
    gy = sz * (w00 * a[2] + w01 * b[2] + w10 * c[2] + w11 * d[2]) + tz * (w00 * e[2] + w01 * f[2] + w10 * g[2] + w11 * h[2])
    gz = sz * (w00 * a[3] + w01 * b[3] + w10 * c[3] + w11 * d[3]) + tz * (w00 * e[3] + w01 * f[3] + w10 * g[3] + w11 * h[3])
    return value, gx, gy, gz


@nb.njit(cache=True, nogil=True)
def occluded_ambient(vertices, normals, directions, colours, maps, maps_from_camera, bias, albedo, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Sum the dome lights at each vertex: (V, 3). Blocked light comes back once, dimmed and tinted by the skin."""
    size = maps.shape[1]
    for v in range(vertices.shape[0]):
        px, py, pz = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        px, py, pz = px + bias * nx, py + bias * ny, pz + bias * nz
        for channel in range(3):
            out[v, channel] = 0.0
        for light in range(directions.shape[0]):
            cosine = nx * directions[light, 0] + ny * directions[light, 1] + nz * directions[light, 2]
            if cosine <= 0.0:
                continue
            m = maps_from_camera[light]
            column = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]
            row = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]
            key = -(m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]) + bias
            visible = np.float32(0.0)
            x0, y0 = int(math.floor(column)), int(math.floor(row))
            for dy in range(2):
                for dx in range(2):
                    x, y = x0 + dx, y0 + dy
                    if x < 0 or y < 0 or x >= size or y >= size or key > maps[light, y, x]:
                        visible += np.float32(0.25)
            for channel in range(3):
                back = (np.float32(1.0) - visible) * np.float32(0.35) * albedo[v, channel]
                out[v, channel] += cosine * colours[light, channel] * (visible + back)


@nb.njit(cache=True, nogil=True, inline="always")
def _key_visibility(lights, px, py, pz, nx, ny, nz):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Share of the key light that arrives: nine bilinear taps of the shadow map around the point."""
    shadow, m, step = lights.shadow, lights.shadow_from_camera, lights.softness
    size = shadow.shape[0]
    px, py, pz = px + np.float32(2.0) * nx, py + np.float32(2.0) * ny, pz + np.float32(2.0) * nz
    column = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]
    row = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]
    key = -(m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]) + np.float32(2.0)
    visible = np.float32(0.0)
    for tap_y in range(-1, 2):
        for tap_x in range(-1, 2):
            x, y = column + tap_x * step, row + tap_y * step
            x0, y0 = math.floor(x), math.floor(y)
            fx, fy = np.float32(x - x0), np.float32(y - y0)
            i, j = int(x0), int(y0)
            if i < 0 or j < 0 or i >= size - 1 or j >= size - 1:
                visible += np.float32(1.0)
                continue
            top = (np.float32(1.0) - fx) * (key > shadow[j, i]) + fx * (key > shadow[j, i + 1])
            bottom = (np.float32(1.0) - fx) * (key > shadow[j + 1, i]) + fx * (key > shadow[j + 1, i + 1])
            visible += (np.float32(1.0) - fy) * top + fy * bottom
    return visible / np.float32(9.0)


@nb.njit(cache=True, nogil=True, inline="always")
def _ggx(n_dot_l, n_dot_v, n_dot_h, v_dot_h, roughness):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Cook-Torrance highlight with the GGX distribution, Schlick's Fresnel term (F0 0.028) and the cosine included."""
    alpha = roughness * roughness
    square = alpha * alpha
    falloff = n_dot_h * n_dot_h * (square - np.float32(1.0)) + np.float32(1.0)
    shade = alpha * np.float32(0.5)
    geometry = (n_dot_l * (1 - shade) + shade) * (n_dot_v * (1 - shade) + shade) * np.float32(4.0)
    grazing = np.float32(1.0) - v_dot_h
    fresnel = np.float32(0.028) + np.float32(0.972) * grazing * grazing * grazing * grazing * grazing
    return square / (np.float32(math.pi) * falloff * falloff) * fresnel * n_dot_l / geometry


@nb.njit(cache=True, nogil=True, inline="always")
def _bell(x, width):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """A bump of height 1 that falls to zero at |x| = width."""
    t = x / width
    t = np.float32(1.0) - t * t
    return t * t if t > 0 else np.float32(0.0)


@nb.njit(cache=True, nogil=True)
def _crease(surface, finger, arc, palm, lines, fine):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Depth 0-1 of the creases at a skin point: lines across the finger joints, wrinkles on knuckles, three palm lines."""
    depth = np.float32(0.0)
    arc = arc + np.float32(0.7) * fine
    if finger >= 0:
        base, middle, end = surface.finger_joints[finger]
        if palm > 0.4:
            strength = min(np.float32(1.0), (palm - np.float32(0.4)) * 4)
            depth += strength * (_bell(arc - middle - 1.2, 1.3) + np.float32(0.7) * _bell(arc - middle + 2.0, 1.1))
            depth += strength * np.float32(0.8) * _bell(arc - end, 1.3)
            depth += strength * np.float32(0.8) * _bell(arc - base - np.float32(0.48) * (middle - base), 1.3)
        else:
            wrinkle = max(np.float32(0.0), np.float32(math.sin(arc * 2.6 + 2.0 * fine)))
            depth += np.float32(0.55) * wrinkle * (_bell(arc - middle, 8.0) + np.float32(0.6) * _bell(arc - end, 5.0))
    elif palm > 0.4:
        for line in range(3):
            depth += np.float32(0.75) * _bell(lines[line] + np.float32(0.9) * fine, 1.5)
    return min(depth, np.float32(1.0))


@nb.njit(cache=True, nogil=True)
def _shade_sample(vertex, screen, keys, faces, kinds, fingers, surface, lights, f, x, y):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Linear RGB leaving the surface towards the camera, at grid point (x, y) of face f."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    wa, wb, wc = barycentric(screen, keys, a, b, c, x, y)
    va, vb, vc = vertex[a], vertex[b], vertex[c]
    px, py, pz = wa * va[0] + wb * vb[0] + wc * vc[0], wa * va[1] + wb * vb[1] + wc * vc[1], wa * va[2] + wb * vb[2] + wc * vc[2]
    nx, ny, nz = wa * va[3] + wb * vb[3] + wc * vc[3], wa * va[4] + wb * vb[4] + wc * vc[4], wa * va[5] + wb * vb[5] + wc * vc[5]
    rx, ry, rz = wa * va[6] + wb * vb[6] + wc * vc[6], wa * va[7] + wb * vb[7] + wc * vc[7], wa * va[8] + wb * vb[8] + wc * vc[8]
    red, green, blue = wa * va[9] + wb * vb[9] + wc * vc[9], wa * va[10] + wb * vb[10] + wc * vc[10], wa * va[11] + wb * vb[11] + wc * vc[11]
    ambient_r = wa * va[12] + wb * vb[12] + wc * vc[12]
    ambient_g = wa * va[13] + wb * vb[13] + wc * vc[13]
    ambient_b = wa * va[14] + wb * vb[14] + wc * vc[14]
    skin, kind = surface.skin, kinds[f]
    offset = skin[7]
    mid, mx, my, mz = _solid(surface.noise, rx * np.float32(0.31) + offset, ry * np.float32(0.31), rz * np.float32(0.31) + offset)
    fine, gx, gy, gz = _solid(surface.noise, ry * np.float32(0.93), rz * np.float32(0.93) + offset, rx * np.float32(0.93))
    wrap, roughness, specular, bump = skin[4], skin[5], skin[6], skin[1]
    cavity = np.float32(1.0)
    if kind == SKIN:
        nail, palm, low = wa * va[15] + wb * vb[15] + wc * vc[15], wa * va[16] + wb * vb[16] + wc * vc[16], wa * va[17] + wb * vb[17] + wc * vc[17]
        lines = (wa * va[19] + wb * vb[19] + wc * vc[19], wa * va[20] + wb * vb[20] + wc * vc[20], wa * va[21] + wb * vb[21] + wc * vc[21])
        arc = wa * va[18] + wb * vb[18] + wc * vc[18]
        if nail > 0.5:
            roughness, specular, bump = roughness * np.float32(0.55), specular * np.float32(1.5), np.float32(0.1) * bump
            tip = min(np.float32(1.0), max(np.float32(0.0), (nail - np.float32(0.5)) * 4))
            lighten, redden = skin[8] * tip, skin[9] * tip
            red, green, blue = red + lighten * (np.float32(0.62) - red) + redden, green + lighten * (np.float32(0.42) - green), blue + lighten * (np.float32(0.36) - blue)
        else:
            crease = skin[2] * _crease(surface, fingers[f], arc, palm, lines, np.float32(0.5) * mid)
            cavity = np.float32(1.0) - np.float32(0.5) * crease
            mottle = np.float32(1.0) + skin[0] * (np.float32(0.45) * low + np.float32(0.35) * mid + np.float32(0.25) * fine)
            flush = skin[0] * (np.float32(0.45) * low + np.float32(0.3) * mid)
            vein = skin[3] * max(np.float32(0.0), np.float32(1.0) - abs(low) * np.float32(6.0)) * max(np.float32(0.0), np.float32(1.0) - np.float32(2.0) * palm)
            red *= (mottle + np.float32(0.25) * flush) * (np.float32(1.0) - np.float32(0.35) * crease) * (np.float32(1.0) - vein)
            green *= (mottle - np.float32(0.3) * flush) * (np.float32(1.0) - np.float32(0.55) * crease) * (np.float32(1.0) - np.float32(0.55) * vein)
            blue *= (mottle - np.float32(0.3) * flush) * (np.float32(1.0) - np.float32(0.6) * crease) * (np.float32(1.0) - np.float32(0.35) * vein)
        gx, gy, gz = np.float32(0.6) * gx + np.float32(0.4) * mx, np.float32(0.6) * gy + np.float32(0.4) * my, np.float32(0.6) * gz + np.float32(0.4) * mz
    else:
        colour = surface.cloth if kind == CLOTH else surface.band
        other = np.float32(0.0)
        if kind == BAND:
            other = wa * va[15] + wb * vb[15] + wc * vc[15]
            roughness, specular = np.float32(0.35), np.float32(2.0)
        else:
            pattern = surface.pattern
            along, around = math.sin(ry * pattern[1]), math.sin(rx * pattern[2])
            if pattern[0] == 1:
                other = np.float32(min(1.0, max(0.0, 0.5 + 6.0 * along)))
            elif pattern[0] == 2:
                other = np.float32(0.5) * ((along > 0.3) + (around > 0.3))
            weave = np.float32(1.0) + pattern[3] * (np.float32(0.5) * fine + np.float32(0.5) * mid)
            roughness, specular, bump, wrap = np.float32(0.85), np.float32(0.25), pattern[4], np.float32(0.1)
            gx, gy, gz = np.float32(0.3) * gx + mx, np.float32(0.3) * gy + my, np.float32(0.3) * gz + mz
            red, green, blue = weave, weave, weave
        if kind == BAND:
            red, green, blue = np.float32(1.0), np.float32(1.0), np.float32(1.0)
        red *= colour[0, 0] + other * (colour[1, 0] - colour[0, 0])
        green *= colour[0, 1] + other * (colour[1, 1] - colour[0, 1])
        blue *= colour[0, 2] + other * (colour[1, 2] - colour[0, 2])
    nx, ny, nz = nx - bump * gx, ny - bump * gy, nz - bump * gz
    scale = np.float32(1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12))
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    scale = np.float32(-1.0 / math.sqrt(px * px + py * py + pz * pz))
    vx, vy, vz = px * scale, py * scale, pz * scale
    n_dot_v = max(nx * vx + ny * vy + nz * vz, np.float32(0.02))
    out_r, out_g, out_b = red * ambient_r * cavity, green * ambient_g * cavity, blue * ambient_b * cavity
    grazing = np.float32(1.0) - n_dot_v
    rim = (np.float32(0.02) + np.float32(0.35) * grazing * grazing * grazing * grazing) * specular * (np.float32(1.0) - roughness * np.float32(0.8))
    out_r, out_g, out_b = out_r + rim * ambient_r, out_g + rim * ambient_g, out_b + rim * ambient_b
    for light in range(2):
        lx, ly, lz = lights.directions[light, 0], lights.directions[light, 1], lights.directions[light, 2]
        n_dot_l = nx * lx + ny * ly + nz * lz
        if n_dot_l <= -wrap:
            continue
        visible = np.float32(1.0)
        if light == 0:
            visible = _key_visibility(lights, px, py, pz, nx, ny, nz)
            if visible <= 0:
                continue
        wrap_g, wrap_b = np.float32(0.45) * wrap, np.float32(0.3) * wrap
        one = np.float32(1.0)
        lit_r = visible * max(np.float32(0.0), n_dot_l + wrap) / ((one + wrap) * (one + wrap))
        lit_g = visible * max(np.float32(0.0), n_dot_l + wrap_g) / ((one + wrap_g) * (one + wrap_g))
        lit_b = visible * max(np.float32(0.0), n_dot_l + wrap_b) / ((one + wrap_b) * (one + wrap_b))
        shine = np.float32(0.0)
        if n_dot_l > 0:
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            scale = np.float32(1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-12))
            n_dot_h = max(np.float32(0.0), (nx * hx + ny * hy + nz * hz) * scale)
            v_dot_h = max(np.float32(0.0), (vx * hx + vy * hy + vz * hz) * scale)
            shine = visible * specular * cavity * _ggx(n_dot_l, n_dot_v, n_dot_h, v_dot_h, roughness)
        out_r += (red * lit_r * cavity + shine) * lights.colours[light, 0]
        out_g += (green * lit_g * cavity + shine) * lights.colours[light, 1]
        out_b += (blue * lit_b * cavity + shine) * lights.colours[light, 2]
    return out_r, out_g, out_b


@nb.njit(cache=True, nogil=True)
def shade(vertex, faces, kinds, fingers, centre, sub, surface, lights, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Fill (H, W, 4): linear RGB multiplied by coverage, and coverage.

    Args:
        vertex: (V, COLUMNS) rows.
        faces: (F, 3).
        kinds: (F,) SKIN, CLOTH or BAND.
        fingers: (F,) finger 0-4 of a skin face, -1 elsewhere.
        centre: (points, keys, face, key) of the grid with one sample per pixel.
        sub: The same of the supersampled grid.
        surface: `Surface`.
        lights: `Lights`.
        out: (H, W, 4) float32.
    """
    points, keys, face, key = centre
    sub_points, sub_keys, sub_face, sub_key = sub
    height, width = face.shape
    samples = sub_face.shape[0] // height
    weight = np.float32(1.0 / (samples * samples))
    for row in range(height):
        for column in range(width):
            covered, near, far = 0, np.float32(-np.inf), np.float32(np.inf)
            for j in range(row * samples, (row + 1) * samples):
                for i in range(column * samples, (column + 1) * samples):
                    if sub_face[j, i] >= 0:
                        covered += 1
                        near, far = max(near, sub_key[j, i]), min(far, sub_key[j, i])
            out[row, column, 3] = covered * weight
            if covered == 0:
                continue
            f = face[row, column]
            if covered == samples * samples and f >= 0:
                near, far = max(near, key[row, column]), min(far, key[row, column])
                if np.float32(1.0) / far - np.float32(1.0) / near < _MERGE_MM:
                    red, green, blue = _shade_sample(vertex, points, keys, faces, kinds, fingers, surface, lights, f, float(column), float(row))
                    out[row, column, 0], out[row, column, 1], out[row, column, 2] = red, green, blue
                    continue
            for j in range(row * samples, (row + 1) * samples):
                for i in range(column * samples, (column + 1) * samples):
                    f = sub_face[j, i]
                    if f >= 0:
                        red, green, blue = _shade_sample(vertex, sub_points, sub_keys, faces, kinds, fingers, surface, lights, f, float(i), float(j))
                        out[row, column, 0] += weight * red
                        out[row, column, 1] += weight * green
                        out[row, column, 2] += weight * blue


@nb.njit(cache=True, nogil=True)
def label_parts(points, keys, faces, face, rows, left, probabilities, dominant, parts):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Write the part class of each pixel: argmax of the interpolated part probabilities, +16 for the left hand.

    Args:
        points: (V, 2) vertices on the grid with one sample per pixel.
        keys: (V,) 1 / z.
        faces: (F, 3).
        face: (H, W) visible face, -1 for none.
        rows: (V,) row of `probabilities` of each vertex, -1 for what is not a hand.
        left: (F,) whether the face belongs to the left hand.
        probabilities: (M, 17) of the hand model, 0 = forearm.
        dominant: (M,) their argmax.
        parts: (H, W) uint8, written.
    """
    for y in range(face.shape[0]):
        for x in range(face.shape[1]):
            f = face[y, x]
            parts[y, x] = 0
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ra, rb, rc = rows[a], rows[b], rows[c]
            if ra < 0 or rb < 0 or rc < 0:
                continue
            part = dominant[ra]
            if dominant[rb] != part or dominant[rc] != part:
                wa, wb, wc = barycentric(points, keys, a, b, c, float(x), float(y))
                best = np.float32(-1.0)
                for candidate in range(probabilities.shape[1]):
                    p = wa * probabilities[ra, candidate] + wb * probabilities[rb, candidate] + wc * probabilities[rc, candidate]
                    if p > best:
                        best, part = p, candidate
            if part > 0:
                parts[y, x] = part + 16 if left[f] else part
