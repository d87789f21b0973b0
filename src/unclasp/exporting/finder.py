"""Export of a trained hand finder to ONNX, the form that is shipped and run without torch."""

from copy import deepcopy
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from unclasp.exporting.tracing import export, spots
from unclasp.find.finder import OUTPUTS, SIZE, open_finder
from unclasp.model.finder import FinderNet, boxes_of
from unclasp.model.folding import fold_batch_norms
from unclasp.model.palms import make_lean

_MAX_DIFFERENCE: Final = 1e-2
"""Largest permitted difference of ONNX Runtime's outputs from torch's, in px and probability."""


class _TensorOutputs(nn.Module):
    """A finder that returns probabilities and edges as plain tensors."""

    def __init__(self, net: FinderNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.net(image)
        return maps.middle.sigmoid(), maps.edges


def export_finder(net: FinderNet, path: Path | str) -> None:
    """Export a finder to ONNX, atomically, provided that ONNX Runtime's outputs match torch's.

    Raises:
        UnclaspError: The outputs differ; nothing is written.
    """
    plain = _TensorOutputs(deepcopy(net).eval())
    fold_batch_norms(plain)
    make_lean(plain)
    plain.float()
    picture, image = spots(SIZE)
    with torch.inference_mode():
        middle, edges = plain(image)

    def difference(traced: Path) -> float:
        outputs = open_finder(traced).maps(picture)
        pairs = zip(outputs, (middle, boxes_of(edges)), strict=True)
        return max(float(np.abs(output - expected[0].numpy()).max()) for output, expected in pairs)

    export(plain, image, OUTPUTS, path, what="finder", largest=_MAX_DIFFERENCE, apart=difference)
