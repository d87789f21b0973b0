"""Reads TIFF's own rules on brightness and transparency, which OpenCV applies to some kinds of files but not to others.

OpenCV decodes files of up to 8 bits as finished pictures: white is bright, and colours are multiplied by their alpha.
Of files of more bits it returns the samples as stored, as if the channels were interleaved. In neither case does it
tell whether a fourth channel is transparency. Numbers of tags are those of TIFF 6.0.
"""

import struct
from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Array
from unclasp.errors import refusal

_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA = 258, 262, 277, 284, 338
"""Tags: BitsPerSample, PhotometricInterpretation, SamplesPerPixel, PlanarConfiguration, ExtraSamples."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE = 0, 1, 3
"""Photometric interpretations of one channel."""
_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT = 0, 1, 2
"""Kinds of extra channels: any data, alpha by which the colours are multiplied already, and alpha alone."""
_SEPARATE: Final = 2
"""Planar configuration with a plane for each channel."""
_FORMATS: Final = {1: "B", 3: "H", 4: "I"}
"""TIFF value types of whole numbers: BYTE, SHORT, LONG."""


class _Samples(NamedTuple):
    """How the samples of a picture are stored."""

    bits: int
    photometric: int
    channels: int
    planar: int
    extra: int | None
    """Kind of the first extra channel; None if the file does not tell."""


def check_samples(data: bytes) -> None:
    """Refuse the kinds of TIFF that OpenCV would decode to other pixels without telling.

    Args:
        data: The file's bytes.

    Raises:
        ImageError: The file is of such a kind; a one-line message.
        struct.error: The data is damaged.
    """
    samples = _samples_of(data)
    alone = samples.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE)
    if samples.channels > 4:
        expected, got = "a TIFF of at most 4 channels", str(samples.channels)
    elif samples.bits > 8 and samples.channels > 1 and samples.planar == _SEPARATE:
        expected, got = "a TIFF of interleaved channels (or 8 bits)", f"{samples.bits} bits in separate planes"
    elif samples.bits > 8 and samples.channels > 2 and alone:
        expected, got = "a TIFF of grey or RGB", f"grey with {samples.channels - 1} more channels"
    elif samples.channels > 1 and alone and samples.extra in (_PREMULTIPLIED, _STRAIGHT):
        expected, got = "a TIFF that is opaque or has RGB and transparency", "one channel with transparency"
    else:
        return
    raise refusal(expected, got, "convert it to PNG")


def finished(image: Array, data: bytes, *, white: int) -> Array:
    """Return OpenCV's pixels of a TIFF as the file's tags mean them, without an extra channel that is no alpha.

    Args:
        image: (H, W), (H, W, 3) BGR or (H, W, 4) BGR and a fourth channel, as OpenCV decodes `data`.
        data: The file's bytes, which `check_samples` accepts.
        white: The value of white in `image`.

    Returns:
        The same shape and type if nothing had to be changed, or if transparency is still to be blended; else (H, W) or
        (H, W, 3), blended over white.

    Raises:
        struct.error: The data is damaged.
    """
    samples = _samples_of(data)
    stored = image.dtype != np.uint8  # what has more bits but comes out as 8 was finished by the decoder
    if image.ndim == 2:
        return white - image if stored and samples.photometric == _WHITE_IS_ZERO else image
    if image.shape[2] != 4:
        return image
    if samples.extra == _PREMULTIPLIED or (samples.extra == _STRAIGHT and not stored):
        return cv2.add(image[..., :3], cv2.cvtColor(white - image[..., 3], cv2.COLOR_GRAY2BGR))
    return image[..., :3] if samples.extra == _UNSPECIFIED else image


def _samples_of(data: bytes) -> _Samples:
    """Return the tags of the first picture; the first of duplicates and of several values counts."""
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags: dict[int, int] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, at)
        if tag in (_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA) and kind in _FORMATS:
            form = f"{order}{_FORMATS[kind]}"
            fits = length * struct.calcsize(form) <= 4
            (place,) = (at + 8,) if fits else struct.unpack_from(f"{order}I", data, at + 8)
            tags.setdefault(tag, struct.unpack_from(form, data, place)[0])
    return _Samples(
        tags.get(_BITS, 1), tags.get(_PHOTOMETRIC, _BLACK_IS_ZERO), tags.get(_SAMPLES, 1), tags.get(_PLANAR, 1),
        tags.get(_EXTRA),
    )  # fmt: skip
