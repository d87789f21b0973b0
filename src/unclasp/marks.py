"""What tells a result of ours from a file of somebody else's: results are overwritten, other files are not."""

import json
import struct
import zlib
from pathlib import Path
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_BEHIND_HEADER: Final = len(_SIGNATURE) + 25
"""Where the second chunk begins: behind the signature and the header, whose size is fixed (PNG 1.2, section 11.2.2)."""
_SOFTWARE: Final = b"Software\0unclasp"


def marked(png: bytes) -> bytes:
    """Return a PNG that names what made it, in a tEXt chunk (PNG 1.2, section 11.3.4.3).

    >>> marked(_SIGNATURE + bytes(25) + b"rest").endswith(b"rest")
    True
    """
    body = b"tEXt" + _SOFTWARE
    chunk = struct.pack(">I", len(_SOFTWARE)) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_BEHIND_HEADER] + chunk + png[_BEHIND_HEADER:]


def is_marked(png: Path) -> bool:
    """Tell whether a file is a PNG that `marked` returned."""
    length = _BEHIND_HEADER + 8 + len(_SOFTWARE)
    try:
        with png.open("rb") as file:
            start = file.read(length)
    except OSError:
        return False
    return start.startswith(_SIGNATURE) and start.endswith(b"tEXt" + _SOFTWARE)


def is_result(path: Path) -> bool:
    """Tell whether a file is a result of an earlier run: a marked overlay, our numbers, or what lies beside these."""
    if path.suffix == ".png" and is_marked(path):
        return True
    lines = path.suffix in (".mp4", ".jsonl", ".rrd")
    return numbers_in(path.with_suffix(".jsonl" if lines else ".json")) is not None


def numbers_in(path: Path) -> dict[str, object] | None:
    """Return the first result that a .json or .jsonl holds, or None if it is no file of ours."""
    try:
        with path.open(encoding="utf-8") as file:
            numbers = json.loads(file.readline() if path.suffix == ".jsonl" else file.read())
        return numbers if "unclasp" in numbers and "source" in numbers["image"] else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # none, or somebody else's
        return None
