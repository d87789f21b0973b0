"""Lifts 2.5D poses to millimetres, also when the camera is unknown.

A 2.5D pose determines neither the focal length nor the distance. Without intrinsics, the field of view across the
picture's longer side is assumed to be `FIELD_OF_VIEW`. The distance is chosen such that the bones have the lengths of
an average adult hand.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Bools, Floats
from unclasp.geometry import JointLines
from unclasp.hands import BONES, HAND_SLICES, JOINTS_PER_HAND

FIELD_OF_VIEW: Final = 60.0
"""Degrees across the longer side of a picture from an unknown camera: between phones (65-75) and portraits (40)."""
BONE_LENGTHS_MM: Final = (
    27.4, 35.8, 29.2, 43.3, 26.2, 23.1, 25.9, 102.5, 26.5, 27.2,
    32.9, 98.5, 25.9, 23.7, 29.3, 94.7, 19.4, 15.3, 21.2, 91.4,
)  # fmt: skip
"""Lengths of the 20 bones of the mean synthetic hand, in the order of `hands.BONES`. The tip of its middle finger is
185 mm from the wrist."""
_SQUARED_LENGTH: Final = sum(length**2 for length in BONE_LENGTHS_MM)
_JOINTS, _PARENTS = np.array([bone for bone in BONES if bone[0] < JOINTS_PER_HAND]).T
"""Indices of the two ends of a hand's 20 bones."""
DEPTH_RANGE_MM: Final = (120.0, 100_000.0)
"""Range to which distances are clipped; hands beyond it would be too large or too small to be seen in a picture."""
MIN_LATERAL_SHARE: Final = 0.1
"""Minimum share of the summed squared bone lengths that lies across the line of sight; larger relative depths are
treated as errors."""
MIN_SHARE_OF_SIZE: Final = 0.5
"""That of `shares_of_size` with a confidence of 0, fitted to the first 1,200 pictures of synthetic:val."""


def assumed_focal(width: int, height: int) -> float:
    """Return the focal length in px that corresponds to `FIELD_OF_VIEW`.

    Examples:
        >>> round(assumed_focal(1000, 500), 1)
        866.0
    """
    return max(width, height) / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))


def shares_of_size(confidence: Floats | None) -> Floats:
    """Return the summed squared bone lengths to expect of predicted hands, as shares of the true hands': (2,).

    A prediction with the least expected error is the mean of the poses that fit the picture. Its bones are shorter than
    theirs, the more so the more these poses differ, that is, the lower the confidence. With whole bones an uncertain
    hand would come out too large and too far away (docs/decisions.md). A certain one has all of its size.

    Args:
        confidence: (42,) 0 to 1; None if it is not known, which counts as certain.
    """
    if confidence is None:
        return np.ones(2)
    means = np.array([confidence[hand].mean() for hand in HAND_SLICES])
    return np.asarray(MIN_SHARE_OF_SIZE + (1 - MIN_SHARE_OF_SIZE) * means)


def wrist_depths(
    lines: JointLines, present: Bools, *, left_from_right: tuple[float, float] | None, shares: npt.ArrayLike = (1, 1)
) -> Floats:
    """Estimate the depth of each wrist from the size of the hand.

    For a wrist depth Z, a joint is at Z a + b (`geometry.JointLines`), so a bone's squared length is quadratic in Z. Z
    is solved such that the squared lengths of a hand's 20 bones add up to the mean hand's, or to a share of them. If
    both hands are present and their depth difference is known, one Z is solved for both hands together. If one hand is
    present and the difference is known, the other wrist's depth follows from it.

    Args:
        lines: The joints as functions of their wrist's depth.
        present: (2,) which hands are present.
        left_from_right: (scale, shift in mm): the left wrist's depth is scale times the right one's plus shift
            (`geometry.offset_along`). None if that is not known.
        shares: (2,) shares of the mean hand's summed squared bone lengths: `shares_of_size` if joints are predicted.

    Returns:
        (2,) mm, clipped to `DEPTH_RANGE_MM`.
    """
    polynomials = [
        _squared_length(lines.per_mm[hand], lines.fixed[hand], share)
        for hand, share in zip(HAND_SLICES, np.asarray(shares, dtype=np.float64), strict=True)
    ]
    if left_from_right is None or not present.any():
        return np.clip([_root(polynomial) for polynomial in polynomials], *DEPTH_RANGE_MM)
    s, d = left_from_right
    if present.all():
        # Z of the left wrist is s Z + d: a (s Z + d)^2 + b (s Z + d) + c.
        a, b, c = polynomials[1]
        shifted = np.array([a * s * s, s * (b + 2 * a * d), c + b * d + a * d * d])
        right = _root(polynomials[0] + shifted, hands=2)
    else:  # the absent hand's wrist follows from the present one's
        right = _root(polynomials[0]) if present[0] else (_root(polynomials[1]) - d) / s
    return np.clip([right, s * right + d], *DEPTH_RANGE_MM)


def mm_per_px(pixels: Floats, depths: Floats) -> float:
    """Return the scale at which a hand's squared bone lengths add up to the mean hand's, without knowing the camera.

    The hand is assumed to be far away (scaled orthographic projection).

    Args:
        pixels: (21, 2) px.
        depths: (21,) mm, relative to each other.
    """
    across, along = np.square(_along_bones(pixels)).sum(), np.square(_along_bones(depths)).sum()
    lateral = max(_SQUARED_LENGTH - along, MIN_LATERAL_SHARE * _SQUARED_LENGTH)
    return float(np.sqrt(lateral / max(across, 1e-6)))


def hand_sized(points: Floats) -> Floats:
    """Scale a hand's points (21, 3), in any unit, to the mean hand's summed squared bone length, in mm."""
    return np.asarray(points * np.sqrt(_SQUARED_LENGTH / max(np.square(_along_bones(points)).sum(), 1e-6)))


def _along_bones(values: Floats) -> Floats:
    """Return the differences of values (21, ...) along a hand's 20 bones, joint minus parent: (20, ...)."""
    return np.asarray(values[_JOINTS] - values[_PARENTS])


def _squared_length(per_mm: Floats, fixed: Floats, share: float) -> Floats:
    """Return the coefficients a, b, c in Z of the summed squared bone lengths minus a share of the mean hand's."""
    slope, offset = _along_bones(per_mm), _along_bones(fixed)
    return np.array([(slope**2).sum(), 2 * (slope * offset).sum(), (offset**2).sum() - share * _SQUARED_LENGTH])


def _root(polynomial: Floats, *, hands: int = 1) -> float:
    """Return the larger root Z, or a larger value if less than `MIN_LATERAL_SHARE` of the lengths is across the view.

    a Z^2 + b Z + c is a (Z - Z0)^2 - l, where Z0 = -b / 2a and l is the part of the squared lengths that depends on Z.
    """
    a, b, c = polynomial
    if a < 1e-12:
        return DEPTH_RANGE_MM[1]
    lateral = max(b * b / (4 * a) - c, hands * MIN_LATERAL_SHARE * _SQUARED_LENGTH)
    return float(-b / (2 * a) + math.sqrt(lateral / a))
