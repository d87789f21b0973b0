"""Steps of the pose network's training."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from unclasp.batch import Batch
from unclasp.config import Config
from unclasp.errors import NonFiniteLossError
from unclasp.interruption import Interruption
from unclasp.losses import compute_losses, total
from unclasp.training.optimisation import set_rate


@dataclass(frozen=True)
class Learner:
    """The network and its optimiser, as Fabric has set them up: takes steps, and is saved and resumed."""

    fabric: Fabric
    model: Any
    """Its state is that of the plain network."""
    adam: torch.optim.Optimizer
    config: Config

    def take_step(
        self, batch: Batch, *, at: int, rate: float, interruption: Interruption
    ) -> tuple[dict[str, float], bool]:
        """Take one optimiser step on all devices.

        Args:
            batch: This device's share of the batch.
            at: Number of steps already done.
            rate: Learning rate.
            interruption: Tells that this process is to end.

        Returns:
            The loss terms, with their weighted sum as `total`, each the mean of all devices', and whether to stop after
                this step.

        Raises:
            NonFiniteLossError: The loss or its gradient is infinite or not a number on any device.
        """
        config, adam = self.config, self.adam
        set_rate(adam, rate)
        prediction = self.model(batch.image)
        terms = compute_losses(prediction, batch, config.loss, image_size=config.model.image_size)
        loss = total(terms, config.loss)
        adam.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        max_norm = config.train.clip_norm or math.inf
        norm: Any = self.fabric.clip_gradients(self.model, adam, max_norm=max_norm, error_if_nonfinite=False)
        all_terms = {"total": loss, **terms}
        means, ends = check_devices(self.fabric, all_terms, norm, batch, at, ends=interruption.requested)
        adam.step()
        return means, ends

    @property
    def state(self) -> dict[str, Any]:
        """What a resumed run needs of it."""
        return {
            "model": self.model.state_dict(), "optimiser": self.adam.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }  # fmt: skip

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`; the network has been loaded from it already, before it was set up."""
        self.adam.load_state_dict(state["optimiser"])  # onto the device that the parameters are on by now
        if state["precision"]:  # only 16-mixed has a state
            self.fabric.strategy.precision.load_state_dict(state["precision"])


def check_devices(
    fabric: Fabric, terms: dict[str, Tensor], norm: Tensor, batch: Batch, at: int, *, ends: bool
) -> tuple[dict[str, float], bool]:
    """Return each term's mean over the devices, and whether any process is to end: all must stop after the same step.

    This is the only result that a step reads from the device, and the only one besides the gradients that is reduced.
    Fabric also waits for all devices before it reduces, 16-mixed reads its scaler, and `augment.style` copies its draws
    to the device. With 16-mixed, a gradient that is not finite is no error: the scaler skips the step and reduces its
    scale.

    Raises:
        NonFiniteLossError: On all devices, if the loss or the norm of the gradients is not finite on any of them.
    """
    values = torch.stack([term.detach().float() for term in terms.values()])
    loss = values[0]
    scaled = getattr(fabric.strategy.precision, "scaler", None) is not None  # with 16-mixed
    finite = torch.stack([torch.isfinite(value) for value in (loss, loss if scaled else norm)])
    flags = torch.cat([finite.float(), loss.new_full((1,), float(ends)), values])
    devices: Any = fabric.all_reduce(flags, reduce_op="sum")
    with_loss, with_gradient, ending, *sums = devices.tolist()
    if with_loss == with_gradient == fabric.world_size:
        return {name: value / fabric.world_size for name, value in zip(terms, sums, strict=True)}, bool(ending)
    if with_loss == fabric.world_size:
        raise NonFiniteLossError(f"the gradient is not finite at step {at}")
    here = ", ".join(f"{name} {value:.4g}" for name, value in zip(terms, values.tolist(), strict=True))
    where = "on another device" if bool(finite[0]) else f"on this device with {', '.join(batch.names)}"
    raise NonFiniteLossError(f"the loss is not finite at step {at} ({here}) {where}")
