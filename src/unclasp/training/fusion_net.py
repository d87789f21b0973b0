"""The network behind `unclasp.find.fusion`, as it is trained; predictions run the same in NumPy."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.find.fusion import BLOCKS, LARGEST, NUMBERS, shapes_of
from unclasp.hands import JOINTS_PER_HAND

_TRUSTED: Final = 1.4
"""Logit of the pose network's share of a place before any training: four fifths."""
_FEATURES_DROPPED: Final = 0.3
"""Share of the landmark network's features that a training step goes without."""
_DROPPED: Final = 0.1
"""The same within the blocks."""


class FusionNet(nn.Module):
    """A perceptron with residual blocks: evidence of a hand in, shares and depths out.

    Args:
        width: Numbers between its blocks.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        shapes = shapes_of(width)
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.ones(shapes[name]))
        sizes = {name: shapes[f"{name}.weight"] for name in ("features", "enter", "answer")}
        self.features, self.enter, self.answer = (nn.Linear(inputs, outputs) for outputs, inputs in sizes.values())
        self.widen, self.narrow = (
            nn.ModuleList(nn.Linear(width, width) for _ in range(BLOCKS)) for _ in ("widen", "narrow")
        )
        nn.init.zeros_(self.answer.weight)
        with torch.no_grad():
            self.answer.bias.copy_(torch.tensor([_TRUSTED, 0.0]).repeat(JOINTS_PER_HAND))

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Answer for (B, `NUMBERS` + `FEATURES`) evidence.

        Returns:
            (B, 21) the pose network's share of each joint's place, and (B, 21) what its depth lacks, in units of
            `fusion.UNIT_MM`.
        """
        x = ((numbers - self.mean) / self.deviation).clamp(-LARGEST, LARGEST)
        told, features = x[:, :NUMBERS], functional.dropout(x[:, NUMBERS:], _FEATURES_DROPPED, self.training)
        x = self.enter(torch.cat([told, self.features(features).relu()], dim=1))
        for widen, narrow in zip(self.widen, self.narrow, strict=True):
            hidden = widen(functional.layer_norm(x, x.shape[1:])).relu()
            x = x + narrow(functional.dropout(hidden, _DROPPED, self.training))
        share, deeper = self.answer(x).unflatten(1, (JOINTS_PER_HAND, 2)).unbind(dim=2)
        return share.sigmoid(), torch.cat([deeper[:, :-1], torch.zeros_like(deeper[:, -1:])], dim=1)  # the wrist's
