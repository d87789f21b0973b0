"""The filtered two-hand set that IntagHand introduced and DIR evaluates on.

Rule: `hand_type` is interacting, `hand_type_valid` is set, both hands have a MANO fit, and the mean over all pixels and
channels of the whole picture is at least 10. Their code also compares the hands' distance with a threshold, which is
too large to exclude anything.

The mean requires decoding every picture once, so the results are stored in SPLIT.brightness beside the index.
"""

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from unclasp.arrays import Bools, Pixels
from unclasp.data.annotations import TYPE_VALID, USABLE
from unclasp.data.container import open_arrays, verify_arrays, write_arrays
from unclasp.data.index import Index
from unclasp.data.layout import Layout
from unclasp.data.pictures import read_rgb
from unclasp.data.progress import Progress
from unclasp.data.tables import BOTH_HANDS
from unclasp.errors import DataError

MIN_MEAN_PIXEL: Final = 10.0
"""Pictures whose mean pixel value (0-255) is below this count as black."""
UNKNOWN, BRIGHT, DARK, UNREADABLE = range(4)
"""Brightness state of a picture."""
_CHUNK: Final = 1024
"""Number of pictures decoded between two progress calls."""
_log = logging.getLogger(__name__)


def filtered_rows(index: Index, layout: Layout, progress: Progress | None = None) -> Bools:
    """Return which images of an index are in the filtered set; unreadable pictures are left out.

    Raises:
        DataError: There are no MANO fits, or not a single picture can be read.
    """
    candidates = filtered_candidates(index, layout)
    path = index.path.with_suffix(".brightness")
    states = _known_states(path, index)
    undecided = np.flatnonzero(candidates & ((states == UNKNOWN) | (states == UNREADABLE)))
    if len(undecided):
        if progress is None and len(undecided) > 10 * _CHUNK:
            _log.warning("looking for black pictures among %d, once", len(undecided))
        try:
            for start in range(0, len(undecided), _CHUNK):
                rows = undecided[start : start + _CHUNK]
                states[rows] = brightness(layout.images / index.file_name(row) for row in rows)
                if progress is not None:
                    progress(start + len(rows), len(undecided))
        finally:  # so that an interrupted run resumes where it stopped
            _store(path, states, index)
    unreadable = int((candidates & (states == UNREADABLE)).sum())
    if unreadable:
        if unreadable == candidates.sum():
            raise DataError(f"{layout.images} holds none of the {unreadable} pictures that the filter has to look at")
        _log.warning("%s: %d pictures cannot be read and are left out of the filtered set", layout.images, unreadable)
    return np.asarray(candidates & (states == BRIGHT))


def filtered_candidates(index: Index, layout: Layout) -> Bools:
    """Return which images meet the conditions on the annotations: all of the rule but the brightness.

    Raises:
        DataError: There are no MANO fits.
    """
    if not index.has_mano:
        raise DataError(
            f"{layout.mano} is missing; the filtered set is made of the pictures with MANO fits of both hands"
        )
    columns = index.columns
    wanted = TYPE_VALID | USABLE
    # Images without a frame (row -1) are not usable, so the fits looked up for them do not matter.
    both_fits = (columns["frame_mano"][columns["frame"]] & BOTH_HANDS) == BOTH_HANDS
    certain = (columns["flags"] & wanted) == wanted
    return np.asarray((columns["hand_type"] == BOTH_HANDS) & certain & both_fits)


def brightness(paths: Iterable[Path]) -> list[int]:
    """Return BRIGHT, DARK or UNREADABLE for each picture; decodes in several threads."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_brightness, paths))


def is_dark(image: Pixels) -> bool:
    """Return whether a picture (H, W, 3) is as good as black."""
    return bool(image.mean() < MIN_MEAN_PIXEL)


def _brightness(path: Path) -> int:
    try:
        return DARK if is_dark(read_rgb(path)) else BRIGHT
    except DataError:
        return UNREADABLE


def _known_states(path: Path, index: Index) -> Pixels:
    """Return the states stored by an earlier run on the same index; UNKNOWN for all images if there are none."""
    unknown = np.zeros(len(index), dtype=np.uint8)
    try:
        verify_arrays(path)  # a byte per image: a damaged one would choose other pictures
        arrays, note = open_arrays(path)
    except DataError:
        return unknown
    states: Pixels | None = arrays.get("states")
    if states is None or states.dtype != np.uint8 or states.shape != unknown.shape or states.max() > UNREADABLE:
        return unknown
    return states.copy() if note == {"sources": index.sources} else unknown


def _store(path: Path, states: Pixels, index: Index) -> None:
    try:
        write_arrays(path, {"states": states}, {"sources": index.sources})
    except OSError as error:
        _log.warning("%s cannot be written (%s); the pictures will be read again", path, error.strerror or error)
