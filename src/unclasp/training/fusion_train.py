"""Training of the fusion network, on files of `fusion_evidence`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from unclasp.data.progress import Progress
from unclasp.errors import DataError, UnclaspError
from unclasp.find.fusion import FORMAT, UNIT_MM
from unclasp.npz import write_arrays
from unclasp.training.fusion_evidence import read_evidence
from unclasp.training.fusion_net import FusionNet

_CROP_MM: Final = 250.0
"""Approximate side of the landmark network's crop at the hand; converts in-plane errors to mm, like those of depth."""
_LOSS_UNIT_MM: Final = 50.0
"""Unit of errors in the loss."""
_WIDTH: Final = 512
_BATCH_SIZE: Final = 256
_LEARNING_RATE: Final = 1e-3
_WEIGHT_DECAY: Final = 0.05


def train_fusion(
    paths: Sequence[Path], out: Path, *, epochs: int = 12, seed: int = 0, progress: Progress | None = None
) -> float:
    """Fit a fusion network to files of `collect_evidence`, and write it atomically, with weights in half precision.

    Args:
        paths: One or more files; all are held in memory.
        out: Output file, ending in .npz.
        epochs: Number of passes over the hands.
        seed: Seed of the initialisation and the order.
        progress: Called after every epoch with the number done and the total.

    Returns:
        The mean loss in the last epoch.

    Raises:
        DataError: A file is missing, damaged or of another kind, its outputs are from another pose network than those
            of the first file, or there are too few hands for a batch.
        UnclaspError: The loss is not finite.
    """
    evidence = read_evidence(paths)
    numbers, own, read, truth = map(torch.from_numpy, (evidence.numbers, evidence.own, evidence.read, evidence.truth))
    steps = epochs * (len(numbers) // _BATCH_SIZE)
    if len(numbers) < _BATCH_SIZE:
        raise DataError(f"expected at least {_BATCH_SIZE} hands to train on, got {len(numbers)}")
    torch.manual_seed(seed)
    net = FusionNet(_WIDTH)
    net.mean.copy_(numbers.mean(dim=0, dtype=torch.float32))
    net.deviation.copy_((numbers.float() - net.mean).square().mean(dim=0).sqrt() + 1e-3)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    mean = 0.0
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(numbers))[: len(numbers) // _BATCH_SIZE * _BATCH_SIZE].view(-1, _BATCH_SIZE):
            share, deeper = net(numbers[batch].float())
            loss = _loss(share, deeper, own[batch], read[batch], truth[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        mean = float(np.mean(losses))
        if not np.isfinite(mean):
            raise UnclaspError(f"the loss is not finite in epoch {epoch + 1}; nothing was written")
        if progress is not None:
            progress(epoch + 1, epochs)
    tensors = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    halved = {name: tensor.astype(np.float16) if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
    write_arrays(out, {"format": np.array(FORMAT), **halved})
    return mean


def _loss(share: Tensor, deeper: Tensor, own: Tensor, read: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over joints of their distance plus 0.3 times their L1 distance, in units of `_LOSS_UNIT_MM`."""
    positions = share[..., None] * own[..., :2] + (1 - share[..., None]) * read
    errors = torch.cat(
        [_CROP_MM * (positions - truth[..., :2]), UNIT_MM * (own[..., 2] + deeper - truth[..., 2])[..., None]], 2
    )
    errors = errors / _LOSS_UNIT_MM
    return ((errors.square().sum(dim=2) + 1e-4).sqrt() + 0.3 * errors.abs().sum(dim=2)).mean()
