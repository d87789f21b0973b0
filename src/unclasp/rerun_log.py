"""Writes poses over time as a recording for the Rerun viewer: the frames, and both hands in 2D and 3D."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from unclasp.errors import UnclaspError, VideoError
from unclasp.files import begin, replaceable, temporary_beside
from unclasp.hands import BONES, FINGER_COLOURS, HAND_JOINT_NAMES, HAND_SLICES, SIDES
from unclasp.pose import HandPose

_HAND_BONES = np.array(BONES[:20])
_JPEG_QUALITY = 80


class RerunLog:
    """Writes a .rrd file, as a context manager.

    The file is written completely or not at all; after Ctrl-C, it is complete up to that point.

    Args:
        path: The .rrd file; `rerun FILE` opens it.

    Raises:
        UnclaspError: rerun-sdk is not installed, or the file cannot be written (also at the end of the block).
    """

    def __init__(self, path: Path | str) -> None:
        try:
            import rerun  # noqa: PLC0415  optional, and hundreds of MB
        except ModuleNotFoundError as error:
            raise UnclaspError(
                f"a Rerun recording needs rerun-sdk ({error.name} is missing): pip install 'unclasp[rerun]'"
            ) from error
        self._rerun: Any = rerun
        self.path = replaceable(path)
        self._temporary = temporary_beside(self.path)
        self._frames = 0

    def __enter__(self) -> Self:
        begin(self._temporary, self.path)
        self._stream = self._rerun.RecordingStream("unclasp")
        self._stream.save(str(self._temporary))
        self._stream.log("world", self._rerun.ViewCoordinates.RDF, static=True)  # x right, y down, z forward
        return self

    def write(self, pose: HandPose) -> None:
        """Append a frame: the picture, if the pose holds it, and both hands; an absent hand is cleared."""
        rerun, stream = self._rerun, self._stream
        stream.set_time("frame", sequence=self._frames if pose.frame is None else pose.frame)
        if pose.time is not None:
            stream.set_time("time", duration=pose.time)
        if pose.image is not None:
            stream.log("picture", rerun.Image(pose.image).compress(jpeg_quality=_JPEG_QUALITY))
        for side, joints in zip(SIDES, HAND_SLICES, strict=True):
            if side not in pose.sides:
                for place in ("picture", "world"):
                    stream.log(f"{place}/{side}", rerun.Clear(recursive=True))
                continue
            colours = FINGER_COLOURS[SIDES.index(side)][np.minimum(np.arange(21) // 4, 4)]
            bones = {"colors": colours[_HAND_BONES[:, 0]]}
            points = {
                "colors": colours,
                "labels": [f"{side} {name}" for name in HAND_JOINT_NAMES],
                "show_labels": False,
            }
            in_plane, in_space = pose.joints_2d[joints], pose.joints_cam[joints]
            stream.log(f"picture/{side}/bones", rerun.LineStrips2D(in_plane[_HAND_BONES], **bones, radii=2.0))
            stream.log(f"picture/{side}/joints", rerun.Points2D(in_plane, **points, radii=3.0))
            stream.log(f"world/{side}/bones", rerun.LineStrips3D(in_space[_HAND_BONES], **bones, radii=2.5))
            stream.log(f"world/{side}/joints", rerun.Points3D(in_space, **points, radii=4.0))
        self._frames += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            problem = self._finish()
            if kind is None and problem is not None:
                raise VideoError(f"{self.path}: cannot be written ({problem}); is the disk full?")
            if self._frames and problem is None and (kind is None or issubclass(kind, KeyboardInterrupt)):
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> Exception | None:
        """Write what is left and close the file; return the error if not everything could be written."""
        problem = None
        for step in (self._stream.flush, self._stream.disconnect):
            try:
                step()
            except Exception as error:  # which kinds there are depends on rerun's version
                problem = problem or error
        return problem
