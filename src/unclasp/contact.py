"""Whether the two hands touch, from their predicted joints.

Data sets have joints, but hardly any say whether hands touch. Hands therefore count as touching if their nearest joints
are at most `CONTACT_MM` apart.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Doubles, Floats
from unclasp.hands import HAND_JOINT_NAMES, HAND_SLICES

CONTACT_MM: Final = 30.0
"""Distance of the nearest joints up to which hands count as touching. Of rendered pairs whose surfaces touch, 95 % are
within it, and of the others 5 % (docs/decisions.md)."""
CONTACT_PROBABILITY: Final = 0.5
"""From this probability on hands are said to touch."""

_PAIRS_IN_VIEW: Final = 5
"""As seen from the camera, the mean of this many shortest distances between joints counts; it varies less than one."""
_FAR_MM: Final = 150.0
"""Longer distances count as this one."""


class Contact(NamedTuple):
    """How near two hands are to each other."""

    probability: float | None
    """That they touch, that is, that their nearest joints are within `CONTACT_MM`; None without confidences."""
    distance: float
    """mm between the nearest joints, centre to centre: those of fingers that touch are some 15 mm apart."""
    right: str
    """The right hand's nearest joint, one of `HAND_JOINT_NAMES`."""
    left: str
    """The left hand's."""
    doubted: bool = False
    """A hand is in doubt, and with it all that is said here."""

    @property
    def is_likely(self) -> bool:
        """Whether the hands more likely touch than not; false without a probability, or if a hand is in doubt."""
        return self.probability is not None and self.probability >= CONTACT_PROBABILITY and not self.doubted

    def to_dict(self) -> dict[str, bool | float | str | None]:
        """Return the JSON form (docs/json-schema.md)."""
        probability = None if self.probability is None else round(self.probability, 4)
        return {
            "likely": self.is_likely, "probability": probability, "distance": round(self.distance, 2),
            "right": self.right, "left": self.left,
        }  # fmt: skip


def contact_between(joints_cam: Floats, confidence: Floats | None, *, doubted: bool = False) -> Contact:
    """Return how near the hands are to each other, and the probability that they touch.

    In depth, joints of different hands are less exact than in the picture, the more so the lower the confidence. So the
    logit has the distances in 3D and as seen from the camera, and the one in 3D counts by the confidence in the less
    certain hand. Its four numbers were fitted to 6,677 pairs of synthetic:train as predicted, each with the true and
    with the assumed camera.

    Args:
        joints_cam: (42, 3) mm in the camera frame.
        confidence: (42,) 0 to 1, or None if the network does not predict it.
        doubted: See `Contact`.
    """
    distances = _distances(joints_cam)
    right, left = np.unravel_index(distances.argmin(), distances.shape)
    probability = None
    if confidence is not None:
        certainty = min(float(confidence[hand].mean()) for hand in HAND_SLICES)
        seen = np.partition(_distances(_as_seen(joints_cam)).ravel(), _PAIRS_IN_VIEW)[:_PAIRS_IN_VIEW]
        in_space, in_view = (min(float(mm), _FAR_MM) / CONTACT_MM for mm in (distances.min(), seen.mean()))
        logit = 1.9 + certainty * (3.6 - 2.4 * in_space) - 1.6 * in_view
        probability = (1 + math.tanh(logit / 2)) / 2  # the sigmoid, which this way does not overflow
    return Contact(probability, float(distances.min()), HAND_JOINT_NAMES[right], HAND_JOINT_NAMES[left], doubted)


def truly_touch(joints_cam: Floats) -> bool:
    """Tell whether the nearest joints of the ground truth (42, 3) mm are within `CONTACT_MM`."""
    return bool(_distances(joints_cam).min() <= CONTACT_MM)


def _distances(joints: Floats) -> Doubles:
    """Return the distance between each joint of the right and each of the left hand: (21, 21) for joints (42, D)."""
    right, left = (joints[hand].astype(np.float64) for hand in HAND_SLICES)
    return np.asarray(np.linalg.norm(right[:, None] - left[None], axis=-1))


def _as_seen(joints_cam: Floats) -> Floats:
    """Project joints (42, 3) from the camera's centre onto the plane at their mean depth: (42, 2) mm."""
    depths = np.maximum(joints_cam[:, 2:], 1.0)  # behind the camera there is no picture
    return np.asarray(joints_cam[:, :2] / depths * depths.mean())
