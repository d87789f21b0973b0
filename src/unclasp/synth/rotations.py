"""Rotations about an axis.

Rodrigues' formula is here twice: entry by entry for code that numba compiles, and with matrices elsewhere. The results
differ in the last bits, on which pictures depend, so that neither can replace the other.
"""

import numpy as np

from unclasp.arrays import Doubles
from unclasp.synth.compiled import compiled


@compiled
def rotation_matrix(axis: Doubles, angle: float) -> Doubles:
    """Return the 3x3 rotation about a unit axis by an angle in radians."""
    x, y, z = axis[0], axis[1], axis[2]
    c, s = np.cos(angle), np.sin(angle)
    t = 1 - c
    return np.array([
        [t * x * x + c, t * x * y - s * z, t * x * z + s * y],
        [t * x * y + s * z, t * y * y + c, t * y * z - s * x],
        [t * x * z - s * y, t * y * z + s * x, t * z * z + c],
    ])  # fmt: skip


@compiled
def product(a: Doubles, b: Doubles) -> Doubles:
    """Return the product of two 3x3 matrices; numba's own operator needs SciPy."""
    c = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            c[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
    return c


def rotation_about(axis: Doubles, degrees: float) -> Doubles:
    """Return the 3x3 rotation about an axis of any length."""
    x, y, z = axis / (np.linalg.norm(axis) + 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def rotation_between(a: Doubles, b: Doubles) -> Doubles:
    """Return the smallest rotation from the direction a to the direction b."""
    axis = np.cross(a, b)
    sine, cosine = float(np.linalg.norm(axis)), float(a @ b)
    if sine < 1e-8:
        return np.eye(3) if cosine > 0 else rotation_about(np.cross(a, np.eye(3)[np.abs(a).argmin()]), 180.0)
    return rotation_about(axis, float(np.rad2deg(np.arctan2(sine, cosine))))


def degrees_about(axis: Doubles, a: Doubles, b: Doubles) -> float:
    """Return the angle in degrees by which a rotation about a unit axis turns the vector a towards b."""
    a, b = a - (a @ axis) * axis, b - (b @ axis) * axis
    return float(np.rad2deg(np.arctan2(np.cross(a, b) @ axis, a @ b)))
