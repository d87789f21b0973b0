"""Checks the pictures and part masks of a split: which are there, and what is wrong with some that are decoded."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import NamedTuple

import numpy as np

from unclasp.data.filtered import is_dark
from unclasp.data.findings import Masks, Pictures
from unclasp.data.layout import Layout
from unclasp.data.part_masks import PartMasks, open_part_masks
from unclasp.data.pictures import has_size, read_rgb
from unclasp.data.progress import NamedProgress
from unclasp.data.tables import Columns, file_names
from unclasp.errors import DataError

_CHUNK = 256
"""Number of pictures decoded between two progress calls."""


def check_pictures(layout: Layout, columns: Columns, opened: int | None, progress: NamedProgress) -> Pictures:
    """Look for all pictures of a split, and decode some of them.

    Args:
        layout: Locates the pictures and part masks.
        columns: Those of `annotations.Annotations`.
        opened: Number of pictures to decode, evenly spread over the sorted names; None for all.
        progress: Called from time to time.
    """
    names = sorted(name.decode() for name in file_names(columns))
    present: list[str] = []
    missing: Counter[str] = Counter()
    empty_folders = done = 0
    for folder, group in groupby(names, key=lambda name: name.rpartition("/")[0]):
        wanted = list(group)
        try:
            there = {path.name for path in (layout.images / folder).iterdir()}
        except OSError:
            there = set()
        found = [name for name in wanted if name.rpartition("/")[2] in there]
        present += found
        empty_folders += not found
        if len(found) < len(wanted):
            missing[folder.split("/")[0]] += len(wanted) - len(found)
        done += len(wanted)
        progress(f"{layout.split}: pictures", done, len(names))
    masks, mask_error = _open_masks(layout)
    looks = _look_at(layout, columns, _spread(present, opened), masks, progress)
    return Pictures(
        present=len(present), missing=len(names) - len(present),
        missing_by_capture=dict(sorted(missing.items(), key=lambda item: _natural(item[0]))),
        missing_folders=empty_folders, opened=len(looks),
        black=[name for name, look in looks.items() if look.black],
        unreadable=[name for name, look in looks.items() if look.unreadable],
        resized=[f"{name} ({look.resized})" for name, look in looks.items() if look.resized],
        masks=None if masks is None and mask_error is None else _masks_found(looks, mask_error),
    )  # fmt: skip


class _Look(NamedTuple):
    """What a decoded picture and its part mask are like."""

    unreadable: bool = False
    black: bool = False
    resized: str = ""
    """The size found, and the one annotated, if they differ."""
    has_mask: bool = False
    mask_error: str = ""


def _look_at(
    layout: Layout, columns: Columns, names: list[str], masks: PartMasks | None, progress: NamedProgress
) -> dict[str, _Look]:
    """Decode pictures and their part masks, in several threads."""
    rows = dict.fromkeys(names, 0)  # a damaged file may name a picture twice
    for row, name in enumerate(file_names(columns)):
        if (text := name.decode()) in rows:
            rows[text] = row
    names, sizes = list(rows), columns["size"][list(rows.values())].tolist()
    looks: list[_Look] = []
    look = partial(_look, layout, masks)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(names), _CHUNK):
            looks += pool.map(look, names[start : start + _CHUNK], sizes[start : start + _CHUNK])
            progress(f"{layout.split}: decoding", len(looks), len(names))
    return dict(zip(names, looks, strict=True))


def _look(layout: Layout, masks: PartMasks | None, name: str, size: tuple[int, int]) -> _Look:
    try:
        image = read_rgb(layout.images / name)
    except DataError:
        return _Look(unreadable=True)
    if not has_size(image, size):
        return _Look(resized=f"{image.shape[1]} x {image.shape[0]} px, not {size[0]} x {size[1]}")
    black = is_dark(image)
    try:
        return _Look(black=black, has_mask=masks is not None and masks(name, image) is not None)
    except DataError as error:
        return _Look(black=black, has_mask=True, mask_error=str(error))


def _open_masks(layout: Layout) -> tuple[PartMasks | None, str | None]:
    """Return the split's part masks, if there are any, and why they cannot be opened."""
    try:
        return open_part_masks(layout.root, layout.split), None
    except DataError as error:
        return None, str(error)


def _masks_found(looks: dict[str, _Look], error: str | None) -> Masks:
    errors = [look.mask_error for look in looks.values() if look.mask_error]
    found = sum(look.has_mask for look in looks.values())
    return Masks(found=found, unreadable=len(errors), error=error or (errors[0] if errors else None))


def _natural(name: str) -> tuple[int, str]:
    digits = "".join(letter for letter in name if letter.isdigit())
    return int(digits or -1), name


def _spread(names: list[str], count: int | None) -> list[str]:
    if count is None or count >= len(names):
        return names
    return [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)]
