"""How much a network computes."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(module: nn.Module, image_size: int) -> int:
    """Count the multiplications with addition that convolutions and matrix products do for one crop.

    Args:
        module: Takes crops; on the meta device, nothing is computed.
        image_size: Side of the crop in px.
    """
    device = next(module.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 3, image_size, image_size, device=device))
    return int(counter.get_total_flops()) // 2
