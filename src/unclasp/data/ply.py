"""Reads the vertices of PLY files, ASCII or binary."""

from pathlib import Path
from typing import Final

import numpy as np

from unclasp.arrays import Doubles
from unclasp.errors import DataError

_TYPES: Final = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_BYTE_ORDERS: Final = {"binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER_BYTES: Final = 65536
_MAX_DIGITS: Final = 16


def read_vertices(path: Path) -> Doubles:
    """Return the x, y, z of a PLY file's vertices (N, 3), in the file's unit.

    Raises:
        DataError: The file is missing, is not a PLY file, is truncated or does not start with vertices.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); is the download complete?") from error
    start = content.find(b"end_header", 0, _MAX_HEADER_BYTES)
    line_end = content.find(b"\n", start)
    if not content.startswith(b"ply") or start < 0 or line_end < 0:
        raise DataError(f"{path} is not a PLY file, or its header is cut off; fetch it again")
    header = content[:start].decode("ascii", errors="replace").splitlines()
    form, count, properties = _header(path, header)
    names = [name for name, _ in properties]
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise DataError(f"{path}: its vertices have no {', '.join(missing)}, but {', '.join(names) or 'nothing'}")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: its vertices have a property twice, of {', '.join(names)}; fetch it again")
    body = content[line_end + 1 :]
    if form == "ascii":
        return _ascii(path, body, count, names)
    dtype = np.dtype([(name, _BYTE_ORDERS[form] + kind) for name, kind in properties])
    if len(body) < count * dtype.itemsize:
        raise DataError(f"{path} ends before its {count} vertices do; fetch it again")
    table = np.frombuffer(body, dtype=dtype, count=count)
    return np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)


def _header(path: Path, lines: list[str]) -> tuple[str, int, list[tuple[str, str]]]:
    """Return the format, the number of vertices, and their properties as (name, type)."""
    form, element, count, properties = "", "", -1, []
    for tokens in (line.split() for line in lines):
        match tokens:
            case ["format", name, *_]:
                form = name
            case ["element", name, number]:
                if name == "vertex":
                    count = int(number) if number.isdecimal() and len(number) < _MAX_DIGITS else -1
                elif count < 0:
                    raise DataError(f"{path}: {name} comes before the vertices, which is not supported")
                element = name
            case ["property", kind, name] if element == "vertex" and kind in _TYPES:
                properties.append((name, _TYPES[kind]))
            case ["property", *definition] if element == "vertex":
                raise DataError(f"{path}: a vertex has a property that is not supported: {' '.join(definition)}")
    if form not in ("ascii", *_BYTE_ORDERS) or count < 0:
        raise DataError(f"{path}: its header must give a format and a number of vertices; fetch it again")
    return form, count, properties


def _ascii(path: Path, body: bytes, count: int, names: list[str]) -> Doubles:
    try:
        rows = [[float(token) for token in line.split()[: len(names)]] for line in body.split(b"\n")[:count]]
        table = np.array(rows, dtype=np.float64).reshape(count, len(names))
    except ValueError as error:
        raise DataError(f"{path} must have {count} lines of {len(names)} numbers ({error}); fetch it again") from error
    return table[:, [names.index(axis) for axis in "xyz"]]
