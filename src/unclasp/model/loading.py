"""Loading tensors into a module: all of them, or none."""

from torch import Tensor, nn

from unclasp.errors import CheckpointError

_MOST_LINES = 20


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load `tensors` into `module`; every name and shape must agree, or nothing is loaded.

    Raises:
        CheckpointError: Names the tensors that are missing, unexpected or of another shape.
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
        shown = "; ".join(lines[:_MOST_LINES] + [f"and {len(lines) - _MOST_LINES} more"] * (len(lines) > _MOST_LINES))
        raise CheckpointError(f"{source} does not fit the {type(module).__name__} ({shown})")
    module.load_state_dict(tensors)
