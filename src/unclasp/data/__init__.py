"""Data sets: map-style collections of `Sample`s, opened by name."""

from typing import Protocol

from unclasp.batch import Sample
from unclasp.errors import DataError, renderer_missing


class Dataset(Protocol):
    """Anything with a length whose items are samples; items must not be changed in place."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


def open_dataset(name: str, *, default_split: str | None = "train") -> Dataset:
    """Open a data set by its command-line name.

    Args:
        name: `synthetic:SPLIT` (train, val or test; rendered on the fly), or `interhand:ROOT[:SPLIT]` for a folder in
            InterHand2.6M's layout: the original, or the output of `unclasp synth write`. Without a split,
            `default_split` is opened, or the only split that exists. Options of `InterHand` may follow:
            interhand:ROOT:test,subset=human,hands=interacting,fps=5,filtered,parts=none. `hic:ROOT` and
            `rgb2hands:ROOT` are for evaluation and take the options of `HIC` and `RGB2Hands`.
        default_split: The split of a folder that has several; None if the name must say which one.

    Raises:
        DataError: The name does not have this form, or the data set does not exist.
        UnclaspError: An option has none of its possible values. (A `DataError` is an `UnclaspError`, too.)
    """
    kind, _, rest = name.partition(":")
    if kind == "synthetic":
        return _open_synthetic(rest)
    if kind == "interhand" and rest:
        from unclasp.data.interhand import InterHand

        return InterHand.named(rest, default_split=default_split)
    if kind == "hic" and rest:
        from unclasp.data.hic import HIC

        return HIC.named(rest)
    if kind == "rgb2hands" and rest:
        from unclasp.data.rgb2hands import RGB2Hands

        return RGB2Hands.named(rest)
    raise DataError(
        f"a data set is named synthetic:SPLIT, interhand:ROOT[:SPLIT], hic:ROOT or rgb2hands:ROOT, got {name!r}"
    )


def _open_synthetic(split: str) -> Dataset:
    try:
        from unclasp.data.synthetic import SEEDS, SIZES, Synthetic
    except ImportError as error:
        raise DataError(renderer_missing("synthetic data", error)) from error
    if split not in SEEDS:
        raise DataError(f"synthetic data has the splits {', '.join(SEEDS)}, got {split!r}")
    return Synthetic(SEEDS[split], SIZES[split])
