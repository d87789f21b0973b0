"""Reads the pictures and part masks of data sets."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from unclasp.arrays import Pixels
from unclasp.errors import DataError
from unclasp.hands import NUM_PARTS

_DECODES_TO_RGB: Final = getattr(cv2, "IMREAD_COLOR_RGB", None)
"""Exists since OpenCV 4.11; with older versions, the channels are reordered after decoding."""


def read_rgb(path: Path, size: tuple[int, int] | None = None) -> Pixels:
    """Decode a picture (H, W, 3) as RGB, ignoring orientation tags, because annotations refer to the stored pixels.

    Args:
        path: The file.
        size: Width and height in px that its boxes and its camera are for; None if there are none.

    Raises:
        DataError: The file is missing, cannot be decoded, or has another size.
    """
    flags = cv2.IMREAD_COLOR if _DECODES_TO_RGB is None else _DECODES_TO_RGB
    image = _decode(_read(path), str(path), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if _DECODES_TO_RGB is None:
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    if size is not None and not has_size(image, size):
        raise DataError(
            f"{path} must be {size[0]} x {size[1]} px, the size that its boxes and camera are for, not "
            f"{image.shape[1]} x {image.shape[0]}; fetch the original picture"
        )
    return image


def has_size(image: Pixels, size: tuple[int, int]) -> bool:
    """Return whether a picture has a width and height in px."""
    return bool(image.shape[1] == size[0] and image.shape[0] == size[1])


def read_parts(path: Path, image: Pixels, *, table: Pixels | None) -> Pixels | None:
    """Read the part mask of a picture; None if there is none. `table` is that of `decode_parts`.

    Raises:
        DataError: The mask is damaged or not of the picture's size.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    return decode_parts(data, str(path), image, table=table)


def decode_parts(data: bytes, name: str, image: Pixels, *, table: Pixels | None) -> Pixels:
    """Decode a part mask (H, W); of several channels, the first one is used.

    Args:
        data: Content of a PNG file.
        name: Name for error messages.
        image: The picture that the mask belongs to.
        table: (256,) class of each pixel value; None if the values are our classes.

    Raises:
        DataError: The mask is damaged or not of the picture's size.
    """
    parts = _decode(data, name, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if parts.ndim == 3:
        parts = np.ascontiguousarray(parts[..., 0])
    if parts.shape != image.shape[:2] or parts.dtype != np.uint8 or parts.max() >= NUM_PARTS:
        raise DataError(
            f"{name} must hold part classes below {NUM_PARTS} for {image.shape[:2]} pixels, got {parts.shape} up to "
            f"{parts.max()}; write the data set again"
        )
    return parts if table is None else np.asarray(cv2.LUT(parts, table), dtype=np.uint8)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); is the download complete?") from error


def _decode(data: bytes, name: str, flags: int) -> Pixels:
    if data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < 0:
        # OpenCV would fill in the missing part of a truncated JPEG.
        raise DataError(f"{name} is not a picture that can be decoded: it is cut short; fetch it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{name} is not a picture that can be decoded; fetch it again")
    return np.asarray(image)
