"""OpenCV's and FFmpeg's messages are suppressed while any thread wants that, and no longer."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from clips import make_video
from unclasp import quiet
from unclasp.video import Video

LEVEL = "OPENCV_FFMPEG_LOGLEVEL"


def opencv_level() -> int:
    return int(quiet._LOGGING.getLogLevel())


@pytest.mark.parametrize(
    ("change", "setting", "silent"),
    [
        (quiet.quiet_opencv, opencv_level, 0),
        (quiet.quiet_ffmpeg, opencv_level, 0),
        (quiet.quiet_ffmpeg, lambda: os.environ.get(LEVEL), "-8"),
    ],
)
@pytest.mark.parametrize("first_leaves_first", [True, False])
def test_threads_that_overlap_leave_the_setting_as_it_was(
    change: quiet._Shared, setting: Callable[[], object], silent: object, first_leaves_first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv(LEVEL, raising=False)
    before = setting()
    contexts = [change(), change()]
    for context in contexts:
        context.__enter__()
        assert setting() == silent
    for context in contexts if first_leaves_first else contexts[::-1]:
        assert setting() == silent
        context.__exit__(None, None, None)
    assert setting() == before != silent


def test_an_error_inside_takes_the_change_back() -> None:
    before = opencv_level()
    with pytest.raises(ZeroDivisionError), quiet.quiet_opencv():
        assert 1 / opencv_level()
    assert opencv_level() == before != 0


def test_opening_a_video_leaves_the_environment_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    monkeypatch.delenv(LEVEL, raising=False)
    Video(clip)
    assert LEVEL not in os.environ
    monkeypatch.setenv(LEVEL, "16")
    Video(clip)
    assert os.environ[LEVEL] == "16"
