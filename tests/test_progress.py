"""The progress bars of the commands: on stderr, and only if it is a terminal."""

import sys
from types import SimpleNamespace

import pytest

from unclasp.commands.progress import bar, over_frames, track


def report() -> list[int]:
    with bar("scoring") as progress:
        progress(1, 4)
        progress(4, 4)
    return list(track((each for each in (7, 8)), "render", total=2))


def test_nothing_is_drawn_into_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert report() == [7, 8]
    assert capsys.readouterr() == ("", "")


def test_bars_are_drawn_on_a_terminal_s_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert report() == [7, 8]
    out, told = capsys.readouterr()
    assert out == "" and "scoring" in told and "render" in told


@pytest.mark.parametrize(("columns", "shown"), [(100, True), (50, False)])
def test_a_video_s_progress_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, shown: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with over_frames(SimpleNamespace(expected=500)) as advance:  # type: ignore[arg-type]
        for number in range(300):
            advance(number)
    told = capsys.readouterr().err
    assert ("elapsed" in told) == shown and "300/500" in told and "frames/s" in told and "…" not in told
