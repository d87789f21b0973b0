"""Weights as safetensors with their config inside.

Training state apart, as tensors and plain values. No pickle, no lenient loading.
"""

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from unclasp.config import Config, from_dict, to_dict, with_model
from unclasp.errors import CheckpointError
from unclasp.files import whole, write_bytes
from unclasp.model import DFL, build
from unclasp.model.loading import load_strictly
from unclasp.shipped import shipped_names, weights_file

FORMAT = "1"
"""Version of the weights file: keys of the metadata and names of the tensors."""


def save_weights(
    path: Path | str, state: dict[str, Tensor], config: Config, *, notes: dict[str, Any] | None = None
) -> None:
    """Write a model whole: parameters in half precision, buffers (running variances can be large) in single.

    Args:
        path: Ends in .safetensors.
        state: The model's `state_dict`.
        config: What `build` needs to make the model again, and how it was trained.
        notes: Plain values to keep beside it, such as steps trained.
    """
    with torch.device("meta"):
        parameters = {key for key, _ in build(config.model).named_parameters()}
    tensors = {
        key: value.detach().to("cpu", torch.float16 if key in parameters else value.dtype).contiguous()
        for key, value in state.items()
    }
    facts = {"format": FORMAT, "unclasp": metadata.version("unclasp"), "config": json.dumps(to_dict(config))}
    write_bytes(path, save(tensors, metadata={**facts, "notes": json.dumps(notes or {})}))


def load_model(path: Path | str | None = None) -> tuple[DFL, Config]:
    """Build the model of a weights file, in evaluation mode and single precision on the CPU.

    Args:
        path: A file of `save_weights`, a shipped model's name, or None for the shipped small model.

    Raises:
        CheckpointError: The file is missing, damaged, not ours or of another model.
    """
    path = weights_file(path)
    if not path.exists():
        names = ", ".join(shipped_names())
        raise CheckpointError(f"there is no weights file {path}; the shipped model is called {names}")
    tensors, facts = read_tensors(path)
    if facts.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a weights file of format {FORMAT}, got {facts.get('format', 'one without a format')}; "
            "was it written by unclasp train?"
        )
    try:
        config = from_dict(json.loads(facts["config"]))
        model = build(config.model)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:  # what is wrong in it decides
        raise CheckpointError(f"{path}: its config makes no model: {error}") from error
    load_strictly(model, tensors, str(path))
    return model.eval(), config


def load_notes(path: Path | str) -> dict[str, Any]:
    """Return the notes of a weights file, or of a shipped model by its name.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    path = weights_file(path)
    try:
        notes: dict[str, Any] = json.loads(read_tensors(path)[1].get("notes", "{}"))
    except ValueError as error:
        raise CheckpointError(f"{path}: its notes are damaged ({error}); they are one JSON object") from error
    return notes


def average_weights(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights and running statistics of several files of one model, without a confidence head.

    The models may be for crops of different sizes, on which no weight depends; the mean is for those of the last.

    The mean of points along a training lies in a flatter place than its end, which holds better on other pictures than
    those trained on (Wortsman et al., CVPR 2022).

    Raises:
        CheckpointError: A file is missing or damaged, or the models differ.
    """
    loaded = [load_model(path) for path in paths]
    configs = [with_model(config, confidence_head=False, confidence_context=False) for _, config in loaded]
    for path, config in zip(paths, configs, strict=True):
        if with_model(config, image_size=configs[0].model.image_size).model != configs[0].model:
            raise CheckpointError(f"{path} is of another model than {paths[0]}: only stages of one can be averaged")
    states = [
        {key: value for key, value in model.state_dict().items() if not key.startswith("confidence.")}
        for model, _ in loaded
    ]
    save_weights(out, mean_of(states), configs[-1], notes={"average_of": [load_notes(path) for path in paths]})


def mean_of(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of one or more state dicts with the same names; counters are the last one's."""
    return {
        key: torch.stack([state[key] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for key, value in states[-1].items()
    }


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            return tensors, file.metadata() or {}
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no weights file {path}") from error
    except IsADirectoryError as error:
        raise CheckpointError(f"{path} is a folder; give the weights file in it") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error


def save_state(path: Path | str, state: dict[str, Any]) -> None:
    """Write a training state (tensors, numbers, strings, lists, dicts) whole."""
    with whole(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path | str) -> dict[str, Any]:
    """Read a training state onto the CPU.

    Raises:
        CheckpointError: The file is missing, damaged or holds anything but tensors and plain values.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no training state {path}; start without --resume") from error
    except Exception as error:  # torch.load raises anything from RuntimeError to UnpicklingError
        raise CheckpointError(f"{path} is not a training state of unclasp ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a training state of unclasp (it holds a {type(state).__name__})")
    return state
