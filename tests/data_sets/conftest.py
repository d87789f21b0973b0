"""Fixtures: a small data set on disk, and a cache separate from the user's."""

from pathlib import Path
from typing import Any

import pytest
from made_set import make_small


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def small(tmp_path: Path, make_sample: Any) -> Path:
    """Return a set of three pictures in two captures: both hands, the right one, the left one; no part masks."""
    return make_small(tmp_path, make_sample)
