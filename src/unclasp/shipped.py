"""Models in the package, and which of their files is meant: found without torch."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from unclasp.errors import CheckpointError

WEIGHTS: Final = Path(__file__).parent / "weights"
"""The folder of all shipped networks."""


def shipped_weights(name: str = "small") -> Path:
    """Return the weights file of a model in the package.

    Raises:
        CheckpointError: There is no such model.
    """
    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        raise CheckpointError(
            f"no shipped weights are called {name!r}: {path} is missing; give the path of a weights file"
        )
    return path


def shipped_names() -> list[str]:
    """Return what the models in the package are called."""
    return sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))


def weights_file(weights: Path | str | None = None) -> Path:
    """Return the file that is meant by a path, by a shipped model's name such as `small`, or by nothing: `small`.

    A file of that name goes first. Whether a path leads anywhere is not looked at.
    """
    if weights is None:
        return shipped_weights()
    path = Path(weights)
    named = WEIGHTS / f"{path.name}.safetensors"
    return named if path.name == str(path) and named.exists() and not path.exists() else path


def exported_file(weights: Path | str | None = None) -> Path | None:
    """Return the exported form of a shipped model that is meant by its name, or by nothing.

    Returns:
        None for other files, and where ONNX Runtime, which runs it, is not installed.
    """
    path = weights_file(weights)
    if weights is not None and path == Path(weights):
        return None
    exported = path.with_suffix(".onnx")
    return exported if exported.exists() and find_spec("onnxruntime") else None
