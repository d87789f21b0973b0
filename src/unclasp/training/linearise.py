"""A cheaper approximation of a trained model, in which the part segmentation head is linear.

The hidden layer of that head takes half of a model's computation beside its backbone, and it prevents the pyramid's
convolution before it from being merged (`model.deploy`). A linear head is fitted to the probabilities of the original
one; all other weights are unchanged. The confidence head is dropped, because it reads the part probabilities and must
be fitted again.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.arrays import Pixels
from unclasp.config import Config, with_model
from unclasp.errors import UnclaspError
from unclasp.hands import NUM_PARTS
from unclasp.model import DFL, build
from unclasp.model.backbones import STRIDES
from unclasp.model.loading import load_strictly

_HEAD_PREFIX: Final = "encoder.segmentation."
_DROPPED_PREFIXES: Final = (_HEAD_PREFIX, "confidence.")
_BATCH_SIZE: Final = 16
_PIXELS_PER_STEP: Final = 8192
_LEARNING_RATE: Final = 1e-2


def linearised(model: DFL, config: Config, crops: Pixels, *, steps: int = 500) -> tuple[DFL, Config]:
    """Return a copy of a model with a linear part segmentation head and without a confidence head, and its config.

    Args:
        model: The model, on the CPU; it is set to evaluation mode.
        config: Its complete config.
        crops: Crops (N, 3, S, S) for the fit; no annotations are needed.
        steps: Number of optimiser steps of the fit.

    Raises:
        UnclaspError: The head is already linear.
    """
    if config.model.segmentation_channels == 0:
        raise UnclaspError("the part segmentation head of this model is linear already")
    model = model.eval()
    features, parts = _pixels(model, crops)
    head = _fitted(features, parts, steps)
    linear = with_model(config, segmentation_channels=0, confidence_head=False, confidence_context=False)
    copy = build(linear.model).eval()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith(_DROPPED_PREFIXES)}
    state[f"{_HEAD_PREFIX}0.weight"] = head.weight.detach()[:, :, None, None]
    state[f"{_HEAD_PREFIX}0.bias"] = head.bias.detach()
    load_strictly(copy, state, "the linear model")
    return copy, linear


@torch.no_grad()
def _pixels(model: DFL, crops: Pixels) -> tuple[Tensor, Tensor]:
    """Return the features (P, C) and part probabilities (P, 33) of all pixels of the finest maps."""
    encoder = model.encoder
    features, parts = [], []
    for start in range(0, len(crops), _BATCH_SIZE):
        images = torch.from_numpy(crops[start : start + _BATCH_SIZE].copy())
        finest = encoder.pyramid(encoder.backbone(model.normalise(images)))[STRIDES[0]]
        features.append(finest.flatten(2).transpose(1, 2).flatten(0, 1))
        parts.append(encoder.segmentation(finest).softmax(dim=1).flatten(2).transpose(1, 2).flatten(0, 1))
    return torch.cat(features), torch.cat(parts)


def _fitted(features: Tensor, parts: Tensor, steps: int) -> nn.Linear:
    """Fit a linear layer to part probabilities by cross-entropy."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(features.shape[1], NUM_PARTS)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    adam = torch.optim.AdamW(head.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        chosen = torch.randint(len(features), (_PIXELS_PER_STEP,), generator=generator)
        loss = functional.cross_entropy(head(features[chosen]), parts[chosen])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
    return head
