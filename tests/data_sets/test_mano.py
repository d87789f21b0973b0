"""MANO from a user's own files: every variant of the files reads the same, and nothing in them is executed."""

import contextlib
import io
import os
import pickle
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_mano import MIRROR, PARENTS, make_hand, mirrored, pickled, write_models

from unclasp.data.inert_pickle import read_arrays
from unclasp.data.mano import PART_OF_JOINT, read_mano
from unclasp.errors import DataError
from unclasp.hands import HAND_PART_NAMES

LAYOUTS = ("chumpy 0", "chumpy 2", "plain 4", "plain 5")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_the_same(tmp_path: Path, layout: Any) -> None:
    fields, path = make_hand(), tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickled(fields, layout))
    arrays = read_arrays(path)
    for name, value in fields.items():
        if isinstance(value, str):
            assert name not in arrays
        else:
            np.testing.assert_array_equal(arrays[name], value, err_msg=name)
            assert arrays[name].dtype.kind == value.dtype.kind
    assert b"chumpy.reordering\nSelect" in path.read_bytes() or "plain" in layout
    assert "chumpy" not in sys.modules


def test_other_forms_of_arrays_read_too(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.array([[0.0, 2.0, 0.0], [1.5, 0.0, -3.0]])
    content = {kind: getattr(sparse, f"{kind}_matrix")(dense) for kind in ("csc", "csr", "coo")}
    content.update(fortran=np.asfortranarray(dense), number=np.float32(1.5), turned=dense.T, flags=dense > 0)
    for protocol in range(6):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        arrays = read_arrays(path)
        for name in ("csc", "csr", "coo", "fortran"):
            np.testing.assert_array_equal(arrays[name], dense, err_msg=f"{name} {protocol}")
        np.testing.assert_array_equal(arrays["turned"], dense.T)
        np.testing.assert_array_equal(arrays["flags"], dense > 0)
        assert float(arrays["number"]) == 1.5


# ---- files that want to be more than data


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class Outside(pickle.Pickler):
    """Pickles calls as references to objects outside the file."""

    def persistent_id(self, thing: Any) -> str | None:
        return "outside" if isinstance(thing, Calls) else None


def evil(path: Path) -> dict[str, tuple[bytes, str]]:
    """Return pickles that would create a file if executed, with the name that the error message mentions."""
    command = f"touch {path}"
    persistent = io.BytesIO()
    Outside(persistent).dump({"f": Calls(print)})
    return {
        "a shell": (pickle.dumps({"f": Calls(os.system, command)}), r"names posix\.system"),
        "a shell of old": (pickle.dumps({"f": Calls(os.system, command)}, protocol=0), r"names posix\.system"),
        "eval": (pickle.dumps([Calls(eval, f"open({str(path)!r}, 'w')")]), r"names builtins\.eval"),
        "an instance": (b"(S'" + command.encode() + b"'\nios\nsystem\n.", r"names os\.system"),
        "numpy's reader of files": (pickle.dumps(Calls(np.load, str(path))), r"names numpy\.load"),
        "numpy's fromfile": (b"cnumpy\nfromfile\n(S'x'\ntR.", r"names numpy\.fromfile"),
        "a way through a stand-in": (
            b"\x80\x04\x8c\x09chumpy.ch\x8c\x0bCh.__init__\x93.", r"names chumpy\.ch\.Ch\.__init__"
        ),
        "a way through scipy": (b"cscipy.sparse.linalg\nsvds\n.", r"names scipy\.sparse\.linalg\.svds"),
        "something outside": (persistent.getvalue(), "refers to something outside"),
        "an extension": (b"\x80\x02\x82\x01.", "is not a whole pickle"),
        "another base": (b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nset\nNtR.", "unknown kind"),
        "a class that is changed": (b"cnumpy\nndarray\n}S'value'\nI1\nsb.", "is not a whole pickle"),
    }  # fmt: skip


@pytest.mark.parametrize("name", evil(Path("x")))
def test_whatever_is_not_an_array_is_refused_by_name_and_not_run(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "was_run"
    content, told = evil(mark)[name]
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as error:
        read_arrays(path)
    assert not mark.exists() and "\n" not in str(error.value) and str(path) in str(error.value)


def test_the_shell_would_have_run(tmp_path: Path) -> None:
    """Control: the standard unpickler does execute the same bytes."""
    pickle.loads(evil(tmp_path / "was_run")["a shell"][0])  # noqa: S301
    assert (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a whole pickle of arrays"),
        (b"no pickle at all", "is not a whole pickle of arrays"),
        (pickle.dumps([1, 2]), "holds list, expected a dictionary"),
        (pickle.dumps({"f": np.array([{}, "x"], dtype=object)}), "'f' cannot be read .*an array of O8"),
        (pickle.dumps({"f": np.array(["abc"])}), "'f' cannot be read .*an array of U3"),
        (b"}S'f'\ncchumpy.ch\nMatVecMult\n)\x81s.", "'f' cannot be read .*chumpy's MatVecMult"),
        (b"}S'f'\ncchumpy.ch\nCh\n)\x81s.", "'f' cannot be read .*'x'"),
    ],
)  # fmt: skip
def test_what_holds_no_arrays_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as error:
        read_arrays(path)
    assert "\n" not in str(error.value)


def test_a_chumpy_object_that_holds_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(b"}S'f'\ncchumpy.reordering\nReshape\n)\x81q\x01}(S'a'\nh\x01S'newshape'\n(tubs.")
    with pytest.raises(DataError, match="nested too deeply"):
        read_arrays(path)


TWICE = b"h\x01h\x01\x86q\x010"
"""Replaces the tuple in memory 1 by a pair of it."""
TEXT = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x020"
DTYPE = b"cnumpy\ndtype\nX\x02\0\0\0u1\x85R"
SHARED = b"cnumpy.core.numeric\n_frombuffer\n(%sJ" + struct.pack("<i", 10**6) + b"\x85X\x01\0\0\0CtR"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x80\x02)q\x010" + TWICE * 60 + b"}h\x01K\x01s.", "a tuple as a key"),
        (b"\x80\x02)q\x010" + TWICE * 60 + b"}(K\x01K\x01h\x01K\x01u.", "a tuple as a key"),
        (b"\x80\x04)q\x010" + TWICE * 60 + b"\x8f(h\x01\x90.", "a tuple as a key"),
        (b"\x80\x04)q\x010" + TWICE * 60 + b"(h\x01\x91.", "a tuple as a key"),
        (
            b"\x80\x02)q\x010" + TWICE * 60
            + b"}X\x01\0\0\0fcnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nh\x01\x85RU\x00\x86Rs.",
            "'f' cannot be read .an array of an unknown kind",
        ),
        (
            b"\x80\x02" + TEXT + b"}("
            + b"".join(b"X\x04\0\0\0%04d" % i + SHARED % (b"h\x02" + DTYPE) for i in range(401)) + b"u.",
            "holds arrays of more than 400,000,000 bytes",
        ),
        (
            b"\x80\x02" + TEXT + b"}("
            + b"".join(
                b"X\x04\0\0\0%04d" % i
                + SHARED % (b"c_codecs\nencode\nh\x02X\x06\0\0\0latin1\x86R" + DTYPE) for i in range(401)
            ) + b"u.",
            "holds arrays of more than 400,000,000 bytes",
        ),
    ],
    ids=["a key", "keys", "a set", "a frozen set", "a dtype", "text", "encoded text"],
)  # fmt: skip
def test_small_files_that_take_forever_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_arrays(path)


