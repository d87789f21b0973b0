"""Named arrays and a JSON note in one memory-mapped file: it opens instantly, and all readers share its pages.

16 bytes  magic · 8 bytes  length of the header · 8 bytes  its CRC-32 · header (JSON: note, arrays, size) · arrays, each
at a multiple of 64
"""

import json
import math
import mmap
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from unclasp.arrays import Array
from unclasp.data.json_file import MISFITS, parse_json
from unclasp.errors import DataError
from unclasp.files import whole

_MAGIC: Final = b"unclasp arrays 2"
_START: Final = len(_MAGIC) + 16
"""Bytes before the header."""
_ALIGNMENT: Final = 64
_DTYPE: Final = re.compile(r"[<>|][biuf][1248]")


def write_arrays(path: Path, arrays: Mapping[str, Array], note: dict[str, Any]) -> None:
    """Write arrays and a note atomically.

    Raises:
        OSError: The file cannot be written.
    """
    entries, offset = {}, 0
    for name, values in arrays.items():
        entries[name] = {"dtype": values.dtype.str, "shape": values.shape, "offset": offset}
        offset += -(-values.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({"note": note, "arrays": entries, "size": offset}).encode()
    header += b" " * (-(_START + len(header)) % _ALIGNMENT)
    with whole(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + len(header).to_bytes(8, "little") + zlib.crc32(header).to_bytes(8, "little") + header)
        for values in arrays.values():
            file.write(np.ascontiguousarray(values).data.cast("B") if values.size else b"")
            file.write(bytes(-values.nbytes % _ALIGNMENT))


def open_arrays(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Map a file written by `write_arrays`; return its read-only arrays and its note.

    Raises:
        DataError: The file is missing, truncated, damaged, or of another kind.
    """
    try:
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if mapping[: len(_MAGIC)] != _MAGIC:
            raise DataError(f"{path} is not a file of arrays of this version; delete it")
        length, checksum = (int.from_bytes(mapping[at : at + 8], "little") for at in (_START - 16, _START - 8))
        base = _START + length
        if base > len(mapping) or zlib.crc32(mapping[_START:base]) != checksum:
            raise DataError(f"{path} is damaged, or cut short; delete it")
        header = parse_json(mapping[_START:base], path, "delete it")
        if len(mapping) != base + header["size"]:
            raise DataError(f"{path} is cut short; delete it")
        return {name: _mapped(mapping, base, entry) for name, entry in header["arrays"].items()}, header["note"]
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror})") from error
    except MISFITS as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}); delete it") from error


def _mapped(mapping: mmap.mmap, base: int, entry: dict[str, Any]) -> Array:
    shape = tuple(entry["shape"])
    if not _DTYPE.fullmatch(entry["dtype"]) or min(shape, default=0) < 0:
        raise ValueError(f"an array of {entry['dtype']}, {shape}")
    flat = np.frombuffer(mapping, entry["dtype"], count=math.prod(shape), offset=base + entry["offset"])
    return flat.reshape(shape)
