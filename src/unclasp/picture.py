"""Reads users' pictures as RGB arrays.

A picture is an (H, W, 3) uint8 RGB array, upright (EXIF orientation applied), with transparency blended over white. The
structure of files is checked before OpenCV decodes them, because OpenCV fills truncated files with grey and only prints
a warning.
"""

import re
import struct
import zlib
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from unclasp import tiff
from unclasp.arrays import Array, Pixels
from unclasp.errors import ImageError, advice_on_missing
from unclasp.exif import focal_length, orientation, tiff_tags
from unclasp.quiet import quiet_opencv

MIN_SIDE = 16
"""Smallest width and height, in pixels."""
MAX_PIXELS = 200_000_000
"""Largest width × height of a picture."""
MAX_BYTES = 2**31 - 1
"""Largest file that is read; OpenCV's buffers cannot be larger."""
_MAX_SCANS = 100
"""Most scans of a JPEG, each of which is decoded over the whole picture; progressive ones have about 10."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither stuffing, restart marker nor fill byte
_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (0, b"GIF8", "a GIF"),
    (8, b"AVI ", "a video"),
    (0, b"G@", "a video"),
    (0, b"\0\0\1\xba", "a video"),
    (0, b"FLV\1", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (4, b"ftyphe", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftypavi", "an AVIF picture"),
    (4, b"ftyp", "a video"),
    (0, b"PK\x03\x04", "a ZIP archive"),
)
_BLEND_ROWS = 64
_TURNS: dict[int, Callable[[Pixels], Array]] = {  # EXIF orientation -> upright
    1: lambda image: image,
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


class Photo(NamedTuple):
    """A picture, and the focal length from its file."""

    image: Pixels
    """(H, W, 3) uint8 RGB."""
    focal: tuple[float, float] | None
    """px, as `Predictor` takes it, from the EXIF block; None if there is none, or if the aspect ratio shows a crop."""


def read_picture(path: Path | str) -> Pixels:
    """Read a picture file, upright.

    Args:
        path: A JPEG, PNG, WebP, BMP or TIFF file, recognised by its content, not its suffix.

    Returns:
        (H, W, 3) uint8 RGB. 10, 12 and 16 bits are scaled to 8, grey is repeated, transparency is blended over white.

    Raises:
        ImageError: The file is not a complete picture of a usable size; a one-line message that begins with the path.
    """
    return read_photo(path).image


def read_photo(path: Path | str) -> Photo:
    """Read a picture file as `read_picture` does, and the focal length from its EXIF block.

    Raises:
        ImageError: As `read_picture` does.
    """
    if not isinstance(path, str | PathLike):
        raise _refuse("the path of a picture file", type(path).__name__, "give the content of a file to decode_photo")
    try:
        return decode_photo(_read_bytes(Path(path)))
    except ImageError as error:
        raise ImageError(f"{str(path) or repr('')}: {error}") from None


def decode_photo(data: bytes | bytearray | memoryview, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode the content of a picture file, such as an upload, as `read_photo` does.

    Args:
        data: The file's bytes.
        max_pixels: Largest width × height; larger pictures are rejected from their header, before they are decoded.

    Raises:
        ImageError: The data is not a complete picture of a usable size; a one-line message.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        advice = "give a path to read_photo, and of an open file its content, file.read()"
        raise _refuse("the bytes of a picture file", type(data).__name__, advice)
    kind, check = _recognise(data := bytes(data))
    try:
        exif = check(data, max_pixels)
        image = _decode_pixels(data, kind)
    except (struct.error, EOFError):
        raise _refuse(f"a complete {kind}", "one that is truncated or damaged", "copy or download it again") from None
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise _refuse("8 or 16 bits and 1 to 4 channels", f"{channels} of {image.dtype}", "convert it to PNG")
    white = 255 if image.dtype == np.uint8 else _white(image)
    if kind == "TIFF":
        image = tiff.finished(image, data, white=white)
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=255 / white)
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    upright = _TURNS.get(orientation(exif), _TURNS[1])
    focal = focal_length(exif, *image.shape[1::-1])
    picture = np.ascontiguousarray(upright(_to_rgb(np.asarray(image, dtype=np.uint8))))
    return Photo(picture, None if focal is None else (focal, focal))


def with_gamma(image: Pixels, exponent: float) -> Pixels:
    """Return a picture with gamma correction: values / 255 are raised to `exponent`; above 1 it gets darker."""
    values = np.rint(255 * np.linspace(0, 1, 256) ** exponent).astype(np.uint8)
    return np.asarray(cv2.LUT(image, values), dtype=np.uint8)


def check_image(image: object) -> Pixels:
    """Return a caller's array as an (H, W, 3) uint8 RGB picture.

    Args:
        image: (H, W, 3) uint8 RGB; also (H, W) or (H, W, 1) grey and (H, W, 4) RGBA, all uint8.

    Returns:
        (H, W, 3), contiguous; it shares the caller's memory if nothing had to be converted.

    Raises:
        ImageError: The array is not such a picture, or too small or too large.
    """
    if not isinstance(image, np.ndarray):
        got = f"{type(image).__name__}; {_type_hint(image)}"
        raise ImageError(f"image must be an (H, W, 3) uint8 RGB array, got {got}")
    image = np.asarray(image)  # subclasses such as np.matrix have operations of their own
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4):
        got = f"{image.dtype} of shape {image.shape}"
        raise ImageError(f"image must be (H, W, 3) uint8 RGB, got {got}; {_array_hint(image)}")
    if min(image.shape[:2]) < MIN_SIDE:
        raise ImageError(f"image must be at least {MIN_SIDE} × {MIN_SIDE} pixels, got {image.shape}; use a larger one")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(f"image must be of at most {MAX_PIXELS:,} pixels, got {image.shape}; shrink it first")
    return np.ascontiguousarray(_to_rgb(image))


def _white(image: Array) -> int:
    """Return the value of white in a 16-bit picture, because 10-bit and 12-bit cameras store their values unscaled."""
    brightest = image.max()
    return next(white for white in (2**10 - 1, 2**12 - 1, 2**16 - 1) if brightest <= white)


def _type_hint(image: object) -> str:
    """Return advice on how to get an array from something else."""
    if isinstance(image, Photo):
        return "of a photo, pass photo.image, and focal=photo.focal"
    if image is None:
        return "OpenCV returns None for a file that it cannot read: read it with read_picture, which says why"
    if isinstance(image, bytes | bytearray | memoryview):
        return "decode the content of a file with decode_photo"
    return "read the file with read_picture" if isinstance(image, str | Path) else "convert it with np.asarray"


def _array_hint(image: Array) -> str:
    """Return advice on how to convert an array to a picture."""
    if image.ndim == 4:
        return "pass one picture at a time, image[0]"
    if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):
        return "put the channels last with image.transpose(1, 2, 0)"
    if image.dtype.kind == "f":
        factor = "multiply by 255 and " if image.size and image.max() <= 1 else ""
        return f"{factor}convert it with .astype(np.uint8)"
    return "convert it to 8 bits per channel, 3 channels"


def _to_rgb(image: Pixels) -> Pixels:
    """Convert (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) to (H, W, 3); alpha is blended over white."""
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] == 3:
        return image
    opaque = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGBA2RGB), dtype=np.uint8)
    for top in range(0, len(image), _BLEND_ROWS):  # in blocks that stay in the processor's cache
        rows, alpha = slice(top, top + _BLEND_ROWS), image[top : top + _BLEND_ROWS, :, 3:].astype(np.uint16)
        if not (alpha == 255).all():  # 65152 is the largest number, and fits
            opaque[rows] = (opaque[rows] * alpha + 255 * (255 - alpha) + 127) // 255
    return opaque


def _refuse(expected: str, got: str, advice: str) -> ImageError:
    return ImageError(f"expected {expected}, got {got}; {advice}")


def _read_bytes(path: Path) -> bytes:
    """Read a regular file of at most `MAX_BYTES`."""
    try:
        if path.is_dir():
            raise _refuse("a picture file", "a folder", "name a picture in it")
        if not path.exists():
            raise _refuse("a picture file", "nothing at this path", advice_on_missing(path))
        if not path.is_file():
            raise _refuse("a picture file", "a device or pipe", "save the picture to a file first")
        if path.stat().st_size > MAX_BYTES:
            raise _refuse(f"at most {MAX_BYTES:,} bytes", f"{path.stat().st_size:,}", "use a smaller picture")
        return path.read_bytes()
    except OSError as error:
        got = f"one that cannot be opened ({error.strerror})"
        raise _refuse("a picture file", got, "check its permissions") from None


def _decode_pixels(data: bytes, kind: str) -> Array:
    """Return the pixels as stored: BGR(A) or grey, CMYK as BGR, not rotated (except TIFF, which OpenCV rotates)."""
    try:
        with quiet_opencv():
            flags = cv2.IMREAD_COLOR if kind == "BMP" else cv2.IMREAD_UNCHANGED  # OS/2 BMPs would be decoded as grey
            image: Array | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "MAX_IMAGE_PIXELS" in str(error):
            advice = "raise the limit or shrink the picture"
            raise _refuse("at most OPENCV_IO_MAX_IMAGE_PIXELS pixels", "more", advice) from None
        image = None
    if image is None:
        raise EOFError
    return image


def _recognise(data: bytes) -> tuple[str, Callable[[bytes, int], bytes]]:
    """Return the format and its check, which returns the EXIF block and rejects bad sizes and truncated data."""
    if not data:
        raise _refuse("a picture", "an empty file", "copy or download it again")
    for magic, kind, check in _FORMATS:
        if data.startswith(magic) and (kind != "WebP" or data[8:12] == b"WEBP"):
            return kind, check
    unknown = "a text file" if data[:64].isascii() and b"\0" not in data[:64] else "an unknown format"
    format_name = next((name for at, magic, name in _OTHER_FORMATS if data.startswith(magic, at)), unknown)
    advice = "convert it to JPEG or PNG" + (", or to MP4 if it moves" if format_name == "a GIF" else "")
    if format_name == "a video":
        advice = "run unclasp predict on it, under a name that ends in .mp4, or extract its frames as pictures"
    raise _refuse("a JPEG, PNG, WebP, BMP or TIFF picture", format_name, advice)


def _check_size(width: int, height: int, *, max_pixels: int) -> None:
    """Raise an error if the size in the header is out of range, before anything is decoded."""
    if min(width, height) < MIN_SIDE:
        raise _refuse(f"at least {MIN_SIDE} × {MIN_SIDE} pixels", f"{width} × {height}", "use a larger picture")
    if width * height > max_pixels:
        raise _refuse(f"at most {max_pixels:,} pixels", f"{width} × {height}", "shrink the picture first")


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
            raise _refuse(f"a JPEG of at most {_MAX_SCANS} scans", "more", "convert it to PNG with another program")
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
    _check_size(tags.get(256, 0), tags.get(257, 0), max_pixels=max_pixels)
    tiff.check_samples(data)
    return b""  # OpenCV rotates TIFF by itself


_FORMATS: tuple[tuple[bytes, str, Callable[[bytes, int], bytes]], ...] = (
    (b"\xff\xd8\xff", "JPEG", _check_jpeg),
    (b"\x89PNG\r\n\x1a\n", "PNG", _check_png),
    (b"RIFF", "WebP", _check_webp),
    (b"BM", "BMP", _check_bmp),
    (b"II*\0", "TIFF", _check_tiff),
    (b"MM\0*", "TIFF", _check_tiff),
)
