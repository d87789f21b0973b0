"""What is written of a video: an MP4 with the overlay, JSON lines, and a Rerun recording where it is asked for."""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from unclasp.errors import UnclaspError, VideoError
from unclasp.files import temporary_beside
from unclasp.hands import SIDES, Side
from unclasp.overlay import draw_frame
from unclasp.pose import HandPose
from unclasp.rerun_log import RerunLog
from unclasp.video import VideoWriter

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says where no more can be written."""


@dataclass
class Recorded:
    """What came of a video."""

    frames: int = 0
    """Frames that were written."""
    both: int = 0
    """Frames with both hands."""
    of_side: dict[Side, int] = field(default_factory=dict)
    """In how many frames each hand was present that was in any, right first."""
    doubted: int = 0
    """Frames with a hand in doubt."""
    problem: UnclaspError | None = None
    """Why the source ended early, if it did."""

    def count(self, pose: HandPose) -> None:
        """Add a frame."""
        self.frames += 1
        self.both += len(pose.sides) == len(SIDES)
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
    """Write STEM.mp4 and STEM.jsonl, and STEM.rrd if asked for, while poses come.

    Each is there whole or not at all; after Ctrl-C, whole up to there. A source that fails after its first frame ends
    the recording, which is kept.

    Args:
        poses: Poses that hold their pictures, such as `Predictor.stream` gives for a video.
        stem: The files' path without a suffix.
        rate: Frames per second of the MP4.
        live: They come from a camera, as fast as they are predicted: the MP4 repeats or leaves out frames to run at the
            time's own pace, and Ctrl-C is the usual end.
        rerun: Write a Rerun recording, too.
        on_frame: Is told of each frame when it has been written.

    Raises:
        UnclaspError: The source fails at once, the files cannot be written, or rerun-sdk is missing.
    """
    recorded = Recorded()
    with ExitStack() as stack:
        log = stack.enter_context(RerunLog(stem.with_name(stem.name + ".rrd"))) if rerun else None
        video = stack.enter_context(VideoWriter(stem.with_name(stem.name + ".mp4"), rate=rate))
        lines = stack.enter_context(_lines(stem.with_name(stem.name + ".jsonl")))
        try:
            for pose in _until_failure(poses, recorded):
                if pose.image is None:
                    raise UnclaspError("a recording needs poses that hold their pictures")
                views, root_offset = pose.views()
                video.write(draw_frame(pose.image, views, root_offset=root_offset), time=pose.time if live else None)
                lines.write(pose.to_json(indent=None) + "\n")
                if log is not None:
                    log.write(pose)
                recorded.count(pose)
                if on_frame is not None:
                    on_frame(pose)
        except KeyboardInterrupt:
            if not live or not recorded.frames:
                raise
    return recorded


def _until_failure(poses: Iterable[HandPose], recorded: Recorded) -> Iterator[HandPose]:
    """Yield poses until there are no more, or until the source fails after its first frame."""
    try:
        yield from poses
    except UnclaspError as error:
        if not recorded.frames:
            raise
        recorded.problem = error


@contextmanager
def _lines(path: Path) -> Iterator[TextIO]:
    """Yield a text file that takes its place when the block ends well or is interrupted, and vanishes otherwise."""
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("w", encoding="utf-8")
    except OSError as error:
        raise VideoError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    try:
        try:
            yield file
        except KeyboardInterrupt:
            _place(file, temporary, path)
            raise
        _place(file, temporary, path)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise VideoError(f"{path}: cannot be written ({error.strerror}); is the disk full?") from None
    finally:
        with suppress(OSError):  # of what could not be written before
            file.close()
        temporary.unlink(missing_ok=True)


def _place(file: TextIO, temporary: Path, path: Path) -> None:
    file.close()
    if temporary.stat().st_size:
        temporary.replace(path)
