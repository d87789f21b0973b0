"""Named arrays and a JSON note in one memory-mapped file: it opens instantly, and all readers share its pages.

16 bytes  magic · 8 bytes  length of the header · 8 bytes  its CRC-32 · header (JSON: note, arrays, size) · arrays, each
at a multiple of 64

Opening checks the header alone; the header has the CRC-32 of each array, which `verify_arrays` compares.
"""

import json
import math
import mmap
import os
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
    """Write arrays and a note atomically, and to the disk itself, so that a power failure leaves no half-written file.

    Raises:
        OSError: The file cannot be written.
    """
    entries, offset = {}, 0
    bodies = [_bytes(values) for values in arrays.values()]
    for (name, values), body in zip(arrays.items(), bodies, strict=True):
        entries[name] = {
            "dtype": values.dtype.str, "shape": values.shape, "offset": offset, "checksum": zlib.crc32(body),
        }  # fmt: skip
        offset += -(-values.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({"note": note, "arrays": entries, "size": offset}).encode()
    header += b" " * (-(_START + len(header)) % _ALIGNMENT)
    with whole(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + len(header).to_bytes(8, "little") + zlib.crc32(header).to_bytes(8, "little") + header)
        for body in bodies:
            file.write(body)
            file.write(bytes(-len(body) % _ALIGNMENT))
        file.flush()
        os.fsync(file.fileno())


def open_arrays(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Map a file written by `write_arrays`; return its read-only arrays and its note.

    Raises:
        DataError: The file is missing, truncated, of another kind, or its header is damaged.
    """
    note, _, arrays = _open(path)
    return arrays, note


def verify_arrays(path: Path) -> None:
    """Read all of a file written by `write_arrays`, and compare its arrays with their checksums.

    Raises:
        DataError: The file is not as it was written.
    """
    _, entries, arrays = _open(path)
    for name, values in arrays.items():
        if zlib.crc32(_bytes(values)) != entries[name].get("checksum"):
            raise DataError(f"{path} is damaged: the array '{name}' is not as it was written; delete it")


def _bytes(values: Array) -> memoryview | bytes:
    return np.ascontiguousarray(values).data.cast("B") if values.size else b""


def _open(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Array]]:
    """Return the note, the header's entry of each array, and the arrays."""
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
        entries = header["arrays"]
        return header["note"], entries, {name: _mapped(mapping, base, entry) for name, entry in entries.items()}
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
