"""The rasteriser: finds the visible triangle at each sample of a grid, on one core, compiled by numba.

Conventions: pixel centres are at integers, so pixel (column x, row y) is sampled at the point (x, y). A grid with
supersampling s has s * W columns; its sample i lies at u = (i + 0.5) / s - 0.5 in the picture (`supersampled` is the
inverse).

Vertices are snapped to 1/256 of a grid step, which makes the edge functions exact in float64: neighbouring triangles
leave no holes or cracks, and the result is the same on every machine. A sample on a shared edge belongs to the nearer
triangle. The kernel keeps the *largest* key: pass 1 / z for a perspective camera (linear on the screen, so the depth is
perspective-correct) and -depth for a parallel light.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Doubles, Floats, Ints, Singles
from unclasp.synth.compiled import compiled

SUBPIXEL: Final = 256.0
"""Number of steps per grid step that vertices are rounded to."""
NEAR_MM: Final = 20.0
"""Triangles with a vertex nearer than this are dropped; hands are never that close to the camera."""


class Screen(NamedTuple):
    """Vertices on a sampling grid."""

    points: Doubles
    """(V, 2) column and row in grid steps, snapped to 1/256."""
    keys: Singles
    """(V,) 1 / z (perspective) or -depth (parallel light); triangles with a NaN vertex are dropped."""


class Raster(NamedTuple):
    """A mesh on a sampling grid: its vertices (see `Screen`), and the visible face at each sample."""

    points: Doubles
    """(V, 2)."""
    keys: Singles
    """(V,)."""
    face: Ints
    """(H, W) index of the nearest face, -1 for none."""
    key: Singles
    """(H, W) its interpolated key, -inf for none."""

    def depth(self) -> Singles:
        """Return the depth z (H, W) in mm for keys 1 / z; inf for no face."""
        with np.errstate(divide="ignore"):
            return np.where(self.face >= 0, 1.0 / self.key, np.inf).astype(np.float32)


def supersampled(points: Doubles, supersample: int) -> Doubles:
    """Map picture coordinates (pixels) to a grid with `supersample` samples per pixel side.

    Examples:
        >>> supersampled(np.array([0.0, 1.0]), 2)
        array([0.5, 2.5])
    """
    return (points + 0.5) * supersample - 0.5


def project_to_grid(vertices: Floats, focal: Floats, princpt: Floats, *, supersample: int = 1) -> Screen:
    """Project camera-frame vertices onto the sampling grid of a picture.

    Args:
        vertices: (V, 3) mm, camera frame (x right, y down, z forward).
        focal: (2,) pixels.
        princpt: (2,) pixels, pixel centres at integers.
        supersample: Samples per pixel side.
    """
    depth = np.asarray(vertices[:, 2], dtype=np.float64)
    safe = np.where(depth > NEAR_MM, depth, np.nan)
    pixels = np.asarray(vertices[:, :2], dtype=np.float64) / safe[:, None] * focal + princpt
    return Screen(snap(supersampled(pixels, supersample)), (1.0 / safe).astype(np.float32))


def snap(points: Doubles) -> Doubles:
    """Round grid coordinates to the subpixel grid on which edge functions are exact."""
    return np.rint(points * SUBPIXEL) / SUBPIXEL


def rasterize(screen: Screen, faces: Ints, *, width: int, height: int) -> Raster:
    """Find the nearest front face at every sample.

    Args:
        screen: Vertices on the grid.
        faces: (F, 3) vertex indices; the cross product of the edges points outward. Back faces are culled.
        width: Columns of the grid.
        height: Rows of the grid.
    """
    face = np.empty((height, width), dtype=np.int32)
    key = np.empty((height, width), dtype=np.float32)
    _rasterize(screen.points, screen.keys, faces, face, key)
    return Raster(screen.points, screen.keys, face, key)


@compiled
def _rasterize(points: Doubles, keys: Singles, faces: Ints, face: Ints, best: Singles) -> None:
    height, width = face.shape
    face[:] = -1
    best[:] = -np.inf
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        xa, ya, xb, yb, xc, yc = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        # y points down, so this is the signed area of a front face; NaN (too near) fails the comparison
        area = (xc - xa) * (yb - ya) - (xb - xa) * (yc - ya)
        if not area > 0.0:
            continue
        x_first = max(0.0, math.ceil(min(xa, xb, xc)))
        x_last = min(width - 1.0, math.floor(max(xa, xb, xc)))
        y_first = max(0.0, math.ceil(min(ya, yb, yc)))
        y_last = min(height - 1.0, math.floor(max(ya, yb, yc)))
        if x_first > x_last or y_first > y_last:
            continue
        scale = 1.0 / area
        key_a, key_b, key_c = keys[a], keys[b], keys[c]
        for row in range(int(y_first), int(y_last) + 1):
            y = float(row)
            for column in range(int(x_first), int(x_last) + 1):
                x = float(column)
                weight_a = (xc - x) * (yb - y) - (xb - x) * (yc - y)
                weight_b = (xa - x) * (yc - y) - (xc - x) * (ya - y)
                weight_c = area - weight_a - weight_b
                if weight_a < 0.0 or weight_b < 0.0 or weight_c < 0.0:
                    continue
                key = np.float32((weight_a * key_a + weight_b * key_b + weight_c * key_c) * scale)
                if key > best[row, column]:
                    best[row, column] = key
                    face[row, column] = f


@compiled
def barycentric(
    points: Doubles, keys: Singles, corners: tuple[int, int, int], x: float, y: float
) -> tuple[float, float, float]:
    """Return the perspective-correct weights of a triangle's vertices at grid point (x, y); keys are 1 / z."""
    a, b, c = corners
    xa, ya, xb, yb, xc, yc = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
    weight_a = ((xc - x) * (yb - y) - (xb - x) * (yc - y)) * keys[a]
    weight_b = ((xa - x) * (yc - y) - (xc - x) * (ya - y)) * keys[b]
    weight_c = ((xb - x) * (ya - y) - (xa - x) * (yb - y)) * keys[c]
    scale = 1.0 / (weight_a + weight_b + weight_c)
    return weight_a * scale, weight_b * scale, weight_c * scale
