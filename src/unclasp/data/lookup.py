"""What a data set can tell of its samples from its annotations: few or no pictures are decoded for it.

A data set may have, beside what `Dataset` asks for: `file_names`, the names of its samples in their order;
`annotation_ids`, the integers by which its annotation files number them; `record(index)`, the fields of a `Sample` but
for `image` and `parts`; `notes`, how it was read, for reports. All of them are optional.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from unclasp.batch import Sample
from unclasp.data import Dataset


def names_of(dataset: Dataset) -> Sequence[str]:
    """Return the name of every sample, in the data set's order; without `file_names`, every sample is read for it."""
    names = getattr(dataset, "file_names", None)
    if names is not None:
        return [str(name) for name in names]
    return [dataset[index].name for index in range(len(dataset))]


def annotation_ids_of(dataset: Dataset) -> npt.NDArray[np.int64] | None:
    """Return the number of every sample's annotation (N,), or None if the data set does not number them."""
    ids = getattr(dataset, "annotation_ids", None)
    return None if ids is None else np.asarray(ids, dtype=np.int64)


def annotated(dataset: Dataset, index: int) -> Sample:
    """Return a sample for its annotations; its picture may be a single blank pixel."""
    record = getattr(dataset, "record", None)
    if record is None:
        return dataset[index]
    return Sample(**record(index), image=np.zeros((1, 1, 3), dtype=np.uint8), parts=None)


def notes_of(dataset: Dataset) -> dict[str, str]:
    """Return how the data set was read, in words, for the report."""
    notes: Mapping[str, str] = getattr(dataset, "notes", None) or {}
    return dict(notes)
