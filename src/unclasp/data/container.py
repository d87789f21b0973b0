"""Named arrays and a JSON note in one memory-mapped file: it opens instantly, and all readers share its pages.

16 bytes  magic · 8 bytes  length of the header · header (JSON: note, arrays, size) · arrays, each at a multiple of 64
"""

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from unclasp.arrays import Array
from unclasp.errors import DataError
from unclasp.files import whole

_MAGIC: Final = b"unclasp arrays 1"
_ALIGNMENT: Final = 64


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
    header += b" " * (-(len(_MAGIC) + 8 + len(header)) % _ALIGNMENT)
    with whole(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + len(header).to_bytes(8, "little") + header)
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
            start = file.read(len(_MAGIC) + 8)
            if start[: len(_MAGIC)] != _MAGIC:
                raise DataError(f"{path} is not a file of arrays of this version; delete it")
            header = json.loads(file.read(int.from_bytes(start[len(_MAGIC) :], "little")))
            base = file.tell()
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(mapping) != base + header["size"]:
            raise DataError(f"{path} is cut short; delete it")
        arrays = {
            name: np.frombuffer(
                mapping, dtype=entry["dtype"], count=math.prod(entry["shape"]), offset=base + entry["offset"]
            ).reshape(entry["shape"])
            for name, entry in header["arrays"].items()
        }
        return arrays, header["note"]
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}); delete it") from error
