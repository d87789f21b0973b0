"""Data sets: map-style collections of `Sample`s, opened by name."""

from pathlib import Path
from typing import Protocol

from unclasp.batch import Sample
from unclasp.errors import DataError


class Dataset(Protocol):
    """Anything with a length whose items are samples; items must not be changed in place."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


def open_dataset(name: str) -> Dataset:
    """Open a data set by the name that the command line uses.

    Args:
        name: `synthetic:SPLIT` (train, val or test; rendered as it is read), or `interhand:ROOT[:SPLIT]` for a
            folder in InterHand2.6M's layout, the real one or one of `unclasp synth write`; train if not given.

    Raises:
        DataError: The name is not of this form, or what it names is not there.
    """
    kind, _, rest = name.partition(":")
    if kind == "synthetic":
        return _open_synthetic(rest)
    if kind == "interhand" and rest:
        from unclasp.data.interhand import InterHand

        root, separator, split = rest.rpartition(":")
        return (
            InterHand(Path(root), split) if separator and split in ("train", "val", "test") else InterHand(Path(rest))
        )
    raise DataError(f"a data set is named synthetic:SPLIT or interhand:ROOT[:SPLIT], got {name!r}")


def _open_synthetic(split: str) -> Dataset:
    try:
        from unclasp.data.synthetic import SEEDS, SIZES, Synthetic
    except ModuleNotFoundError as error:
        raise DataError(f"synthetic data needs {error.name}: pip install 'unclasp[synth]'") from error
    if split not in SEEDS:
        raise DataError(f"synthetic data has the splits {', '.join(SEEDS)}, got {split!r}")
    return Synthetic(SEEDS[split], SIZES[split])
