"""Writes the results of a video: an MP4 with the overlay, JSON lines, and optionally a Rerun recording."""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from unclasp.errors import UnclaspError, VideoError
from unclasp.files import begin, replaceable, temporary_beside
from unclasp.find.letterbox import letterbox
from unclasp.hands import SIDES, Side
from unclasp.overlay import FrameDrawer
from unclasp.pose import HandPose
from unclasp.rerun_log import RerunLog
from unclasp.video_writer import VideoWriter

_DISK_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Error numbers of the operating system for a full disk, an exceeded quota or a file that is too large."""


@dataclass
class Recorded:
    """Summary of a recorded video."""

    frames: int = 0
    """Number of frames written."""
    both: int = 0
    """Number of frames with both hands."""
    of_side: dict[Side, int] = field(default_factory=dict)
    """Number of frames with each hand, right first; hands that were in no frame are left out."""
    in_contact: int = 0
    """Number of frames in which the hands likely touch each other."""
    doubted: int = 0
    """Number of frames with a hand in doubt."""
    problem: UnclaspError | None = None
    """The error that ended the source early, if one did."""
    interrupted: bool = False
    """Ctrl-C (in `unclasp predict` also SIGTERM) ended the recording, as is usual for a camera."""

    def count(self, pose: HandPose) -> None:
        """Add a frame to the summary."""
        self.frames += 1
        self.both += len(pose.sides) == len(SIDES)
        self.in_contact += pose.contact is not None and pose.contact.is_likely
        self.doubted += bool(pose.doubted)
        counts = {side: self.of_side.get(side, 0) + (side in pose.sides) for side in SIDES}
        self.of_side = {side: count for side, count in counts.items() if count}


def record(
    poses: Iterable[HandPose],
    stem: Path,
    *,
    rate: float,
    live: bool = False,
    rerun: bool = False,
    on_frame: Callable[[HandPose], None] | None = None,
) -> Recorded:
    """Write poses to STEM.mp4 and STEM.jsonl, and optionally STEM.rrd, as they arrive.

    Each file is written completely or not at all. After Ctrl-C it is complete up to that point, and the summary has
    `interrupted`; if no frame has been written by then, KeyboardInterrupt is raised. If the source fails
    after its first frame, the recording ends there and is kept.

    Args:
        poses: Poses that hold their pictures, such as those of `Predictor.stream` for a video. In the MP4, pictures of
            another size than the first one are scaled into its size, with black bars.
        stem: Path of the files, without a suffix.
        rate: Frames per second of the MP4.
        live: The poses come from a camera, as fast as they are predicted. The MP4 then repeats or drops frames to play
            in real time, and Ctrl-C is the usual way to end the recording. Of a file no frame is dropped, and frames
            are repeated only in its gaps.
        rerun: Also write a Rerun recording.
        on_frame: Called with each pose after its frame has been written.

    Returns:
        A summary of the recording.

    Raises:
        UnclaspError: The source fails before its first frame, the files cannot be written, or rerun-sdk is missing.
    """
    recorded, draw, size = Recorded(), FrameDrawer(), None
    with ExitStack() as stack:
        # The lines are placed after the others, and so imply them, unless another Ctrl-C comes meanwhile.
        lines = stack.enter_context(_lines(stem.with_name(stem.name + ".jsonl")))
        log = stack.enter_context(RerunLog(stem.with_name(stem.name + ".rrd"))) if rerun else None
        video = stack.enter_context(VideoWriter(stem.with_name(stem.name + ".mp4"), rate=rate, all_frames=not live))
        try:
            for pose in _until_failure(poses, recorded):
                if pose.image is None:
                    raise UnclaspError("expected poses that hold their pictures, got one without: keep its `image`")
                drawn = draw(pose.image, pose.views())
                size = size or drawn.shape[:2]
                if drawn.shape[:2] != size:
                    drawn = letterbox(drawn, *size).image
                video.write(drawn, time=pose.time)
                lines.write(pose.to_json(indent=None) + "\n")
                if log is not None:
                    log.write(pose)
                recorded.count(pose)
                if on_frame is not None:
                    on_frame(pose)
        except KeyboardInterrupt:
            if not recorded.frames:
                raise
            recorded.interrupted = True
    return recorded


def _until_failure(poses: Iterable[HandPose], recorded: Recorded) -> Iterator[HandPose]:
    """Yield poses up to the end or to an error, which is stored in `recorded`; raise it if no frame was written."""
    try:
        yield from poses
    except UnclaspError as error:
        if not recorded.frames:
            raise
        recorded.problem = error


@contextmanager
def _lines(path: Path) -> Iterator[TextIO]:
    """Yield a temporary text file that is moved to `path` if the block succeeds or is interrupted, else deleted."""
    path = replaceable(path)
    temporary = temporary_beside(path)
    begin(temporary, path)
    file = temporary.open("w", encoding="utf-8")
    try:
        try:
            yield file
        except KeyboardInterrupt:
            _place(file, temporary, path)
            raise
        _place(file, temporary, path)
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise VideoError(f"{path}: cannot be written ({error.strerror}); is the disk full?") from None
    finally:
        with suppress(OSError):  # closing flushes, which fails again on a full disk
            file.close()
        temporary.unlink(missing_ok=True)


def _place(file: TextIO, temporary: Path, path: Path) -> None:
    file.close()
    if temporary.stat().st_size:
        temporary.replace(path)
