"""Reading of NumPy .npz files without unpickling, and writing of whole ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unclasp.arrays import Array
from unclasp.files import whole


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of an .npz file by name.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged or not an .npz file; the message says which.
    """
    try:
        with path.open("rb") as file:
            if not file.read(6).startswith((b"PK", b"\x93NUMPY")):
                raise ValueError("it is no .npz file")
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a bare array")
        with archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error  # the path is for the caller to tell
    except Exception as error:  # zipfile and numpy raise many types, depending on the damage
        raise ValueError(str(error) or type(error).__name__) from error


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to an .npz file atomically."""
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **dict(arrays))
