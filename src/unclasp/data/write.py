"""Renders a data set to disk in InterHand2.6M's layout, with part masks, in several processes."""

import json
import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unclasp.data.json_file import parse_json
from unclasp.data.layout import parts_path
from unclasp.data.store import check_split_name, write_annotations, write_sample
from unclasp.data.synthetic import Synthetic
from unclasp.errors import DataError
from unclasp.files import write_text
from unclasp.opencv_threads import opencv_threads
from unclasp.synth.scene import SceneMix

CAPTURE_SIZE = 500
"""Pictures per `Capture` folder. Each capture is rendered by one process; an interrupted run repeats unfinished ones.
"""


@dataclass(frozen=True)
class _Job:
    root: Path
    split: str
    seed: int
    image_size: int
    mix: SceneMix
    capture: int
    indices: range

    @property
    def finished(self) -> Path:
        return self.root / "annotations" / self.split / "captures" / f"Capture{self.capture}.json"


def write_dataset(
    root: Path, count: int, *, seed: int, split: str = "train", image_size: int = 256, mix: SceneMix | None = None,
    processes: int = 1,
) -> Iterator[int]:  # fmt: skip
    """Render pictures 0 to count - 1 of a seed; a generator, so iterate over the result to do the work.

    An interrupted run resumes where it stopped, one with a larger `count` adds to the existing pictures, and a capture
    that lacks a file is rendered again: each finished capture stores its annotations under annotations/SPLIT/captures,
    and the three annotation files are written at the end.

    Args:
        root: Folder of the data set.
        count: Number of pictures.
        seed: Seed of the pictures, as for `Synthetic`.
        split: Name of the split on disk, of letters, digits, - and _.
        image_size: Side of the pictures in px.
        mix: Probabilities of the kinds of scenes and views.
        processes: Number of captures that are rendered in parallel.

    Yields:
        The number of pictures done, after each capture.

    Raises:
        DataError: The folder holds pictures made with other options, more than `count` of them, or those of this seed
            in another split; `count` or `seed` is too small, or `split` is no plain name.
    """
    if count < 1 or seed < 0:
        raise DataError(f"count must be at least 1 and seed at least 0, got {count} and {seed}")
    check_split_name(split)
    mix = mix or SceneMix()
    _check_same_options(root, split, {"seed": seed, "image_size": image_size, "mix": repr(mix)})
    jobs = [
        _Job(root, split, seed, image_size, mix, start // CAPTURE_SIZE, range(start, min(start + CAPTURE_SIZE, count)))
        for start in range(0, count, CAPTURE_SIZE)
    ]
    _check_not_fewer(jobs[-1], count)
    done = 0
    if processes <= 1:
        for job in jobs:
            done += _render_capture(job)
            yield done
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for rendered in pool.imap_unordered(_render_capture, jobs):
                done += rendered
                yield done
    write_annotations(root, split, {job.capture: _read_json(job.finished) for job in jobs})


def _check_same_options(root: Path, split: str, options: dict[str, Any]) -> None:
    path = root / "annotations" / split / "captures" / "options.json"
    for other in sorted(root.glob("annotations/*/captures/options.json")):
        if other != path and _read_json(other).get("seed") == options["seed"] and _captures_beside(other):
            raise DataError(
                f"the split {other.parents[1].name} of {root} has the pictures of seed {options['seed']}, and {split} "
                "would have the same ones: choose another seed"
            )
    if path.exists() and _captures_beside(path):
        present = _read_json(path)
        if present != options:
            raise DataError(f"{root} holds pictures made with {present}, not with {options}; choose another folder")
    else:
        write_text(path, json.dumps(options))


def _captures_beside(options: Path) -> list[int]:
    """Return the numbers of the finished captures beside a file of options."""
    found = (re.fullmatch(r"Capture(\d+)\.json", path.name) for path in options.parent.iterdir())
    return sorted(int(match[1]) for match in found if match)


def _check_not_fewer(last: _Job, count: int) -> None:
    captures = _captures_beside(last.finished)
    if captures and captures[-1] >= last.capture:
        final = _read_json(last.finished.with_name(f"Capture{captures[-1]}.json"))
        present = captures[-1] * CAPTURE_SIZE + len(final)
        if present > count:
            raise DataError(
                f"the split {last.split} of {last.root} has {present} pictures, more than {count}: ask for at least as "
                "many, or choose another folder"
            )


def _render_capture(job: _Job) -> int:
    if _is_whole(job):
        return len(job.indices)
    dataset = Synthetic(job.seed, job.indices.stop, job.mix, image_size=job.image_size)
    with opencv_threads(1):
        entries = [write_sample(job.root, job.split, job.capture, dataset[index], index) for index in job.indices]
    write_text(job.finished, json.dumps(entries))
    return len(entries)


def _is_whole(job: _Job) -> bool:
    """Return whether a capture is finished, with all its pictures and part masks."""
    if not job.finished.exists():
        return False
    names = [entry["image"]["file_name"] for entry in _read_json(job.finished)]
    return len(names) == len(job.indices) and all(
        (job.root / "images" / job.split / name).exists() and parts_path(job.root, job.split, name).exists()
        for name in names
    )


def _read_json(path: Path) -> Any:
    """Read a JSON file of an earlier run."""
    return parse_json(path.read_bytes(), path, "remove it, and it is made again")
