"""From the network's crop to the picture and to millimetres, when nobody knows the camera.

A 2.5D pose leaves two things open: the focal length and the distance. Without intrinsics the field of view of the
picture's longer side is taken to be `FIELD_OF_VIEW`; the distance is the one at which the bones have the lengths of an
average adult hand.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.geometry import JointLines
from unclasp.hands import BONES, HAND_SLICES, JOINTS_PER_HAND

Floats = npt.NDArray[np.floating]

FIELD_OF_VIEW: Final = 60.0
"""Degrees across the longer side of a picture whose camera is not known: between phones (65-75) and portraits (40)."""
BONE_LENGTHS_MM: Final = (
    27.4, 35.8, 29.2, 43.3, 26.2, 23.1, 25.9, 102.5, 26.5, 27.2,
    32.9, 98.5, 25.9, 23.7, 29.3, 94.7, 19.4, 15.3, 21.2, 91.4,
)  # fmt: skip
"""Lengths of the 20 bones of the mean synthetic hand, in the order of `hands.BONES`; the middle finger's tip is 185 mm
from the wrist."""
_SQUARED_LENGTH: Final = sum(length**2 for length in BONE_LENGTHS_MM)
_JOINTS, _PARENTS = np.array([bone for bone in BONES if bone[0] < JOINTS_PER_HAND]).T
"""The ends of a hand's bones."""
BELIEVED_DEPTHS_MM: Final = (120.0, 100_000.0)
"""Distances outside of this range are not believed and are clipped: no hand of a size like that is seen."""
LATERAL_SHARE: Final = 0.1
"""At least this share of the squared bone lengths is seen across the view; relative depths that leave less are not
believed."""


def assumed_focal(width: int, height: int) -> float:
    """Return the focal length in px that goes with `FIELD_OF_VIEW`.

    >>> round(assumed_focal(1000, 500), 1)
    866.0
    """
    return max(width, height) / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))


def wrist_depths(
    lines: JointLines, present: npt.NDArray[np.bool_], *, left_from_right: tuple[float, float] | None
) -> Floats:
    """Find the depth of each wrist from the size of the hand.

    With unknown wrist depth Z a joint is at Z a + b (`geometry.JointLines`), so the squared length of a bone is
    quadratic in Z. Z is where the squared lengths of a hand's 20 bones sum up to those of the mean hand; with both
    hands present and their depth difference known, where those of both hands do. With one hand present and the
    difference known, the other wrist is put where that says.

    Args:
        lines: Where the joints may be.
        present: (2,) which hands count.
        left_from_right: The left wrist's depth is the first times the right one's plus the second, mm
            (`geometry.offset_along`), or None if that is not known.

    Returns:
        (2,) mm.
    """
    polynomials = [_squared_length(lines.per_mm[hand], lines.fixed[hand]) for hand in HAND_SLICES]
    if left_from_right is None or not present.any():
        return np.clip([_root(polynomial) for polynomial in polynomials], *BELIEVED_DEPTHS_MM)
    s, d = left_from_right
    if present.all():
        # Z of the left wrist is s Z + d: a (s Z + d)^2 + b (s Z + d) + c.
        a, b, c = polynomials[1]
        shifted = np.array([a * s * s, s * (b + 2 * a * d), c + b * d + a * d * d])
        right = _root(polynomials[0] + shifted, hands=2)
    else:  # the other one follows
        right = _root(polynomials[0]) if present[0] else (_root(polynomials[1]) - d) / s
    return np.clip([right, s * right + d], *BELIEVED_DEPTHS_MM)


def mm_per_px(pixels: Floats, depths: Floats) -> float:
    """Return the scale at which a hand far away has bones of the mean hand's squared lengths: no camera is asked for.

    Args:
        pixels: (21, 2) px.
        depths: (21,) mm, relative to each other.
    """
    across, along = np.square(_along_bones(pixels)).sum(), np.square(_along_bones(depths)).sum()
    lateral = max(_SQUARED_LENGTH - along, LATERAL_SHARE * _SQUARED_LENGTH)
    return float(np.sqrt(lateral / max(across, 1e-6)))


def hand_sized(points: Floats) -> Floats:
    """Return the points (21, 3) of a hand in any unit in mm: as large as makes its bones have the mean hand's lengths.

    That is, squared and summed, as for `wrist_depths`.
    """
    return np.asarray(points * np.sqrt(_SQUARED_LENGTH / max(np.square(_along_bones(points)).sum(), 1e-6)))


def _along_bones(values: Floats) -> Floats:
    """Return what each of a hand's 20 bones adds to what joints have: (21, ...) to (20, ...)."""
    return np.asarray(values[_JOINTS] - values[_PARENTS])


def _squared_length(per_mm: Floats, fixed: Floats) -> Floats:
    """Return the coefficients in Z of the summed squared bone lengths minus the mean hand's."""
    slope, offset = _along_bones(per_mm), _along_bones(fixed)
    return np.array([(slope**2).sum(), 2 * (slope * offset).sum(), (offset**2).sum() - _SQUARED_LENGTH])


def _root(polynomial: Floats, *, hands: int = 1) -> float:
    """Return the larger root, or a little more where too few of the squared lengths would be left across the view.

    a Z^2 + b Z + c is a (Z - Z0)^2 - l, where Z0 = -b / 2a and l is the part of the squared lengths that depends on Z.
    """
    a, b, c = polynomial
    if a < 1e-12:
        return BELIEVED_DEPTHS_MM[1]
    lateral = max(b * b / (4 * a) - c, hands * LATERAL_SHARE * _SQUARED_LENGTH)
    return float(-b / (2 * a) + math.sqrt(lateral / a))
