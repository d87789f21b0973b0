"""Reads the arrays of a pickle without executing any code that it names.

A pickle is a program that may call anything it can name. Here, every name is resolved to a stand-in class that only
stores its arguments and state. There are stand-ins for numpy arrays, scipy's sparse matrices and chumpy's objects,
which is all that MANO's files contain, whether they were written by Python 2 or 3. Every other name is rejected before
anything is done with it.
"""

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from unclasp.arrays import Array
from unclasp.errors import DataError

MAX_BYTES: Final = 20_000_000
"""Larger files are rejected; MANO's have 4 MB."""
MAX_ARRAY_BYTES: Final = 400_000_000
"""Most bytes of all arrays together, which may be made of the same parts of the file."""
MAX_ELEMENTS: Final = 20_000_000
"""Maximum number of elements of a sparse matrix when made dense."""
_MAX_DEPTH: Final = 8
"""Maximum nesting of chumpy's expressions."""
_NUMBERS: Final = re.compile(r"[<>|=]?[biuf][1248]")


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a pickled dictionary by name; other values are left out.

    Args:
        path: A pickle of any protocol, of Python 2 or 3. Sparse matrices become dense, chumpy's objects their values.

    Raises:
        DataError: The file is missing, damaged, does not hold a dictionary, or names anything but arrays.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} has more than {MAX_BYTES:,} bytes; expected a file of arrays")
        # From memory: a file would reserve as much as it is asked for.
        content = _Reader(BytesIO(path.read_bytes()), path).load()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except DataError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not a whole pickle of arrays ({reason}); copy it again") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds {type(content).__name__.strip('_').lower()}, expected a dictionary of arrays")
    arrays: dict[str, Array] = {}
    left = MAX_ARRAY_BYTES
    for name, value in content.items():
        try:
            found = _value(value)
        except Exception as error:  # as above
            raise DataError(f"{path}: '{name}' cannot be read ({' '.join(str(error).split())})") from error
        if found is not None:
            left -= found.nbytes
            if left < 0:
                raise DataError(f"{path} holds arrays of more than {MAX_ARRAY_BYTES:,} bytes; fetch it from its owners")
            arrays[str(name)] = found
    return arrays


def _with_flat_keys(load: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """Return an unpickler's operation that refuses tuples as keys: hashing nested ones may take forever."""

    def checked(reader: Any) -> None:
        if any(isinstance(key, tuple | frozenset) for key in reader.stack[keys]):
            raise ValueError("a tuple as a key")
        load(reader)

    return checked


class _Reader(pickle._Unpickler):
    """An unpickler that resolves every name to a stand-in.

    It extends the one in Python, because the one in C reserves as much memory as a reference's number asks for. Byte
    arrays are read as bytes, whose length may be wrong without reserving memory for it.
    """

    dispatch = pickle._Unpickler.dispatch | {pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]]} | {
        operation[0]: _with_flat_keys(pickle._Unpickler.dispatch[operation[0]], keys)
        for operation, keys in (
            (pickle.SETITEM, slice(-2, -1)), (pickle.SETITEMS, slice(0, None, 2)), (pickle.DICT, slice(0, None, 2)),
            (pickle.ADDITEMS, slice(0, None)), (pickle.FROZENSET, slice(0, None)),
        )
    }  # fmt: skip

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # Python 2 wrote the bytes of arrays as text
        self._path = path

    def find_class(self, module: str, name: str, /) -> type:
        """Return the stand-in for a name; never imports a module."""
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
        """Reject references to objects outside the file."""
        raise DataError(f"{self._path} refers to something outside of the file; fetch it again")


class _StandIn:
    """Stores its arguments and its state, and does nothing with either."""

    def __new__(cls, *arguments: Any) -> Any:
        instance = super().__new__(cls)
        instance.arguments, instance.state = arguments, {}
        return instance

    arguments: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_StandIn):
    """`ndarray`: the state is (version, shape, dtype, Fortran order, bytes)."""

    def value(self) -> Array:
        _, shape, dtype, fortran, raw = self.state
        return _from_bytes(raw, dtype, shape, "F" if fortran else "C")


