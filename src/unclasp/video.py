"""Frames in and frames out: video files and cameras as RGB arrays with times, and MP4 files that are written whole.

OpenCV does the decoding and the encoding; what it would print about it is said by our errors instead.
"""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import cv2
import numpy as np

from unclasp.batch import ByteArray
from unclasp.errors import VideoError
from unclasp.files import replaceable, temporary_beside
from unclasp.marks import mark_mp4
from unclasp.picture import quiet_opencv

CODECS: Final = ("avc1", "mp4v")
"""Tried in this order: browsers play H.264 alone, but not every build of OpenCV can write it."""
USUAL_RATE: Final = 30.0
"""Frames per second where the source does not say."""
_MOST_STEPS: Final = 65535
"""MPEG-4 tells a time in at most so many steps a second, and OpenCV a rate as steps over 1000 or fewer."""
_LONGEST_GAP: Final = 10.0
"""Seconds for which a picture of a camera is repeated at most, where the machine slept, say."""
_HIGHEST_RATE: Final = 990.0
"""Frames per second up to which a file is believed: some containers keep none, and OpenCV then tells their clock's."""
_LOWEST_RATE: Final = 0.002
"""Frames per second below which OpenCV writes no MP4; slower ones are played at this rate."""
_WHOLE: Final = 0.95
"""Share of the announced frames, or of the time that they take, from which on a file counts as whole.

Matroska and WebM announce a duration alone, from which OpenCV estimates the number of frames by the rate."""


class Frame(NamedTuple):
    """One picture of a video."""

    image: ByteArray
    """(H, W, 3) RGB."""
    number: int
    """From 0, in the source."""
    time: float
    """Seconds from the first frame."""


class Video:
    """A video file or a camera, opened; a context manager and an iterable of frames.

    Args:
        source: A file, or the number of a camera.
        every: Of so many frames one is decoded to a picture.
        max_frames: Stop after so many pictures.

    Raises:
        VideoError: It cannot be opened; while iterating, that there is no frame, or that the file ends early.
    """

    def __init__(self, source: Path | str | int, *, every: int = 1, max_frames: int | None = None) -> None:
        if every < 1 or (max_frames is not None and max_frames < 1):
            raise VideoError(f"every and max_frames must be at least 1, got {every} and {max_frames}")
        if isinstance(source, bool) or not isinstance(source, str | Path | int | np.integer):
            raise VideoError(f"expected the path of a video or the number of a camera, got {source!r}")
        self.source = int(source) if isinstance(source, np.integer) else source
        self.every, self.max_frames = every, max_frames
        self.live = isinstance(self.source, int)
        if not self.live:
            _check_file(Path(source))  # type: ignore[arg-type]
        with _silence():
            self._capture = self._open()
        rate, announced = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        believed = 0 < rate <= _HIGHEST_RATE  # the number of frames may be an estimate by it
        self.rate = rate if believed else USUAL_RATE
        self._announced = round(announced) if believed and not self.live and 0 < announced < 2**31 else None

    def _open(self) -> cv2.VideoCapture:
        # FFmpeg takes what comes before a colon for a protocol unless the path begins with a slash
        source = self.source if isinstance(self.source, int) else str(Path(self.source).absolute())
        try:
            capture = cv2.VideoCapture(source)
        except cv2.error:  # no number of a camera for OpenCV
            raise VideoError(self._cannot_open()) from None
        if not capture.isOpened():
            raise VideoError(self._cannot_open())
        return capture

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    @property
    def name(self) -> str:
        """How results refer to it."""
        return f"camera{self.source}" if self.live else str(self.source)

    @property
    def expected(self) -> int | None:
        """How many pictures are to come, or None if nobody knows."""
        whole = None if self._announced is None else math.ceil(self._announced / self.every)
        known = [count for count in (whole, self.max_frames) if count is not None]
        return min(known) if known else None

    def __iter__(self) -> Iterator[Frame]:
        started = None
        given = number = 0
        seconds = 0.0
        while self.max_frames is None or given < self.max_frames:
            if not self._capture.grab():
                self._check_end(number, given, seconds)
                return
            if number % self.every == 0:
                whole, image = self._capture.retrieve()
                if whole and image is not None:
                    now = time.monotonic() if self.live else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                    started = now if started is None else started
                    seconds = now - started
                    yield Frame(_rgb(np.asarray(image, dtype=np.uint8)), number, self._time(number, seconds))
                    given += 1
            number += 1

    def _time(self, number: int, seconds: float) -> float:
        """Return the source's own time, or one by the rate where it has none."""
        return seconds if math.isfinite(seconds) and (seconds > 0 or number == 0) else number / self.rate

    def _check_end(self, frames: int, given: int, seconds: float) -> None:
        if self.live:
            raise VideoError(f"camera {self.source}: it stopped after {frames} frames; is it still connected?")
        if given == 0:
            raise VideoError(
                f"{self.source}: expected a video, got one of which no frame can be decoded; convert it to MP4 "
                "with H.264, or copy or download it again"
            )
        reached = max(frames, seconds * self.rate)
        if self._announced is not None and reached < _WHOLE * self._announced - self.every:
            raise VideoError(
                f"{self.source}: ends after {frames} of {self._announced} frames: it is truncated or damaged; "
                "copy or download it again"
            )

    def _cannot_open(self) -> str:
        if self.live:
            return f"camera {self.source}: there is none, or it is in use or not permitted; try another number"
        return (
            f"{self.source}: expected a video, got a file that cannot be opened: it is truncated, damaged or of a kind "
            "OpenCV does not read; copy it again or convert it to MP4"
        )


