"""A hand made of boxes in MANO's file format: one box per joint, the palm's open at the wrist.

Written as the owners' files are, by Python 2's pickle with chumpy's and scipy's classes by name, or as plain arrays.
"""

import io
import pickle
import struct
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

PARENTS = [4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
MIRROR = np.array([-1.0, 1.0, 1.0])
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
Layout = Literal["chumpy 0", "chumpy 2", "plain 4", "plain 5"]


def make_hand(side: str = "right", seed: int = 0) -> dict[str, Any]:
    """Return the fields of a model; the left hand mirrors the right one, except for the first shape axis."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((16, 3))
    for finger, x in enumerate((-0.015, 0.005, 0.04, 0.02, -0.05)):  # index, middle, pinky, ring, thumb
        for bone in range(3):
            centres[1 + 3 * finger + bone] = [x, 0.045 + 0.022 * bone - 0.03 * (finger == 4), 0.002 * bone]
    sizes = np.full((16, 3), [0.006, 0.009, 0.006])
    sizes[0] = [0.035, 0.03, 0.008]
    vertices = (centres[:, None] + sizes[:, None] * CORNERS).reshape(-1, 3)
    quads = [(joint, quad) for joint in range(16) for quad in QUADS if (joint, quad) != (0, QUADS[2])]  # open at -y
    faces = np.array([
        [8 * joint + i for i in corners]
        for joint, quad in quads
        for corners in (quad[:3], (quad[0], quad[2], quad[3]))
    ])  # fmt: skip
    joint_weights = np.kron(np.eye(16), np.full(8, 1 / 8))
    skinning = np.kron(np.eye(16), np.ones((8, 1)))
    for joint in range(1, 16):
        parent = PARENTS[joint]
        skinning[8 * joint : 8 * joint + 2, [joint, parent]] = [0.7, 0.3]
    fields = {
        "v_template": vertices, "f": faces.astype(np.uint32), "weights": skinning, "J_regressor": joint_weights,
        "kintree_table": np.array([PARENTS, range(16)], dtype=np.int64), "J": joint_weights @ vertices,
        "shapedirs": rng.normal(0, 0.002, (len(vertices), 3, 10)),
        "posedirs": rng.normal(0, 0.0005, (len(vertices), 3, 135)), "hands_mean": rng.normal(0, 0.1, 45),
        "hands_components": np.eye(45), "bs_style": "lbs", "bs_type": "lrotmin",
    }  # fmt: skip
    if side == "right":
        return fields
    turned = np.einsum("a,c,d->acd", MIRROR, MIRROR, MIRROR).reshape(3, 9)
    return {
        **fields, "v_template": vertices * MIRROR, "f": fields["f"][:, ::-1].copy(), "J": fields["J"] * MIRROR,
        "posedirs": fields["posedirs"] * np.tile(turned, 15), "hands_mean": mirrored(fields["hands_mean"]),
        "shapedirs": fields["shapedirs"] * np.array([1.0, 1.0, 1.0])[:, None],  # as distributed: x is not mirrored
    }  # fmt: skip


def mirrored(pose: np.ndarray) -> np.ndarray:
    """Return the rotation vectors mirrored in x."""
    return (pose.reshape(-1, 3) * [1.0, -1.0, -1.0]).ravel()


def write_models(folder: Path, layout: Layout = "chumpy 2", **changes: Any) -> Path:
    """Write MANO_RIGHT.pkl and MANO_LEFT.pkl; `changes` replaces fields of the right one (None removes them)."""
    folder.mkdir(parents=True, exist_ok=True)
    for side in ("right", "left"):
        fields = make_hand(side)
        if side == "right":
            fields = {name: value for name, value in {**fields, **changes}.items() if value is not None}
        (folder / f"MANO_{side.upper()}.pkl").write_bytes(pickled(fields, layout))
    return folder


def pickled(fields: dict[str, Any], layout: Layout) -> bytes:
    """Return a model's fields as the content of a file."""
    kind, protocol = layout.split()
    if kind == "plain":
        return pickle.dumps(fields, protocol=int(protocol))
    with foreign_classes() as (ch, select, matrix):
        written = {}
        for name, value in fields.items():
            if name == "J_regressor":
                written[name] = matrix(value)
            elif name == "shapedirs":  # the first ten of more axes, as chumpy selects them
                whole = np.concatenate([value, np.full((*value.shape[:2], 5), 9.0)], axis=2)
                chosen = np.arange(whole.size).reshape(whole.shape)[:, :, : value.shape[2]]
                written[name] = select(ch(whole), chosen.ravel(), chosen.shape)
            elif name in ("v_template", "posedirs"):
                written[name] = ch(value)
            else:
                written[name] = value
        file = io.BytesIO()
        _Python2(file, protocol=int(protocol)).dump(written)
    # Names by which the files' authors knew numpy.
    return file.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


@contextmanager
def foreign_classes() -> Iterator[tuple[type, type, type]]:
    """Temporarily provide classes with the names of chumpy's and scipy's."""

    class Ch:
        def __init__(self, x: Any) -> None:
            self.__dict__.update(x=x, _dirty_vars={"x"}, _itr=None, _depends_on_deps=None)

    class Select:
        def __init__(self, a: Any, idxs: Any, preferred_shape: Any) -> None:
            self.__dict__.update(a=a, idxs=idxs, preferred_shape=preferred_shape, _dirty_vars=set(), _itr=None)

    class csc_matrix:  # noqa: N801
        def __init__(self, dense: np.ndarray) -> None:
            columns, rows = np.nonzero(dense.T)
            ends = np.searchsorted(columns, np.arange(dense.shape[1] + 1)).astype(np.int32)
            self.__dict__.update(
                _shape=dense.shape, maxprint=50, indices=rows.astype(np.int32), indptr=ends, data=dense[rows, columns]
            )

    named = {"chumpy.ch": Ch, "chumpy.reordering": Select, "scipy.sparse.csc": csc_matrix}
    kept = {name: sys.modules.get(name) for name in [*named, "chumpy", "scipy", "scipy.sparse"]}
    for name in kept:
        sys.modules[name] = types.ModuleType(name)
    for module, made in named.items():
        made.__module__, made.__qualname__ = module, made.__name__
        setattr(sys.modules[module], made.__name__, made)
    try:
        yield Ch, Select, csc_matrix
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class _Python2(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Pickles bytes as Python 2 did, as text."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, data: bytes) -> None:
        if self.bin:
            self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        else:
            self.write(pickle.STRING + repr(data)[1:].encode("ascii") + b"\n")
        self.memoize(data)

    dispatch[bytes] = save_bytes
