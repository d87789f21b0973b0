"""Compiles functions with numba, and keeps the machine code for the next process where there is a place for it."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile a function, which may then run in several threads at a time."""
    try:
        return cast(_Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # neither the package's nor the user's folder can be written: each process compiles anew
        return cast(_Function, numba.njit(nogil=True)(function))
