"""Poses of whatever can be named: pictures, arrays, folders, patterns, videos, cameras, and lists of them."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.errors import UnclaspError
from unclasp.follow.frame_result import PredictFrame
from unclasp.follow.smoothing import smoothed
from unclasp.follow.tracking import Tracker
from unclasp.picture import read_photo
from unclasp.pose import HandPose
from unclasp.sources import Source, find_sources
from unclasp.video import Video

Floats = npt.NDArray[np.floating]
SourceLike = str | Path | int | ByteArray
Predict = Callable[[ByteArray, npt.ArrayLike | None, tuple[float, float] | None], HandPose]
"""Picture, box (x1, y1, x2, y2 px, as annotated; None: look in the whole picture) and focal length (px, of the file, if
it tells one) to pose."""
OnError = Callable[[UnclaspError], None]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamOptions:
    """How sources are gone through."""

    box: npt.ArrayLike | None = None
    """(4,) x1, y1, x2, y2 px around the hands in every picture; looked for, and followed in videos, if not given."""
    smooth: bool = True
    """Filter the joints of videos over time."""
    every: int = 1
    """Of so many frames one is predicted."""
    max_frames: int | None = None
    """Stop a video after so many predicted frames."""

    def __post_init__(self) -> None:
        for name, value in (("every", self.every), ("max_frames", self.max_frames)):
            is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not (is_whole or (value is None and name == "max_frames")):
                raise UnclaspError(f"{name} must be a whole number, got {value!r}")
            if value is not None and value < 1:
                raise UnclaspError(f"{name} must be at least 1, got {value}")


def stream(
    predict: Predict,
    see_frame: PredictFrame,
    given: SourceLike | Iterable[SourceLike],
    options: StreamOptions,
    on_error: OnError | None = None,
) -> Iterator[HandPose]:
    """Yield the poses of sources, one at a time, as `Predictor.stream` tells it; `see_frame` is for videos."""
    first, yielded = None, 0
    for source in _sources(given):
        try:
            for pose in _poses(predict, see_frame, source, options):
                yielded += 1
                yield pose
        except UnclaspError as error:
            first = first or error
            if on_error is None:
                _logger.warning("%s", error)
            else:
                on_error(error)
    if first is not None and not yielded and on_error is None:
        raise first


def _sources(given: SourceLike | Iterable[SourceLike]) -> Iterator[Source | ByteArray]:
    """Yield arrays and found sources, each to be predicted on its own."""
    for each in given if _is_several(given) else [given]:
        if isinstance(each, np.ndarray):
            yield each
        elif isinstance(each, str | Path | int | np.integer) and not isinstance(each, bool):
            yield from find_sources(int(each) if isinstance(each, np.integer) else each)
        else:
            told = (
                "a source is the path of a picture, video or folder, a pattern, the number of a camera, or an array "
                f"(H, W, 3), got {type(each).__name__}"
            )
            yield Source(None, told, given=repr(each))


def _is_several(given: object) -> TypeGuard[Iterable[SourceLike]]:
    return isinstance(given, Iterable) and not isinstance(given, str | bytes | np.ndarray)


def _poses(
    predict: Predict, see_frame: PredictFrame, source: Source | ByteArray, options: StreamOptions
) -> Iterator[HandPose]:
    if not isinstance(source, Source):
        yield predict(source, options.box, None)
    elif source.error is not None:
        raise UnclaspError(source.error)
    elif source.is_video:
        with Video(source.file_or_camera, every=options.every, max_frames=options.max_frames) as video:
            yield from video_poses(see_frame, video, options)
    else:
        photo = read_photo(source.path)  # type: ignore[arg-type]
        yield replace(predict(photo.image, options.box, photo.focal), source=source.name)


def video_poses(see: PredictFrame, video: Video, options: StreamOptions) -> Iterator[HandPose]:
    """Yield the pose of each frame of an open video, tracked.

    Poses of a file that are smoothed come some frames later than these were read (`smoothing.WINDOW`).
    """
    tracker = Tracker(see, box=options.box, smooth=options.smooth, live=video.live)
    poses = (
        (replace(tracker(frame.image, frame.time), frame=frame.number, source=video.name), tracker.changes)
        for frame in video
    )
    if options.smooth and not video.live:
        yield from smoothed(poses)
    else:
        yield from (pose for pose, _ in poses)
