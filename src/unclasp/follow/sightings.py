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


class Sighting(NamedTuple):
    """The hands of one frame, twice: both poses are of the same hands in the same slots."""

    followed: HandPose
    """What all decisions rest on: where to look next, which hand is which, whether it is there."""
    told: HandPose
    """What comes out, which may be nearer to the truth, but not what the thresholds of `tracking` were chosen with."""
    is_known: bool = True
    """Whether a photo of them, of which nothing else is known, would be told to show hands (`Look.is_believed`)."""
    worth: float = 0.0
    """How much speaks for all of its hands (`Look.worth`)."""
    evidence: Floats | None = None
    """(2,) how much speaks for each, 0 to 1 (`Look.evidence`); None where nothing tells, or nothing has to."""

    def each(self, change: Callable[[HandPose], HandPose]) -> "Sighting":
        """Return both poses changed; it is done once where they are the same."""
        followed = change(self.followed)
        return self._replace(followed=followed, told=followed if self.told is self.followed else change(self.told))

    def exchanged(self) -> "Sighting":
        """Return the hands in each other's slots."""
        evidence = None if self.evidence is None else self.evidence[::-1]
        return self.each(exchanged)._replace(evidence=evidence)


class SeeFrame(Protocol):
    """Sees the hands of a frame."""

    def __call__(self, image: ByteArray, box: npt.ArrayLike | None, /, *, anew: bool) -> Sighting:
        """Return what is seen.

        Args:
            image: (H, W, 3) RGB.
            box: (4,) x1, y1, x2, y2 px, as annotated; None: look in the whole picture.
            anew: Nothing is known of where the hands are, so that it is worth looking harder.
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
