"""Reads video files and cameras as RGB frames with times.

OpenCV decodes. Its console output is suppressed; problems are raised as `VideoError`.
"""

import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self, cast

import cv2
import numpy as np

from unclasp.arrays import Pixels
from unclasp.containers import is_complete
from unclasp.errors import VideoError, advice_on_missing, check_whole
from unclasp.quiet import quiet_ffmpeg

_logger = logging.getLogger(__name__)

USUAL_RATE: Final = 30.0
"""Frames per second, assumed if the source does not say."""
_MAX_TRUSTED_RATE: Final = 990.0
"""Highest rate that is trusted, frames per second: some containers store none, and OpenCV then returns their clock
rate."""
COMPLETE_SHARE: Final = 0.95
"""Share of the announced frames, or of their duration, from which a file counts as complete. One with fewer may be
complete, too, which only its structure tells (`containers`)."""
_MAX_OBLONG: Final = 0.01
"""Share by which pixels may be wider or narrower than high without a warning."""
_MAX_STEP_BACK: Final = 1.0
"""Seconds: a clock that goes back by more has started again, as where recordings were joined."""


def path_for_opencv(path: Path) -> str:
    """Return a file's path as OpenCV opens it.

    It is absolute, as FFmpeg takes text before a colon for a protocol otherwise. A name that is not UTF-8 would end the
    process; as bytes, which the type stubs do not know, it is opened.
    """
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError:
        return cast("str", os.fsencode(name))
    return name


class Frame(NamedTuple):
    """One frame of a video."""

    image: Pixels
    """(H, W, 3) RGB."""
    number: int
    """Index in the source, from 0; frames that are not decoded count too."""
    time: float
    """Seconds since the first frame."""


