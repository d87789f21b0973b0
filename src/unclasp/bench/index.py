"""Benchmark of the annotation index: time to build and open it, and memory, on synthetic full-size annotations."""

import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from unclasp.bench.device import peak_memory
from unclasp.data.index import build_index
from unclasp.data.interhand import InterHand
from unclasp.data.layout import annotation_path, find_layout
from unclasp.errors import UnclaspError, check_at_least
from unclasp.files import whole, write_text

CAMERAS: Final = 80
"""Cameras per capture, about as many as in the data set."""
FRAMES_PER_SEQUENCE: Final = 24
_SPLIT: Final = "train"
_SEQUENCES_PER_CAPTURE: Final = 27


def write_made_up(root: Path, count: int) -> int:
    """Write synthetic annotations of `count` images in the v1.0 layout, without pictures; return their size in bytes.

    Values are random, but their types, precision and number match the real files, so that the cost in time and memory
    does too. The MANO fits have an entry for each frame, with null for every seventh hand.
    """
    check_at_least(1, count=count)
    rng = np.random.default_rng(0)
    frames = -(-count // CAMERAS)
    names = [str(400000 + 10000 * (i % 4 == 3) + i) for i in range(CAMERAS)]
    capture_of = [frame // (FRAMES_PER_SEQUENCE * _SEQUENCES_PER_CAPTURE) for frame in range(frames)]
    captures = sorted(set(capture_of))
    cameras = {str(capture): _cameras(rng, names) for capture in captures}
    write_text(annotation_path(root, _SPLIT, "camera"), json.dumps(cameras))
    _write_members(annotation_path(root, _SPLIT, "joint_3d"), capture_of, lambda frame: _frame(rng, frame))
    _write_members(annotation_path(root, _SPLIT, "MANO_NeuralAnnot"), capture_of, lambda frame: _fits(rng, frame))
    _write_data(annotation_path(root, _SPLIT, "data"), count, names, capture_of, rng)
    return sum(path.stat().st_size for path in find_layout(root, _SPLIT).sources if path.exists())


def _write_members(path: Path, capture_of: list[int], make: Any) -> None:
    """Write {capture: {frame: …}} without holding all of it in memory."""
    with whole(path) as temporary, temporary.open("w") as file:
        for frame, capture in enumerate(capture_of):
            if not frame or capture_of[frame - 1] != capture:
                file.write(f'{"}, " if frame else "{"}"{capture}": {{')
            else:
                file.write(", ")
            file.write(f'"{_number(frame)}": {json.dumps(make(frame))}')
        file.write("}}")


def _number(frame: int) -> int:
    """Return the frame number in the original recording; the release has every 18th, at 5 frames per second."""
    return 1000 + 18 * frame


def _cameras(rng: np.random.Generator, names: list[str]) -> dict[str, Any]:
    def numbers(*shape: int) -> dict[str, Any]:
        return {name: rng.normal(0, 500, shape).tolist() for name in names}

    def rotation() -> Any:
        orthogonal = np.linalg.qr(rng.normal(0, 1, (3, 3)))[0]
        return (orthogonal * np.linalg.det(orthogonal)).tolist()  # its determinant is 1 or -1

    focal = {name: rng.uniform(500, 1500, 2).tolist() for name in names}
    return {
        "campos": numbers(3), "camrot": {name: rotation() for name in names}, "focal": focal, "princpt": numbers(2),
    }  # fmt: skip


def _frame(rng: np.random.Generator, frame: int) -> dict[str, Any]:
    world = rng.normal(0, 300, (42, 3)).astype(np.float32).astype(float).tolist()
    return {"world_coord": world, "joint_valid": [[True]] * 42, "hand_type": _hand_type(frame), "hand_type_valid": True}


def _fits(rng: np.random.Generator, frame: int) -> dict[str, Any]:
    def fit(side: int) -> dict[str, Any] | None:
        if (2 * frame + side) % 7 == 0:
            return None
        return {"pose": rng.normal(0, 1, 48).tolist(), "shape": rng.normal(0, 1, 10).tolist(), "trans": [0.1, 0.2, 0.9]}

    return {"right": fit(0), "left": fit(1)}


def _hand_type(frame: int) -> str:
    return ("right", "interacting", "left", "interacting")[frame // FRAMES_PER_SEQUENCE % 4]


def _write_data(path: Path, count: int, names: list[str], capture_of: list[int], rng: np.random.Generator) -> None:
    with whole(path) as temporary, temporary.open("w") as file:
        file.write('{"images": [')
        file.writelines(_joined(_images(count, names, capture_of)))
        file.write('], "annotations": [')
        file.writelines(_joined(_boxes(count, rng)))
        file.write("]}")


def _joined(parts: Iterator[str]) -> Iterator[str]:
    yield next(parts)
    for part in parts:
        yield ", "
        yield part


def _images(count: int, names: list[str], capture_of: list[int]) -> Iterator[str]:
    for i in range(count):
        frame, camera = divmod(i, len(names))
        capture, number, name = capture_of[frame], _number(frame), names[camera]
        sequence = f"{frame // FRAMES_PER_SEQUENCE:04d}_made_up_sequence"
        yield (
            f'{{"id": {i}, "file_name": "Capture{capture}/{sequence}/cam{name}/image{number}.jpg", "width": 334, '
            f'"height": 512, "capture": {capture}, "subject": {capture % 9}, "seq_name": "{sequence}", '
            f'"camera": "{name}", "frame_idx": {number}}}'
        )


def _boxes(count: int, rng: np.random.Generator) -> Iterator[str]:
    boxes = rng.uniform(20, 180, (4096, 4)).astype(np.float32).astype(float).tolist()
    valid = {kind: json.dumps([[int(right)]] * 21 + [[int(left)]] * 21)
             for kind, right, left in (("right", 1, 0), ("left", 0, 1), ("interacting", 1, 1))}  # fmt: skip
    for i in range(count):
        kind = _hand_type(i // CAMERAS)
        yield (
            f'{{"id": {i}, "image_id": {i}, "bbox": {boxes[i % 4096]}, "joint_valid": {valid[kind]}, '
            f'"hand_type": "{kind}", "hand_type_valid": 1}}'
        )


def index_cost(root: Path, workers: int, records: int = 20_000) -> dict[str, Any]:
    """Rebuild and open the index of made-up annotations; measure the time of both, and the memory of its readers.

    Memory is measured in child processes: the one that builds the index, and `workers` processes that are forked after
    the data set has been opened, like those of a loader, and read `records` random records each, at the same time.

    Returns:
        Sizes of the annotations and the index in bytes; wall-clock and CPU seconds of the build, and its peak resident
        memory; seconds to open the index, as the median of several times; and medians over the workers of their private
        and shared memory and of the seconds per record. Memory is in bytes.
    """
    memory_of(os.getpid())  # raises if memory cannot be measured, before any process waits at the barrier
    layout = find_layout(root, _SPLIT)
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        processor, peak = pool.apply(_build, (root,))
    seconds = time.perf_counter() - start
    open_seconds = []
    for _ in range(5):
        start = time.perf_counter()
        dataset = InterHand(root, _SPLIT)
        open_seconds.append(time.perf_counter() - start)
    return {
        "images": len(dataset), "annotation_bytes": sum(p.stat().st_size for p in layout.sources if p.exists()),
        "index_bytes": dataset.index.path.stat().st_size, "make_seconds": seconds, "make_processor_seconds": processor,
        "make_peak_bytes": peak, "open_seconds": float(np.median(open_seconds)), "workers": workers,
        **_workers(dataset, workers, records),
    }  # fmt: skip


def summary(cost: dict[str, Any]) -> str:
    """Return the results of `index_cost` as a readable table."""
    megabytes = {key.removesuffix("_bytes"): cost[key] / 1e6 for key in cost if key.endswith("_bytes")}
    minutes, processor = cost["make_seconds"] / 60, cost["make_processor_seconds"] / 60
    return "\n".join([
        f"{cost['images']:,} images, {megabytes['annotation']:,.0f} MB of annotations",
        f"  make     {minutes:.1f} min by the clock, {processor:.1f} min of one processor, "
        f"peak {megabytes['make_peak']:,.0f} MB",
        f"  index    {megabytes['index']:,.0f} MB, opened in {cost['open_seconds'] * 1e3:.0f} ms",
        f"  record   {cost['record_seconds'] * 1e3:.2f} ms, all of a sample but its picture",
        f"  memory   of each of {cost['workers']} workers: {megabytes['worker_private']:.0f} MB of its own, "
        f"{megabytes['worker_shared']:.0f} MB shared",
    ])  # fmt: skip


def _build(root: Path) -> tuple[float, float]:
    """Build the index, and return the CPU seconds and the peak memory in bytes of this process."""
    build_index(find_layout(root, _SPLIT), anew=True)
    return time.process_time(), 1e6 * (peak_memory("cpu") or math.nan)


def _workers(dataset: InterHand, workers: int, records: int) -> dict[str, Any]:
    """Let forked workers read at the same time, and return their private and shared memory and the time per record."""
    context = multiprocessing.get_context("fork")
    choices = np.random.default_rng(0).integers(0, len(dataset), (workers, records)).tolist()
    barrier, results = context.Barrier(workers, timeout=600), context.SimpleQueue()
    processes = [context.Process(target=_read_records, args=(dataset, rows, barrier, results)) for rows in choices]
    for process in processes:
        process.start()
    entries = [results.get() for _ in processes]
    for process in processes:
        process.join()
    private, shared, seconds = (float(np.median([entry[i] for entry in entries])) for i in range(3))
    return {"worker_private_bytes": private, "worker_shared_bytes": shared, "record_seconds": seconds}


def _read_records(dataset: InterHand, rows: list[int], barrier: Any, results: Any) -> None:
    start = time.perf_counter()
    for row in rows:
        dataset.record(row)
    seconds = (time.perf_counter() - start) / len(rows)
    barrier.wait()  # every worker has touched its pages now, so shared pages are counted as shared
    private, shared = memory_of(os.getpid())
    barrier.wait()
    results.put((private, shared, seconds))


def memory_of(process: int) -> tuple[int, int]:
    """Return the private and the shared resident memory of a process in bytes; Linux only.

    Raises:
        UnclaspError: The system does not provide these figures.
    """
    path = Path(f"/proc/{process}/smaps_rollup")
    if not path.exists():
        raise UnclaspError("private memory is measured by /proc/PID/smaps_rollup, which only Linux has")
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in path.read_text().splitlines()[1:]}
    private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return private * 1024, (kilobytes["Rss"] - private) * 1024
