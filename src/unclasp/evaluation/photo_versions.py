"""Makes versions of a photo (mirrored, rotated, darker and so on), so that a few photos make a larger test set.

A robust prediction stays correct in all versions; a lucky one does not.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.picture import with_gamma
from unclasp.picture_formats import MIN_SIDE

TURN_DEGREES: Final = 15.0
"""Rotation in degrees, in either direction."""
DARK_GAMMA: Final = 1.8
"""Gamma exponent of the darker version, for values from 0 to 1."""
JPEG_QUALITY: Final = 25
"""Quality of the coarse JPEG, from 0 to 100."""
MARGIN_DIVISOR: Final = 3
"""The wider version has margins of 1 / MARGIN_DIVISOR of the height and width, which repeat the picture's border."""


class Version(NamedTuple):
    """A changed photo."""

    name: str
    image: Pixels
    """(H, W, 3) RGB."""
    version_from_photo: Floats
    """3x3, from pixels of the photo to pixels of the version."""


def versions(image: Pixels) -> Iterator[Version]:
    """Yield the versions of a photo (H, W, 3) RGB; the half-size one only if it is still at least `MIN_SIDE` px."""
    height, width = image.shape[:2]
    same = np.eye(3)
    yield Version("mirrored", np.asarray(cv2.flip(image, 1), dtype=np.uint8), geometry.flip_matrix(width))
    if min(height, width) >= 2 * MIN_SIDE:
        yield _halved(image)
    for name, degrees in (("turned left", -TURN_DEGREES), ("turned right", TURN_DEGREES)):
        turn = geometry.turn_matrix(np.array([width - 1, height - 1]) / 2, degrees)
        turned = cv2.warpAffine(image, turn[:2], (width, height), borderMode=cv2.BORDER_REPLICATE)
        yield Version(name, np.asarray(turned, dtype=np.uint8), turn)
    rows, columns = height // MARGIN_DIVISOR, width // MARGIN_DIVISOR
    wider = cv2.copyMakeBorder(image, rows, rows, columns, columns, cv2.BORDER_REPLICATE)
    yield Version("wider", np.asarray(wider, dtype=np.uint8), np.array([[1.0, 0, columns], [0, 1, rows], [0, 0, 1]]))
    yield Version("darker", with_gamma(image, DARK_GAMMA), same)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    yield Version("grey", np.repeat(np.asarray(grey, dtype=np.uint8)[..., None], 3, axis=2), same)
    _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
    yield Version("coarse JPEG", np.ascontiguousarray(decoded[..., ::-1]), same)


def _halved(image: Pixels) -> Version:
    height, width = image.shape[:2]
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    x, y = width // 2 / width, height // 2 / height
    # Coordinates are at pixel centres, so the corner (-0.5, -0.5) is the fixed point.
    matrix = np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2], [0.0, 0.0, 1.0]])
    return Version("half as large", np.asarray(half, dtype=np.uint8), matrix)
