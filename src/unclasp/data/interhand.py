"""InterHand2.6M as a data set, in the layouts of `layout`, read through the memory-mapped index of `index`.

In the files, joints are world coordinates in mm, cameras are `rotation @ (world - position)`, boxes are (x, y, width,
height), and joints that are not annotated hold the placeholder (1, 1, 1).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args, overload

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.arrays import Array, Bools
from unclasp.batch import Sample
from unclasp.data.annotations import SUBSET_BITS, TYPE_VALID, USABLE
from unclasp.data.filtered import filtered_rows
from unclasp.data.index import Index, open_index
from unclasp.data.layout import Subset, find_layout, splits_in
from unclasp.data.naming import split_options
from unclasp.data.part_masks import open_part_masks
from unclasp.data.pictures import read_rgb
from unclasp.data.tables import BOTH_HANDS
from unclasp.errors import DataError, check_choice
from unclasp.hands import NUM_JOINTS

Hands = Literal["all", "single", "interacting"]
Rows = npt.NDArray[np.int64]

_THINNING: Final = 6
"""Ratio of the releases' frame rates, 30 and 5 frames per second."""
_OPTIONS: Final = ("subset", "hands", "fps", "filtered", "parts")
_log = logging.getLogger(__name__)


class InterHand:
    """The pictures of one split, in the order of the annotation file.

    Images without a usable box are left out, with a warning when the data set is opened. The index is built when the
    split is first opened (`unclasp data index` shows the progress); all processes share its memory pages.

    Args:
        root: Folder with `annotations` and `images`.
        split: train, val or test.
        subset: `human` (the publication's H) or `machine` (M): in v1.0 by the lists of annotation ids
            aid_human_annot_SPLIT.txt and aid_machine_annot_SPLIT.txt, in the older layout by its folders. All of val
            is M. Nothing else tells the subsets apart, in particular not the captures. H and M overlap, so M is not
            the complement of H.
        hands: Only pictures of one hand, or only of two, by the annotated `hand_type`.
        fps: 5 thins the 30 frames per second release: of each sequence, it selects the frames whose numbers differ
            from the first one's by a multiple of six steps. A step is the smallest one within the capture (1 or 3, by
            the recording's own clock; 6 or 18 at 5 frames per second). None selects all frames.
        filtered: Use the set that IntagHand introduced, and that DIR and the dagger rows of the paper's tables use: two
            hands, `hand_type_valid`, a MANO fit for both, and a mean pixel of at least 10. This requires decoding the
            pictures; the result is stored beside the index.
        parts: Source of the part masks, see `part_masks.open_part_masks`.

    Raises:
        DataError: A file is missing or damaged, or does not contain what the options require.
        UnclaspError: `subset` or `hands` is none of these.
    """

    def __init__(
        self, root: Path | str, split: str = "train", *, subset: Subset = "all", hands: Hands = "all",
        fps: int | None = None, filtered: bool = False, parts: str | None = None,
    ) -> None:  # fmt: skip
        check_choice("hands", hands, get_args(Hands))
        self.root, self.split = Path(root), split
        self.layout = find_layout(self.root, split, subset)
        self.index = open_index(self.layout)
        usable = (self._column("flags") & USABLE) > 0
        _warn_about_faults(self.index, self.layout.folder)
        chosen = usable & self._of_subset(subset) & self._of_hands(hands)
        if fps is not None:
            chosen &= thinned(self.index, fps)
        if filtered:
            chosen &= filtered_rows(self.index, self.layout)
        self._rows: Rows | None = None if chosen.all() else np.flatnonzero(chosen)
        self._parts = open_part_masks(self.root, split, parts)
        frames = "all frames" if fps is None else f"thinned to {fps} frames per second"
        self._choices = f"subset {subset}, hands {hands}, {frames}{', filtered' if filtered else ''}"

    @classmethod
    def named(cls, name: str, *, default_split: str | None) -> Self:
        """Open `ROOT[:SPLIT][,subset=human][,hands=interacting][,fps=5][,filtered][,parts=none]`.

        Without a split, `default_split` is opened, or the only split that exists.
        """
        name, texts = split_options(name, _OPTIONS)
        options: dict[str, Any] = {key: _option(key, text) for key, text in texts.items()}
        root, separator, split = name.rpartition(":")
        if separator and (split in ("train", "val", "test") or split in splits_in(Path(root))):
            return cls(root, split, **options)
        if separator and not Path(name).exists() and (known := splits_in(Path(root))):
            raise DataError(f"{root} has no split {split!r}, only {', '.join(known)}")
        return cls(name, _split_of(Path(name), default_split), **options)

    def __len__(self) -> int:
        return len(self.index) if self._rows is None else len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        record, row = self.record(index), self._row(index)
        width, height = self._column("size")[row].tolist()
        image = read_rgb(self.layout.images / record["name"], (width, height))
        masks = self._parts if self._has_mask(row) else None
        return Sample(**record, image=image, parts=None if masks is None else masks(record["name"], image))

    @property
    def file_names(self) -> "FileNames":
        """The pictures' names, relative to images/SPLIT, as in `Sample.name`."""
        return FileNames(self)

    @property
    def notes(self) -> dict[str, str]:
        """How the data set was read, for reports."""
        masks = "none" if self._parts is None else "published" if self._parts.published else "in this project's order"
        return {
            "images": f"{len(self)} of {len(self.index)} annotated; layout {self.layout.release}, {self._choices}",
            "part masks": masks,
        }

    @property
    def annotation_ids(self) -> Rows:
        """(N,) the annotation ids, by which other files refer to the pictures."""
        return self._column("annotation_id")[self.rows]

    @property
    def rows(self) -> Rows:
        """(N,) the samples' rows in the index."""
        return np.arange(len(self.index)) if self._rows is None else self._rows

    def record(self, index: int) -> dict[str, Any]:
        """Return the fields of a `Sample` that come from the annotations: all but the picture and its parts."""
        row = self._row(index)
        frame, camera = self._column("frame")[row], self._column("camera")[row]
        valid: Bools = np.unpackbits(self._column("valid")[row], count=NUM_JOINTS).view(np.bool_)
        joints = geometry.camera_from_world(
            self._column("world")[frame], self._column("camrot")[camera], self._column("campos")[camera]
        )
        hand_type = int(self._column("hand_type")[row])
        return {
            "joints_cam": joints.astype(np.float32),
            "valid": geometry.mask_without_root(valid),
            "focal": self._column("focal")[camera].astype(np.float32),
            "princpt": self._column("princpt")[camera].astype(np.float32),
            "box": self._column("box")[row].copy(),
            "hand_type": np.array([hand_type & 1, hand_type & 2], dtype=bool),
            "hand_type_valid": bool(self._column("flags")[row] & TYPE_VALID),
            "name": self.index.file_name(row),
        }

    def _has_mask(self, row: int) -> bool:
        """Return whether a picture's mask may be used: published ones require fits of exactly the picture's hands."""
        if self._parts is None or not (self._parts.published and self.index.has_mano):
            return self._parts is not None
        fits = self._column("frame_mano")[self._column("frame")[row]] & BOTH_HANDS
        return bool(fits == self._column("hand_type")[row])

    def _row(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must lie in [0, {len(self)}), got {index}")
        index %= len(self)
        return index if self._rows is None else int(self._rows[index])

    def _column(self, name: str) -> Array:
        return self.index.columns[name]

    def _of_subset(self, subset: Subset) -> Bools:
        everything = np.ones(len(self.index), dtype=bool)
        if subset == "all" or self.layout.release == "older" or (subset == "machine" and self.split == "val"):
            return everything
        if subset == "human" and self.split == "val":
            raise DataError("val has no human annotations; use the subset machine or all")
        if subset not in self.index.lists:
            raise DataError(
                f"{self.layout.id_list(subset)} is missing: only that list of annotation ids tells which ones are "
                f"{subset} annotations; docs/data.md says where it is to be had"
            )
        return (self._column("flags") & SUBSET_BITS[subset]) > 0

    def _of_hands(self, hands: Hands) -> Bools:
        both = self._column("hand_type") == BOTH_HANDS
        return np.ones_like(both) if hands == "all" else both if hands == "interacting" else ~both


class FileNames(Sequence[str]):
    """The names of a data set's pictures, as a lazy sequence."""

    def __init__(self, dataset: InterHand) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._dataset.index.file_name(self._dataset._row(index))


def thinned(index: Index, fps: int) -> Bools:
    """Return which images of an index are selected at `fps` frames per second; `InterHand` states the rule.

    Raises:
        DataError: `fps` is neither 5 nor 30, or is 30 for a release of 5 frames per second.
    """
    if fps not in (5, 30):
        raise DataError(f"fps must be 5 or 30, the releases that there are, got {fps}")
    frames, captures, sequences = (index.columns[name] for name in ("frame_idx", "capture", "sequence"))
    chosen = np.zeros(len(index), dtype=bool)
    for capture in np.unique(captures):
        in_capture = captures == capture
        step = frame_step(frames[in_capture], sequences[in_capture])
        if step >= _THINNING and fps == 30:
            raise DataError(
                f"capture {capture} has every {step}th frame, which is the 5 frames a second release; fps=30 needs "
                "the other one"
            )
        period = step * _THINNING if step < _THINNING and fps == 5 else 1
        first = np.full(int(sequences.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, sequences[in_capture], frames[in_capture])
        chosen[in_capture] = (frames[in_capture] - first[sequences[in_capture]]) % period == 0
    return chosen


def frame_step(frames: npt.NDArray[np.int64], sequences: npt.NDArray[np.integer]) -> int:
    """Return the smallest step between frame numbers within a sequence; 6 if no sequence has two frames."""
    order = np.lexsort((frames, sequences))
    steps, same = np.diff(frames[order]), np.diff(sequences[order]) == 0
    steps = steps[same & (steps > 0)]
    return int(steps.min()) if len(steps) else _THINNING


def _split_of(root: Path, default: str | None) -> str:
    """Return the only split of a folder; the default one if it has several, or train if it has none."""
    splits = splits_in(root)
    if len(splits) > 1 and default is None:
        raise DataError(
            f"{root} has the splits {', '.join(splits)}: say which one is meant, for example "
            f"interhand:{root}:{splits[-1]}"
        )
    if len(splits) != 1 or splits == [default]:
        return default or "train"
    if default is not None:
        _log.warning("%s has no split but %s, which is taken", root, splits[0])
    return splits[0]


def _option(key: str, value: str) -> str | int | bool:
    if key == "fps":
        if not value.isdecimal():
            raise DataError(f"fps must be 5 or 30, the releases that there are, got {value!r}")
        return int(value)
    if key == "filtered":
        if value not in ("true", "false"):
            raise DataError(f"filtered must stand by itself, or be true or false, got {value!r}")
        return value == "true"
    return value


def _warn_about_faults(index: Index, folder: Path) -> None:
    """Log images without a box and frames with joints that are not finite."""
    for kind in ("box", "joints"):
        if kind in index.problems.counts:
            _log.warning("%s: %s", folder, index.problems.line(kind))
