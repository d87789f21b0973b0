"""Weights files and training states.

Weights are stored as safetensors with the model's config in the metadata; the training state is a separate file of
tensors and plain values. No pickled objects are loaded, and loading is strict.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from unclasp.config import Config, from_dict, to_dict, with_model
from unclasp.errors import CheckpointError, advice_on_missing
from unclasp.files import whole, write_bytes
from unclasp.model import DFL, build
from unclasp.model.loading import check_fit
from unclasp.shipped import existing_weights, weights_file
from unclasp.version import installed_version

FORMAT = "1"
"""Version of the weights file format: metadata keys and tensor names."""
SUFFIX = ".safetensors"
"""Suffix of weights files."""


def save_weights(
    path: Path | str, state: dict[str, Tensor], config: Config, *, notes: dict[str, Any] | None = None
) -> None:
    """Write a model's weights atomically: parameters in half precision, buffers in single precision.

    Buffers stay in single precision because running variances can be large, and so do parameters that are too large for
    half precision.

    Args:
        path: Output file, ending in .safetensors.
        state: The model's `state_dict`.
        config: The config, which tells how to rebuild the model and how it was trained.
        notes: JSON-serialisable values to store with it, such as the number of training steps.
    """
    with torch.device("meta"):
        tensors = in_half_precision(state, build(config.model))
    facts = {"format": FORMAT, "unclasp": installed_version(), "config": json.dumps(to_dict(config))}
    write_bytes(path, tensor_file(tensors, {**facts, "notes": json.dumps(notes or {})}))


def in_half_precision(state: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Return a network's `state_dict` as it is stored: parameters in half precision, buffers as they are."""
    parameters = {key for key, _ in net.named_parameters()}
    return {
        key: _stored(value) if key in parameters else value.detach().cpu().contiguous() for key, value in state.items()
    }


def _stored(parameter: Tensor) -> Tensor:
    """Return a parameter in half precision, or as it is where that would make finite values infinite."""
    single = parameter.detach().cpu().contiguous()
    half = single.to(torch.float16)
    return half if torch.isfinite(half).all() or not torch.isfinite(single).all() else single


def load_model(path: Path | str | None = None) -> tuple[DFL, Config]:
    """Load a model with its config from a weights file, in evaluation mode and single precision on the CPU.

    Args:
        path: A file of `save_weights`, a shipped model's name, or None for the shipped small model.

    Raises:
        CheckpointError: The file is missing, damaged, not written by unclasp, or belongs to another model.
    """
    path = existing_weights(path)
    tensors, facts = read_tensors(path)
    if facts.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a weights file of format {FORMAT}, got {facts.get('format', 'one without a format')}; "
            "was it written by unclasp train?"
        )
    try:
        config = from_dict(json.loads(facts["config"]))
        with torch.device("meta"):  # first without memory: a damaged config may ask for any amount
            outline = build(config.model)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:  # depends on what is wrong
        raise CheckpointError(f"{path}: its config makes no model: {error}") from error
    check_fit(outline, tensors, str(path))
    with torch.random.fork_rng(devices=[]):  # the initial values are replaced: the caller's seed must not notice
        model = build(config.model)
    model.load_state_dict(tensors)
    return model.eval(), config


def notes_without_calibration(path: Path | str) -> dict[str, Any]:
    """Return `load_notes` without what `unclasp calibrate` has added."""
    return {name: note for name, note in load_notes(path).items() if not name.startswith("calibrated_")}


def load_notes(path: Path | str) -> dict[str, Any]:
    """Return the notes stored in a weights file or, given its name, in a shipped model.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    path = weights_file(path)
    try:
        notes = json.loads(read_tensors(path)[1].get("notes", "{}"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its notes are damaged ({error}); they are one JSON object") from error
    if not isinstance(notes, dict):
        raise CheckpointError(f"{path}: its notes are damaged ({type(notes).__name__}); they are one JSON object")
    return notes


def average_weights(paths: Sequence[Path], out: Path) -> None:
    """Average the weights and running statistics of several checkpoints of one model, and write the result.

    The confidence head is left out. Checkpoints may differ in crop size, on which no weight depends; the result has
    the crop size of the last one.

    The average of checkpoints along a training run lies in a flatter minimum than the last one, and generalises better
    to new pictures (Wortsman et al., CVPR 2022).

    Raises:
        CheckpointError: A file is missing or damaged, or the architectures differ.
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
    """Return the mean of state dicts with the same keys; integer counters are taken from the last one."""
    return {
        key: torch.stack([state[key] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for key, value in states[-1].items()
    }


def tensor_file(tensors: dict[str, Tensor], facts: dict[str, str]) -> bytes:
    """Return the content of a safetensors file, which is the same for equal tensors and facts.

    Safetensors itself writes the metadata in a random order.
    """
    content = save(tensors, metadata=facts)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def check_no_folder(path: Path) -> None:
    """Raise an error that names a weights file in it, if `path` is a folder.

    Raises:
        CheckpointError: It is one.
    """
    if path.is_dir():
        inside = sorted(path.glob(f"*{SUFFIX}"))
        there = f", such as {inside[0]}" if inside else f", which ends in {SUFFIX}; there is none"
        raise CheckpointError(f"{path} is a folder; give the weights file in it{there}")


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file.

    Raises:
        CheckpointError: The file is missing, damaged or of another kind.
    """
    check_no_folder(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            return tensors, file.metadata() or {}
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no weights file {path}; {advice_on_missing(path)}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        if path.suffix != SUFFIX:
            raise CheckpointError(
                f"{path}: expected a weights file ({SUFFIX}), got {path.suffix or 'a file'}"
            ) from error
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error


def save_state(path: Path | str, state: dict[str, Any]) -> None:
    """Write a training state (tensors, numbers, strings, lists, dicts) atomically."""
    with whole(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # raised while the archive is closed after a failure to write
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_state(path: Path | str) -> dict[str, Any]:
    """Load a training state onto the CPU.

    Raises:
        CheckpointError: The file is missing, damaged or contains anything but tensors and plain values.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no training state {path}; start without --resume") from error
    except Exception as error:  # torch.load raises many types, from RuntimeError to UnpicklingError
        raise CheckpointError(f"{path} is not a training state of unclasp ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a training state of unclasp (it holds a {type(state).__name__})")
    return state
