"""Writes MP4 files atomically.

OpenCV encodes. Its console output is suppressed; problems are raised as `VideoError`.
"""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import cv2
import numpy as np

from unclasp.arrays import Pixels
from unclasp.errors import VideoError
from unclasp.files import begin, replaceable, temporary_beside
from unclasp.marks import mark_mp4
from unclasp.quiet import quiet_ffmpeg, quiet_opencv
from unclasp.video import COMPLETE_SHARE, path_for_opencv

CODECS: Final = ("avc1", "mp4v")
"""Tried in this order: browsers play only H.264 (avc1), but not every build of OpenCV can write it."""
_MAX_TIME_STEPS: Final = 65535
"""Most time steps per second of MPEG-4. OpenCV writes a rate as a fraction of time steps with a denominator of at most
1000, so that higher rates must be rounded more coarsely."""
_MAX_GAP_SECONDS: Final = 10.0
"""Longest time for which a frame is repeated, in seconds; a camera has longer gaps if, say, the machine slept."""
_MIN_RATE: Final = 0.002
"""Lowest rate at which OpenCV can write an MP4, frames per second; slower videos get this rate."""
_MAX_LEAD_SECONDS: Final = 0.1
"""Longest time by which a frame is shown too early in an MP4 with all frames."""


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
        target = path_for_opencv(self._temporary)
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
            written = cv2.VideoCapture(path_for_opencv(self._temporary))
            frames = round(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else None
            written.release()
        if frames is None or frames < COMPLETE_SHARE * self._frames - 1:
            raise VideoError(
                f"{self.path}: only {frames or 0} of {self._frames} frames could be written; is the disk full?"
            )
