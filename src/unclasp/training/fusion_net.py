"""The fusion network in torch, for training; `unclasp.find.fusion` runs the same network in NumPy."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.find.fusion import BLOCKS, CONFIDENCE_INPUTS, LARGEST, NUMBERS, shapes_of
from unclasp.hands import JOINTS_PER_HAND

_INITIAL_SHARE_LOGIT: Final = 1.4
"""Initial logit of the pose network's share of a joint's position: a share of four fifths."""
_FEATURE_DROPOUT: Final = 0.3
"""Dropout rate of the landmark network's features."""
_BLOCK_DROPOUT: Final = 0.1
"""Dropout rate within the blocks."""


class FusionNet(nn.Module):
    """A residual multilayer perceptron that maps the evidence of a hand to shares and depth corrections.

    Args:
        width: Number of hidden channels.
    """

    mean: Tensor
    deviation: Tensor
    confidence: Tensor
    """Weights of `fusion.confidence_inputs`; at first those with which the pose network's confidence is kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        shapes = shapes_of(width)
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.ones(shapes[name]))
        self.register_buffer("confidence", torch.eye(CONFIDENCE_INPUTS)[0])
        sizes = {name: shapes[f"{name}.weight"] for name in ("features", "enter", "answer")}
        self.features, self.enter, self.answer = (nn.Linear(inputs, outputs) for outputs, inputs in sizes.values())
        self.widen, self.narrow = (
            nn.ModuleList(nn.Linear(width, width) for _ in range(BLOCKS)) for _ in ("widen", "narrow")
        )
        nn.init.zeros_(self.answer.weight)
        with torch.no_grad():
            self.answer.bias.copy_(torch.tensor([_INITIAL_SHARE_LOGIT, 0.0]).repeat(JOINTS_PER_HAND))

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Predict from evidence (B, `NUMBERS` + `FEATURES`).

        Returns:
            (B, 21) the pose network's share of each joint's in-plane position, and (B, 21) the correction to add to its
            depth, in units of `fusion.UNIT_MM`.
        """
        x = ((numbers - self.mean) / self.deviation).clamp(-LARGEST, LARGEST)
        scalars, features = x[:, :NUMBERS], functional.dropout(x[:, NUMBERS:], _FEATURE_DROPOUT, self.training)
        x = self.enter(torch.cat([scalars, self.features(features).relu()], dim=1))
        for widen, narrow in zip(self.widen, self.narrow, strict=True):
            hidden = widen(functional.layer_norm(x, x.shape[1:])).relu()
            x = x + narrow(functional.dropout(hidden, _BLOCK_DROPOUT, self.training))
        share, deeper = self.answer(x).unflatten(1, (JOINTS_PER_HAND, 2)).unbind(dim=2)
        return share.sigmoid(), torch.cat([deeper[:, :-1], torch.zeros_like(deeper[:, -1:])], dim=1)  # the wrist
