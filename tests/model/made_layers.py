"""Synthetic layers in the form in which MediaPipe's files contain them."""

import pytest
import torch
from torch import nn

from unclasp.model.tflite import Layer


def layers_of(module: nn.Module) -> list[Layer]:
    """Return the layers of a network's file, with the same shapes but other weights."""
    layers = []
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.PReLU):
            bias = torch.zeros(0) if isinstance(part, nn.PReLU) else torch.rand(len(part.weight))
            layers.append(Layer(torch.randn_like(part.weight) / 8, bias))
    return layers


def given(monkeypatch: pytest.MonkeyPatch, layers: list[Layer]) -> None:
    for module in ("tflite", "palms", "faces"):
        monkeypatch.setattr(f"unclasp.model.{module}.read_layers", lambda path: layers)
