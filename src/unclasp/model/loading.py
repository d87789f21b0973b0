"""Strict loading of tensors into a module."""

from torch import Tensor, nn

from unclasp.errors import CheckpointError

_MAX_LINES = 20


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load `tensors` into `module`; unless all names and shapes match, nothing is loaded.

    Args and errors are those of `check_fit`.
    """
    check_fit(module, tensors, source)
    module.load_state_dict(tensors)


def check_fit(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Check that `tensors` can be loaded into `module`.

    Args:
        module: The module, also on the device meta.
        tensors: Parameters and buffers by name.
        source: Where the tensors come from, for the error message.

    Raises:
        CheckpointError: Tensors are missing, unexpected or of another shape; the message lists them.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    lines = [f"missing: {name}" for name in expected if name not in tensors]
    lines += [f"unexpected: {name}" for name in tensors if name not in expected]
    lines += [
        f"{name}: expected shape {expected[name]}, got {tuple(value.shape)}"
        for name, value in tensors.items()
        if name in expected and expected[name] != tuple(value.shape)
    ]
    if lines:
        more = [f"and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
        differences = "; ".join(lines[:_MAX_LINES] + more)
        raise CheckpointError(f"{source} does not fit the {type(module).__name__} ({differences})")
