"""Names of array types that many modules use."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
"""Floating-point numbers of any precision."""
Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
