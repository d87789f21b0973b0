"""Tells by the structure of a video file whether its end is missing.

The number of frames that a file announces does not tell: an edit list hides frames of an MP4 that was trimmed without
being encoded again, and Matroska only stores the duration of the longest track, which may be the sound.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

_BOXES: Final = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}
"""Types of the box that an MP4 or QuickTime file may start with (ISO/IEC 14496-12, 4.2)."""
_EBML: Final = b"\x1a\x45\xdf\xa3"
"""ID of the header that a Matroska or WebM file starts with (RFC 8794, 11.2.1)."""
_SEGMENT: Final = b"\x18\x53\x80\x67"
"""ID of the element that contains everything else (RFC 9559, 5.1)."""


def is_cut_off(path: Path) -> bool | None:
    """Tell whether the outermost parts of a file claim bytes beyond its end; None if they do not tell.

    They tell in MP4, QuickTime, Matroska and WebM, except in recordings that were never finished.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start[4:] in _BOXES:
            return _ends_beyond(file, size)
        return _segment_is_cut_off(file, size) if start.startswith(_EBML) else None


def _ends_beyond(file: BinaryIO, size: int) -> bool:
    """Tell whether the last of the top-level boxes ends beyond the file."""
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            return True
        length: int = struct.unpack(">I", header[:4])[0]
        if length == 0:  # up to the end of the file
            return False
        if length == 1:  # a large box, whose size follows its type
            if len(header) < 16:
                return True
            length = struct.unpack(">Q", header[8:])[0]
        at += max(length, 8)
    return at > size


def _segment_is_cut_off(file: BinaryIO, size: int) -> bool | None:
    file.seek(len(_EBML))
    header = _read_length(file)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    if file.read(len(_SEGMENT)) != _SEGMENT:
        return None
    segment = _read_length(file)
    return None if segment is None else file.tell() + segment > size


def _read_length(file: BinaryIO) -> int | None:
    """Read the length of an EBML element (RFC 8794, 4); None if it is unknown or missing."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    rest = file.read(extra)
    bits = 7 * (extra + 1)
    length = int.from_bytes(first + rest, "big") & ((1 << bits) - 1)
    return None if len(rest) < extra or length == (1 << bits) - 1 else length
