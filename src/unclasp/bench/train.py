"""Benchmark of a training step, relative to the forward and backward pass of its backbone."""

from statistics import median

import torch

from unclasp.batch import Batch
from unclasp.bench.device import in_megabytes, peak_memory, synchronise
from unclasp.bench.timing import interleaved
from unclasp.config import Config
from unclasp.errors import check_at_least
from unclasp.losses import compute_losses, total
from unclasp.model import build
from unclasp.train import optimiser


def train_speed(
    config: Config, *, name: str, batch: int, repeats: int, threads: int, device: str, half: bool, compiled: bool
) -> str:
    """Time training steps on one random batch, and return a table.

    A step comprises forward pass, losses, backward pass and optimiser; for the backbone, forward and backward pass.
    """
    check_at_least(1, batch=batch, repeats=repeats, threads=threads)
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    kind, size = torch.device(device).type, config.model.image_size
    model = build(config.model).train().to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    adam = optimiser(model, config.train)
    data = random_batch(batch, size).to(device)
    called = torch.compile(model) if compiled else model

    def step() -> None:
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            loss = total(compute_losses(called(data.image), data, config.loss, size), config.loss)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        adam.zero_grad(set_to_none=True)
        synchronise(device)

    backbone = torch.compile(model.encoder.backbone) if compiled else model.encoder.backbone

    def backbone_step() -> None:
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            loss = backbone(model.normalise(data.image))[-1].float().square().mean()
        loss.backward()
        model.zero_grad(set_to_none=True)
        synchronise(device)

    step_times, backbone_times = interleaved([step, backbone_step], repeats, warm_up=2)
    ratio = median(a / b for a, b in zip(step_times, backbone_times, strict=True))
    rate, backbone_rate = batch / median(step_times), batch / median(backbone_times)
    return (
        f"{name}, batch {batch}, {'bf16' if half else 'fp32'}{', compiled' if compiled else ''}, {threads} threads, "
        f"medians of {repeats} interleaved steps\n"
        f"  step          {1e3 * median(step_times):9.1f} ms {rate:9.1f} images/s\n"
        f"  backbone      {1e3 * median(backbone_times):9.1f} ms {backbone_rate:9.1f} images/s, forward and backward\n"
        f"  ratio         {ratio:9.2f}   peak memory {in_megabytes(peak_memory(device))}"
    )


def random_batch(count: int, size: int) -> Batch:
    """Return a batch of noise with targets in the valid range, for timing."""
    generator = torch.Generator().manual_seed(0)
    pose = torch.rand(count, 42, 3, generator=generator) * torch.tensor([size, size, 200.0])
    all_valid = torch.ones(count, dtype=torch.bool)
    return Batch(
        image=torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8),
        pose_2p5d=pose, valid=torch.ones(count, 42, dtype=torch.bool),
        parts=torch.randint(0, 33, (count, size // 4, size // 4), generator=generator), parts_valid=all_valid,
        hand_type=torch.ones(count, 2, dtype=torch.bool), hand_type_valid=all_valid,
        root_depth=50 * torch.randn(count, generator=generator), root_depth_valid=all_valid,
        names=tuple(f"noise {index}" for index in range(count)),
    )  # fmt: skip
