"""A trained finder as ONNX: what is shipped, and run without torch."""

from copy import deepcopy
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from unclasp.exporting.runner import export, spots
from unclasp.find.finder_engine import OUTPUTS, SIZE, open_finder
from unclasp.model.finder import FinderNet, boxes_of
from unclasp.model.folding import fold_batch_norms
from unclasp.model.palms import make_lean

_LARGEST: Final = 1e-2
"""px and probability: how far OpenCV's answers may be from torch's."""


class _Plain(nn.Module):
    """Probabilities and edges as plain tensors."""

    def __init__(self, net: FinderNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        found = self.net(image)
        return found.middle.sigmoid(), found.edges


def export_finder(net: FinderNet, path: Path | str) -> None:
    """Write a finder as ONNX, whole, and only if OpenCV answers as torch does.

    Raises:
        UnclaspError: It does not.
    """
    plain = _Plain(deepcopy(net).eval())
    fold_batch_norms(plain)
    make_lean(plain)
    plain.float()
    picture, image = spots(SIZE)
    with torch.inference_mode():
        middle, edges = plain(image)

    def apart(traced: Path) -> float:
        answer = open_finder(traced, engine="opencv").engine(picture)
        pairs = zip(answer, (middle, boxes_of(edges)), strict=True)
        return max(float(np.abs(mine - theirs[0].numpy()).max()) for mine, theirs in pairs)

    export(plain, image, OUTPUTS, path, what="finder", largest=_LARGEST, apart=apart)
