"""Checks an InterHand2.6M folder against its annotations and against the counts that its owners publish."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unclasp.data.annotations import HUMAN, MACHINE, read_annotations
from unclasp.data.filtered import DARK, UNREADABLE, brightness
from unclasp.data.findings import Check, Mano, Pictures, SplitCheck, to_fetch
from unclasp.data.index import fresh_index
from unclasp.data.interhand import frame_step
from unclasp.data.layout import PUBLISHED, PUBLISHED_V0, SUBSETS, Counts, Layout, Subset, find_layout, layouts_in
from unclasp.data.progress import NamedProgress
from unclasp.data.tables import MANO_KEY, Columns
from unclasp.errors import DataError


def check(root: Path | str, *, opened: int | None = 500, progress: NamedProgress | None = None) -> Check:
    """Check all splits of a folder.

    Args:
        root: Folder with `annotations` and `images`.
        opened: Number of pictures per split to decode, to find black and unreadable ones; None for all.
        progress: Called from time to time.

    Raises:
        DataError: There are no annotations at all.
    """
    root = Path(root)
    report_progress = progress or (lambda *_: None)
    layouts = layouts_in(root)
    if not layouts:
        find_layout(root, "train")  # raises an error that explains what is missing
    result = Check(str(root), "older" if any(layout.release == "older" for layout in layouts) else "v1.0")
    for layout in layouts:
        try:
            result.splits.append(_check_split(layout, opened, report_progress))
        except DataError as error:
            result.errors.append(str(error))
            result.fetch.append(f"{layout.split}: the annotations in {layout.folder}, again")
    result.fetch += to_fetch(result)
    return result


def _check_split(layout: Layout, opened: int | None, report_progress: NamedProgress) -> SplitCheck:
    index = fresh_index(layout)
    show = partial(report_progress, f"{layout.split}: annotations")
    known = read_annotations(layout, show) if index is None else index
    columns = known.columns
    counts = _counts(layout, columns, known.lists)
    total_count = counts[layout.subset].total
    return SplitCheck(
        split=layout.split,
        subset=layout.subset,
        version=_version(layout, total_count),
        fps=_fps(columns) if known.sequences else None,
        counts=counts,
        published={name: PUBLISHED[layout.split, name] for name in SUBSETS if (layout.split, name) in PUBLISHED},
        problems=known.problems.lines(),
        damaged=bool(known.problems.fatal),
        pictures=_check_pictures(layout, columns, opened, report_progress),
        mano=_check_mano(columns) if known.has_mano else None,
        index=None if index is None else str(index.path),
    )


def _counts(layout: Layout, columns: Columns, lists: list[Subset]) -> dict[str, Counts]:
    def of(chosen: Any) -> Counts:
        interacting = int((columns["hand_type"][chosen] == 3).sum())
        return Counts(int(np.count_nonzero(chosen)) - interacting, interacting)

    flags = columns["flags"]
    counts: dict[str, Counts] = {layout.subset: of(np.ones(len(flags), dtype=bool))}
    for subset, bit in (("human", HUMAN), ("machine", MACHINE)):
        if subset in lists:
            counts[subset] = of((flags & bit) > 0)
    return counts


def _version(layout: Layout, total: int) -> str:
    published = PUBLISHED.get((layout.split, layout.subset))
    if published is not None and total == published.total:
        return "v1.0, 5 fps"
    if layout.subset == "all" and total == PUBLISHED_V0.get(layout.split):
        return "v0.0: figures on it compare with nothing; fetch v1.0"
    return "not a published number of images"


def _fps(columns: Columns) -> int | None:
    first = columns["capture"] == columns["capture"][0]
    sequences = columns["sequence"][first]
    frames = columns["frame_idx"][first]
    if len(np.unique(np.stack([sequences, frames]), axis=1).T) == len(np.unique(sequences)):
        return None
    return 30 if frame_step(frames, sequences) < 6 else 5


def _check_mano(columns: Columns) -> Mano:
    flags = columns["frame_mano"]
    hands = (flags & 1).astype(int) + (flags >> 1 & 1)
    there = (flags & MANO_KEY) > 0
    frames = columns["frame"][columns["frame"] >= 0]
    return Mano(
        frames=int(there.sum()),
        without_entry=int((~there).sum()),
        one_hand=int((there & (hands == 1)).sum()),
        no_hand=int((there & (hands == 0)).sum()),
        images_with_fit=int((hands[frames] > 0).sum()),
    )


def _check_pictures(layout: Layout, columns: Columns, opened: int | None, report_progress: NamedProgress) -> Pictures:
    names = sorted(_names(columns))
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
        report_progress(f"{layout.split}: pictures", done, len(names))
    chosen = _spread(present, opened)
    states: list[int] = []
    for start in range(0, len(chosen), 256):
        states += brightness(layout.images / name for name in chosen[start : start + 256])
        report_progress(f"{layout.split}: decoding", len(states), len(chosen))
    found_states = list(zip(chosen, states, strict=True))
    return Pictures(
        present=len(present), missing=len(names) - len(present),
        missing_by_capture=dict(sorted(missing.items(), key=lambda item: _natural(item[0]))),
        missing_folders=empty_folders, opened=len(chosen),
        black=[name for name, state in found_states if state == DARK],
        unreadable=[name for name, state in found_states if state == UNREADABLE],
    )  # fmt: skip


def _names(columns: Columns) -> Iterator[str]:
    data, starts = columns["names"].tobytes(), columns["name_starts"].tolist()
    return (data[start:end].decode() for start, end in pairwise(starts))


def _natural(name: str) -> tuple[int, str]:
    digits = "".join(letter for letter in name if letter.isdigit())
    return int(digits or -1), name


def _spread(names: list[str], count: int | None) -> list[str]:
    if count is None or count >= len(names):
        return names
    return [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)] if count else []
