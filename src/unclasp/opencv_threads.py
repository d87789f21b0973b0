"""Sets how many threads OpenCV uses, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2


@contextmanager
def opencv_threads(count: int) -> Iterator[None]:
    """Let OpenCV use so many threads within the block; 0 means none besides the caller's. It holds for the process."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
