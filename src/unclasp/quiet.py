"""Suppresses what OpenCV and its FFmpeg print, which only repeats our errors.

Both are settings of the whole process: threads that overlap share one change, and the last to leave takes it back.
FFmpeg, however, reads its level once, when OpenCV first uses it: if that is here, it stays quiet in this process.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Lock
from typing import Any, Final

import cv2

_LOGGING: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has these functions in cv2 itself
_FFMPEG_LEVEL: Final = "OPENCV_FFMPEG_LOGLEVEL"


class _Shared:
    """A change that is made when the first thread enters it, and taken back when the last one leaves.

    Overlapping threads that each made it would take it back in the wrong order.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._change = change
        self._lock, self._users, self._made = Lock(), 0, ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._made.enter_context(self._change())
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._made.close()


@contextmanager
def _opencv_quiet() -> Iterator[None]:
    before = _LOGGING.getLogLevel()
    _LOGGING.setLogLevel(0)
    try:
        yield
    finally:
        _LOGGING.setLogLevel(before)


@contextmanager
def _ffmpeg_quiet() -> Iterator[None]:
    is_unset = _FFMPEG_LEVEL not in os.environ
    os.environ.setdefault(_FFMPEG_LEVEL, "-8")
    try:
        with quiet_opencv():
            yield
    finally:
        if is_unset:
            os.environ.pop(_FFMPEG_LEVEL, None)


quiet_opencv: Final = _Shared(_opencv_quiet)
"""`with quiet_opencv():` suppresses OpenCV's log messages."""
quiet_ffmpeg: Final = _Shared(_ffmpeg_quiet)
"""`with quiet_ffmpeg():` suppresses those of OpenCV and of its FFmpeg, which reads its log level when it is first used;
a level that the environment sets is kept."""
