"""Reads HEIC pictures, as iPhones take them, and AVIF pictures, with pi-heif and Pillow: the extra `heic`.

Both are files of boxes (ISO/IEC 14496-12). The first box lists brands, which tell what the file is (ISO/IEC 23008-12).
"""

import io
import re
import struct
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Array
from unclasp.errors import refusal

if TYPE_CHECKING:
    from PIL.Image import Image

HeifKind = Literal["HEIC", "AVIF"]

SUFFIXES: Final[dict[str, HeifKind]] = {".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".avif": "AVIF"}
INSTALL: Final = "pip install 'unclasp[heic]'"
"""How to get the packages."""
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEIF_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
"""Brands of pictures in HEVC, and those that leave the coding open."""
_HEADER: Final = 8
"""Bytes of the length and the type with which a box begins."""
_MAX_BRANDS_END: Final = 1024
"""Brands after so many bytes do not count; usual files list up to ten of four bytes."""
_ITEM: Final = re.compile(rb"(....)infe(.)", re.DOTALL)
"""How the entry of an item begins: with its length, which includes all of this, and the entry's version."""
_ITEM_NUMBERS: Final = 16
"""Bytes of the entry before its text, which is the type, of four bytes, and the name; in version 3 two more."""
_ERRORS: Final = (ValueError, EOFError, SyntaxError, RuntimeError, OSError)
"""What the two packages raise for damaged files."""


class HeifHeader(NamedTuple):
    """What a file tells before its pixels are decoded."""

    width: int
    """px."""
    height: int
    """px."""
    exif: bytes
    """The EXIF block; empty if there is none."""


def is_installed() -> bool:
    """Tell whether the packages of the extra are there."""
    return find_spec("pi_heif") is not None and find_spec("PIL") is not None


def kind_of(data: bytes) -> HeifKind | None:
    """Return which of the two formats a file's content is of; None if of neither."""
    if data[4:_HEADER] != b"ftyp":
        return None
    length = int.from_bytes(data[:4])
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(length, _MAX_BRANDS_END), 4))}
    return "AVIF" if brands & _AVIF_BRANDS else "HEIC" if brands & _HEIF_BRANDS else None


def read_header(kind: HeifKind, data: bytes) -> HeifHeader:
    """Return the size and the EXIF block of a picture, without decoding its pixels.

    Raises:
        ImageError: The extra is not installed.
        EOFError: The file is truncated or damaged.
    """
    _check_boxes(data)
    picture = _open(kind, data)
    return HeifHeader(*picture.size, picture.info.get("exif") or b"")


def read_pixels(kind: HeifKind, data: bytes) -> Array:
    """Return the pixels (H, W, 3 or 4) of a picture, uint8 BGR or BGRA, to be rotated by the header's EXIF orientation.

    HEIC is rotated already, by the orientation of its container, and its header says so.

    Raises:
        ImageError: The extra is not installed.
        EOFError: The file is truncated or damaged.
    """
    picture = _open(kind, data)
    try:
        picture.load()
        pixels = np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
    except _ERRORS as error:
        raise EOFError from error
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)


def _open(kind: HeifKind, data: bytes) -> "Image":
    """Return a picture whose pixels are decoded when it is asked for them."""
    file = io.BytesIO(data)
    try:  # the classes are used directly, as PIL.Image.open has a limit of pixels of its own
        from pi_heif import HeifImageFile  # noqa: PLC0415  an extra
        from PIL.AvifImagePlugin import AvifImageFile  # noqa: PLC0415

        return HeifImageFile(file) if kind == "HEIC" else AvifImageFile(file)
    except ImportError:  # also where pi-heif is there, but its library cannot be loaded, which using it tells
        got = f"{'a' if kind == 'HEIC' else 'an'} {kind} picture"
        advice = f"{INSTALL} to read it, or convert it to JPEG"
        raise refusal("a JPEG, PNG, WebP, BMP or TIFF picture", got, advice) from None
    except _ERRORS as error:
        raise EOFError from error


def _check_boxes(data: bytes) -> None:
    """Raise an EOFError for what the packages do not: boxes that are cut off, and names that are no text.

    The decoders fill in what is missing of a picture, and pi-heif ends the process over such a name.
    """
    at = 0
    while at + _HEADER <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + _HEADER)
        end = at + max(length, _HEADER) if length else len(data)
        if end > len(data):
            raise EOFError
        if kind == b"meta":
            _check_names(data[at:end])
        at = end


def _check_names(meta: bytes) -> None:
    """Raise an EOFError unless the names and types of all items in a meta box are text.

    It is also raised for entries that overlap, so that no byte is read twice, and for the lengths 0 (up to the end) and
    1 (in 64 bits), which are of no use for an entry.
    """
    unread = len(meta)
    for item in _ITEM.finditer(meta):
        length = int.from_bytes(item[1])
        unread -= length
        if length < _ITEM_NUMBERS or unread < 0:
            raise EOFError
        text = meta[item.start() : item.start() + length][_ITEM_NUMBERS + 2 * (item[2] == b"\3") :]
        try:
            text[:4].decode()
            text[4:].decode()
        except UnicodeDecodeError:
            raise EOFError from None
