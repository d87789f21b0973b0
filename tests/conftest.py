"""What every test can have."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

# Before anything that computes is imported. The threads of a tiny network wait busily for each other: beside any other
# process (the other half of the tests, say) that is ten times slower than one thread.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import pytest  # noqa: E402
import torch  # noqa: E402

from dots import MakeSample, make_sample_function  # noqa: E402
from unclasp.checkpoint import save_weights  # noqa: E402
from unclasp.model import build  # noqa: E402
from unclasp.presets import tiny  # noqa: E402

GOLDEN = Path(__file__).parent / "data" / "golden" / "interhand_mini"
REAL = Path(__file__).parents[2] / "shared" / "real" / "interhand2.6m_sample"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random weights are the same whichever tests have run before, and in whichever process."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of a tiny network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_weights(path, build(tiny().model).state_dict(), tiny())
    return path


@pytest.fixture
def make_sample() -> MakeSample:
    return make_sample_function()


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes bytes to a file, and returns its path."""

    def write(data: bytes, name: str = "hand.jpg") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write


@pytest.fixture(scope="session")
def golden_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the made-up set with published figures, as opening a set writes an index beside its annotations."""
    return _copy(GOLDEN, tmp_path_factory.mktemp("golden") / GOLDEN.name)


@pytest.fixture(scope="session")
def real_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the three real frames."""
    if not REAL.is_dir():
        pytest.skip(f"needs the real frames in {REAL}")
    return _copy(REAL, tmp_path_factory.mktemp("real") / REAL.name)


def _copy(source: Path, to: Path) -> Path:
    # Without the rights of the files: the originals may be read-only.
    shutil.copytree(source, to, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("*.index", "*.brightness"))
    for folder in (to, *(path for path in to.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return to
