"""A step of the pose network's training."""

import math
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


def take_step(
    fabric: Fabric, model: Any, adam: torch.optim.Optimizer, batch: Batch, config: Config, *, at: int, rate: float,
    interruption: Interruption,
) -> tuple[dict[str, float], bool]:  # fmt: skip
    """Take one optimiser step on all devices.

    Args:
        fabric: The devices.
        model: The model as Fabric has set it up.
        adam: Its optimiser, as well.
        batch: This device's share of the batch.
        config: Config of the run.
        at: Number of steps already done.
        rate: Learning rate.
        interruption: Tells that this process is to end.

    Returns:
        The loss terms, with their weighted sum as `total`, each the mean of all devices', and whether to stop after
            this step.

    Raises:
        NonFiniteLossError: The loss or its gradient is infinite or not a number on any device.
    """
    set_rate(adam, rate)
    prediction = model(batch.image)
    terms = compute_losses(prediction, batch, config.loss, image_size=config.model.image_size)
    loss = total(terms, config.loss)
    adam.zero_grad(set_to_none=True)
    fabric.backward(loss)
    max_norm = config.train.clip_norm or math.inf
    norm: Any = fabric.clip_gradients(model, adam, max_norm=max_norm, error_if_nonfinite=False)
    all_terms = {"total": loss, **terms}
    means, ends = check_devices(fabric, all_terms, norm, batch, at, ends=interruption.requested)
    adam.step()
    return means, ends


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
