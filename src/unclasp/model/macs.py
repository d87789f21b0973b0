"""Computational cost of a network."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(module: nn.Module, image_size: int) -> int:
    """Count the multiply-accumulate operations (MACs) of convolutions and matrix products for one crop.

    Args:
        module: A network that takes crops; it may be on the meta device, where nothing is computed.
        image_size: Side of the crop in px.
    """
    device = next(module.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 3, image_size, image_size, device=device))
    return int(counter.get_total_flops()) // 2
