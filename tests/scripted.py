"""A tracker's frames by script: the poses that are seen in each are given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from poses import HEIGHT, WIDTH
from unclasp.follow.frame_result import FrameResult
from unclasp.follow.tracking import Tracker
from unclasp.pose import HandPose

BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
Tells = Callable[[HandPose], HandPose]
Words = Callable[[int, bool], dict[str, Any]]
"""Number of a frame, and whether it was searched, to what else a sighting says."""


class Script:
    """Answers with given poses, one per frame; what it says of the whole picture may differ from what it says of a box.

    `asked` holds the boxes of each frame, `fresh` whether nothing was known in the last look of each.
    """

    def __init__(
        self, poses: list[HandPose], searched: list[HandPose] | None = None, *, tells: Tells = lambda pose: pose,
        words: Words = lambda number, searched: {},
    ) -> None:  # fmt: skip
        self.poses, self.searched, self.tells, self.words = poses, searched or poses, tells, words
        self.asked: list[list[np.ndarray | None]] = []
        self.fresh: list[bool] = []

    def __call__(self, image: np.ndarray, box: npt.ArrayLike | None, fresh: bool) -> FrameResult:
        number = len(self.asked) - 1
        self.asked[-1].append(None if box is None else np.asarray(box))
        self.fresh[number:] = [fresh]
        pose = (self.searched if box is None else self.poses)[number]
        return FrameResult(pose, self.tells(pose), **self.words(number, box is None))

    def run(self, *, smooth: bool = False, **options: object) -> list[HandPose]:
        tracker = Tracker(self, smooth=smooth, **options)  # type: ignore[arg-type]
        given = []
        for number in range(len(self.poses)):
            self.asked.append([])
            given.append(tracker(BLACK, number / 30))
        return given

    @property
    def searches(self) -> list[int]:
        """The frames that were searched all over."""
        return [number for number, asked in enumerate(self.asked) if any(box is None for box in asked)]
