"""Names of array types that many modules use, and arrays as plain numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
"""Floating-point numbers of any precision."""
Ints = npt.NDArray[np.int32]
Pixels = npt.NDArray[np.uint8]
"""Pictures, masks and other values of a byte."""
Singles = npt.NDArray[np.float32]


def rounded(array: Floats, digits: int = 2) -> list[Any]:
    """Return an array as nested lists of numbers with so many digits after the point."""
    values: list[Any] = np.round(array, digits).tolist()
    return values
