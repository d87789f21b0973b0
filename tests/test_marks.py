"""Marks of results: pictures stay pictures, and nobody else's file is taken for a result."""

import json
from pathlib import Path

import cv2
import numpy as np

from poses import random_pose
from unclasp.marks import is_marked, is_result, marked, numbers_in
from unclasp.picture import read_picture
from unclasp.video import Video
from unclasp.video_writer import VideoWriter

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


def test_results_are_known_by_their_marks_and_numbers(tmp_path: Path) -> None:
    """Not by what lies beside them: somebody's photo.png may have our photo.json there."""
    (tmp_path / "a.json").write_text(json.dumps(NUMBERS))
    (tmp_path / "v.jsonl").write_text(json.dumps(NUMBERS) + "\n" + json.dumps(NUMBERS) + "\n")
    (tmp_path / "b.json").write_text("{}")
    for name in ("a.png", "a.html", "v.mp4"):
        (tmp_path / name).write_bytes(b"a file of somebody's")
    for name in ("a.json", "v.jsonl", "v.rrd"):
        assert is_result(tmp_path / name), name
    for name in ("b.json", "a.png", "a.html", "v.mp4", "a.rrd", "none.png", "none.mp4", "none.json"):
        assert not is_result(tmp_path / name), name


def test_a_marked_video_is_the_same_video(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3)).astype(np.uint8)
    path = tmp_path / "v.mp4"
    with VideoWriter(path, rate=25) as video:
        for frame in frames:
            video.write(frame)
    assert is_marked(path) and is_result(path)
    marked_frames = [frame.image for frame in Video(path)]
    plain = tmp_path / "plain.mp4"
    plain.write_bytes(path.read_bytes()[:-15])
    assert not is_marked(plain)
    np.testing.assert_array_equal(marked_frames, [frame.image for frame in Video(plain)])
    assert len(marked_frames) == len(frames)


def test_a_page_of_ours_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    random_pose().save_html(path)
    assert is_marked(path) and is_result(path)


def test_numbers_of_others_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("", "[]", "3", "null", "{", '{"unclasp": 1}', '{"unclasp": 1, "image": 2}', '{"labels": []}'):
        path.write_text(text)
        assert numbers_in(path) is None, text
    path.write_text('{"unclasp": "x", "image": "source.jpg"}')
    assert numbers_in(path) is None
    path.write_bytes(b"\xff\xfe")
    assert numbers_in(path) is None
