"""Lightning Fabric on the devices that are asked for, or an error that says why not."""

from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from unclasp.errors import UnclaspError


def fabric_on(device: str, devices: int, **options: Any) -> Fabric:
    """Return a fabric of one process per device, not launched.

    Args:
        device: cpu, cuda, mps or auto.
        devices: How many, on each machine.
        options: Of `Fabric`.

    Raises:
        UnclaspError: They are not there.
    """
    try:
        return Fabric(accelerator=device, devices=devices, **options)
    except (RuntimeError, ValueError, MisconfigurationException) as error:  # whatever is not there
        reason = " ".join(str(error).split()).split(". ")[0]
        raise UnclaspError(f"device {device!r} cannot be used: {reason}") from error