class _FromBuffer(_StandIn):
    """`numpy.core.numeric._frombuffer`, of protocol 5: (bytes, dtype, shape, order)."""

    def value(self) -> Array:
        raw, dtype, shape, order, *axes = self.arguments
        if any(axis is not None for axis in axes):
            raise ValueError("an array with an unknown order of axes")
        return _from_bytes(raw, dtype, shape, order)


class _Scalar(_StandIn):
    """`numpy.core.multiarray.scalar`: (dtype, bytes)."""

    def value(self) -> Array:
        dtype, raw = self.arguments
        return _from_bytes(raw, dtype, (), "C")


class _Dtype(_StandIn):
    """`dtype`: the first argument is its name, the second element of the state is the byte order."""

    def dtype(self) -> np.dtype[Any]:
        name, order = self.arguments[0], self.state[1] if self.state else "|"
        if not isinstance(name, str) or not isinstance(order, str):
            raise ValueError("an array of an unknown kind")
        if not _NUMBERS.fullmatch(order + name):
            raise ValueError(f"an array of {name}, where numbers are expected")
        return np.dtype(order + name)


class _Reconstruct(_StandIn):
    """`numpy.core.multiarray._reconstruct`, which creates an empty array; its state is set afterwards."""

    def __new__(cls, *arguments: Any) -> Any:
        return _Array(*arguments)


class _Instance(_StandIn):
    """`copy_reg._reconstructor`: (class, base, state of the base), of protocols 0 and 1."""

    def __new__(cls, *arguments: Any) -> Any:
        stand_in, base, state = arguments
        if not (isinstance(stand_in, type) and issubclass(stand_in, _StandIn) and base is _Object and state is None):
            raise ValueError("an object of an unknown kind")
        return stand_in()


class _Object(_StandIn):
    """`object`."""


class _Bytes(_StandIn):
    """`_codecs.encode`, which represents bytes as text in Python 2's protocols: (text, latin1)."""

    def value(self) -> bytes:
        text, encoding = self.arguments
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("bytes in an unknown encoding")
        return text.encode("latin1")


class _Set(_StandIn):
    """`set`, which chumpy uses internally."""


class _Sparse(_StandIn):
    """A sparse matrix; the state holds its parts by name."""

    def value(self) -> Array:
        shape = tuple(int(side) for side in self.state["_shape"])
        if len(shape) != 2 or min(shape) < 0 or shape[0] * shape[1] > MAX_ELEMENTS:
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


class _Chumpy(_StandIn):
    """An object of chumpy: `Ch` holds an array, `Select` some elements of another object, `Reshape` all of them."""

    def value(self, depth: int = 0) -> Array:
        if depth > _MAX_DEPTH:
            raise ValueError("an expression that is nested too deeply")
        kind, state = type(self).__name__, self.state
        if kind == "Ch":
            return _needed(state["x"], depth)
        if kind == "Select":
            chosen = _needed(state["a"], depth).ravel()[_needed(state["idxs"], depth).ravel().astype(np.int64)]
            return chosen.reshape(_shape(state["preferred_shape"])) if "preferred_shape" in state else chosen
        if kind == "Reshape":
            return _needed(state["a"], depth).reshape(_shape(state["newshape"]))
        raise ValueError(f"chumpy's {kind}, which is not supported")


def _needed(value: Any, depth: int) -> Array:
    found = value.value(depth + 1) if isinstance(value, _Chumpy) else _value(value)
    if found is None:
        raise ValueError("an expression without an array")
    return found


def _shape(value: Any) -> tuple[int, ...]:
    sides = value if isinstance(value, Sequence) else _needed(value, 0).tolist()
    return tuple(int(side) for side in sides)


def _value(value: Any) -> Array | None:
    """Return the array that a stand-in represents; None for anything that is not an array."""
    return value.value() if isinstance(value, _Array | _FromBuffer | _Scalar | _Sparse | _Chumpy) else None


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(dtype, _Dtype):
        raise ValueError("an array of an unknown kind")
    numbers = dtype.dtype()
    data = raw.encode("latin1") if isinstance(raw, str) else raw.value() if isinstance(raw, _Bytes) else raw
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
