"""Reading the arrays of a pickle without running anything that it names.

A pickle is a program: it may call whatever it can name. Here names lead to stand-ins only, which keep what they are
given as data: for numpy arrays, scipy's sparse matrices and chumpy's objects, which is all that the files of MANO are
made of, whether they were written by Python 2 or 3. Every other name is refused before anything is done with it.
"""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from unclasp.errors import DataError

Array = npt.NDArray[Any]

MAX_BYTES: Final = 200_000_000
"""Larger files are not opened; those of MANO have 4 MB."""
MAX_SIZE: Final = 20_000_000
"""Largest number of elements of an array that is made out of something smaller."""
_DEPTH: Final = 8
"""How deep chumpy's expressions may be nested."""
_NUMBERS: Final = re.compile(r"[<>|=]?[biuf][1248]")


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a pickled dictionary by their names; what is not an array is left out.

    Args:
        path: A pickle of any protocol, of Python 2 or 3. Sparse matrices become dense, chumpy's objects their values.

    Raises:
        DataError: It is missing, damaged, holds something else, or names anything but arrays.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} has more than {MAX_BYTES:,} bytes; expected a file of arrays")
        with path.open("rb") as file:
            content = _Reader(file, path).load()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except DataError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        told = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not a whole pickle of arrays ({told}); copy it again") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds {type(content).__name__.strip('_').lower()}, expected a dictionary of arrays")
    arrays = {}
    for name, value in content.items():
        try:
            found = _value(value)
        except Exception as error:  # as above
            raise DataError(f"{path}: '{name}' cannot be read ({' '.join(str(error).split())})") from error
        if found is not None:
            arrays[str(name)] = found
    return arrays


class _Reader(pickle.Unpickler):
    """An unpickler whose names lead to stand-ins."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # Python 2 wrote the bytes of arrays as text
        self._path = path

    def find_class(self, module: str, name: str, /) -> type:
        """Return the stand-in of a name; no module is ever imported."""
        stand_in = _STAND_INS.get((module.replace("numpy._core", "numpy.core"), name))
        if stand_in is not None:
            return stand_in
        if re.fullmatch(r"scipy\.sparse(\.\w+)*", module) and re.fullmatch(r"(csc|csr|coo)_(matrix|array)", name):
            return type(name, (_Sparse,), {})
        if re.fullmatch(r"chumpy(\.\w+)*", module) and name.isidentifier():
            return type(name, (_Chumpy,), {})
        raise DataError(
            f"{self._path} names {module}.{name}, which is none of the arrays that a model is made of; nothing of it "
            "was run: do not open it with anything else, and fetch the file from its owners"
        )

    def persistent_load(self, _: Any, /) -> Any:
        """Refuse what stands outside of the file."""
        raise DataError(f"{self._path} refers to something outside of the file; fetch it again")


class _Kept:
    """Keeps its arguments and its state, and does nothing with either."""

    def __new__(cls, *arguments: Any) -> Any:
        made = super().__new__(cls)
        made.arguments, made.state = arguments, {}
        return made

    arguments: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Kept):
    """`ndarray`: the state is (version, shape, dtype, Fortran order, bytes)."""

    def value(self) -> Array:
        _, shape, dtype, fortran, raw = self.state
        return _from_bytes(raw, dtype, shape, "F" if fortran else "C")


class _FromBuffer(_Kept):
    """`numpy.core.numeric._frombuffer`, of protocol 5: (bytes, dtype, shape, order)."""

    def value(self) -> Array:
        raw, dtype, shape, order, *axes = self.arguments
        if any(axis is not None for axis in axes):
            raise ValueError("an array of an order of axes that is not known here")
        return _from_bytes(raw, dtype, shape, order)


class _Scalar(_Kept):
    """`numpy.core.multiarray.scalar`: (dtype, bytes)."""

    def value(self) -> Array:
        dtype, raw = self.arguments
        return _from_bytes(raw, dtype, (), "C")


class _Dtype(_Kept):
    """`dtype`: the arguments begin with its name, the second of the state is the order of bytes."""

    def dtype(self) -> np.dtype[Any]:
        name, order = str(self.arguments[0]), str(self.state[1]) if self.state else "|"
        if not _NUMBERS.fullmatch(order + name):
            raise ValueError(f"an array of {name}, where numbers are expected")
        return np.dtype(order + name)


class _Reconstruct(_Kept):
    """`numpy.core.multiarray._reconstruct`, which makes an empty array whose state follows."""

    def __new__(cls, *arguments: Any) -> Any:
        return _Array(*arguments)


class _Instance(_Kept):
    """`copy_reg._reconstructor`: (class, base, state of the base), of protocols 0 and 1."""

    def __new__(cls, *arguments: Any) -> Any:
        made, base, state = arguments
        if not (isinstance(made, type) and issubclass(made, _Kept) and base is _Object and state is None):
            raise ValueError("an object of an unknown kind")
        return made()


class _Object(_Kept):
    """`object`."""


class _Bytes(_Kept):
    """`_codecs.encode`, which writes bytes as text for Python 2's protocols: (text, latin1)."""

    def __new__(cls, *arguments: Any) -> Any:
        text, encoding = arguments
        if encoding != "latin1":
            raise ValueError(f"bytes in {encoding}")
        return str(text).encode("latin1")


