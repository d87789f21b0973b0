"""What words stand for which pictures, and how their results are called."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unclasp.marks import mark_mp4
from unclasp.sources import Source, find_sources, output_stems

# Finding ------------------------------------------------------------------------------------------------------------


def names(sources: list[Source], root: Path) -> list[str]:
    return [str(s.path.relative_to(root)) if s.path else f"! {s.error}" for s in sources]


def test_folders_are_searched_by_suffix_in_order(save: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpeg", "sub/c.png", "sub/deep/d.webp", "e.bmp", "f.tif", "g.TIFF", "h.jfif"):
        save(b"x", name)
    for name in ("notes.txt", ".hidden.jpg", ".cache/h.jpg", "film.mp4", "jpg"):
        save(b"x", name)
    (tmp_path / "folder.jpg").mkdir()
    expected = ["a.jpeg", "b.JPG", "e.bmp", "f.tif", "g.TIFF", "h.jfif", "sub/c.png", "sub/deep/d.webp"]
    found = find_sources([tmp_path])
    assert names(found, tmp_path) == expected
    assert {(s.error, s.given) for s in found} == {(None, str(tmp_path))}


def test_pictures_of_a_folder_that_cannot_be_read_are_counted(
    save: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.jpg", "1.JXL", "sub/2.jxl", "3.gif", "4.NEF", "._5.gif", "notes.txt"):
        save(b"x", name)
    assert names(find_sources(tmp_path), tmp_path) == ["a.jpg"]
    assert caplog.messages == [
        f"{tmp_path}: skipped pictures in formats that cannot be read: 1 GIF, 2 JPEG XL, 1 raw; convert them to JPEG"
    ]


def test_pictures_of_a_pattern_that_cannot_be_read_are_counted(
    save: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1.JXL", "2.gif", "3.gif", ".4.gif", "notes.txt"):
        save(b"x", name)
    told = "pictures in formats that cannot be read: 2 GIF, 1 JPEG XL; convert them to JPEG"
    for pattern in ("*", "[123].*"):
        (source,) = find_sources(tmp_path / pattern)
        assert source.error == f"{tmp_path / pattern}: the pattern matches only {told}"
    assert not caplog.messages, "it is told once"
    save(b"x", "5.jpg")
    assert names(find_sources(tmp_path / "*"), tmp_path) == ["5.jpg"]
    assert caplog.messages == [f"{tmp_path / '*'}: skipped {told}"]


def test_a_long_search_says_so(
    save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(b"x", "a/1.png")
    assert len(find_sources(tmp_path)) == 1
    assert not caplog.records
    monkeypatch.setattr("unclasp.sources.PATIENCE", 0.0)
    assert len(find_sources(tmp_path)) == 1
    assert "still searching" in caplog.text
    assert str(tmp_path / "a") in caplog.text


def test_a_long_search_says_so_every_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two seconds pass at every look at the clock: once a folder, of which there are six, and once a message."""
    for name in "abcde":
        (tmp_path / name).mkdir()
    clock = itertools.count(step=2.0)
    with monkeypatch.context() as patch:
        patch.setattr("unclasp.sources.time.monotonic", lambda: next(clock))
        find_sources(tmp_path)
    assert caplog.text.count("still searching") == 2


