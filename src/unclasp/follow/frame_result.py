"""What is seen in one frame of a video, for the tracker."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray
from unclasp.hands import FLIPPED_JOINTS
from unclasp.pose import HandPose

Floats = npt.NDArray[np.floating]


class FrameResult(NamedTuple):
    """The hands of one frame, twice: both poses are of the same hands in the same slots."""

    tracked: HandPose
    """What all decisions rest on: where to look next, which hand is which, whether it is there."""
    reported: HandPose
    """What comes out, which may be nearer to the truth, but not what the thresholds of `tracking` were chosen with."""
    is_known: bool = True
    """Whether the frame, taken as a photo, would be said to show hands (`CropResult.is_credible`)."""
    detection_score: float = 0.0
    """How much speaks for all of its hands (`CropResult.detection_score`)."""
    hand_evidence: Floats | None = None
    """(2,) how much speaks for each, 0 to 1 (`Look.evidence`); None where nothing tells, or nothing has to."""

    def map(self, change: Callable[[HandPose], HandPose]) -> "FrameResult":
        """Return both poses changed; it is done once where they are the same."""
        followed = change(self.tracked)
        return self._replace(
            tracked=followed, reported=followed if self.reported is self.tracked else change(self.reported)
        )

    def exchanged(self) -> "FrameResult":
        """Return the hands in each other's slots."""
        evidence = None if self.hand_evidence is None else self.hand_evidence[::-1]
        return self.map(exchanged)._replace(hand_evidence=evidence)


class PredictFrame(Protocol):
    """Sees the hands of a frame."""

    def __call__(self, image: ByteArray, box: npt.ArrayLike | None, /, *, fresh: bool) -> FrameResult:
        """Return what is seen.

        Args:
            image: (H, W, 3) RGB.
            box: (4,) x1, y1, x2, y2 px, as annotated; None: look in the whole picture.
            fresh: Nothing is known of where the hands are, so that it is worth looking harder.
        """
        ...


def exchanged(pose: HandPose) -> HandPose:
    """Return the pose with the hands in each other's slots: nothing moves, sides change."""
    return replace(
        pose,
        joints_2d=pose.joints_2d[FLIPPED_JOINTS],
        joints_3d=pose.joints_3d[FLIPPED_JOINTS],
        joints_cam=pose.joints_cam[FLIPPED_JOINTS],
        presence=pose.presence[::-1],
        confidence=None if pose.confidence is None else pose.confidence[FLIPPED_JOINTS],
        present=pose.present[::-1],
    )