class _Set(_Kept):
    """`set`, which chumpy keeps for itself."""


class _Sparse(_Kept):
    """A sparse matrix: the state has its parts by name."""

    def value(self) -> Array:
        shape = tuple(int(side) for side in self.state["_shape"])
        if len(shape) != 2 or min(shape) < 0 or shape[0] * shape[1] > MAX_SIZE:
            raise ValueError(f"a sparse matrix of shape {shape}")
        kind, data = type(self).__name__[:3], self._part("data")
        if kind == "coo":
            rows, columns = (self._part("row"), self._part("col")) if "row" in self.state else self._coordinates()
        else:
            counts = np.diff(self._part("indptr"))
            if len(counts) != shape[kind == "csc"] or counts.min(initial=0) < 0 or counts.sum() != len(data):
                raise ValueError("a sparse matrix whose parts do not fit together")
            rows, columns = np.repeat(np.arange(len(counts)), counts), self._part("indices")
            if kind == "csc":
                rows, columns = columns, rows
        dense = np.zeros(shape, dtype=np.float64)
        if len(data) and min(rows.min(), columns.min()) < 0:
            raise ValueError("a sparse matrix with negative indices")
        np.add.at(dense, (rows, columns), data)
        return dense

    def _part(self, name: str) -> Array:
        found = _value(self.state[name])
        if found is None or found.ndim != 1:
            raise ValueError(f"a sparse matrix whose '{name}' is no list of numbers")
        return found

    def _coordinates(self) -> tuple[Array, Array]:
        rows, columns = (_value(part) for part in self.state["coords"])
        if rows is None or columns is None:
            raise ValueError("a sparse matrix without coordinates")
        return rows, columns


class _Chumpy(_Kept):
    """An object of chumpy: `Ch` holds an array x, `Select` some elements of another one, `Reshape` all of them."""

    def value(self, depth: int = 0) -> Array:
        if depth > _DEPTH:
            raise ValueError("an expression that is nested too deeply")
        kind, state = type(self).__name__, self.state
        if kind == "Ch":
            return _needed(state["x"], depth)
        if kind == "Select":
            chosen = _needed(state["a"], depth).ravel()[_needed(state["idxs"], depth).ravel().astype(np.int64)]
            return chosen.reshape(_shape(state["preferred_shape"])) if "preferred_shape" in state else chosen
        if kind == "Reshape":
            return _needed(state["a"], depth).reshape(_shape(state["newshape"]))
        raise ValueError(f"chumpy's {kind}, which is not known here")


def _needed(value: Any, depth: int) -> Array:
    found = value.value(depth + 1) if isinstance(value, _Chumpy) else _value(value)
    if found is None:
        raise ValueError("an expression without an array")
    return found


def _shape(value: Any) -> tuple[int, ...]:
    sides = value if isinstance(value, Sequence) else _needed(value, 0).tolist()
    return tuple(int(side) for side in sides)


def _value(value: Any) -> Array | None:
    """Return the array that a stand-in is for; None for what is no array."""
    return value.value() if isinstance(value, _Array | _FromBuffer | _Scalar | _Sparse | _Chumpy) else None


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(dtype, _Dtype):
        raise ValueError("an array of an unknown kind")
    numbers, data = dtype.dtype(), raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(data, bytes | bytearray):
        raise ValueError("an array that does not hold its numbers")
    flat = np.frombuffer(data, dtype=numbers)
    return flat.reshape(tuple(int(side) for side in shape), order="F" if order == "F" else "C")


_STAND_INS: Final[dict[tuple[str, str], type]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("_codecs", "encode"): _Bytes,
    **{(module, "_reconstructor"): _Instance for module in ("copy_reg", "copyreg")},
    **{(module, "object"): _Object for module in ("__builtin__", "builtins")},
    **{(module, "set"): _Set for module in ("__builtin__", "builtins")},
}
