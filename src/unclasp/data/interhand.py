"""InterHand2.6M as samples, in the layouts of `layout` and through the mapped index of `index`.

Joints are world coordinates in mm, cameras are `rotation @ (world - position)`, boxes are (x, y, width,
height), and joints that were not annotated hold the placeholder (1, 1, 1).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, overload

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import BoolArray, Sample
from unclasp.data.annotations import HUMAN, MACHINE, TYPE_VALID, USABLE
from unclasp.data.filtered import filtered_rows
from unclasp.data.index import Index, open_index
from unclasp.data.layout import Subset, find_layout
from unclasp.data.part_masks import open_part_masks
from unclasp.data.pictures import read_rgb
from unclasp.errors import DataError
from unclasp.hands import NUM_JOINTS

Hands = Literal["all", "single", "interacting"]
Rows = npt.NDArray[np.int64]

_BOTH: Final = 3
"""Column `hand_type` of pictures of two hands."""
_THINNING: Final = 6
"""From 30 frames a second to 5."""
_log = logging.getLogger(__name__)


class InterHand:
    """The pictures of one split, in the order of the annotation file.

    Images without a usable box are left out, which is told when the data set is opened. The index is made at the
    first opening (`unclasp data index` shows how far it is); all processes share its pages.

    Args:
        root: Folder with `annotations` and `images`.
        split: train, val or test.
        subset: `human` (the publication's H) or `machine` (M): in v1.0 by the lists of annotation ids
            aid_human_annot_SPLIT.txt and aid_machine_annot_SPLIT.txt, in the older layout by its folders. All of val
            is M. Nothing else tells them apart, least of all the captures, and as H and M overlap, M is not what H
            leaves.
        hands: Only pictures of one hand, or of two, by the annotated `hand_type`.
        fps: Thin a 30 frames a second release to 5: of each sequence, the frames whose number is a multiple of six
            steps away from the first one's. A step is the smallest one within the capture (1 or 3, by the recording's
            own clock; 6 or 18 at 5 frames a second). None: all frames there are.
        filtered: The set that IntagHand introduced and DIR and the dagger rows of the paper's tables use: two hands,
            `hand_type_valid`, a MANO fit for both, and a mean pixel of at least 10. The pictures have to be read for
            that; the outcome is kept beside the index.
        parts: Where the part masks are: see `part_masks.open_part_masks`.

    Raises:
        DataError: A file is missing or damaged, or does not have what is asked for.
    """

    def __init__(
        self, root: Path | str, split: str = "train", *, subset: Subset = "all", hands: Hands = "all",
        fps: int | None = None, filtered: bool = False, parts: str | None = None,
    ) -> None:  # fmt: skip
        if hands not in get_args(Hands):
            raise DataError(f"hands must be one of {', '.join(get_args(Hands))}, got {hands!r}")
        self.root, self.split = Path(root), split
        self.layout = find_layout(self.root, split, subset)
        self.index = open_index(self.layout)
        usable = (self._column("flags") & USABLE) > 0
        _tell_left_out(self.index, self.layout.folder)
        chosen = usable & self._of_subset(subset) & self._of_hands(hands)
        if fps is not None:
            chosen &= thinned(self.index, fps)
        if filtered:
            chosen &= filtered_rows(self.index, self.layout)
        self._rows: Rows | None = None if chosen.all() else np.flatnonzero(chosen)
        self._parts = open_part_masks(self.root, split, parts)

    def __len__(self) -> int:
        return len(self.index) if self._rows is None else len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        record = self.record(index)
        image = read_rgb(self.layout.images / record["name"])
        masks = self._parts if self._has_mask(self._row(index)) else None
        return Sample(**record, image=image, parts=None if masks is None else masks(record["name"], image))

    @property
    def file_names(self) -> "FileNames":
        """The pictures' names, relative to images/SPLIT, as in `Sample.name`."""
        return FileNames(self)

    @property
    def annotation_ids(self) -> Rows:
        """(N,) the annotations' ids, by which other files refer to the pictures."""
        return self._column("annotation_id")[self.rows]

    @property
    def rows(self) -> Rows:
        """(N,) the rows of the index."""
        return np.arange(len(self.index)) if self._rows is None else self._rows

    def record(self, index: int) -> dict[str, Any]:
        """Return the fields of a `Sample` that come from the annotations: all but the picture and its parts."""
        row = self._row(index)
        frame, camera = self._column("frame")[row], self._column("camera")[row]
        valid: BoolArray = np.unpackbits(self._column("valid")[row], count=NUM_JOINTS).view(np.bool_)
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
        """Tell whether the mask of a picture, if there is one, is to be used."""
        if self._parts is None or not (self._parts.published and self.index.has_mano):
            return self._parts is not None
        fits = self._column("frame_mano")[self._column("frame")[row]] & _BOTH
        return bool(fits == self._column("hand_type")[row])

    def _row(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must lie in [0, {len(self)}), got {index}")
        index %= len(self)
        return index if self._rows is None else int(self._rows[index])

    def _column(self, name: str) -> npt.NDArray[Any]:
        return self.index.columns[name]

    def _of_subset(self, subset: Subset) -> npt.NDArray[np.bool_]:
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
        return (self._column("flags") & (HUMAN if subset == "human" else MACHINE)) > 0

    def _of_hands(self, hands: Hands) -> npt.NDArray[np.bool_]:
        both = self._column("hand_type") == _BOTH
        return np.ones_like(both) if hands == "all" else both if hands == "interacting" else ~both


class FileNames(Sequence[str]):
    """The names of a data set's pictures, made when they are asked for."""

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


def thinned(index: Index, fps: int) -> npt.NDArray[np.bool_]:
    """Tell which images of an index belong to its thinning to `fps` frames a second (rule: see `InterHand`)."""
    if fps not in (5, 30):
        raise DataError(f"fps must be 5 or 30, the releases that there are, got {fps}")
    frames, captures, sequences = (index.columns[name] for name in ("frame_idx", "capture", "sequence"))
    chosen = np.zeros(len(index), dtype=bool)
    for capture in np.unique(captures):
        of_capture = captures == capture
        step = frame_step(frames[of_capture], sequences[of_capture])
        if step >= _THINNING and fps == 30:
            raise DataError(
                f"capture {capture} has every {step}th frame, which is the 5 frames a second release; fps=30 needs "
                "the other one"
            )
        every = step * _THINNING if step < _THINNING and fps == 5 else 1
        first = np.full(int(sequences.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, sequences[of_capture], frames[of_capture])
        chosen[of_capture] = (frames[of_capture] - first[sequences[of_capture]]) % every == 0
    return chosen


def frame_step(frames: npt.NDArray[np.int64], sequences: npt.NDArray[np.integer]) -> int:
    """Return the smallest step between the frames of any one sequence; 6 where no sequence has two frames."""
    order = np.lexsort((frames, sequences))
    steps, same = np.diff(frames[order]), np.diff(sequences[order]) == 0
    steps = steps[same & (steps > 0)]
    return int(steps.min()) if len(steps) else _THINNING


def _tell_left_out(index: Index, folder: Path) -> None:
    for kind in ("box", "joints"):
        if kind in index.problems.counts:
            _log.warning("%s: %s", folder, index.problems.line(kind))
