"""How long the finder takes for a picture, in each engine."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median

import cv2
import numpy as np

from unclasp.errors import UnclaspError
from unclasp.find.finder import letterbox
from unclasp.find.finder_engine import SIZE, open_finder


def finder_speed(*, width: int, height: int, repeats: int, threads: int) -> str:
    """Time the square, the network and the whole search on noise of width x height px; a line per engine.

    ONNX Runtime is opened as beside an exported model (`spin=True`); beside a torch model, whose threads wait busily
    themselves, predictions open it without and it takes longer.
    """
    if min(width, height, repeats, threads) < 1:
        raise UnclaspError("width, height, repeats and threads must be at least 1")
    spots = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(spots, (width, height)), dtype=np.uint8)
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    lines = [f"finder at {SIZE}x{SIZE} on a picture of {width}x{height}, {threads} threads, medians of {repeats}"]
    try:
        square = letterbox(picture, SIZE).image
        lines.append(f"  {'square':22}{_milliseconds(lambda: letterbox(picture, SIZE), repeats):8.2f} ms")
        for engine in ("any", "opencv") if find_spec("onnxruntime") else ("opencv",):
            finder = open_finder(engine=engine, threads=threads, spin=True)
            name = "OpenCV" if engine == "opencv" else "ONNX Runtime"
            network, together = (
                _milliseconds(lambda: finder.engine(square), repeats),  # noqa: B023  called at once
                _milliseconds(lambda: finder(picture), repeats),  # noqa: B023
            )
            lines.append(f"  {name:14}network {network:8.2f} ms   together {together:8.2f} ms")
    finally:
        cv2.setNumThreads(before)
    return "\n".join(lines)


def _milliseconds(call: Callable[[], object], repeats: int) -> float:
    times = []
    for repeat in range(-3, repeats):
        start = time.perf_counter()
        call()
        if repeat >= 0:
            times.append(1e3 * (time.perf_counter() - start))
    return median(times)
