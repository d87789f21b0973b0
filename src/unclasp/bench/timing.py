"""Timing of calls that take turns."""

import time
from collections.abc import Callable, Sequence

Run = Callable[[], object]


def interleaved(runs: Sequence[Run], repeats: int, *, warm_up: int = 3) -> list[list[float]]:
    """Return the seconds per repeat of several calls, which are run in turn."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(-warm_up, repeats):
        for run, seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            if repeat >= 0:
                seconds.append(time.perf_counter() - start)
    return times
