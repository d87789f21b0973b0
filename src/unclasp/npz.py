"""Reading of NumPy .npz files without unpickling, and writing of whole ones."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import numpy as np

from unclasp.arrays import Array
from unclasp.files import whole

_MAX_BYTES: Final = 2**33
"""Files may hold as much in any case."""
_MAX_RATIO: Final = 200
"""Larger ones may hold at most as many times their size."""


def read_arrays(path: Path, *, known: Collection[str] | None = None, max_bytes: int | None = None) -> dict[str, Array]:
    """Return the arrays of an .npz file by name.

    Args:
        path: The file.
        known: Only arrays with these names are read; others are empty in the result. All if not given.
        max_bytes: Most bytes of all arrays together. By default 8 GB, or 200 times the file's size if that is more.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged, too large or not an .npz file; the message says which.
    """
    try:
        with path.open("rb") as file:
            if not file.read(6).startswith((b"PK", b"\x93NUMPY")):
                raise ValueError("it is no .npz file")
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a bare array")
        with archive, ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
            limit = max(_MAX_BYTES, _MAX_RATIO * path.stat().st_size) if max_bytes is None else max_bytes
            if size > limit:
                raise ValueError(f"it holds {size:,} bytes, more than the {limit:,} that are expected")
            return {
                name: _checked(name, archive[name]) if known is None or name in known else np.zeros(0)
                for name in archive.files
            }
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error  # the path is for the caller to tell
    except Exception as error:  # zipfile and numpy raise many types, depending on the damage
        raise ValueError(str(error) or type(error).__name__) from error


def _checked(name: str, array: object) -> Array:
    """Return a member of an archive, which NumPy returns as bytes if it is no array."""
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is no array")
    if array.dtype.kind == "U":
        array.tolist()  # raises an error if the text has invalid characters
    return array


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to an .npz file atomically."""
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **dict(arrays))
