"""Checks that a training run can be resumed from a state with the same result."""

from pathlib import Path
from typing import Any, Final

from unclasp.checkpoint import check_no_folder, load_state
from unclasp.config import Config, from_dict, to_dict
from unclasp.data import Dataset
from unclasp.data.lookup import fingerprint_of
from unclasp.errors import CheckpointError
from unclasp.files import digest
from unclasp.training.options import RunOptions

_KEYS: Final = {"config", "step", "model", "average", "optimiser", "samples", "data", "precision", "run"}
_ONLY_AT_START: Final = ("start_weights", "backbone_weights")


def run_facts(options: RunOptions) -> dict[str, Any]:
    """Return the options that affect the result; the number of devices does, as each has its own batch statistics."""
    return {
        "precision": options.precision, "devices": options.devices, "start_weights": _file(options.start_weights),
        "backbone_weights": _file(options.backbone_weights),
    }  # fmt: skip


def differences(before: dict[str, Any], config: Config) -> list[str]:
    """Return the settings of a stored config that differ now, as `train.epochs 10, now 20`."""
    now, before = to_dict(config), to_dict(from_dict(before))
    return [
        f"{group}.{name} {before[group][name]}, now {value}"
        for group, values in now.items()
        for name, value in values.items()
        if before[group][name] != value
    ]


def _file(path: Path | None) -> str | None:
    """Return a file's name with the beginning of its hash, because many are called weights.safetensors."""
    if path is None:
        return None
    check_no_folder(path)
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}; to resume, it can be left out")
    return f"{path.name} ({digest(path)[:12]})"


def _digest_in(file: str) -> str:
    """Return the hash in a result of `_file`; the file may have been renamed."""
    return file.rpartition(" (")[2]


def state_to_resume(path: Path, config: Config, dataset: Dataset, options: RunOptions) -> dict[str, Any]:
    """Load a training state, and check that it belongs to the run to resume.

    The weights that the run started from need not be given again; if they are, they must be the same files.

    Args:
        path: The state file.
        config: Config of the run.
        dataset: Data set of the run.
        options: Options of the run.

    Raises:
        CheckpointError: The state is missing or damaged, or belongs to another run.
    """
    state = load_state(path)
    missing = _KEYS - state.keys()
    if missing:
        raise CheckpointError(
            f"{path} is not a training state of this version: it lacks {', '.join(sorted(missing))}; start another "
            "run, from its weights if need be (--start-weights)"
        )
    if from_dict(state["config"]) != config:
        raise CheckpointError(
            f"{path} was trained with other settings ({', '.join(differences(state['config'], config))}); resume with "
            "those it began with, or start another run from its weights (--start-weights)"
        )
    if state["samples"] != len(dataset):
        raise CheckpointError(
            f"{path} was trained on {state['samples']} pictures, the data set has {len(dataset)}; resume with the data "
            "that it began with"
        )
    if state["data"] != fingerprint_of(dataset):
        raise CheckpointError(
            f"{path} was trained on other pictures, by their names or their split, than those of the data set; resume "
            "with the data that it began with"
        )
    for name, now in run_facts(options).items():
        before = state["run"].get(name)
        is_same = _digest_in(before) == _digest_in(now) if name in _ONLY_AT_START and before and now else before == now
        if not is_same and now is not None:
            raise CheckpointError(
                f"{path} was trained with {name} {before}, got {now}: resume with what it began with, or start another "
                "run from its weights (--start-weights)"
            )
    return state
