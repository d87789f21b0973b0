"""Data sets: map-style collections of `Sample`s, opened by name."""

import logging
from pathlib import Path
from typing import Any, Protocol

from unclasp.batch import Sample
from unclasp.errors import DataError

_log = logging.getLogger(__name__)
_OPTIONS = ("subset", "hands", "fps", "filtered", "parts")


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
        from unclasp.data.layout import splits_in

        rest, options = _options(rest)
        root, separator, split = rest.rpartition(":")
        if separator and (split in ("train", "val", "test") or split in splits_in(Path(root))):
            return InterHand(Path(root), split, **options)
        return InterHand(Path(rest), _split_of(Path(rest), default_split), **options)
    if kind == "hic" and rest:
        from unclasp.data.hic import HIC

        return HIC.named(rest)
    if kind == "rgb2hands" and rest:
        from unclasp.data.rgb2hands import RGB2Hands

        return RGB2Hands.named(rest)
    raise DataError(
        f"a data set is named synthetic:SPLIT, interhand:ROOT[:SPLIT], hic:ROOT or rgb2hands:ROOT, got {name!r}"
    )


def _split_of(root: Path, default: str | None) -> str:
    """Return the only split of a folder; the default one if it has several, or train if it has none."""
    from unclasp.data.layout import splits_in

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


def _options(name: str) -> tuple[str, dict[str, Any]]:
    """Split the options of `InterHand` off the end of a name; the folder itself may contain commas."""
    options: dict[str, Any] = {}
    while True:
        rest, comma, option = name.rpartition(",")
        key, equals, value = option.partition("=")
        if not comma or key not in _OPTIONS:
            break
        if key in options:
            raise DataError(f"the option {key} of the data set comes twice")
        options[key] = _option(key, value if equals else "true")
        name = rest
    folder = name if ":" not in option else name.rpartition(":")[0]  # the remaining name may still end with the split
    if comma and equals and not Path(folder).is_dir():
        raise DataError(f"the option {key} of the data set is unknown; there are {', '.join(_OPTIONS)}")
    return name, options


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


def _open_synthetic(split: str) -> Dataset:
    try:
        from unclasp.data.synthetic import SEEDS, SIZES, Synthetic
    except ImportError as error:  # also if numba does not support the installed NumPy
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
        raise DataError(
            f"synthetic data needs {error.name or 'numba'}{reason}: pip install 'unclasp[synth]'"
        ) from error
    if split not in SEEDS:
        raise DataError(f"synthetic data has the splits {', '.join(SEEDS)}, got {split!r}")
    return Synthetic(SEEDS[split], SIZES[split])