class Video:
    """An open video file or camera; a context manager, and an iterable of frames.

    Like a file, it is read once: iterating again goes on with the next frame, and `max_frames` counts all of them.

    Args:
        source: A file, or the number of a camera.
        every: Only every N-th frame is decoded.
        max_frames: Stop after this many decoded frames.

    Raises:
        UnclaspError: `every` or `max_frames` is no whole number of at least 1.
        VideoError: The source cannot be opened; while iterating: it has no frame, a file ends early, or it has
            been closed.
    """

    def __init__(self, source: Path | str | int, *, every: int = 1, max_frames: int | None = None) -> None:
        check_whole(1, every=every)
        if max_frames is not None:
            check_whole(1, max_frames=max_frames)
        if isinstance(source, bool) or not isinstance(source, str | Path | int | np.integer):
            raise VideoError(f"expected the path of a video or the number of a camera, got {source!r}")
        self.source = int(source) if isinstance(source, np.integer) else source
        self.every, self.max_frames = every, max_frames
        self.live = isinstance(self.source, int)
        if not isinstance(self.source, int):
            _check_file(Path(self.source))
        elif self.source < 0:  # OpenCV would end the process
            raise VideoError(f"the number of a camera must be at least 0, got {self.source}")
        with quiet_ffmpeg():
            self._capture = self._open()
        rate, announced = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        trusted = 0 < rate <= _MAX_TRUSTED_RATE  # the number of frames may be estimated from the rate
        self.rate = rate if trusted else USUAL_RATE
        self._announced = round(announced) if trusted and not self.live and 0 < announced < 2**31 else None
        if not self.live:
            self._warn_of_oblong_pixels()
        self._grabbed = self._decoded = 0
        self._started: float | None = None
        self._seconds = 0.0
        self._closed = False

    def _open(self) -> cv2.VideoCapture:
        source = self.source if isinstance(self.source, int) else path_for_opencv(Path(self.source))
        try:
            capture = cv2.VideoCapture(source)
        except cv2.error:  # OpenCV rejects the camera number
            raise VideoError(self._cannot_open()) from None
        if not capture.isOpened():
            raise VideoError(self._cannot_open())
        return capture

    def _warn_of_oblong_pixels(self) -> None:
        """Log a warning if the pixels are meant to be shown wider or narrower than high, as of some camcorders."""
        across, down = (self._capture.get(key) for key in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
        if across > 0 and down > 0 and abs(across / down - 1) > _MAX_OBLONG:
            _logger.warning(
                "%s: its pixels are not square (%g:%g), but are taken for it, so hands are too narrow or too wide; "
                "convert it: ffmpeg -i IN -vf scale=iw*sar:ih,setsar=1 OUT", self.name, across, down,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._capture.release()

    @property
    def name(self) -> str:
        """Name of the source in results."""
        return f"camera{self.source}" if self.live else str(self.source)

    @property
    def expected(self) -> int | None:
        """Number of frames that iterating from the start yields, or None if unknown."""
        available = None if self._announced is None else math.ceil(self._announced / self.every)
        known = [count for count in (available, self.max_frames) if count is not None]
        return min(known) if known else None

    def __iter__(self) -> Iterator[Frame]:
        while self.max_frames is None or self._decoded < self.max_frames:
            if self._closed:
                raise VideoError(f"{self.name}: it has been closed; read its frames inside the with block")
            if not self._capture.grab():
                self._check_end()
                return
            frame = self._retrieve() if self._grabbed % self.every == 0 else None
            self._grabbed += 1
            if frame is not None:
                self._decoded += 1
                yield frame

    def _retrieve(self) -> Frame | None:
        """Decode the frame that has been grabbed; None if that fails."""
        decoded, image = self._capture.retrieve()
        if not decoded or image is None:
            return None
        now = time.monotonic() if self.live else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        number = self._grabbed
        return Frame(_rgb(np.asarray(image, dtype=np.uint8)), number, self._time(number, now))

    def _time(self, number: int, clock: float) -> float:
        """Return the time since the first frame by the source's clock (s), or by the rate if the source tells none."""
        self._started = clock if self._started is None else self._started
        seconds = clock - self._started
        if seconds < self._seconds - _MAX_STEP_BACK and clock > 0:  # the next recording in the same file
            seconds = self._seconds + self.every / self.rate
            self._started = clock - seconds
        if not math.isfinite(seconds) or (seconds <= 0 and number > 0):
            return number / self.rate
        self._seconds = seconds
        return seconds

    def _check_end(self) -> None:
        """Raise an error unless a file has been read to its end, with at least one frame; cameras never end."""
        if self.live:
            raise VideoError(f"camera {self.source}: it stopped after {self._grabbed} frames; is it still connected?")
        if self._decoded == 0:
            raise VideoError(
                f"{self.source}: expected a video, got one without a frame that can be decoded; convert it to MP4 "
                "with H.264, or copy or download it again"
            )
        reached = max(self._grabbed, self._seconds * self.rate)
        is_short = self._announced is not None and reached < COMPLETE_SHARE * self._announced - self.every
        if is_short and not is_complete(Path(self.name), reached / self.rate):
            raise VideoError(
                f"{self.source}: ends after {self._grabbed} of {self._announced} frames: it is truncated or damaged; "
                "copy or download it again"
            )

    def _cannot_open(self) -> str:
        if self.live:
            return f"camera {self.source}: there is none, or it is in use or not permitted; try another number"
        return (
            f"{self.source}: expected a video, got a file that cannot be opened: it is truncated, damaged or in a "
            "format OpenCV cannot read; copy it again or convert it to MP4"
        )


def _check_file(path: Path) -> None:
    if not path.exists():
        advice = advice_on_missing(path, has_frames=True)
        raise VideoError(f"{path}: expected a video, found nothing of this name; {advice}")
    if path.is_dir():
        raise VideoError(f"{path}: expected a video file, got a folder; name a file in it")
    if not path.is_file():
        raise VideoError(f"{path}: expected a video file, got a device or pipe; save the video to a file first")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise VideoError(f"{path}: the video cannot be opened ({error.strerror}); check its permissions") from None
    if empty:
        raise VideoError(f"{path}: expected a video, got an empty file; copy or download it again")


def _rgb(image: Pixels) -> Pixels:
    code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)
