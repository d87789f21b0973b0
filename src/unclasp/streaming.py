"""Predicts poses for sources of any kind: pictures, arrays, folders, glob patterns, videos, cameras, or lists."""

import logging
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Array, Pixels
from unclasp.errors import ImageError, UnclaspError, check_whole
from unclasp.follow.frame_result import PredictFrame
from unclasp.follow.smoothing import smoothed
from unclasp.follow.tracking import Tracker
from unclasp.inputs import check_flags
from unclasp.picture import Photo, check_image, read_photo
from unclasp.pose import HandPose
from unclasp.sources import Source, find_sources
from unclasp.video import Frame, Video

SourceLike = str | Path | int | Array | Photo
Predict = Callable[[Pixels, npt.ArrayLike | None, tuple[float, float] | None], HandPose]
"""Predicts the pose for a picture, a box (x1, y1, x2, y2 px, as annotated; None to search the whole picture) and the
focal lengths that the picture's file gives (px; None if it gives none)."""
OnError = Callable[[UnclaspError], None]
"""Called with the error of a source that fails."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamOptions:
    """Options for processing sources."""

    box: npt.ArrayLike | None = None
    """(4,) x1, y1, x2, y2 px around the hands in every picture; None to search for them, and track them in videos."""
    smooth: bool = True
    """Smooth the joints of videos, and their confidences, over time."""
    every: int = 1
    """Predict only every so-many-th frame of a video."""
    max_frames: int | None = None
    """Stop a video after this many predicted frames."""

    def __post_init__(self) -> None:
        check_flags(smooth=self.smooth)
        check_whole(1, every=self.every)
        if self.max_frames is not None:
            check_whole(1, max_frames=self.max_frames)


def stream(
    predict: Predict,
    predict_frame: PredictFrame,
    given: SourceLike | Iterable[SourceLike],
    options: StreamOptions,
    on_error: OnError | None = None,
) -> Generator[HandPose, None, None]:
    """Yield the poses of one or more sources lazily; see `Predictor.stream`.

    Args:
        predict: Predicts the pose for a picture.
        predict_frame: Predicts the hands of a video frame.
        given: One source or several.
        options: The box, and how to process videos.
        on_error: Called for each source that fails. Without it, errors are logged as warnings, except that the first
            one is raised at the end if no source yielded a pose.

    Raises:
        UnclaspError: No source could be used, and there is no `on_error`.
    """
    held: UnclaspError | None = None  # the first error, until it is known whether it is to be raised
    has_poses = False
    tell = partial(_logger.warning, "%s") if on_error is None else on_error
    for source in _find_all(given):
        try:
            for pose in _poses(predict, predict_frame, source, options):
                if held is not None:
                    tell(held)
                held, has_poses = None, True
                yield pose
        except UnclaspError as error:
            if on_error is None and held is None and not has_poses:
                held = error
            else:
                tell(error)
    if held is not None:
        raise held


def _find_all(sources: SourceLike | Iterable[SourceLike]) -> Iterator[Source | Photo | Pixels]:
    """Yield pictures as they are, and the files and cameras that all else names; wrong sources with their error."""
    for source in sources if _is_several(sources) else [sources]:
        if isinstance(source, np.ndarray | Photo):
            yield source
        elif isinstance(source, str | Path | int | np.integer) and not isinstance(source, bool):
            yield from find_sources(int(source) if isinstance(source, np.integer) else source)
        else:
            message = (
                "a source is the path of a picture, video or folder, a pattern, the number of a camera, an array "
                f"(H, W, 3) or a Photo, got {type(source).__name__}"
            )
            if isinstance(source, Frame):
                message += "; give your own frames to Predictor.track"
            if isinstance(source, bytes | bytearray | memoryview):
                message += "; decode the content of a file with decode_photo"
            if _is_open_file(source):
                message += "; give the path of the file"
            yield Source(None, message, given=type(source).__name__)


def _is_several(sources: object) -> TypeGuard[Iterable[SourceLike]]:
    single = str | bytes | bytearray | memoryview | np.ndarray | Photo | Frame
    return isinstance(sources, Iterable) and not isinstance(sources, single) and not _is_open_file(sources)


def _is_open_file(source: object) -> bool:
    """Tell whether this is a file that was opened; those of `tempfile` belong to no common class."""
    return hasattr(source, "readline")


def _poses(
    predict: Predict, predict_frame: PredictFrame, source: Source | Photo | Pixels, options: StreamOptions
) -> Iterator[HandPose]:
    """Yield the pose of a picture, or of each frame of a video."""
    if isinstance(source, np.ndarray):
        yield predict(source, options.box, None)
    elif isinstance(source, Photo):
        yield predict(source.image, options.box, source.focal)
    elif source.error is not None:
        raise UnclaspError(source.error)
    elif source.is_video:
        with Video(source.file_or_camera, every=options.every, max_frames=options.max_frames) as video:
            yield from frame_poses(predict_frame, video, options, live=video.live, source=video.name)
    else:
        photo = read_photo(source.path)  # type: ignore[arg-type]
        yield replace(predict(photo.image, options.box, photo.focal), source=source.name)


def checked_frames(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Return the caller's own frames, each checked when it is asked for.

    Raises:
        UnclaspError: It is no iterable of frames; while iterating: an item is no frame.
    """
    if isinstance(frames, str | Path | Frame | np.ndarray) or not isinstance(frames, Iterable):
        is_source = isinstance(frames, str | Path | int)
        advice = "give files and cameras to Predictor.stream" if is_source else "give a list or a generator of them"
        got = type(frames).__name__
        raise UnclaspError(f"expected several Frame(image, number, time), one after the other, got {got}; {advice}")
    return map(_checked_frame, frames)


