"""The models shipped in the package, and the files that names and paths refer to; does not need torch."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from unclasp.errors import CheckpointError, advice_on_missing

WEIGHTS: Final = Path(__file__).parent / "weights"
"""Folder of all shipped networks."""


def shipped_weights(name: str) -> Path:
    """Return the weights file of a shipped model.

    Raises:
        CheckpointError: No shipped model has that name.
    """
    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        raise CheckpointError(
            f"no shipped weights are called {name!r}: {path} is missing; give the path of a weights file"
        )
    return path


def shipped_names() -> list[str]:
    """Return the names of the shipped models."""
    return sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))


def weights_file(weights: Path | str | None) -> Path:
    """Return the file that a path or a shipped model's name such as `small` refers to; None means `small`.

    An existing file of that name takes precedence over the shipped model. Whether a path exists is not checked.
    """
    if weights is None:
        return shipped_weights("small")
    path = Path(weights)
    named = WEIGHTS / f"{path.name}.safetensors"
    return named if path.name == str(path) and named.exists() and not path.exists() else path


def existing_weights(weights: Path | str | None) -> Path:
    """Return the file that `weights_file` returns, which has to exist.

    Raises:
        CheckpointError: There is no such file.
    """
    path = weights_file(weights)
    if not path.exists():
        advice = f"{advice_on_missing(path)}; the shipped model is called {', '.join(shipped_names())}"
        raise CheckpointError(f"there is no weights file {path}; {advice}")
    return path


def model_name(path: Path, *, in_folder: bool = False) -> str:
    """Return the name of a model for reports: its file's without suffix, after its folder's if the file is `weights`.

    All trainings name their file `weights`. With `in_folder`, the folder's name always comes first.
    """
    return f"{path.resolve().parent.name}/{path.stem}" if in_folder or path.stem == "weights" else path.stem


def exported_file(weights: Path | str | None) -> Path | None:
    """Return the exported ONNX form of a shipped model, given its name, or None for the default one.

    Returns:
        The .onnx file, or None for other files, for models without one, and if ONNX Runtime is not installed.
    """
    path = weights_file(weights)
    if weights is not None and path == Path(weights):
        return None
    exported = path.with_suffix(".onnx")
    return exported if exported.exists() and find_spec("onnxruntime") else None
