"""The hands predicted in one video frame, as the tracker needs them."""

from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Bools, Floats, Pixels
from unclasp.find.versions import Versions
from unclasp.hands import FLIPPED_JOINTS
from unclasp.pose import HandPose, present_hands


class FrameResult(NamedTuple):
    """The hands of one frame."""

    poses: Versions[HandPose]
    """The pose for the tracker's decisions (where the next crop is, which hand is which, and whether it is present),
    and the pose to return to the caller."""
    is_known: bool = True
    """Whether the frame, as a photo, would count as showing hands (`credibility.is_credible`)."""
    detection_score: float = 0.0
    """Detection score of all its hands together (`credibility.detection_score`)."""
    hand_evidence: Floats | None = None
    """(2,) evidence for each hand, 0 to 1 (`credibility.hand_evidence`); None if the networks predict none, or if the
    hands are given."""
    are_faces: Bools | None = None
    """(2,) whether each hand is rather a face (`FacesIn.among`); None if nothing is known of faces."""

    @property
    def tracked(self) -> HandPose:
        """The pose for the tracker's decisions."""
        return self.poses.tracked

    @property
    def is_rejected(self) -> bool:
        """Whether the network predicts hands that were all rejected (`credibility.is_credible`)."""
        return bool(present_hands(self.tracked.presence).any()) and not self.tracked.present.any()

    @property
    def credible_presence(self) -> Floats:
        """(2,) presence of each hand; zeros if the hands were rejected."""
        return np.zeros(2) if self.is_rejected else self.tracked.presence

    def exchanged(self) -> "FrameResult":
        """Return the result with the hands in each other's slots."""
        evidence = None if self.hand_evidence is None else self.hand_evidence[::-1]
        are_faces = None if self.are_faces is None else self.are_faces[::-1]
        return self._replace(poses=self.poses.map(exchanged), hand_evidence=evidence, are_faces=are_faces)


class PredictFrame(Protocol):
    """Predicts the hands of a video frame."""

    def __call__(self, image: Pixels, box: npt.ArrayLike | None, /, *, fresh: bool) -> FrameResult:
        """Predict the hands of a frame.

        Args:
            image: (H, W, 3) RGB.
            box: (4,) x1, y1, x2, y2 px, as annotated; None to search the whole frame.
            fresh: No hands are tracked yet, or another one is looked for, so a more thorough search pays off.
        """
        ...


def exchanged(pose: HandPose) -> HandPose:
    """Return the pose with the hands in each other's slots: the joints stay in place and the sides are swapped."""
    return replace(
        pose,
        joints_2d=pose.joints_2d[FLIPPED_JOINTS],
        joints_3d=pose.joints_3d[FLIPPED_JOINTS],
        joints_cam=pose.joints_cam[FLIPPED_JOINTS],
        presence=pose.presence[::-1],
        confidence=None if pose.confidence is None else pose.confidence[FLIPPED_JOINTS],
        present=pose.present[::-1],
    )
