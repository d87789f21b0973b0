"""A trained finder as ONNX: what is shipped, and run without torch."""

import tempfile
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from unclasp.errors import UnclaspError
from unclasp.files import whole
from unclasp.finder_engine import OUTPUTS, SIZE, open_finder
from unclasp.model.finder import FinderNet, boxes_of
from unclasp.model.folding import fold_batch_norms
from unclasp.model.palms import make_lean
from unclasp.onnx_engine import INPUT

_OPSET: Final = 17
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
    spots = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    noise = np.asarray(cv2.resize(spots, (SIZE, SIZE)), dtype=np.uint8)
    image = torch.from_numpy(noise).permute(2, 0, 1)[None].float()
    with whole(path) as temporary, tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        traced = Path(folder) / "finder.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                plain, (image,), str(traced), dynamo=False, opset_version=_OPSET, input_names=[INPUT],
                output_names=list(OUTPUTS),
            )  # fmt: skip
        middle, edges = plain(image)
        pairs = zip(open_finder(traced, engine="opencv").engine(noise), (middle, boxes_of(edges)), strict=True)
        apart = max(float(np.abs(mine - theirs[0].numpy()).max()) for mine, theirs in pairs)
        if not apart <= _LARGEST:
            raise UnclaspError(f"the exported finder is not the network: answers differ by {apart:.3g}; not written")
        temporary.write_bytes(traced.read_bytes())
