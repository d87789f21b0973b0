"""Checks an InterHand2.6M folder against its annotations and against the counts that its owners publish."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unclasp.data.annotations import SUBSET_BITS, read_annotations
from unclasp.data.check_pictures import check_pictures
from unclasp.data.findings import Check, Mano, SplitCheck, to_fetch
from unclasp.data.index import Index, verified_index
from unclasp.data.interhand import frame_step
from unclasp.data.layout import PUBLISHED, PUBLISHED_V0, SUBSETS, Counts, Layout, Subset, find_layout, layouts_in
from unclasp.data.progress import NamedProgress
from unclasp.data.tables import BOTH_HANDS, MANO_KEY, Columns
from unclasp.errors import DataError
from unclasp.hands import JOINT_NAMES, PARENTS


def check(root: Path | str, *, opened: int | None = 500, progress: NamedProgress | None = None) -> Check:
    """Check all splits of a folder.

    Args:
        root: Folder with `annotations` and `images`.
        opened: Number of pictures per split to decode, with their part masks, to find those that are black, unreadable
            or of another size; None for all.
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
    result.fetch += [*_skeleton_faults(root), *to_fetch(result)]
    return result


def _skeleton_faults(root: Path) -> Iterator[str]:
    """Yield what in skeleton.txt, if it is there, is not the joint order that the annotations are read in."""
    path = root / "annotations" / "skeleton.txt"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        yield f"{path}, again: it cannot be read ({error.strerror})"
        return
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    for joint, (name, parent) in enumerate(zip(JOINT_NAMES, PARENTS, strict=True)):
        # Tips are called r_thumb4 or r_thumb_null, so their number is told by their parent.
        row = rows[joint] if joint < len(rows) else ["nothing"]
        if not row[0].startswith(name.rstrip("1234")) or row[1:] != [str(joint), str(parent)]:
            expected = f"'{name} {joint} {parent}'"
            yield f"{path} and the annotations, again: joint {joint} must be {expected}, got '{' '.join(row)[:80]}'"
            return


def _check_split(layout: Layout, opened: int | None, report_progress: NamedProgress) -> SplitCheck:
    index, damage = _verified(layout)
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
        pictures=check_pictures(layout, columns, opened, report_progress),
        mano=_check_mano(columns) if known.has_mano else None,
        index=None if index is None else str(index.path),
        index_damage=damage,
    )


def _verified(layout: Layout) -> tuple[Index | None, str | None]:
    """Return the up-to-date index if it is whole, and what is wrong with it if it is not."""
    try:
        return verified_index(layout), None
    except DataError as error:
        return None, str(error)


def _counts(layout: Layout, columns: Columns, lists: list[Subset]) -> dict[str, Counts]:
    def of(chosen: Any) -> Counts:
        interacting = int((columns["hand_type"][chosen] == BOTH_HANDS).sum())
        return Counts(int(np.count_nonzero(chosen)) - interacting, interacting)

    flags = columns["flags"]
    counts: dict[str, Counts] = {layout.subset: of(np.ones(len(flags), dtype=bool))}
    for subset, bit in SUBSET_BITS.items():
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
    hands = np.bitwise_count(flags & BOTH_HANDS)
    there = (flags & MANO_KEY) > 0
    frames = columns["frame"][columns["frame"] >= 0]
    return Mano(
        frames=int(there.sum()),
        without_entry=int((~there).sum()),
        one_hand=int((there & (hands == 1)).sum()),
        no_hand=int((there & (hands == 0)).sum()),
        images_with_fit=int((hands[frames] > 0).sum()),
    )
