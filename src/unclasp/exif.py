"""What a picture's EXIF block says of how it was taken: which way up, and with which focal length.

An EXIF block is a small TIFF file (EXIF 2.32, 4.6): directories of tags, the first one of the picture, and one of the
shot that it points at.
"""

import math
import struct
from typing import Final

_SHORT, _LONG = 3, 4
"""Kinds of TIFF values."""
_ORIENTATION, _SHOT, _WIDTH, _HEIGHT, _FOCAL_35MM = 0x0112, 0x8769, 0xA002, 0xA003, 0xA405
"""Tags: Orientation, ExifIFDPointer, PixelXDimension, PixelYDimension, FocalLengthIn35mmFilm."""

DIAGONAL_35MM: Final = math.hypot(36, 24)
"""mm: the diagonal of a frame of 35 mm film, in terms of which the focal length is told."""
FOCALS_35MM: Final = (8, 1200)
"""mm: what is shorter or longer is not believed."""
ASPECTS: Final = {4 / 3: 5 / 4, 3 / 2: math.hypot(3, 2) / 3, 16 / 9: 5 / 4}
"""Ratios of sides that cameras have, and the diagonal of the sensor in longer sides of the picture: those of 16:9 are
mostly cut from a sensor of 4:3."""
_ALIKE: Final = 0.015
"""Ratios of sides that differ by less are the same."""


def tiff_tags(data: bytes, start: int | None = None) -> dict[int, int]:
    """Return the value of each tag of a directory of a TIFF file or EXIF block; 0 for all but single integers.

    Of a tag that comes twice, the first counts, as for the library that decodes the file.

    Args:
        data: The file or block.
        start: Where the directory begins; the first one if not given.

    Raises:
        struct.error: It is damaged.
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
    """Return the EXIF orientation, 1 to 8; 1 (upright) where there is none or the block is damaged."""
    try:
        return tiff_tags(_block(exif)).get(_ORIENTATION, 1)
    except struct.error:
        return 1


def focal_length(exif: bytes, width: int, height: int) -> float | None:
    """Return the focal length in px of a picture, from the one in terms of 35 mm film that phones and cameras note.

    None where there is none, and where the picture has been cropped: its sides are not in the ratio of those that the
    block tells, or not in one that cameras have.

    Args:
        exif: The block; it may be empty.
        width: px of the picture, turned or not.
        height: px.
    """
    try:
        block = _block(exif)
        at = tiff_tags(block).get(_SHOT, 0)
        shot = tiff_tags(block, at) if at else {}
    except struct.error:
        return None
    focal, taken = shot.get(_FOCAL_35MM, 0), (shot.get(_WIDTH, 0), shot.get(_HEIGHT, 0))
    aspect = _aspect(width, height)
    if min(taken) > 0 and not math.isclose(aspect, _aspect(*taken), rel_tol=_ALIKE):
        return None
    diagonal = next((sides for known, sides in ASPECTS.items() if math.isclose(aspect, known, rel_tol=_ALIKE)), None)
    if diagonal is None or not FOCALS_35MM[0] <= focal <= FOCALS_35MM[1]:
        return None
    return focal / DIAGONAL_35MM * diagonal * max(width, height)


def _block(exif: bytes) -> bytes:
    return exif.removeprefix(b"Exif\0\0")


def _aspect(width: int, height: int) -> float:
    return max(width, height) / min(width, height)
