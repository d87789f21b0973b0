"""RootNet's boxes and wrist depths, as InterHand2.6M's authors distribute them for its val and test sets.

The file is a JSON list with one entry per annotation: `annot_id`, `bbox` (x, y, width, height) px, `abs_depth` (right,
left) mm. The boxes are already square and expanded and must not be expanded again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Doubles
from unclasp.data import Dataset
from unclasp.data.json_file import MISFITS, parse_json
from unclasp.data.lookup import annotation_ids_of, names_of
from unclasp.errors import DataError

_LARGEST: Final = 1e9
"""Numbers must be smaller than this."""


class Rows(Mapping[str, Doubles]):
    """Rows of an array by name, at a fraction of the memory of a dict of small arrays."""

    def __init__(self, rows: Mapping[str, int], array: Doubles) -> None:
        self._rows, self._array = rows, array

    def __getitem__(self, name: str) -> Doubles:
        return np.asarray(self._array[self._rows[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@dataclass(frozen=True, kw_only=True)
class RootNet:
    """The contents of the file, by the names of a data set's samples."""

    boxes: Rows
    """(4,) x1, y1, x2, y2 px, already expanded."""
    root_depths: Rows
    """(2,) mm, absolute depth of the right and of the left wrist."""


def read_rootnet(path: Path | str, dataset: Dataset) -> RootNet:
    """Read RootNet's file for a data set.

    Args:
        path: `rootnet_interhand2.6m_output_SPLIT.json`, or the older `…_all_test.json`.
        dataset: A data set with annotation ids.

    Raises:
        DataError: The file is missing or damaged, lacks annotations of the data set, or the data set has no annotation
            ids.
    """
    ids = annotation_ids_of(dataset)
    if ids is None:
        raise DataError(f"{path} goes by annotation ids, which this data set does not have; use InterHand2.6M")
    known, boxes, depths = _read(Path(path))
    row_of_id = {int(number): row for row, number in enumerate(known)}
    if len(row_of_id) != len(known):
        numbers, counts = np.unique(known, return_counts=True)
        raise DataError(f"{path} has annotation {numbers[counts > 1][0]} more than once; fetch it again")
    missing = [int(number) for number in ids if int(number) not in row_of_id]
    if missing:
        examples = ", ".join(str(number) for number in missing[:5])
        raise DataError(
            f"{path} lacks {len(missing)} of the {len(ids)} annotations of this data set, the first ones {examples}; "
            "take the file of the same split and release"
        )
    rows = {name: row_of_id[int(number)] for name, number in zip(names_of(dataset), ids, strict=True)}
    return RootNet(boxes=Rows(rows, boxes), root_depths=Rows(rows, depths))


def _read(path: Path) -> tuple[npt.NDArray[np.int64], Doubles, Doubles]:
    try:
        entries = parse_json(path.read_bytes(), path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); RootNet's files are a download of their own"
        ) from error
    try:
        ids = np.array([int(entry["annot_id"]) for entry in entries], dtype=np.int64)
        boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
        depths = np.array([entry["abs_depth"] for entry in entries], dtype=np.float64).reshape(-1, 2)
    except MISFITS as error:
        raise DataError(
            f"{path} must be a list of annot_id, bbox (4 numbers) and abs_depth (2 numbers) "
            f"({type(error).__name__}: {error}); fetch it again"
        ) from error
    bounded = [(np.abs(values) < _LARGEST).all(axis=1) for values in (boxes, depths)]
    malformed = ~(bounded[0] & bounded[1] & (boxes[:, 2:] > 0).all(axis=1))
    if len(ids) != len(boxes) or len(ids) != len(depths) or malformed.any():
        where = f"annotation {ids[malformed][0]}" if malformed.any() else "some entries"
        raise DataError(
            f"{path}: {where} must have a box of 4 numbers with an area and 2 finite depths; fetch it again"
        )
    return ids, np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), depths