def check_on_error(on_error: object) -> None:
    """Raise an UnclaspError unless it can be called or is None."""
    if on_error is not None and not callable(on_error):
        got = type(on_error).__name__
        raise UnclaspError(f"on_error must be a function of the error, got {got}; leave it out to have errors logged")


def _checked_frame(frame: object) -> Frame:
    """Return a frame of the caller's own, with plain numbers, or raise an UnclaspError if it is none."""
    if not isinstance(frame, Frame):
        raise UnclaspError(f"expected a Frame(image, number, time), got {type(frame).__name__}")
    check_whole(0, number=frame.number)
    if not isinstance(frame.time, Real) or not math.isfinite(frame.time):
        raise UnclaspError(f"a frame's time must be a finite number of seconds, got {frame.time!r}")
    if frame.image is None:
        advice = "OpenCV gives None at the end of a video or after a failure: leave such frames out"
        raise ImageError(f"frame {frame.number}: expected a picture, got None; {advice}")
    try:
        image = check_image(frame.image)
    except ImageError as error:
        raise ImageError(f"frame {frame.number}: {error}") from None
    return frame._replace(image=image, number=int(frame.number), time=float(frame.time))


def frame_poses(
    predict_frame: PredictFrame, frames: Iterable[Frame], options: StreamOptions, *, live: bool,
    source: str | None = None,
) -> Generator[HandPose, None, None]:  # fmt: skip
    """Yield the pose of each frame of a video, tracked and, with `options.smooth`, smoothed.

    Unless the frames are `live`, smoothing needs those up to `smoothing.WINDOW_SECONDS` later, so poses are delayed by
    as many frames.
    """
    tracker = Tracker(predict_frame, box=options.box, smooth=options.smooth, live=live)
    poses = (
        (replace(tracker(frame.image, frame.time), frame=frame.number, source=source), tracker.changes)
        for frame in frames
    )
    if options.smooth and not live:
        yield from smoothed(poses)
    else:
        yield from (pose for pose, _ in poses)
