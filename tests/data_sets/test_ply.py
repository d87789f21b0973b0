"""PLY files of other programs: ASCII, both byte orders, with colours and faces besides the vertices."""

import struct
from pathlib import Path

import numpy as np
import pytest

from unclasp.data.ply import read_vertices
from unclasp.errors import DataError

POINTS = [(0.125, -2.5, 3.75), (1e-3, 0.0, 700.25), (-7.0, 8.5, 0.5)]
HEADER = [
    "comment made by hand", "element vertex 3", "property float x", "property float y", "property float z",
    "property uchar red", "element face 1", "property list uchar int vertex_indices",
]  # fmt: skip


def header(form: str, lines: list[str] = HEADER, newline: str = "\n") -> bytes:
    return newline.join(["ply", f"format {form} 1.0", *lines, "end_header", ""]).encode()


def ascii_body() -> bytes:
    return "".join(f"{x} {y} {z} 200\n" for x, y, z in POINTS).encode() + b"3 0 1 2\n"


def binary_body(order: str) -> bytes:
    rows = b"".join(struct.pack(f"{order}fffB", *point, 200) for point in POINTS)
    return rows + struct.pack(f"{order}Biii", 3, 0, 1, 2)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_all_formats_say_the_same(tmp_path: Path, form: str, newline: str) -> None:
    body = ascii_body() if form == "ascii" else binary_body("<" if "little" in form else ">")
    path = tmp_path / "hand.ply"
    path.write_bytes(header(form, newline=newline) + body)
    vertices = read_vertices(path)
    assert vertices.dtype == np.float64
    np.testing.assert_allclose(vertices, POINTS, rtol=1e-7)


def test_doubles_in_another_order(tmp_path: Path) -> None:
    lines = ["element vertex 3", "property int index", *(f"property double {axis}" for axis in "zyx")]
    rows = b"".join(struct.pack("<iddd", 9, z, y, x) for x, y, z in POINTS)
    path = tmp_path / "hand.ply"
    path.write_bytes(header("binary_little_endian", lines) + rows)
    np.testing.assert_array_equal(read_vertices(path), POINTS)


LITTLE = "binary_little_endian"
DAMAGE = {
    "no PLY": (b"solid cube\n", "is not a PLY file"),
    "cut header": (header(LITTLE)[:60], "is not a PLY file, or its header is cut off"),
    "cut binary": (header(LITTLE) + binary_body("<")[:30], "ends before its 3 vertices do"),
    "cut text": (header("ascii") + ascii_body()[:20], "must have 3 lines of 4 numbers"),
    "words": (header("ascii") + b"a b c d\n" * 3, "must have 3 lines of 4 numbers"),
    "unknown format": (header("binary_middle_endian"), "must give a format and a number of vertices"),
    "no vertices": (header("ascii", ["element edge 1"]), "edge comes before the vertices"),
    "no z": (header("ascii", HEADER[:4]), "its vertices have no z, but x, y"),
    "list": (header("ascii", ["element vertex 1", "property list uchar int x"]), "not supported: list uchar int x"),
    "x twice": (header(LITTLE, [*HEADER[:5], "property float x"]) + bytes(200), "a property twice, of x, "),
    "digits": (header("ascii", ["element vertex " + "9" * 5000, *HEADER[2:5]]), "must give a format and a number of"),
    "no number": (header("ascii", ["element vertex many"]), "must give a format and a number of vertices"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damage_is_told_in_one_line(tmp_path: Path, damage: str) -> None:
    content, told = DAMAGE[damage]
    path = tmp_path / "hand.ply"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        read_vertices(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_vertices(tmp_path / "hand.ply")
