"""How fast one loader process makes training crops, beside the bare decoding and warping, and what memory it needs."""

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import numpy as np
from torch.utils.data import DataLoader

from unclasp.batch import ByteArray, Sample
from unclasp.bench.index import memory_of, write_made_up
from unclasp.config import Config, paper
from unclasp.data.collate import collate, start_worker
from unclasp.data.interhand import InterHand
from unclasp.data.pictures import read_rgb
from unclasp.data.transforms import random_view, view_matrix
from unclasp.errors import UnclaspError
from unclasp.train import Batches, TrainingExamples

SIZES: Final = ((512, 334), (334, 512))
"""Width and height of the data set's pictures."""
POOL: Final = 64
"""Different pictures; made-up annotations name far more, which are read from these in turn."""
_QUALITY: Final = 95
"""Of the JPEG files, whose size of about 25 kB is that of real frames."""
_BATCH: Final = 64
_PHOTOGRAPHIC: Final = 0.8


class MadeUp:
    """Made-up annotations of many pictures, with a few real files in place of them."""

    def __init__(self, root: Path) -> None:
        self.dataset = InterHand(root, parts="none")
        self.files = sorted((root / "pictures").iterdir())

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return Sample(**self.dataset.record(index), image=read_rgb(self.files[index % len(self.files)]), parts=None)


@dataclass(frozen=True)
class LoaderCost:
    """Processor time per picture in ms, medians unless it says otherwise; memory of the loader's processes in bytes."""

    pictures: int
    bare_ms: float
    """cv2.imdecode from memory and cv2.warpAffine, with the same view."""
    loader_ms: float
    """Annotations, file, decoding, crop, augmentation, targets."""
    photographic_ms: float
    """The same with --augment.photographic 0.8, on average: looks differ in what they cost."""
    ratio: float
    """Of the bare sum to the loader, medians."""
    calm_ratio: float
    """The same of the twentieth of the turns that other processes disturbed least."""
    workers: int
    private_bytes: int
    """The largest of the workers' own memory, while all of them load."""
    shared_bytes: int

    def __str__(self) -> str:
        lines = [
            f"{self.pictures:,} images, made up; decode, crop to 256, augment at 512 x 334; one process, its time",
            f"  bare imdecode + warpAffine   {self.bare_ms:6.2f} ms   {1000 / self.bare_ms:6.0f} images/s",
            f"  loader                       {self.loader_ms:6.2f} ms   {1000 / self.loader_ms:6.0f} images/s"
            f"   {self.ratio:.2f} of the bare sum, {self.calm_ratio:.2f} undisturbed",
            f"  with photographic {_PHOTOGRAPHIC}        {self.photographic_ms:6.2f} ms"
            f"   {1000 / self.photographic_ms:6.0f} images/s",
            f"  memory of each of {self.workers} workers: {self.private_bytes / 1e6:.0f} MB of its own, "
            f"{self.shared_bytes / 1e6:.0f} MB shared",
        ]
        return "\n".join(lines)


def loader_cost(count: int, *, repeats: int, workers: int, folder: Path | None = None) -> LoaderCost:
    """Make up a data set of `count` images and measure the loader on it.

    Args:
        count: Images that the annotations name.
        repeats: Pictures that are measured; each way of making a crop of them takes its turn.
        workers: Processes whose memory is measured, together.
        folder: Where to write; the system's folder for temporary files if not given.
    """
    with TemporaryDirectory(dir=folder) as root:
        write_made_up(Path(root), count)
        write_pictures(Path(root) / "pictures")
        dataset = MadeUp(Path(root))
        bare, loader, photographic = speeds(dataset, repeats)
        memory = worker_memory(dataset, workers)
    return LoaderCost(
        pictures=count, bare_ms=float(np.median(bare)), loader_ms=float(np.median(loader)),
        photographic_ms=float(np.mean(photographic)), ratio=float(np.median(bare) / np.median(loader)),
        calm_ratio=float(np.quantile(bare, 0.05) / np.quantile(loader, 0.05)), workers=workers,
        private_bytes=max(private for private, _ in memory),
        shared_bytes=int(np.median([shared for _, shared in memory])),
    )  # fmt: skip


