"""The progress bars of the commands: on stderr, and only if it is a terminal."""

import sys

import pytest

from unclasp.commands.progress import bar, track


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
