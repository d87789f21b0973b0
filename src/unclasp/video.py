"""Reads video files and cameras as RGB frames with times, and writes MP4 files atomically.

OpenCV decodes and encodes. Its console output is suppressed; problems are raised as `VideoError`.
"""

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, cast

import cv2
import numpy as np

from unclasp.arrays import Pixels
from unclasp.containers import is_complete
from unclasp.errors import VideoError, advice_on_missing, check_whole
from unclasp.files import begin, replaceable, temporary_beside
from unclasp.marks import mark_mp4
from unclasp.quiet import quiet_ffmpeg, quiet_opencv

_logger = logging.getLogger(__name__)

CODECS: Final = ("avc1", "mp4v")
"""Tried in this order: browsers play only H.264 (avc1), but not every build of OpenCV can write it."""
USUAL_RATE: Final = 30.0
"""Frames per second, assumed if the source does not say."""
_MAX_TIME_STEPS: Final = 65535
"""Most time steps per second of MPEG-4. OpenCV writes a rate as a fraction of time steps with a denominator of at most
1000, so that higher rates must be rounded more coarsely."""
_MAX_GAP_SECONDS: Final = 10.0
"""Longest time for which a frame is repeated, in seconds; a camera has longer gaps if, say, the machine slept."""
_MAX_TRUSTED_RATE: Final = 990.0
"""Highest rate that is trusted, frames per second: some containers store none, and OpenCV then returns their clock
rate."""
_MIN_RATE: Final = 0.002
"""Lowest rate at which OpenCV can write an MP4, frames per second; slower videos get this rate."""
_COMPLETE_SHARE: Final = 0.95
"""Share of the announced frames, or of their duration, from which a file counts as complete. One with fewer may be
complete, too, which only its structure tells (`containers`)."""
_MAX_OBLONG: Final = 0.01
"""Share by which pixels may be wider or narrower than high without a warning."""
_MAX_STEP_BACK: Final = 1.0
"""Seconds: a clock that goes back by more has started again, as where recordings were joined."""
_MAX_LEAD_SECONDS: Final = 0.1
"""Longest time by which a frame is shown too early in an MP4 with all frames."""


def _for_opencv(path: Path) -> str:
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
        source = self.source if isinstance(self.source, int) else _for_opencv(Path(self.source))
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
        is_short = self._announced is not None and reached < _COMPLETE_SHARE * self._announced - self.every
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


class VideoWriter:
    """Writes an MP4 file completely or not at all; after Ctrl-C, complete up to that point.

    Use it as a context manager. Frames are written to a temporary file, which replaces the target at the end of the
    block, or when Ctrl-C interrupts the block. After any other error, or without a frame, nothing is left behind.

    Args:
        path: The MP4 file.
        rate: Frames per second.
        all_frames: Drop no frame, whatever its time, and repeat one only if the next would be shown more than 0.1 s too
            early: for files, whose frames mostly come at an even rate.
    """

    def __init__(self, path: Path | str, *, rate: float, all_frames: bool = False) -> None:
        self.path = replaceable(path)
        self.all_frames = all_frames
        self.rate = max(_MIN_RATE, round(rate, 3 if rate < _MAX_TIME_STEPS / 1000 else 2))
        self.codec: str | None = None
        """The codec in use, known after the first frame."""
        self._temporary = temporary_beside(self.path.with_suffix(".mp4"))
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._frames = 0
        self._skipped = 0.0
        self._last: Pixels | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, image: Pixels, *, time: float | None = None) -> None:
        """Append an (H, W, 3) RGB frame. Odd sides are cropped by 1 px; all frames must have the size of the first.

        With a `time` in seconds since the first frame, the frame is shown from then on: the previous one is repeated
        until then (for at most 10 s), and a frame that comes too early for the rate is dropped.

        Raises:
            VideoError: The file cannot be written, or the frame has another size.
        """
        size = image.shape[1] // 2 * 2, image.shape[0] // 2 * 2  # encoders require even sides
        if self._writer is None:
            self._writer, self._size = self._open(size), size
        if size != self._size:
            raise VideoError(f"{self.path}: all frames must be {self._size[0]} × {self._size[1]} px, got {size}")
        frame = np.asarray(cv2.cvtColor(image[: size[1], : size[0]], cv2.COLOR_RGB2BGR), dtype=np.uint8)
        number = self._frames if time is None else self._number_at(time)
        if self.all_frames and number - self._frames <= _MAX_LEAD_SECONDS * self.rate:
            number = self._frames
        repeated = [] if self._last is None else [self._last] * (number - self._frames)
        for output in [*repeated, *([frame] if number >= self._frames else [])]:
            with quiet_opencv():
                self._writer.write(output)
            self._frames += 1
        self._last = frame

    def _number_at(self, time: float) -> int:
        """Return the number of the output frame at a time, after gaps are shortened to `_MAX_GAP_SECONDS`."""
        gap = time - self._skipped - self._frames / self.rate
        self._skipped += max(0.0, gap - _MAX_GAP_SECONDS)
        return round((time - self._skipped) * self.rate)

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        begin(self._temporary, self.path)
        target = _for_opencv(self._temporary)
        for codec in CODECS:
            with quiet_ffmpeg():
                writer = cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*codec), self.rate, size)
            if writer.isOpened():
                self.codec = codec
                return writer
        raise VideoError(
            f"{self.path}: this OpenCV can write none of {', '.join(CODECS)} at {size[0]} × {size[1]} px and "
            f"{self.rate:g} frames/s; install opencv-python-headless"
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
            if self._writer is not None and (kind is None or issubclass(kind, KeyboardInterrupt)):
                self._check_complete()
                mark_mp4(self._temporary)
                self._temporary.replace(self.path)
        finally:
            with suppress(OSError):  # for example if its folder could not be created
                self._temporary.unlink(missing_ok=True)

    def _check_complete(self) -> None:
        """Raise an error if frames are missing: OpenCV does not report a full disk."""
        with quiet_ffmpeg():
            written = cv2.VideoCapture(_for_opencv(self._temporary))
            frames = round(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else None
            written.release()
        if frames is None or frames < _COMPLETE_SHARE * self._frames - 1:
            raise VideoError(
                f"{self.path}: only {frames or 0} of {self._frames} frames could be written; is the disk full?"
            )
