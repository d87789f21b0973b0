"""The version that results, weights and reports name, and those of Python that the Makefile takes."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import unclasp
from poses import random_pose
from unclasp import version
from unclasp.evaluation import report


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the look-ups of a package that is not installed."""
    names: list[str] = []

    def look_up(name: str) -> Any:
        names.append(name)
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", look_up)
    version.installed_version.cache_clear()
    yield names
    version.installed_version.cache_clear()


def test_the_version_is_that_of_the_installed_package() -> None:
    assert version.installed_version() == metadata.version("unclasp") == unclasp.__version__


def test_without_an_installation_it_says_so_and_is_looked_up_once(lookups: list[str]) -> None:
    assert [random_pose().to_dict()["unclasp"] for _ in range(3)] == ["not installed"] * 3
    assert unclasp.__version__ == report.installed_version() == "not installed"
    assert lookups == ["unclasp"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is missing")
def test_an_older_python_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    """Otherwise pip tells of packages that contradict each other."""
    older = tmp_path / "python3"
    older.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10, 12); $2"\n')
    older.chmod(0o755)
    command = ["make", "demo", f"PYTHON={older}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    told = f"expected Python 3.11 or newer, got 3.10 from {older}; name a newer one: make PYTHON=python3.12 demo"
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, told)
    assert not (tmp_path / "venv").exists()