def write_pictures(folder: Path, count: int = POOL) -> None:
    """Write made-up pictures: something bright and rough on a dark, slightly noisy ground, as in a studio."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        image = np.full((height, width, 3), 30.0)
        for _ in range(12):
            centre = rng.uniform(0.25, 0.75, 2) * (width, height)
            axes = rng.uniform(15, 70, 2).astype(int).tolist()
            colour = rng.uniform(60, 220, 3).tolist()
            cv2.ellipse(image, centre.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, colour, -1)
        image = cv2.GaussianBlur(image, (0, 0), 1.2) + rng.normal(0, 3.0, image.shape)
        cv2.imwrite(
            str(folder / f"{number:03d}.jpg"), image.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        )


def speeds(dataset: MadeUp, repeats: int) -> tuple[Any, Any, Any]:
    """Return (repeats,) ms of this thread's processor time: bare, loader, loader with photographic augmentation.

    All three make the same picture's crop in turn, so that a busy machine slows all of them alike.
    """
    config = paper()
    plain = TrainingExamples(dataset, config)
    strong = TrainingExamples(dataset, replace(config, augment=replace(config.augment, photographic=_PHOTOGRAPHIC)))
    times = np.zeros((3, repeats))
    threads = cv2.getNumThreads()
    start_worker(0)
    gc.disable()
    try:
        for turn in range(-5, repeats):
            index = turn % len(dataset)
            ways: list[Callable[[], Any]] = [
                bare_crop(dataset, index, config), lambda i=index: plain[0, i], lambda i=index: strong[0, i],  # type: ignore[misc]
            ]  # fmt: skip
            spent = [_timed(way) for way in ways]
            if turn >= 0:
                times[:, turn] = spent
    finally:
        gc.enable()
        cv2.setNumThreads(threads)
    return times[0], times[1], times[2]


def bare_crop(dataset: MadeUp, index: int, config: Config) -> Callable[[], ByteArray]:
    """Return what decodes a picture from memory and warps it to the loader's view of it, and does nothing else."""
    sample = dataset[index]
    view = random_view(sample.box, config.augment, np.random.default_rng([config.train.seed, 0, index]))
    size = config.model.image_size
    matrix = view_matrix(view.box, size, width=sample.image.shape[1], rotation=view.rotation, flip=view.flip)
    affine = np.ascontiguousarray(matrix[:2])
    data = np.fromfile(dataset.files[index % len(dataset.files)], dtype=np.uint8)

    def run() -> ByteArray:
        image: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return np.asarray(cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR), dtype=np.uint8)

    return run


def _timed(way: Callable[[], Any]) -> float:
    start = time.thread_time()
    way()
    return (time.thread_time() - start) * 1000


def worker_memory(dataset: MadeUp, workers: int, batches: int = 4) -> list[tuple[int, int]]:
    """Return the private and shared memory of each process of a training's loader, after some batches of each."""
    memory_of(os.getpid())  # says so where it cannot be measured
    config = paper()
    batch = min(_BATCH, len(dataset))
    config = replace(config, train=replace(config.train, batch_size=batch))
    if len(dataset) < batch * workers:
        raise UnclaspError(f"{workers} workers need at least {batch * workers} images, got {len(dataset)}")
    order = Batches(size=len(dataset), config=config.train, first_step=0, last_step=workers * batches, rank=0, world=1)
    loader: DataLoader[Any] = DataLoader(
        TrainingExamples(dataset, config), batch_sampler=order, collate_fn=collate, num_workers=workers,
        worker_init_fn=start_worker, persistent_workers=True,
    )  # fmt: skip
    entries = iter(loader)
    for _ in order:
        next(entries)
    return [memory_of(worker.pid) for worker in entries._workers]  # type: ignore[attr-defined]
