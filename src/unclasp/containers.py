"""Tells by the structure of a video file whether it is complete, although fewer frames come out than it announces.

An edit list hides frames of an MP4 that was trimmed without being encoded again; the movie's duration does not count
them. Matroska only stores the duration of the longest track, which may be the sound.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_MP4_TYPES: Final = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}
"""Types of the box that an MP4 or QuickTime file may start with (ISO/IEC 14496-12, 4.2)."""
_EBML: Final = b"\x1a\x45\xdf\xa3"
"""ID of the header that a Matroska or WebM file starts with (RFC 8794, 11.2.1)."""
_SEGMENT: Final = b"\x18\x53\x80\x67"
"""ID of the element that contains everything else (RFC 9559, 5.1)."""
_SOUND: Final = b"\x86"
"""ID of the element that names a track's codec (RFC 9559, 5.1.4.1.21); names of sound codecs start with A_."""
_SEARCHED: Final = 1 << 16
"""Bytes at the start of a Matroska file among which the tracks are searched for."""
_SHOWN_SHARE: Final = 0.95
"""Share of an MP4's duration from which it counts as shown to its end."""


def is_complete(path: Path, seconds: float) -> bool:
    """Tell whether a video file is complete for all that its structure tells; False if it does not tell.

    Args:
        path: The file.
        seconds: The time up to which frames came out, from the first one.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        start = file.read(8)
        if start[4:] in _MP4_TYPES:
            return _is_complete_mp4(file, size, seconds)
        return start.startswith(_EBML) and _is_complete_matroska(file, size)


def _is_complete_mp4(file: BinaryIO, size: int, seconds: float) -> bool:
    """Tell whether all boxes end within the file, and the frames reach the end of the movie's duration."""
    duration = None
    for kind, content, end in _boxes(file, 0, size):
        if end > size:
            return False
        if kind == b"moov":
            duration = _duration(file, content, end)
    return duration is not None and seconds >= _SHOWN_SHARE * duration


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box, and where its content starts and ends."""
    while at < end:
        file.seek(at)
        header = file.read(16).ljust(16, b"\0")
        length, kind, large = struct.unpack(">I4sQ", header)
        content = at + (16 if length == 1 else 8)
        if at + 8 > end:  # an incomplete header
            length = 8
        length = large if length == 1 else length or end - at  # 0: up to the end
        yield kind, content, at + length
        at = max(content, at + length)


def _duration(file: BinaryIO, at: int, end: int) -> float | None:
    """Return the duration in seconds that the movie header tells (ISO/IEC 14496-12, 8.2.2)."""
    for kind, content, _ in _boxes(file, at, end):
        if kind == b"mvhd":
            file.seek(content)
            version = file.read(4)[:1]
            fields = ">8xII" if version == b"\0" else ">16xIQ"
            values = file.read(struct.calcsize(fields))
            scale, units = struct.unpack(fields, values) if len(values) == struct.calcsize(fields) else (0, 0)
            return units / scale if scale else None
    return None


def _is_complete_matroska(file: BinaryIO, size: int) -> bool:
    """Tell whether the segment ends within the file, and the announced duration may be that of a sound track."""
    file.seek(0)
    head = file.read(_SEARCHED)
    at = len(_EBML)
    header, at = _length(head, at)
    at += header or 0
    if header is None or head[at : at + len(_SEGMENT)] != _SEGMENT:
        return False
    segment, at = _length(head, at + len(_SEGMENT))
    has_sound = any(_SOUND + bytes([0x80 + length]) + b"A_" in head for length in range(2, 40))
    return segment is not None and at + segment <= size and has_sound


def _length(data: bytes, at: int) -> tuple[int | None, int]:
    """Return the length of an EBML element (RFC 8794, 4), None if it is unknown or missing, and where it ends."""
    if at >= len(data) or not data[at]:
        return None, at
    width = 9 - data[at].bit_length()
    length = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    is_known = at + width <= len(data) and length != (1 << 7 * width) - 1
    return length if is_known else None, at + width
