"""Whole pictures with masks and boxes of hand regions on disk: the finder's training data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from unclasp.arrays import Pixels, Singles
from unclasp.data.container import open_arrays, write_arrays
from unclasp.errors import DataError
from unclasp.opencv_threads import opencv_threads
from unclasp.synth.regions import IGNORED, Whole

SHARD: Final = 250
"""Pictures per file; an interrupted run repeats the unfinished file."""
MAX_REGIONS: Final = 6
"""Maximum number of regions stored per picture; further ones are IGNORED in its mask."""
_PATTERN: Final = "wholes-*.arrays"


def write_wholes(folder: Path, count: int, *, seed: int, size: int, gloved: float = 0.0) -> Iterator[int]:
    """Render pictures 0 to count - 1 of a seed; a generator, so iterate over the result to do the work.

    An interrupted run resumes where it stopped, and one with a larger `count` adds to the existing pictures. `gloved`
    is the share of people who wear gloves.

    Yields:
        The number of pictures done, after each file.

    Raises:
        DataError: `count` is not positive, or the folder holds more pictures, or some made with other options.
    """
    if count < 1:
        raise DataError(f"count must be at least 1, got {count}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob(_PATTERN)) and len(Wholes(folder)) > count:
        raise DataError(
            f"{folder} holds {len(Wholes(folder))} pictures, more than {count}: ask for at least as many, or choose "
            "another folder"
        )
    for start in range(0, count, SHARD):
        path, done = folder / f"wholes-{start:06d}.arrays", min(start + SHARD, count)
        options = {"seed": seed, "size": size} | ({"gloved": gloved} if gloved else {})
        if path.exists():
            arrays, present = open_arrays(path)
            if present != options:
                raise DataError(f"{path} was made with {present}, not with {options}; choose another folder")
            if len(arrays["image"]) >= done - start:
                yield done
                continue
        write_arrays(path, _render(seed, range(start, done), size, gloved), options)
        yield done


def _render(seed: int, indices: range, size: int, gloved: float) -> dict[str, Pixels | Singles]:
    from unclasp.synth.whole import generate_whole  # noqa: PLC0415  numba only where it is needed

    count = len(indices)
    images, masks = np.zeros((count, size, size, 3), dtype=np.uint8), np.zeros((count, size, size), dtype=np.uint8)
    sizes, boxes = np.zeros((count, 2), dtype=np.float32), np.full((count, MAX_REGIONS, 4), np.nan, dtype=np.float32)
    with opencv_threads(1):
        for row, index in enumerate(indices):
            whole = generate_whole(seed, index, size=size, gloved=gloved)
            height, width = whole.mask.shape
            images[row, :height, :width], sizes[row] = whole.image, (width, height)
            masks[row, :height, :width] = np.where(whole.mask > MAX_REGIONS, IGNORED, whole.mask)
            boxes[row, : len(whole.boxes)] = whole.boxes[:MAX_REGIONS]
    return {"image": images, "mask": masks, "size": sizes, "boxes": boxes}


class Wholes:
    """The pictures of `write_wholes`.

    Args:
        folder: Folder of the files.

    Raises:
        DataError: There are no files, or one is damaged.
    """

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob(_PATTERN))
        if not paths:
            raise DataError(f"{folder} holds no whole pictures; make them with unclasp finder render --out {folder}")
        self._shards = [open_arrays(path)[0] for path in paths]
        self._starts = np.cumsum([0, *(len(shard["image"]) for shard in self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Whole:
        if not 0 <= index < len(self):
            raise IndexError(f"index must lie in [0, {len(self)}), got {index}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        shard, row = self._shards[number], index - int(self._starts[number])
        width, height = shard["size"][row].astype(int)
        boxes = shard["boxes"][row]
        used = np.isfinite(boxes[:, 0])
        return Whole(shard["image"][row, :height, :width], shard["mask"][row, :height, :width], boxes[used])
