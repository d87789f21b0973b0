"""The version that results, weights and reports name."""

from collections.abc import Iterator
from importlib import metadata
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
