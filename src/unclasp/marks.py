"""Marks output files, so that earlier results, which may be overwritten, can be told from other files."""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER_END: Final = len(_SIGNATURE) + 25
"""Offset of the second chunk, after the signature and the header, whose size is fixed (PNG 1.2, section 11.2.2)."""
_SOFTWARE: Final = b"Software\0unclasp"
HTML_MARK: Final = '<meta name="generator" content="unclasp">'
_MARKED_PAGE_BYTES: Final = 1000
"""Bytes at the start of a page that contain its mark."""
_FREE_BOX: Final = struct.pack(">I4s", 15, b"free") + b"unclasp"


def marked(png: bytes) -> bytes:
    """Return a PNG with a tEXt chunk that names the software (PNG 1.2, section 11.3.4.3).

    Examples:
        >>> marked(_SIGNATURE + bytes(25) + b"rest").endswith(b"rest")
        True
    """
    body = b"tEXt" + _SOFTWARE
    chunk = struct.pack(">I", len(_SOFTWARE)) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_HEADER_END] + chunk + png[_HEADER_END:]


def mark_mp4(path: Path) -> None:
    """Append a box that names the software to an MP4 file; players skip it (ISO/IEC 14496-12, 8.1.2)."""
    with path.open("ab") as file:
        file.write(_FREE_BOX)


def is_marked(path: Path) -> bool:
    """Return whether a file is a PNG, an MP4 or a web page with our mark."""
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            if suffix == ".png":
                start = file.read(_HEADER_END + 8 + len(_SOFTWARE))
                return start.startswith(_SIGNATURE) and start.endswith(b"tEXt" + _SOFTWARE)
            if suffix == ".html":
                return HTML_MARK.encode() in file.read(_MARKED_PAGE_BYTES)
            if suffix == ".mp4":
                file.seek(-len(_FREE_BOX), os.SEEK_END)
                return file.read() == _FREE_BOX
    except OSError:  # missing or unreadable, or shorter than the mark
        pass
    return False


def is_result(path: Path) -> bool:
    """Return whether a file is a result of an earlier run: it is marked, or is one of our JSON files.

    Rerun recordings cannot be marked; they are recognised by the .jsonl file beside them.
    """
    if path.suffix == ".rrd":
        path = path.with_suffix(".jsonl")
    return is_marked(path) or (path.suffix in (".json", ".jsonl") and numbers_in(path) is not None)


def numbers_in(path: Path) -> dict[str, object] | None:
    """Return the first result in a .json or .jsonl file, or None if it is not one of ours."""
    try:
        with path.open(encoding="utf-8") as file:
            numbers = json.loads(file.readline() if path.suffix == ".jsonl" else file.read())
        return numbers if "unclasp" in numbers and "source" in dict(numbers["image"]) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # missing, or not one of ours
        return None
