"""Lets `evaluate` score exported models, for example to measure the accuracy that 8-bit quantization costs."""

from pathlib import Path

import torch
from torch import Tensor

from unclasp.arrays import Singles
from unclasp.batch import Prediction
from unclasp.engines.onnx_model import ExportedNetwork


class ExportedScored:
    """An .onnx or .xml file as an `evaluate.CropModel`.

    Its predictions hold everything that is scored; `steps` and `relations` are empty.

    Args:
        path: A file written by `unclasp export`.
    """

    def __init__(self, path: Path | str) -> None:
        self._model = ExportedNetwork(path).model
        self.name, self.image_size = self._model.name, self._model.image_size
        self.depth_axis = self._model.depth_axis

    def __call__(self, image: Tensor, /) -> Prediction:
        """Predict from crops (B, 3, S, S) uint8 RGB."""
        arrays = self._model(image.numpy())
        return Prediction(
            pose_2p5d=torch.from_numpy(arrays.pose_2p5d), steps=(), part_logits=torch.from_numpy(arrays.part_logits),
            relations=(), presence=_tensor(arrays.presence), root_depth=_tensor(arrays.root_depth),
            confidence=_tensor(arrays.confidence),
        )  # fmt: skip


def _tensor(array: Singles | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(array)
