"""What the trainings share: groups of parameters, and the moving average of the weights, which is what a run writes."""

from typing import Any

import torch
from torch import Tensor, nn


def parameter_groups(
    model: nn.Module, backbone: nn.Module, *, backbone_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Group the trainable parameters by weight decay and by `rate`, their factor of the learning rate.

    Biases and norms have no weight decay.
    """
    of_backbone = {id(parameter) for parameter in backbone.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in (p for p in model.parameters() if p.requires_grad):
        rate = backbone_rate if id(parameter) in of_backbone else 1.0
        decay = weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": ps, "rate": rate, "weight_decay": decay} for (rate, decay), ps in groups.items()]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an optimiser of `parameter_groups`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["rate"]


class MovingAverage:
    """Exponential moving average of a model's weights and running statistics."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update the average; early steps have a higher weight, so that the random initialisation is forgotten."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        current = model.state_dict()
        floats = [key for key, value in self.state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.state[key] for key in floats], [current[key] for key in floats], weight)
        for key in self.state.keys() - set(floats):
            self.state[key].copy_(current[key])


class Result:
    """The weights that a training writes: the moving average of the model's, or the model's own if `decay` is 0."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._average = MovingAverage(model, decay) if decay else None

    @property
    def state(self) -> dict[str, Tensor]:
        """The weights and running statistics as they are now."""
        return self._model.state_dict() if self._average is None else self._average.state

    def update(self, step: int) -> None:
        """Take a step of the optimiser into account."""
        if self._average is not None:
            self._average.update(self._model, step)

    def resume(self, state: dict[str, Tensor]) -> None:
        """Go on from an earlier `state`, on whatever device; the model has been resumed already."""
        if self._average is not None:
            for key, value in self._average.state.items():
                value.copy_(state[key])
