"""How long a training step takes, beside its backbone's own forward and backward pass."""

from statistics import median

import torch

from unclasp.batch import Batch
from unclasp.bench.latency import interleaved, peak_memory
from unclasp.config import Config
from unclasp.errors import UnclaspError
from unclasp.losses import compute_losses, total
from unclasp.model import build
from unclasp.train import optimiser


def train_speed(
    config: Config, *, name: str, batch: int, repeats: int, threads: int, device: str, half: bool, compiled: bool
) -> str:
    """Time steps on one random batch: forward, losses, backward, optimiser; for the backbone, forward and backward."""
    if min(batch, repeats, threads) < 1:
        raise UnclaspError("batch, repeats and threads must be at least 1")
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
        _wait(kind)

    backbone = torch.compile(model.encoder.backbone) if compiled else model.encoder.backbone

    def bare() -> None:
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            summed = backbone(model.normalise(data.image))[-1].float().square().mean()
        summed.backward()
        model.zero_grad(set_to_none=True)
        _wait(kind)

    whole, part = interleaved([step, bare], repeats, warm_up=2)
    ratio = median(a / b for a, b in zip(whole, part, strict=True))
    rate, bare_rate = batch / median(whole), batch / median(part)
    return (
        f"{name}, batch {batch}, {'bf16' if half else 'fp32'}{', compiled' if compiled else ''}, {threads} threads, "
        f"medians of {repeats} interleaved steps\n"
        f"  step          {1e3 * median(whole):9.1f} ms {rate:9.1f} images/s\n"
        f"  backbone      {1e3 * median(part):9.1f} ms {bare_rate:9.1f} images/s, forward and backward\n"
        f"  ratio         {ratio:9.2f}   peak memory {peak_memory(device):.0f} MB"
    )


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()


def random_batch(count: int, size: int) -> Batch:
    """Return noise with targets in range, for timing."""
    generator = torch.Generator().manual_seed(0)
    pose = torch.rand(count, 42, 3, generator=generator) * torch.tensor([size, size, 200.0])
    yes = torch.ones(count, dtype=torch.bool)
    return Batch(
        image=torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8),
        pose_2p5d=pose, valid=torch.ones(count, 42, dtype=torch.bool),
        parts=torch.randint(0, 33, (count, size // 4, size // 4), generator=generator), parts_valid=yes,
        hand_type=torch.ones(count, 2, dtype=torch.bool), hand_type_valid=yes,
        root_depth=50 * torch.randn(count, generator=generator), root_depth_valid=yes,
        names=tuple(f"noise {index}" for index in range(count)),
    )  # fmt: skip
