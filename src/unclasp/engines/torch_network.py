"""The torch engine."""

import os
from pathlib import Path
from typing import Any

import torch

from unclasp.arrays import Pixels, Singles
from unclasp.checkpoint import load_model
from unclasp.engines.network import NetworkOutput, output_of
from unclasp.errors import UnclaspError, first_line
from unclasp.model import DFL
from unclasp.model.deploy import optimise
from unclasp.shipped import model_name, weights_file


class TorchNetwork:
    """A `DFL` on a device as a `network.Network`; `source` is the file that it was read from.

    In a fork of the process that made it, it works with one thread: torch would wait for other threads, which are the
    parent's, for ever.
    """

    def __init__(
        self, model: DFL, *, name: str, image_size: int, device: torch.device | str = "cpu",
        source: Path | None = None,
    ) -> None:  # fmt: skip
        self.name, self.image_size, self.device, self.source = name, image_size, torch.device(device), source
        self._model = model.eval().to(self.device)
        self._depth_axis, self._process = model.depth_axis, os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _process=os.getpid())

    @torch.inference_mode()
    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        """Predict from (N, S, S, 3) RGB crops.

        Raises:
            UnclaspError: This is a fork of the process that made the network, and torch uses several threads.
        """
        if os.getpid() != self._process and torch.get_num_threads() > 1:
            raise UnclaspError(
                "torch cannot predict with several threads in a fork of the process that loaded the model: load it in "
                "each process, with threads=1, or start them with multiprocessing's method spawn"
            )
        prediction = self._model(torch.from_numpy(crops).permute(0, 3, 1, 2).to(self.device))
        return output_of(
            pose_2p5d=_numpy(prediction.pose_2p5d),
            part_logits=_numpy(prediction.part_logits),
            presence=None if prediction.presence is None else _numpy(prediction.presence),
            root_depth=None if prediction.root_depth is None else _numpy(prediction.root_depth),
            confidence=None if prediction.confidence is None else _numpy(prediction.confidence),
            depth_axis=self._depth_axis,
        )


def load_network(weights: Path | str | None, *, device: torch.device | str, threads: int | None) -> TorchNetwork:
    """Open a weights file or a shipped model for inference, as the optimised network.

    For the arguments, see `engines.opening.open_network`.

    Raises:
        CheckpointError: The file is missing, damaged or was not written by unclasp.
        UnclaspError: The device is not available.
    """
    check_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    path = weights_file(weights)
    model, config = load_model(path)
    return TorchNetwork(
        optimise(model), name=model_name(path), image_size=config.model.image_size, device=device, source=path
    )


def check_device(device: torch.device | str) -> None:
    """Check that a device works, by copying a tensor to it and back.

    Raises:
        UnclaspError: The device is not available, or torch was built without support for it.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UnclaspError(f"device {device!r} cannot be used: expected cpu, cuda, cuda:N or mps") from error
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:  # what torch raises for an unavailable device
        reason = first_line(error).split(". ")[0]
        if kind == "mps" and not torch.backends.mps.is_available():  # torch speaks of an operation that is missing
            reason = "torch finds no Apple GPU"
        raise UnclaspError(f"device {str(device)!r} cannot be used: {reason}; cpu always works") from error


def _numpy(tensor: torch.Tensor) -> Singles:
    return tensor.float().cpu().numpy()
