"""Paths of outputs that cannot be meant, and of inputs that are not there."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poses import random_pose
from unclasp import Predictor
from unclasp.commands.arguments import need_folder, need_out
from unclasp.data import open_dataset
from unclasp.errors import UnclaspError
from unclasp.files import only_one, write_bytes
from unclasp.picture import read_picture
from unclasp.pose import HandPose
from unclasp.recording import record
from unclasp.sources import find_sources
from unclasp.video import Video
from unclasp.video_writer import VideoWriter


def _enter_only_one(path: Path | str) -> None:
    with only_one(Path(path), ()):
        pass


writers = pytest.mark.parametrize(
    "write",
    [
        lambda path: random_pose().save_json(path),
        lambda path: random_pose().save_html(path),
        lambda path: write_bytes(path, b""),
        lambda path: VideoWriter(path, rate=25),
        lambda path: record([random_pose()], Path(path), rate=25),
        lambda path: need_out(Path(path), ".json"),
        lambda path: need_folder(Path(path)),
        _enter_only_one,
    ],
    ids=["json", "html", "bytes", "video", "record", "out", "folder", "run"],
)


@writers
@pytest.mark.parametrize("path", ["~/x.json", Path("~", "new", "x.json"), "./~/x.json"])
@pytest.mark.parametrize("exists", [False, True])
def test_no_folder_is_made_that_is_called_like_the_home_folder(
    write: Callable[[Any], object], path: Any, exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if exists:
        Path("~").mkdir()
    with pytest.raises(UnclaspError, match=r"~/.*: ~ is not expanded here; .*expanduser\(\).* --out ~/poses"):
        write(path)
    assert list(tmp_path.rglob("*")) == ([tmp_path / "~"] if exists else [])


@writers
@pytest.mark.parametrize("path", ["https://example.org/x.json", Path("s3://bucket/new/x.json")])
def test_nothing_is_written_to_an_address(
    write: Callable[[Any], object], path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnclaspError, match=r":/.*x\.json.*: results are not sent to addresses; give a path on this"):
        write(path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_really_called_like_that_is_given_whole(tmp_path: Path) -> None:
    random_pose().save_json(tmp_path / "~" / "x.json")
    random_pose().save_json(tmp_path / "~x.json")
    assert (tmp_path / "~" / "x.json").is_file() and (tmp_path / "~x.json").is_file()
    random_pose().save_json(tmp_path / "s3:" / "x.json")
    assert (tmp_path / "s3:" / "x.json").is_file()


@pytest.mark.parametrize("write", [HandPose.save_json, HandPose.save_html])
@pytest.mark.parametrize(
    ("place", "named", "reason"),
    [
        ("file/x.json", "file", "it is a file, not a folder"),
        ("file/new/x.json", "file", "it is a file, not a folder"),
        ("a" * 300, "a" * 300, "File name too long"),
        ("full/x.json", "full/x.json", "No space left on device"),
    ],
)
def test_places_that_cannot_be_written_are_told_by_our_error(
    write: Callable[[HandPose, Path], None], place: str, named: str, reason: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def write_some(path: Path, *_: Any, **__: Any) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    if "space" in reason:
        monkeypatch.setattr(Path, "write_text", write_some)
    (tmp_path / "file").touch()
    message = f"{tmp_path / named}: cannot be written ({reason}); choose another place"
    with pytest.raises(UnclaspError, match=f"^{re.escape(message)}$") as told:
        write(random_pose(), tmp_path / place)
    assert isinstance(told.value.__cause__, OSError)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such file system")
def test_a_file_system_that_takes_no_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnclaspError, match=r"^/proc/x.json: cannot be written \(.*\); choose another place"):
        random_pose().save_json("/proc/x.json")


@pytest.mark.parametrize(
    "read",
    [
        read_picture,
        Video,
        Predictor.load,
        lambda path: Predictor.load(f"{path}.onnx"),
        lambda path: Predictor.load(f"{path}.xml"),
        lambda path: next(Predictor.load().stream(path)),
        lambda path: next(Predictor.load().stream(f"{path}/*.jpg")),
        lambda path: open_dataset(f"interhand:{path}:test"),
    ],
    ids=["picture", "video", "weights", "onnx", "openvino", "source", "pattern", "data"],
)
def test_inputs_in_the_home_folder_are_to_be_named_in_full(read: Callable[[str], object]) -> None:
    with pytest.raises(UnclaspError, match=r"~/nothing.*~ is not expanded here: use Path.expanduser\(\)"):
        read("~/nothing")


@pytest.mark.parametrize(
    "address", ["http://example.org/hand.jpg", "https://example.org/clip.mp4?token=[x]", "RTSP://10.0.0.1:554/live"]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_addresses_are_told_not_to_be_opened(address: str, kind: Callable[[str], Any]) -> None:
    given = kind(address)
    own_frames = "addresses are not opened: .*, or read the frames yourself and give them to Predictor.track"
    (source,) = find_sources(given)
    assert source.error is not None and re.search(own_frames, source.error)
    with pytest.raises(UnclaspError, match=own_frames):
        Video(given)
    with pytest.raises(UnclaspError, match=r"addresses are not opened: download the file first$"):
        read_picture(given)


def test_other_names_with_a_colon_or_a_tilde_are_to_be_spelled_right() -> None:
    for name in ("a:b.jpg", "C:/hand.jpg", ":/x.jpg", "~copy of a.jpg"):
        (source,) = find_sources(name)
        assert source.error is not None and source.error.endswith("check the spelling")