def test_globs(save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.jpg", "a.jpg", "c.png", "sub/d.jpg", ".e.jpg", "sub/.cache/f.jpg", "notes.txt"):
        save(b"x", name)
    (tmp_path / "folder.jpg").mkdir()
    assert names(find_sources([f"{tmp_path}/*.jpg"]), tmp_path) == ["a.jpg", "b.jpg"]
    assert names(find_sources([f"{tmp_path}/**/*.jpg"]), tmp_path) == ["a.jpg", "b.jpg", "sub/d.jpg"]
    for pattern in ("*/.cache/*.jpg", "*/.c*/*.jpg", "**/.*/*.jpg"):
        assert names(find_sources([f"{tmp_path}/{pattern}"]), tmp_path) == ["sub/.cache/f.jpg"], pattern
    assert names(find_sources([f"{tmp_path}/[bc].*"]), tmp_path) == ["b.jpg", "c.png"]
    monkeypatch.chdir(tmp_path)
    assert find_sources(["*.png"]) == [Source(Path("c.png"), None, "*.png")]
    assert (
        find_sources(["?.gif"])[0].error
        == "?.gif: the pattern matches no pictures or videos; check it, or give a folder"
    )
    save(b"x", "[a].jpg")
    assert find_sources(["[a].jpg"]) == [Source(Path("[a].jpg"), None, "[a].jpg")]  # a real name comes first


def test_errors_keep_their_place_and_the_others_are_done(save: Callable[..., Path], tmp_path: Path) -> None:
    first, last = save(b"x", "first.jpg"), save(b"x", "last.weird")
    (tmp_path / "empty").mkdir()
    given = [first, tmp_path / "missing.jpg", tmp_path / "empty", f"{tmp_path}/*.png", "", last]
    found = find_sources(given)
    assert [s.path for s in found] == [first, None, None, None, None, last]
    assert [s.given for s in found] == [str(g) for g in given]
    for source, expected in zip(
        found[1:5], ["nothing of this name", "found none", "matches no pictures or videos", "''"], strict=True
    ):
        assert source.error is not None
        assert expected in source.error
        assert source.error.startswith(source.given or "''")
    assert find_sources([]) == []


def test_links_to_nothing_are_errors_and_no_others(save: Callable[..., Path], tmp_path: Path) -> None:
    save(b"x", "in/b.jpg")
    (tmp_path / "in" / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    for given in (tmp_path / "in", tmp_path / "in" / "*.jpg"):
        first, second = find_sources(given)
        assert (first.error, second.error) == (f"{tmp_path}/in/a.jpg: this link leads to nothing; remove it", None)
    (alone,) = find_sources(tmp_path / "in" / "a.jpg")
    assert alone.error is not None and "leads to nothing" in alone.error


def test_a_folder_of_videos_is_told_what_to_do_once(
    save: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(b"x", "a.mp4"), save(b"x", "sub/b.mov")
    (source,) = find_sources(tmp_path)
    assert source.error is not None and "with videos only (2); name them, or use a pattern" in source.error
    assert not caplog.messages


def test_videos_beside_the_pictures_of_a_folder_are_counted_unless_they_are_results(
    save: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(b"x", "a.jpg")
    for name in ("b.mp4", "sub/c.mov", ".d.mp4", "results/e.mp4"):
        save(b"x", name)
    mark_mp4(tmp_path / "results" / "e.mp4")
    assert names(find_sources(tmp_path), tmp_path) == ["a.jpg"]
    told = f"{tmp_path}: skipped videos: 2; name them, or use a pattern: folders are for pictures"
    assert caplog.messages == [told]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_in_a_folder_is_no_video_and_is_not_waited_for(
    save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening it would wait for ever for a process that writes to it."""
    save(b"x", "a.jpg")
    os.mkfifo(tmp_path / "b.mp4")
    monkeypatch.setattr("unclasp.sources.is_marked", lambda path: pytest.fail(f"{path} is opened"))
    assert names(find_sources(tmp_path), tmp_path) == ["a.jpg"] and not caplog.messages


@pytest.mark.parametrize("given", ["film.mp4", "film.MOV", "a.avi", "b.mkv", "c.webm", "d.m4v"])
def test_videos_are_found_by_name_and_by_pattern(
    save: Callable[..., Path], given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(save(b"x", given).parent)
    assert find_sources([given]) == [Source(Path(given), None, given)]
    (source,) = find_sources(["*." + given.split(".")[1]])
    assert source.path == Path(given) and source.is_video and source.name == given
    assert not find_sources(save(b"x", "a.jpg"))[0].is_video


@pytest.mark.parametrize(("given", "number"), [("0", 0), ("12", 12), (0, 0), (3, 3)])
def test_numbers_are_cameras(given: str | int, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (source,) = find_sources(given)
    assert source == Source(None, None, str(given), camera=number)
    assert source.is_video and source.name == f"camera{number}"
    assert find_sources([given, str(number)]) == [source]  # each once


@pytest.mark.parametrize("given", ["-1", "1.5", "²"])
def test_what_is_no_number_of_a_camera(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (source,) = find_sources(given)
    assert source.camera is None and source.error is not None and "found nothing of this name" in source.error


def test_a_file_named_like_a_camera_is_a_file(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(save(b"x", "0").parent)
    assert find_sources(["0"]) == [Source(Path("0"), None, "0")]


@pytest.mark.parametrize("given", ["x" * 300 + ".jpg", "[" * 300, "a\0*.jpg", "a**b/*.jpg"])
def test_impossible_names_are_errors(given: str) -> None:
    (source,) = find_sources([given])
    assert source.path is None
    assert source.error


def test_standard_input_is_not_read() -> None:
    (source,) = find_sources(["-"])
    assert source.error is not None and source.error.endswith("; standard input is not read: save it to a file")


def test_each_file_comes_once(save: Callable[..., Path], tmp_path: Path) -> None:
    path = save(b"x", "a.jpg")
    (tmp_path / "link.jpg").symlink_to(path)
    given = [path, tmp_path / "sub" / ".." / "a.jpg", f"{tmp_path}/*.jpg", tmp_path]
    (tmp_path / "sub").mkdir()
    assert find_sources(given) == [Source(path, None, str(path))]
    assert find_sources(str(path)) == find_sources([path])  # one string is one source, not its letters


def test_an_unreadable_folder_is_reported(
    save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, scan = save(b"x", "good/a.jpg"), os.scandir
    save(b"x", "locked/b.jpg")

    def deny(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny)
    found = find_sources([tmp_path])
    assert [s.path for s in found] == [good, None]
    error = "the folder cannot be opened (Permission denied); check its permissions"
    assert found[1].error == f"{tmp_path}/locked: {error}"


# Naming -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], []),
        (["a/x.jpg", "b/y.jpg"], ["x", "y"]),
        (["a/x.jpg", "b/x.jpg", "c.png"], ["a_x", "b_x", "c"]),
        (["x.jpg", "sub/x.jpg"], ["x", "sub_x"]),
        (["p/a/x.jpg", "q/a/x.jpg", "q/b/x.jpg"], ["p_a_x", "q_a_x", "b_x"]),
        (["a/x.jpg", "c/a/x.jpg", "b/x.jpg"], ["a_x", "c_a_x", "b_x"]),
        (["a/x.jpg", "a/x.png", "a/x.bmp"], ["x", "x_2", "x_3"]),
        (["x.jpg", "x.png", "x_2.jpg"], ["x", "x_3", "x_2"]),
        (["a/x.jpg", "b/x.jpg", "a_x.jpg"], ["a_x", "b_x", "a_x_2"]),
        (["/a/x.jpg", "/b/X.jpg"], ["a_x", "b_X"]),
        (["/x.jpg", "../x.jpg"], ["x", "x_2"]),
        (["a.b.jpg", "a.c.jpg"], ["a.b", "a.c"]),
        (["a/\u00e9.jpg", "b/e\u0301.jpg"], ["a_\u00e9", "b_e\u0301"]),
    ],
)
def test_output_stems(paths: list[str], expected: list[str]) -> None:
    assert output_stems(paths) == expected
    assert output_stems([Path(path) for path in paths]) == expected
    assert len({stem.casefold() for stem in expected}) == len(paths)
    assert not any("/" in stem for stem in expected)


def test_output_stems_of_many_pictures_differ() -> None:
    rng = np.random.default_rng(3)
    paths = ["/".join(rng.choice(["a", "b", "a_b", "A"], rng.integers(1, 5))) + ".jpg" for _ in range(500)]
    stems = output_stems(paths)
    assert len({stem.casefold() for stem in stems}) == len(paths)
    assert stems == output_stems(paths)
