"""Recognises the formats of picture files, and checks their structure before they are decoded.

OpenCV, which decodes most of them, fills truncated files with grey and only prints a warning.
"""

import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from unclasp import heif, tiff
from unclasp.arrays import Array
from unclasp.errors import refusal
from unclasp.exif import tiff_tags

MIN_SIDE = 16
"""Smallest width and height, in pixels."""
_MAX_SCANS = 100
"""Most scans of a JPEG, each of which is decoded over the whole picture; progressive ones have about 10."""

_SUBFILE_TYPE, _DNG_VERSION = 0x00FE, 0xC612
"""TIFF tags: NewSubfileType, whose lowest bit means a reduced copy, and DNGVersion (Adobe's DNG 1.7)."""
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither stuffing, restart marker nor fill byte
_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (0, b"GIF8", "a GIF"),
    (8, b"AVI ", "a video"),
    (0, b"G@", "a video"),
    (0, b"\0\0\1\xba", "a video"),
    (0, b"FLV\1", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (4, b"ftypcrx", "a raw picture"),
    (4, b"ftyp", "a video"),
    (0, b"FUJIFILMCCD-RAW", "a raw picture"),
    (0, b"IIU\0", "a raw picture"),  # Panasonic
    (0, b"IIR", "a raw picture"),  # Olympus
    (0, b"PK\x03\x04", "a ZIP archive"),
)


class Format(NamedTuple):
    """A format that can be read."""

    name: str
    check: Callable[[bytes, int], bytes]
    """Takes a file's bytes and the largest width × height, and returns the EXIF block, which may be empty. Raises an
    ImageError for bad sizes; for truncated or damaged data also EOFError or struct.error."""
    decode: Callable[[bytes], Array] | None = None
    """Takes a file's bytes, and returns its pixels as OpenCV does, which is used if this is None."""


def recognise(data: bytes) -> Format:
    """Return the format of a file's content.

    Raises:
        ImageError: It is none that can be read; a one-line message.
    """
    if not data:
        raise refusal("a picture", "an empty file", "copy or download it again")
    for magic, found in _FORMATS:
        if data.startswith(magic) and (found.name != "WebP" or data[8:12] == b"WEBP"):
            return found
    kind = heif.kind_of(data)
    if kind is not None:
        return Format(kind, partial(_check_heif, kind), partial(heif.read_pixels, kind))
    unknown = "a text file" if data[:64].isascii() and b"\0" not in data[:64] else "an unknown format"
    format_name = next((name for at, magic, name in _OTHER_FORMATS if data.startswith(magic, at)), unknown)
    advice = "convert it to JPEG or PNG" + (", or to MP4 if it moves" if format_name == "a GIF" else "")
    if format_name == "a video":
        advice = "run unclasp predict on it, under a name that ends in .mp4, or extract its frames as pictures"
    raise refusal("a JPEG, PNG, WebP, BMP or TIFF picture", format_name, advice)


def _check_size(width: int, height: int, *, max_pixels: int) -> None:
    """Raise an error if the size in the header is out of range, before anything is decoded."""
    if min(width, height) < MIN_SIDE:
        raise refusal(f"at least {MIN_SIDE} × {MIN_SIDE} pixels", f"{width} × {height}", "use a larger picture")
    if width * height > max_pixels:
        raise refusal(f"at most {max_pixels:,} pixels", f"{width} × {height}", "shrink the picture first")


def _check_jpeg(data: bytes, max_pixels: int) -> bytes:
    """Walk the segments and scans up to the end-of-image marker; data after it, which phones append, is ignored."""
    exif, position, scans = b"", 2, 0
    while found := _JPEG_MARKER.search(data, position):
        marker, position = found[0][1], found.end()
        if marker == 0xD9:
            return exif
        if marker in (0x01, 0xD8):  # no payload
            continue
        (length,) = struct.unpack_from(">H", data, position)
        payload = data[position + 2 : position + length]
        if marker == 0xE1 and payload.startswith(b"Exif\0\0"):
            exif = exif or payload
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", payload, 1)
            _check_size(width, height, max_pixels=max_pixels)
        scans += marker == 0xDA
        if scans > _MAX_SCANS:
            raise refusal(f"a JPEG of at most {_MAX_SCANS} scans", "more", "convert it to PNG with another program")
        position += length
    raise EOFError


def _check_png(data: bytes, max_pixels: int) -> bytes:
    """Walk the chunks up to IEND, and verify the checksums of critical ones (capital first letter)."""
    _check_size(*struct.unpack_from(">II", data, 16), max_pixels=max_pixels)
    exif, position, kind = b"", 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        if kind[:1].isupper() and checksum != zlib.crc32(data[position + 4 : position + 8 + length]):
            raise EOFError
        if kind == b"eXIf":
            exif = data[position + 8 : position + 8 + length]
        position += 12 + length
    return exif


def _check_webp(data: bytes, max_pixels: int) -> bytes:
    """Read the size of the three kinds of WebP, and the EXIF chunk of the extended one."""
    kind = data[12:16]
    if kind == b"VP8X":
        _check_size(*(1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27)), max_pixels=max_pixels)
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        _check_size(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), max_pixels=max_pixels)
    else:
        _check_size(*(side & 0x3FFF for side in struct.unpack_from("<HH", data, 26)), max_pixels=max_pixels)
    end = 8 + int(struct.unpack_from("<I", data, 4)[0])
    position = 12
    while position + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, position)
        if name == b"EXIF":
            return data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    return b""


def _check_bmp(data: bytes, max_pixels: int) -> bytes:
    layout = "<HH" if struct.unpack_from("<I", data, 14)[0] == 12 else "<ii"
    width, height = struct.unpack_from(layout, data, 18)
    _check_size(width, abs(height), max_pixels=max_pixels)
    return b""


def _check_tiff(data: bytes, max_pixels: int) -> bytes:
    tags = tiff_tags(data)
    if tags.get(_SUBFILE_TYPE, 0) & 1 or _DNG_VERSION in tags or data[8:12] == b"CR\2\0":  # Canon
        got = "a raw one or one with a thumbnail first"
        raise refusal("a TIFF that begins with the whole picture", got, "convert it to JPEG")
    _check_size(tags.get(256, 0), tags.get(257, 0), max_pixels=max_pixels)
    tiff.check_samples(data)
    return b""  # OpenCV rotates TIFF by itself


def _check_heif(kind: heif.HeifKind, data: bytes, max_pixels: int) -> bytes:
    header = heif.read_header(kind, data)
    _check_size(header.width, header.height, max_pixels=max_pixels)
    return header.exif


_FORMATS = (
    (b"\xff\xd8\xff", Format("JPEG", _check_jpeg)),
    (b"\x89PNG\r\n\x1a\n", Format("PNG", _check_png)),
    (b"RIFF", Format("WebP", _check_webp)),
    (b"BM", Format("BMP", _check_bmp)),
    (b"II*\0", Format("TIFF", _check_tiff)),
    (b"MM\0*", Format("TIFF", _check_tiff)),
)
