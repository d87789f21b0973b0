"""What tells a result of ours from a file of somebody else's: results are overwritten, other files are not."""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_BEHIND_HEADER: Final = len(_SIGNATURE) + 25
"""Where the second chunk begins: behind the signature and the header, whose size is fixed (PNG 1.2, section 11.2.2)."""
_SOFTWARE: Final = b"Software\0unclasp"
HTML_MARK: Final = '<meta name="generator" content="unclasp">'
_START_OF_PAGE: Final = 1000
"""Bytes of a page among which its mark is."""
_FREE_BOX: Final = struct.pack(">I4s", 15, b"free") + b"unclasp"


def marked(png: bytes) -> bytes:
    """Return a PNG that names what made it, in a tEXt chunk (PNG 1.2, section 11.3.4.3).

    >>> marked(_SIGNATURE + bytes(25) + b"rest").endswith(b"rest")
    True
    """
    body = b"tEXt" + _SOFTWARE
    chunk = struct.pack(">I", len(_SOFTWARE)) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_BEHIND_HEADER] + chunk + png[_BEHIND_HEADER:]


def mark_mp4(path: Path) -> None:
    """Name what made an MP4, in a box at its end that players skip (ISO/IEC 14496-12, 8.1.2)."""
    with path.open("ab") as file:
        file.write(_FREE_BOX)


def is_marked(path: Path) -> bool:
    """Tell whether a file says that it was made here: a PNG, an MP4 or a web page."""
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            if suffix == ".png":
                start = file.read(_BEHIND_HEADER + 8 + len(_SOFTWARE))
                return start.startswith(_SIGNATURE) and start.endswith(b"tEXt" + _SOFTWARE)
            if suffix == ".html":
                return HTML_MARK.encode() in file.read(_START_OF_PAGE)
            if suffix == ".mp4":
                file.seek(-len(_FREE_BOX), os.SEEK_END)
                return file.read() == _FREE_BOX
    except OSError:  # missing, or shorter than a mark
        pass
    return False


def is_result(path: Path) -> bool:
    """Tell whether a file is a result of an earlier run: it is marked, or holds our numbers.

    A Rerun recording can be neither: it is known by the numbers beside it.
    """
    if path.suffix == ".rrd":
        path = path.with_suffix(".jsonl")
    return is_marked(path) or (path.suffix in (".json", ".jsonl") and numbers_in(path) is not None)


def numbers_in(path: Path) -> dict[str, object] | None:
    """Return the first result that a .json or .jsonl holds, or None if it is no file of ours."""
    try:
        with path.open(encoding="utf-8") as file:
            numbers = json.loads(file.readline() if path.suffix == ".jsonl" else file.read())
        return numbers if "unclasp" in numbers and "source" in dict(numbers["image"]) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # none, or somebody else's
        return None
