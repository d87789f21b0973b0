"""Benchmark of the hand finder."""

from statistics import median

import cv2
import numpy as np

from unclasp.bench.timing import Run, interleaved
from unclasp.errors import check_at_least
from unclasp.find.finder import SIZE, open_finder
from unclasp.find.letterbox import letterbox
from unclasp.opencv_threads import opencv_threads


def finder_speed(*, width: int, height: int, repeats: int, threads: int) -> str:
    """Time letterboxing, the network and the whole search on a noise picture.

    The network is opened as it is for an exported model (`spin=True`). For a torch model, whose own threads spin,
    predictions open it with `spin=False`, which is slower.

    Args:
        width: Width of the picture in px.
        height: Height of the picture in px.
        repeats: Number of calls to time.
        threads: Number of cores to use.
    """
    check_at_least(1, width=width, height=height, repeats=repeats, threads=threads)
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(noise, (width, height)), dtype=np.uint8)
    lines = [f"finder at {SIZE}x{SIZE} on a picture of {width}x{height}, {threads} threads, medians of {repeats}"]
    with opencv_threads(threads):
        square = letterbox(picture, SIZE).image
        lines.append(f"  {'square':22}{_milliseconds(lambda: letterbox(picture, SIZE), repeats):8.2f} ms")
        finder = open_finder(threads=threads, spin=True)
        lines.append(f"  {'network':22}{_milliseconds(lambda: finder.maps(square), repeats):8.2f} ms")
        lines.append(f"  {'together':22}{_milliseconds(lambda: finder(picture), repeats):8.2f} ms")
    return "\n".join(lines)


def _milliseconds(call: Run, repeats: int) -> float:
    """Return the median duration of a call in ms."""
    (seconds,) = interleaved([call], repeats)
    return 1e3 * median(seconds)