def _check_file(path: Path) -> None:
    if not path.exists():
        raise VideoError(f"{path}: expected a video, found nothing of this name; check the spelling")
    if not path.is_file():
        raise VideoError(f"{path}: expected a video file, got a folder or device; name a file in it")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise VideoError(f"{path}: the video cannot be opened ({error.strerror}); check its rights") from None
    if empty:
        raise VideoError(f"{path}: expected a video, got an empty file; copy or download it again")


def _rgb(image: ByteArray) -> ByteArray:
    code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


class VideoWriter:
    """Writes an MP4 file that is there whole, or not at all; after an interruption, whole up to there.

    It is a context manager. Frames go to a temporary file beside the target, which takes the target's place at the end
    of the block, or when the block is interrupted by Ctrl-C. With any other error, or without a frame, nothing stays.

    Args:
        path: The MP4 file.
        rate: Frames per second.
    """

    def __init__(self, path: Path | str, *, rate: float) -> None:
        self.path = replaceable(path)
        self.rate = max(_LOWEST_RATE, round(rate, 3 if rate < _MOST_STEPS / 1000 else 2))
        self.codec: str | None = None
        """What it is encoded with, once there is a frame."""
        self._temporary = temporary_beside(self.path.with_suffix(".mp4"))
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._frames = 0
        self._skipped = 0.0
        self._last: ByteArray | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, image: ByteArray, *, time: float | None = None) -> None:
        """Append an (H, W, 3) RGB picture; all have the size of the first, to the next even numbers.

        With a `time` in seconds from the first picture, it is shown from then on: the picture before it is repeated up
        to there (for 10 s at most), and one that comes too early for the rate is left out.

        Raises:
            VideoError: The file cannot be written, or the picture has another size.
        """
        size = image.shape[1] // 2 * 2, image.shape[0] // 2 * 2  # encoders want even sides
        if self._writer is None:
            self._writer, self._size = self._open(size), size
        if size != self._size:
            raise VideoError(f"{self.path}: all frames must be {self._size[0]} × {self._size[1]} px, got {size}")
        drawn = np.asarray(cv2.cvtColor(image[: size[1], : size[0]], cv2.COLOR_RGB2BGR), dtype=np.uint8)
        place = self._frames if time is None else self._place(time)
        repeated = [] if self._last is None else [self._last] * (place - self._frames)
        for shown in [*repeated, *([drawn] if place >= self._frames else [])]:
            with quiet_opencv():
                self._writer.write(shown)
            self._frames += 1
        self._last = drawn

    def _place(self, time: float) -> int:
        """Return the number of the frame that is shown at a time, gaps being no longer than `_LONGEST_GAP`."""
        gap = time - self._skipped - self._frames / self.rate
        self._skipped += max(0.0, gap - _LONGEST_GAP)
        return round((time - self._skipped) * self.rate)

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch()
        except OSError as error:
            raise VideoError(f"{self.path}: cannot be written ({error.strerror}); choose another folder") from None
        target = str(self._temporary.absolute())
        for codec in CODECS:
            with _silence():
                writer = cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*codec), self.rate, size)
            if writer.isOpened():
                self.codec = codec
                return writer
        raise VideoError(
            f"{self.path}: this OpenCV writes none of {', '.join(CODECS)} of {size[0]} × {size[1]} px at "
            f"{self.rate:g} frames/s; install opencv-python-headless"
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
            if self._writer is not None and (kind is None or issubclass(kind, KeyboardInterrupt)):
                self._check_whole()
                mark_mp4(self._temporary)
                self._temporary.replace(self.path)
        finally:
            with suppress(OSError):  # where it could not even be made, there is nothing to remove
                self._temporary.unlink(missing_ok=True)

    def _check_whole(self) -> None:
        """Refuse what misses frames: OpenCV does not tell when the disk is full."""
        with _silence():
            written = cv2.VideoCapture(str(self._temporary.absolute()))
            frames = round(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else None
            written.release()
        if frames is None or frames < _WHOLE * self._frames - 1:
            raise VideoError(
                f"{self.path}: only {frames or 0} of {self._frames} frames could be written; is the disk full?"
            )


@contextmanager
def _silence() -> Iterator[None]:
    """Keep OpenCV and the FFmpeg inside of it from printing: FFmpeg keeps the level it finds when it is first used."""
    name = "OPENCV_FFMPEG_LOGLEVEL"
    mine = name not in os.environ
    os.environ.setdefault(name, "-8")
    try:
        with quiet_opencv():
            yield
    finally:
        if mine:
            os.environ.pop(name, None)
