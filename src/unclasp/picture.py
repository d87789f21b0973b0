"""Reads users' pictures as RGB arrays.

A picture is an (H, W, 3) uint8 RGB array, upright (EXIF orientation applied), with transparency blended over white. The
structure of files is checked before they are decoded (`picture_formats`).
"""

import struct
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from unclasp import tiff
from unclasp.arrays import Array, Pixels
from unclasp.errors import ImageError, advice_on_missing, refusal
from unclasp.exif import focal_length, orientation
from unclasp.picture_formats import MIN_SIDE, recognise
from unclasp.quiet import quiet_opencv

MAX_PIXELS = 200_000_000
"""Largest width × height of a picture."""
MAX_BYTES = 2**31 - 1
"""Largest file that is read; OpenCV's buffers cannot be larger."""
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
        path: A JPEG, PNG, WebP, BMP or TIFF file, or, with the extra `heic`, a HEIC or AVIF file, recognised by its
            content, not its suffix.

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
        raise refusal("the path of a picture file", type(path).__name__, "give the content of a file to decode_photo")
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
        raise refusal("the bytes of a picture file", type(data).__name__, advice)
    kind, check, decode = recognise(data := bytes(data))
    try:
        exif = check(data, max_pixels)
        image = _decode_pixels(data, kind) if decode is None else decode(data)
    except (struct.error, EOFError):
        raise refusal(f"a complete {kind}", "one that is truncated or damaged", "copy or download it again") from None
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise refusal("8 or 16 bits and 1 to 4 channels", f"{channels} of {image.dtype}", "convert it to PNG")
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


def _read_bytes(path: Path) -> bytes:
    """Read a regular file of at most `MAX_BYTES`."""
    try:
        if path.is_dir():
            raise refusal("a picture file", "a folder", "name a picture in it")
        if not path.exists():
            raise refusal("a picture file", "nothing at this path", advice_on_missing(path))
        if not path.is_file():
            raise refusal("a picture file", "a device or pipe", "save the picture to a file first")
        if path.stat().st_size > MAX_BYTES:
            raise refusal(f"at most {MAX_BYTES:,} bytes", f"{path.stat().st_size:,}", "use a smaller picture")
        return path.read_bytes()
    except OSError as error:
        got = f"one that cannot be opened ({error.strerror})"
        raise refusal("a picture file", got, "check its permissions") from None


def _decode_pixels(data: bytes, kind: str) -> Array:
    """Return the pixels as stored: BGR(A) or grey, CMYK as BGR, not rotated (except TIFF, which OpenCV rotates)."""
    try:
        with quiet_opencv():
            flags = cv2.IMREAD_COLOR if kind == "BMP" else cv2.IMREAD_UNCHANGED  # OS/2 BMPs would be decoded as grey
            image: Array | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "MAX_IMAGE_PIXELS" in str(error):
            advice = "raise the limit or shrink the picture"
            raise refusal("at most OPENCV_IO_MAX_IMAGE_PIXELS pixels", "more", advice) from None
        image = None
    if image is None:
        raise EOFError
    return image
