"""Reads the orientation and the focal length of a picture from its EXIF block.

An EXIF block is a small TIFF file with directories of tags: one for the picture, and one for the exposure, to which the
first one points (EXIF 2.32, section 4.6).
"""

import math
import struct
from typing import Final

_SHORT, _LONG = 3, 4
"""TIFF value types."""
_ORIENTATION, _EXIF_POINTER, _WIDTH, _HEIGHT, _FOCAL_35MM = 0x0112, 0x8769, 0xA002, 0xA003, 0xA405
"""Tags: Orientation, ExifIFDPointer, PixelXDimension, PixelYDimension, FocalLengthIn35mmFilm."""

DIAGONAL_35MM: Final = math.hypot(36, 24)
"""mm: diagonal of a 35 mm film frame, to which FocalLengthIn35mmFilm refers."""
FOCALS_35MM: Final = (8, 1200)
"""mm: focal lengths outside this range are ignored."""
ASPECTS: Final = {4 / 3: 5 / 4, 3 / 2: math.hypot(3, 2) / 3, 16 / 9: 5 / 4}
"""Aspect ratios of cameras -> diagonal of the sensor, as a multiple of the longer side of the picture. Pictures of 16:9
are mostly cut from a 4:3 sensor."""
_ASPECT_TOLERANCE: Final = 0.015
"""Relative difference up to which two aspect ratios count as equal."""


def tiff_tags(data: bytes, start: int | None = None) -> dict[int, int]:
    """Return the tags of one directory of a TIFF file or EXIF block; values that are not a single integer are 0.

    The first of duplicate tags counts, as in the library that decodes the file.

    Args:
        data: The file or block.
        start: Offset of the directory; the first directory if not given.

    Raises:
        struct.error: The data is damaged.
    """
    order = "<" if data.startswith(b"II") else ">"
    if start is None:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags: dict[int, int] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, at)
        (value,) = struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'I'}", data, at + 8)
        tags.setdefault(tag, value if kind in (_SHORT, _LONG) and length == 1 else 0)
    return tags


def orientation(exif: bytes) -> int:
    """Return the EXIF orientation, normally 1 to 8; 1 (upright) if there is none or the block is damaged."""
    try:
        return tiff_tags(_block(exif)).get(_ORIENTATION, 1)
    except struct.error:
        return 1


def focal_length(exif: bytes, width: int, height: int) -> float | None:
    """Return the focal length of a picture in px, computed from its 35 mm equivalent, which phones and cameras store.

    None if the block has none or one outside `FOCALS_35MM`, and if the aspect ratio shows that the picture was cropped:
    it is none of `ASPECTS`, or differs from that of the size in the block.

    Args:
        exif: The EXIF block; it may be empty.
        width: Width of the picture in px, before or after the orientation is applied.
        height: Height in px.
    """
    try:
        block = _block(exif)
        start = tiff_tags(block).get(_EXIF_POINTER, 0)
        exposure = tiff_tags(block, start) if start else {}
    except struct.error:
        return None
    focal, size = exposure.get(_FOCAL_35MM, 0), (exposure.get(_WIDTH, 0), exposure.get(_HEIGHT, 0))
    aspect = _aspect(width, height)
    if min(size) > 0 and not math.isclose(aspect, _aspect(*size), rel_tol=_ASPECT_TOLERANCE):
        return None
    diagonals = (ratio for known, ratio in ASPECTS.items() if math.isclose(aspect, known, rel_tol=_ASPECT_TOLERANCE))
    diagonal = next(diagonals, None)
    if diagonal is None or not FOCALS_35MM[0] <= focal <= FOCALS_35MM[1]:
        return None
    return focal / DIAGONAL_35MM * diagonal * max(width, height)


def _block(exif: bytes) -> bytes:
    return exif.removeprefix(b"Exif\0\0")


def _aspect(width: int, height: int) -> float:
    return max(width, height) / min(width, height)