@pytest.mark.parametrize(
    "content",
    [b"\x80\x02}r" + struct.pack("<I", 2**26) + b".", b"\x80\x05}X\x01\0\0\0f\x96" + struct.pack("<Q", 2**30) + b"s."],
    ids=["a reference", "a byte array"],
)
def test_large_numbers_reserve_no_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with contextlib.suppress(DataError):
            assert read_arrays(path) == {}
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


# ---- the model


def slow_vertices(fields: dict[str, Any], pose: np.ndarray, shape: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Reference implementation: skin vertex by vertex with 4 x 4 matrices; mm."""
    full = pose.copy()
    full[3:] += fields["hands_mean"]
    turns = [cv2.Rodrigues(full[3 * j : 3 * j + 3])[0] for j in range(16)]
    shaped = fields["v_template"].copy()
    for k in range(10):
        shaped += fields["shapedirs"][:, :, k] * shape[k]
    joints = fields["J_regressor"] @ shaped
    for j in range(1, 16):
        for a in range(3):
            for b in range(3):
                shaped = shaped + fields["posedirs"][:, :, 9 * (j - 1) + 3 * a + b] * (turns[j][a, b] - (a == b))
    world = []
    for j in range(16):
        local = np.eye(4)
        local[:3, :3] = turns[j]
        local[:3, 3] = joints[j] - (joints[PARENTS[j]] if j else 0)
        world.append(world[PARENTS[j]] @ local if j else local)
    out = []
    for v, point in enumerate(shaped):
        total = np.zeros(3)
        for j in range(16):
            away = np.eye(4)
            away[:3, 3] = -joints[j]
            total += fields["weights"][v, j] * (world[j] @ away @ [*point, 1.0])[:3]
        out.append(1000 * (total + place))
    return np.array(out)


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.5, 48), rng.normal(0, 1.5, 10), rng.normal(0, 0.3, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vertices_are_those_of_the_slow_reference(tmp_path: Path, layout: Any) -> None:
    models, fields = read_mano(write_models(tmp_path, layout)), make_hand()
    for seed in range(3):
        fit = draw(seed)
        np.testing.assert_allclose(models["right"].vertices(*fit)[:-1], slow_vertices(fields, *fit), atol=1e-9)


def test_no_pose_at_all_is_the_mean_pose(tmp_path: Path) -> None:
    model = read_mano(write_models(tmp_path))["right"]
    still = make_hand()
    pose = np.concatenate([np.zeros(3), -still["hands_mean"]])
    flat = model.vertices(pose, np.zeros(10), np.zeros(3))[:-1]
    np.testing.assert_allclose(flat, 1000 * still["v_template"], atol=1e-9)
    assert np.abs(model.vertices(np.zeros(48), np.zeros(10), np.zeros(3))[:-1] - flat).max() > 1


def test_the_left_hand_is_the_mirrored_right_one_in_spite_of_its_files(tmp_path: Path) -> None:
    """The left file has the right one's first shape axis, as distributed; as it stands, wide hands come out narrow."""
    models = read_mano(write_models(tmp_path))
    pose, shape, place = draw(4)
    right = models["right"].vertices(pose, shape, place)
    left = models["left"].vertices(mirrored(pose), shape, place * MIRROR)
    np.testing.assert_allclose(left, right * MIRROR, atol=1e-9)


def test_a_left_file_that_was_mended_is_left_alone(tmp_path: Path) -> None:
    write_models(tmp_path)
    fields = make_hand("left")
    fields["shapedirs"][:, 0] *= -1
    (tmp_path / "MANO_LEFT.pkl").write_bytes(pickled(fields, "plain 4"))
    np.testing.assert_array_equal(read_mano(tmp_path)["left"].shape_axes, fields["shapedirs"])


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_mesh_is_closed_at_the_wrist_and_looks_outward(tmp_path: Path, side: Any) -> None:
    model = read_mano(write_models(tmp_path))[side]
    edges = [(int(f[i]), int(f[(i + 1) % 3])) for f in model.faces for i in range(3)]
    assert len(set(edges)) == len(edges) and {(b, a) for a, b in edges} == set(edges)
    assert sorted(model.ring.tolist()) == [0, 1, 4, 5]
    pose, shape, place = draw(1)
    moved = model.vertices(pose, shape, place)
    np.testing.assert_allclose(moved[-1], moved[[0, 1, 4, 5]].mean(axis=0))
    a, b, c = (model.vertices(np.zeros(48), np.zeros(10), np.zeros(3))[model.faces[:, i]] for i in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) > 0


def test_parts_follow_their_joints(tmp_path: Path) -> None:
    names = [HAND_PART_NAMES[part] for part in PART_OF_JOINT]
    wanted = [f"{finger}_{bone}" for finger in ("index", "middle", "pinky", "ring", "thumb")
              for bone in ("proximal", "middle", "distal")]  # fmt: skip
    assert names == ["palm", *wanted]
    shares = read_mano(write_models(tmp_path))["right"].part_probabilities
    assert shares.argmax(axis=1)[:-1].tolist() == [1 + PART_OF_JOINT[v // 8] for v in range(128)]
    assert shares[-1].argmax() == 1 and not shares[:, 0].any()


@pytest.mark.parametrize("below", ["models", "mano"])
def test_the_owners_folders_are_found(tmp_path: Path, below: str) -> None:
    write_models(tmp_path / below)
    assert set(read_mano(tmp_path)) == {"right", "left"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hands_mean": None}, "lacks 'hands_mean'"),
        ({"hands_mean": np.zeros(44)}, r"'hands_mean' must hold 45 finite numbers, got \(44,\)"),
        ({"weights": np.zeros((128, 24))}, r"'weights' must hold 128 x 16 finite numbers, got \(128, 24\)"),
        ({"v_template": np.full((128, 3), np.nan)}, "'v_template' must hold any x 3 finite numbers"),
        ({"shapedirs": np.zeros((128, 3, 9))}, "has other joints or fewer shapes"),
        ({"kintree_table": np.zeros((2, 16), np.int64)}, "has other joints or fewer shapes"),
        ({"f": np.array([[0, 1, 128]])}, "'f' must name the 128 vertices"),
        ({"v_template": make_hand("left")["v_template"]}, "MANO_LEFT.pkl holds the right hand again"),
    ],
)
def test_what_is_no_model_is_told(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    write_models(tmp_path, "plain 4", **changes)
    with pytest.raises(DataError, match=told) as error:
        read_mano(tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"MANO_RIGHT\.pkl is missing; --mano names the folder"):
        read_mano(tmp_path)
