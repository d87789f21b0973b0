"""The filtered two-hand set that IntagHand introduced and DIR evaluates on.

Its rule: `hand_type` is interacting, `hand_type_valid`, a MANO fit for both hands, and the mean over all pixels and
channels of the whole picture is at least 10. Their code also compares the hands' distance with a threshold, which is
too large to leave anything out.

The mean needs every picture to be decoded once, so what was found is kept in SPLIT.brightness beside the index.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from unclasp.data.annotations import TYPE_VALID, USABLE
from unclasp.data.container import open_arrays, write_arrays
from unclasp.data.index import Index
from unclasp.data.layout import Layout
from unclasp.data.pictures import read_rgb
from unclasp.errors import DataError

DARKEST: Final = 10.0
"""Pictures with a smaller mean pixel (0-255) are black."""
UNKNOWN, BRIGHT, DARK, UNREADABLE = range(4)
"""What is known about a picture."""
_PIECE: Final = 1024
_log = logging.getLogger(__name__)

States = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]


def filtered_rows(index: Index, layout: Layout, progress: Progress | None = None) -> npt.NDArray[np.bool_]:
    """Tell which images of an index are in the filtered set; pictures that cannot be read are not.

    Raises:
        DataError: There are no MANO fits, or not a single picture can be read.
    """
    candidates = filtered_candidates(index, layout)
    path = index.path.with_suffix(".brightness")
    states = _known_states(path, index)
    open_ones = np.flatnonzero(candidates & ((states == UNKNOWN) | (states == UNREADABLE)))
    if len(open_ones):
        if progress is None and len(open_ones) > 10 * _PIECE:
            _log.warning("looking for black pictures among %d, once", len(open_ones))
        try:
            for start in range(0, len(open_ones), _PIECE):
                rows = open_ones[start : start + _PIECE]
                states[rows] = brightness(layout.images / index.file_name(row) for row in rows)
                if progress is not None:
                    progress(start + len(rows), len(open_ones))
        finally:  # an interrupted search goes on where it stopped
            _keep(path, states, index)
    unreadable = int((candidates & (states == UNREADABLE)).sum())
    if unreadable:
        if unreadable == candidates.sum():
            raise DataError(f"{layout.images} holds none of the {unreadable} pictures that the filter has to look at")
        _log.warning("%s: %d pictures cannot be read and are left out of the filtered set", layout.images, unreadable)
    return np.asarray(candidates & (states == BRIGHT))


def filtered_candidates(index: Index, layout: Layout) -> npt.NDArray[np.bool_]:
    """Tell which images fulfil what the annotations alone decide."""
    if not index.has_mano:
        raise DataError(
            f"{layout.mano} is missing; the filtered set is made of the pictures with MANO fits of both hands"
        )
    columns = index.columns
    wanted = TYPE_VALID | USABLE
    # An image without a frame is not usable, so that its row -1 does not count.
    both_fits = (columns["frame_mano"][columns["frame"]] & 3) == 3
    certain = (columns["flags"] & wanted) == wanted
    return np.asarray((columns["hand_type"] == 3) & certain & both_fits)


def brightness(paths: Iterable[Path]) -> list[int]:
    """Return for each picture whether it is BRIGHT, DARK or UNREADABLE; decodes on several cores."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_brightness, paths))


def _brightness(path: Path) -> int:
    try:
        return BRIGHT if read_rgb(path).mean() >= DARKEST else DARK
    except DataError:
        return UNREADABLE


def _known_states(path: Path, index: Index) -> States:
    """Return what an earlier run has found out about the images of this very index."""
    try:
        arrays, note = open_arrays(path)
    except DataError:
        return np.zeros(len(index), dtype=np.uint8)
    known: dict[str, Any] = note
    states: States = arrays["states"]
    return states.copy() if known.get("sources") == index.sources else np.zeros(len(index), dtype=np.uint8)


def _keep(path: Path, states: States, index: Index) -> None:
    try:
        write_arrays(path, {"states": states}, {"sources": index.sources})
    except OSError as error:
        _log.warning("%s cannot be written (%s); the pictures will be read again", path, error.strerror or error)
