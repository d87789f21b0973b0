"""Marks of results: pictures stay pictures, and nobody else's file is taken for a result."""

import json
from pathlib import Path

import cv2
import numpy as np

from unclasp.marks import is_marked, is_result, marked, numbers_in
from unclasp.picture import read_picture

NUMBERS = {"unclasp": "0.1", "image": {"source": "a.jpg"}}


def png() -> bytes:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    return bytes(cv2.imencode(".png", image)[1].tobytes())


def test_a_marked_picture_is_the_same_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(marked(png()))
    np.testing.assert_array_equal(*(read_picture(tmp_path / name) for name in ("a.png", "b.png")))
    assert [is_marked(tmp_path / name) for name in ("a.png", "b.png", "none.png")] == [False, True, False]
    assert not is_result(tmp_path / "a.png") and is_result(tmp_path / "b.png")


def test_results_are_known_by_the_numbers_beside_them(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(NUMBERS))
    (tmp_path / "v.jsonl").write_text(json.dumps(NUMBERS) + "\n" + json.dumps(NUMBERS) + "\n")
    for name in ("a.json", "a.png", "a.html", "v.jsonl", "v.mp4", "v.rrd"):
        assert is_result(tmp_path / name), name
    for name in ("b.json", "b.png", "a.mp4", "v.png"):
        assert not is_result(tmp_path / name), name


def test_numbers_of_others_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("", "[]", "3", "null", "{", '{"unclasp": 1}', '{"unclasp": 1, "image": 2}', '{"labels": []}'):
        path.write_text(text)
        assert numbers_in(path) is None, text
    path.write_bytes(b"\xff\xfe")
    assert numbers_in(path) is None
