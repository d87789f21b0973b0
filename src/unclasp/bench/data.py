"""Benchmark of the training data loader: speed, relative to bare decoding and warping, and memory."""

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import numpy as np
from torch.utils.data import DataLoader

from unclasp.arrays import Doubles, Pixels
from unclasp.batch import Sample
from unclasp.bench.index import memory_of, write_made_up
from unclasp.config import Config
from unclasp.data.collate import collate, start_worker
from unclasp.data.interhand import InterHand
from unclasp.data.pictures import read_rgb
from unclasp.data.transforms import random_view, view_matrix
from unclasp.errors import UnclaspError
from unclasp.opencv_threads import opencv_threads
from unclasp.presets import paper
from unclasp.train import Batches, TrainingExamples

SIZES: Final = ((512, 334), (334, 512))
"""Width and height of the data set's pictures, in px."""
POOL: Final = 64
"""Number of different pictures. The made-up annotations refer to many more, for which these are read in turn."""
_JPEG_QUALITY: Final = 95
"""Quality of the JPEG files; at about 25 kB they are as large as real frames."""
_BATCH_SIZE: Final = 64
_PHOTOGRAPHIC_STRENGTH: Final = 0.8
"""Strength of the photometric augmentation in the third measurement."""


class MadeUp:
    """A data set of made-up annotations of many pictures, which are read from a few files."""

    def __init__(self, root: Path) -> None:
        self.dataset = InterHand(root, parts="none")
        self.files = sorted((root / "pictures").iterdir())

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return Sample(**self.dataset.record(index), image=read_rgb(self.files[index % len(self.files)]), parts=None)


@dataclass(frozen=True)
class LoaderCost:
    """CPU time per picture in ms, as medians unless noted otherwise, and memory of the loader processes in bytes."""

    pictures: int
    bare_ms: float
    """cv2.imdecode from memory and cv2.warpAffine, with the same view."""
    loader_ms: float
    """Annotations, file, decoding, crop, augmentation, targets."""
    photographic_ms: float
    """The same with --augment.photographic 0.8, as a mean, because augmentations differ in cost."""
    ratio: float
    """`bare_ms` divided by `loader_ms`."""
    calm_ratio: float
    """The same for 5% quantiles instead of medians, which other processes disturb least."""
    workers: int
    private_bytes: int
    """Largest private memory of a worker."""
    shared_bytes: int
    """Median shared memory of the workers."""

    def __str__(self) -> str:
        lines = [
            f"{self.pictures:,} images, made up; decode, crop to 256, augment at 512 x 334; one process, its time",
            f"  bare imdecode + warpAffine   {self.bare_ms:6.2f} ms   {1000 / self.bare_ms:6.0f} images/s",
            f"  loader                       {self.loader_ms:6.2f} ms   {1000 / self.loader_ms:6.0f} images/s"
            f"   {self.ratio:.2f} of the bare sum, {self.calm_ratio:.2f} undisturbed",
            f"  with photographic {_PHOTOGRAPHIC_STRENGTH}        {self.photographic_ms:6.2f} ms"
            f"   {1000 / self.photographic_ms:6.0f} images/s",
            f"  memory of each of {self.workers} workers: {self.private_bytes / 1e6:.0f} MB of its own, "
            f"{self.shared_bytes / 1e6:.0f} MB shared",
        ]
        return "\n".join(lines)


def loader_cost(count: int, *, repeats: int, workers: int, folder: Path | None) -> LoaderCost:
    """Generate a data set of `count` images and measure the loader on it.

    Args:
        count: Number of images in the annotations.
        repeats: Number of pictures to measure; for each, the crop is made in all three ways in turn.
        workers: Number of loader processes whose memory is measured.
        folder: Folder for the data set; the system's folder for temporary files if None.
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
    """Write synthetic pictures: bright textured shapes on a dark, slightly noisy background, as in a studio."""
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
        settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        cv2.imwrite(str(folder / f"{number:03d}.jpg"), image.clip(0, 255).astype(np.uint8), settings)


def speeds(dataset: MadeUp, repeats: int) -> Doubles:
    """Return CPU times (3, repeats) of this thread in ms: bare, loader, and loader with photometric augmentation.

    All three process the same picture in turn, so that a busy machine slows them equally.
    """
    config = paper()
    plain = TrainingExamples(dataset, config)
    augment = replace(config.augment, photographic=_PHOTOGRAPHIC_STRENGTH)
    strong = TrainingExamples(dataset, replace(config, augment=augment))
    times = np.zeros((3, repeats))
    gc.disable()
    try:
        with opencv_threads(0):
            for repeat in range(-5, repeats):  # the first few are warm-up
                index = repeat % len(dataset)
                calls: list[Callable[[], Any]] = [bare_crop(dataset, index, config)]
                calls += [partial(examples.__getitem__, (0, index)) for examples in (plain, strong)]
                spent = [_timed(call) for call in calls]
                if repeat >= 0:
                    times[:, repeat] = spent
    finally:
        gc.enable()
    return times


def bare_crop(dataset: MadeUp, index: int, config: Config) -> Callable[[], Pixels]:
    """Return a function that only decodes a picture from memory and warps it to the view that the loader uses."""
    sample = dataset[index]
    view = random_view(sample.box, config.augment, np.random.default_rng([config.train.seed, 0, index]))
    size = config.model.image_size
    matrix = view_matrix(view.box, size, width=sample.image.shape[1], rotation=view.rotation, flip=view.flip)
    affine = np.ascontiguousarray(matrix[:2])
    data = np.fromfile(dataset.files[index % len(dataset.files)], dtype=np.uint8)

    def run() -> Pixels:
        image: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return np.asarray(cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR), dtype=np.uint8)

    return run


def _timed(call: Callable[[], Any]) -> float:
    """Return the CPU time of a call in ms."""
    start = time.thread_time()
    call()
    return (time.thread_time() - start) * 1000


def worker_memory(dataset: MadeUp, workers: int, batches: int = 4) -> list[tuple[int, int]]:
    """Return the private and shared memory in bytes of each training loader process, after some batches.

    Raises:
        UnclaspError: There are too few images, or memory cannot be measured on this system.
    """
    memory_of(os.getpid())  # raises early if memory cannot be measured
    config = paper()
    batch = min(_BATCH_SIZE, len(dataset))
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
