"""Lightning Fabric on the requested devices."""

from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from unclasp.errors import UnclaspError


def fabric_on(device: str, devices: int, **options: Any) -> Fabric:
    """Return a `Fabric` with one process per device, not yet launched.

    Args:
        device: cpu, cuda, mps or auto.
        devices: Number of devices on each machine.
        options: Further arguments of `Fabric`.

    Raises:
        UnclaspError: The devices are not available; the message says why.
    """
    try:
        fabric = Fabric(accelerator=device, devices=devices, **options)
    except (RuntimeError, ValueError, MisconfigurationException) as error:  # depending on what is unavailable
        reason = " ".join(str(error).split()).split(". ")[0]
        raise UnclaspError(f"device {device!r} cannot be used: {reason}") from error
    wanted, got = options.get("precision"), fabric.strategy.precision.precision
    if wanted not in (None, got):
        kind = fabric.device.type
        raise UnclaspError(f"the precision {wanted} does not exist on the device {kind}: use {got}, or another device")
    return fabric
