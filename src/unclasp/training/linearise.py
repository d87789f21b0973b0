"""A cheaper form of a trained model that is not the same function: its part segmentation head made linear.

The hidden layer of that head is half of what a model computes beside its backbone, and keeps the pyramid's convolution
before it from folding away (`model.deploy`). A linear head is fitted to the probabilities that the hidden one gives;
everything else stays as it was trained. Confidences are left out: they read the parts, and have to be fitted anew.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.batch import ByteArray
from unclasp.config import Config, with_model
from unclasp.errors import UnclaspError
from unclasp.hands import NUM_PARTS
from unclasp.model import DFL, build
from unclasp.model.backbone import STRIDES
from unclasp.model.loading import load_strictly

_HEAD: Final = "encoder.segmentation."
_LEFT_OUT: Final = (_HEAD, "confidence.")
_CROPS_AT_ONCE: Final = 16
_PIXELS: Final = 8192
_RATE: Final = 1e-2


def linearised(model: DFL, config: Config, crops: ByteArray, *, steps: int = 500) -> tuple[DFL, Config]:
    """Return a copy of a model with a linear part segmentation head and without a confidence head, and its config.

    Args:
        model: On the CPU.
        config: Its whole config.
        crops: (N, 3, S, S) to fit the head to; no annotations are needed.
        steps: Of the fit.

    Raises:
        UnclaspError: The head is linear already.
    """
    if config.model.segmentation_channels == 0:
        raise UnclaspError("the part segmentation head of this model is linear already")
    model = model.eval()
    features, parts = _pixels(model, crops)
    head = _fitted(features, parts, steps)
    linear = with_model(config, segmentation_channels=0, confidence_head=False, confidence_context=False)
    copy = build(linear.model).eval()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith(_LEFT_OUT)}
    weight = head.weight.detach()[:, :, None, None]
    load_strictly(copy, {**state, f"{_HEAD}0.weight": weight, f"{_HEAD}0.bias": head.bias.detach()}, "the linear model")
    return copy, linear


@torch.no_grad()
def _pixels(model: DFL, crops: ByteArray) -> tuple[Tensor, Tensor]:
    """Return every pixel's features (P, C) of the finest map and the probabilities (P, 33) of its parts."""
    encoder = model.encoder
    features, parts = [], []
    for start in range(0, len(crops), _CROPS_AT_ONCE):
        images = torch.from_numpy(crops[start : start + _CROPS_AT_ONCE].copy())
        finest = encoder.pyramid(encoder.backbone(model.normalise(images)))[STRIDES[0]]
        features.append(finest.flatten(2).transpose(1, 2).flatten(0, 1))
        parts.append(encoder.segmentation(finest).softmax(dim=1).flatten(2).transpose(1, 2).flatten(0, 1))
    return torch.cat(features), torch.cat(parts)


def _fitted(features: Tensor, parts: Tensor, steps: int) -> nn.Linear:
    """Return the linear layer whose softmax is nearest to the probabilities, by cross-entropy."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(features.shape[1], NUM_PARTS)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    adam = torch.optim.AdamW(head.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        chosen = torch.randint(len(features), (_PIXELS,), generator=generator)
        loss = functional.cross_entropy(head(features[chosen]), parts[chosen])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
    return head
