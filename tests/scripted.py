"""A scripted stand-in for the predictor of frames that a tracker uses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from poses import HEIGHT, WIDTH
from unclasp.find.versions import Versions
from unclasp.follow.frame_result import FrameResult
from unclasp.follow.tracking import Tracker
from unclasp.pose import HandPose

BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
Report = Callable[[HandPose], HandPose]
"""Maps a tracked pose to the reported one."""
Fields = Callable[[int, bool], dict[str, Any]]
"""Returns the other fields of a `FrameResult` for a frame number, and whether the whole frame was searched."""


class Script:
    """Predicts given poses, one per frame; those for the whole frame (`searched`) may differ from those for a box.

    `boxes` records the boxes of each frame's calls, and `fresh` the flag of each frame's last call.
    """

    def __init__(
        self, poses: list[HandPose], searched: list[HandPose] | None = None, *,
        report: Report = lambda pose: pose, fields: Fields = lambda number, searched: {},
    ) -> None:  # fmt: skip
        self.poses, self.searched, self.report, self.fields = poses, searched or poses, report, fields
        self.boxes: list[list[np.ndarray | None]] = []
        self.fresh: list[bool] = []

    def __call__(self, image: np.ndarray, box: npt.ArrayLike | None, fresh: bool) -> FrameResult:
        number = len(self.boxes) - 1
        self.boxes[-1].append(None if box is None else np.asarray(box))
        self.fresh[number:] = [fresh]
        pose = (self.searched if box is None else self.poses)[number]
        return FrameResult(Versions(pose, self.report(pose)), **self.fields(number, box is None))

    def run(self, *, smooth: bool = False, **options: object) -> list[HandPose]:
        tracker = Tracker(self, smooth=smooth, **options)  # type: ignore[arg-type]
        tracked = []
        for number in range(len(self.poses)):
            self.boxes.append([])
            tracked.append(tracker(BLACK, number / 30))
        return tracked

    @property
    def searches(self) -> list[int]:
        """Numbers of the frames that were searched as a whole."""
        return [number for number, boxes in enumerate(self.boxes) if any(box is None for box in boxes)]
