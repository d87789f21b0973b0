"""Commands as users give them, run in the process of the tests."""

from pathlib import Path

import pytest

from unclasp.cli import main


def predict_here(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Run `unclasp predict` in this process; return exit code, output and errors."""
    return run_here(capsys, "predict", *words)


def run_here(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Run a command in this process, which has torch already; return exit code, output and errors."""
    with pytest.raises(SystemExit) as exit_:
        main(list(map(str, words)))
    told = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, told.out, told.err
