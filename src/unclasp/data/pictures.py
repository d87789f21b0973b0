"""Reading the pictures of data sets, as stored."""

from pathlib import Path

import cv2
import numpy as np

from unclasp.batch import ByteArray
from unclasp.errors import DataError
from unclasp.hands import NUM_PARTS


def read_rgb(path: Path) -> ByteArray:
    """Decode a picture; orientation tags are ignored, as the annotations are for the pixels as stored.

    Raises:
        DataError: It is missing or cannot be decoded.
    """
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_parts(path: Path, image: ByteArray) -> ByteArray | None:
    """Read the part mask of a picture, if there is one.

    Raises:
        DataError: It is damaged, or not of this picture's size.
    """
    if not path.exists():
        return None
    parts = _decode(path, cv2.IMREAD_GRAYSCALE)
    if parts.shape != image.shape[:2] or parts.max() >= NUM_PARTS:
        raise DataError(
            f"{path} must hold part classes below {NUM_PARTS} for {image.shape[:2]} pixels, got {parts.shape} up to "
            f"{parts.max()}; write the data set again"
        )
    return parts


def _decode(path: Path, flags: int) -> ByteArray:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); is the download complete?") from error
    if data[:2].tobytes() == b"\xff\xd8" and b"\xff\xd9" not in data.tobytes():
        # OpenCV would make up the rest of a JPEG without an end.
        raise DataError(f"{path} is not a picture that can be decoded: it is cut short; fetch it again")
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{path} is not a picture that can be decoded; fetch it again")
    return np.asarray(image, dtype=np.uint8)
