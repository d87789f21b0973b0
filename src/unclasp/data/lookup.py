"""Access to names, ids and annotations of a data set's samples, without decoding pictures where possible.

Beyond `Dataset`, a data set may have: `file_names`, the names of its samples in order; `annotation_ids`, the integer
ids of its annotations; `split`, the part of it that is read; `record(index)`, the fields of a `Sample` except `image`
and `parts`; `notes`, how it was read, for reports; `recipe`, a text that with the length determines all of its samples.
All of them are optional.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.batch import Sample
from unclasp.data import Dataset

_NAMES_COMPARED: Final = 10_000


def names_of(dataset: Dataset) -> Sequence[str]:
    """Return the names of all samples in order; if the data set has no `file_names`, this reads every sample."""
    names = getattr(dataset, "file_names", None)
    if names is not None:
        return [str(name) for name in names]
    return [dataset[index].name for index in range(len(dataset))]


def annotation_ids_of(dataset: Dataset) -> npt.NDArray[np.int64] | None:
    """Return the annotation id of every sample (N,), or None if the data set has no ids."""
    ids = getattr(dataset, "annotation_ids", None)
    return None if ids is None else np.asarray(ids, dtype=np.int64)


def annotated(dataset: Dataset, index: int) -> Sample:
    """Return a sample for its annotations only; its picture may be a single blank pixel, without parts."""
    record = getattr(dataset, "record", None)
    if record is None:
        return dataset[index]
    return Sample(**record(index), image=np.zeros((1, 1, 3), dtype=np.uint8), parts=None)


def notes_of(dataset: Dataset) -> dict[str, str]:
    """Return the data set's split and its notes on how it was read, for the report."""
    notes: Mapping[str, str] = getattr(dataset, "notes", None) or {}
    split = getattr(dataset, "split", None)
    return dict(notes) if split is None else {"split": str(split), **notes}


def fingerprint_of(dataset: Dataset) -> str:
    """Return a hash by which a data set is recognised: of its size, its split and its recipe or the samples' names.

    Of a large data set, 10,000 names are taken, evenly spread; without `file_names`, none. Part masks count, too.
    """
    count, recipe = len(dataset), getattr(dataset, "recipe", None)
    names = getattr(dataset, "file_names", ()) if recipe is None else [recipe]
    rows = np.linspace(0, len(names) - 1, min(len(names), _NAMES_COMPARED)).astype(int).tolist()
    masks = notes_of(dataset).get("part masks", "none")
    facts = [str(count), str(getattr(dataset, "split", "")), *(str(names[row]) for row in rows)]
    facts += [] if masks == "none" else [masks]
    return hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()
