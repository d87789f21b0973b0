"""How long a training step takes, beside its backbone's own forward and backward pass; and one prediction, by stage."""

import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from unclasp.batch import Batch, ByteArray
from unclasp.bench_latency import interleaved, peak_memory
from unclasp.config import Config
from unclasp.errors import UnclaspError
from unclasp.finder_engine import open_finder
from unclasp.losses import compute_losses, total
from unclasp.model import build
from unclasp.network import Answer, Network
from unclasp.onnx_model import in_onnx_runtime
from unclasp.picture import read_picture
from unclasp.predictor import Predictor
from unclasp.search import by_finder
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


class _Timed:
    """A network that remembers how long it took."""

    def __init__(self, network: Network) -> None:
        self.network, self.spent = network, 0.0
        self.name, self.image_size = network.name, network.image_size

    def __call__(self, crops: ByteArray, /) -> Answer:
        start = time.perf_counter()
        answer = self.network(crops)
        self.spent += time.perf_counter() - start
        return answer


def predict_speed(
    picture: Path, network: Network, *, repeats: int, box: tuple[float, float, float, float] | None
) -> str:
    """Time a prediction from file to overlay, by stage."""
    if repeats < 1:
        raise UnclaspError("repeats must be at least 1")
    timed = _Timed(network)
    predictor = Predictor(timed, search=by_finder(open_finder(spin=in_onnx_runtime(network)), timed))
    rows = []
    for repeat in range(-2, repeats):
        timed.spent, marks = 0.0, [time.perf_counter()]
        image = read_picture(picture)
        marks.append(time.perf_counter())
        pose = predictor(image, box)
        marks.append(time.perf_counter())
        pose.plot()
        marks.append(time.perf_counter())
        if repeat >= 0:
            read, predicted, drawn = np.diff(marks)
            rows.append((read, timed.spent, predicted - timed.spent, drawn, marks[-1] - marks[0]))
    stages = ("read", "network", "crop and lift", "overlay", "together")
    lines = [f"{picture.name}, {network.name}, {'given box' if box else 'box found'}, medians of {repeats}"]
    lines += [
        f"  {stage:14}{1e3 * median(times):9.2f} ms"
        for stage, times in zip(stages, zip(*rows, strict=True), strict=True)
    ]
    return "\n".join(lines)
