"""Training data from pictures without annotations: what the whole prediction says of them (pseudo-labels).

The pose network is trained on rendered hands. A prediction also uses networks that know real hands, the landmark
network above all, so what it is certain of in photographs is closer to the truth than what the pose network alone
predicts there, and can be trained on (Lee, Pseudo-Label, ICML 2013 workshop).
"""

from typing import Final

import cv2
import numpy as np

from unclasp import geometry
from unclasp.arrays import Bools, Floats, Pixels
from unclasp.batch import Sample
from unclasp.errors import UnclaspError
from unclasp.exposure import brightened
from unclasp.hands import HAND_SLICES, JOINTS_PER_HAND, ROOTS, SIDES
from unclasp.pose import HandPose

MIN_CONFIDENCE: Final = 0.5
"""Mean confidence from which the joints of a hand are trained on."""
MIN_JOINT_CONFIDENCE: Final = 0.25
"""Confidence from which a joint of such a hand is."""
MAX_PRESENCE_ABSENT: Final = 0.3
"""A hand that is not reported counts as absent below this presence; otherwise nothing is said of the hand types."""
_AROUND: Final = 2.6
"""Side of the picture that is kept, in sides of the box around the hands: what augmentation can see."""
_MAX_SIDE: Final = 230
"""The box has at most this side in px then: more is lost in the crop."""


def sample_of(pose: HandPose, *, min_confidence: float = MIN_CONFIDENCE) -> Sample | None:
    """Return a predicted pose as a sample with the picture around its hands, or None if no hand is certain.

    Joints of hands that are in doubt or not certain, and joints that are not certain themselves, are not valid. The
    hand types are valid if all reported hands are certain and the others hardly present. There are no part masks. Dark
    pictures are brightened, as they are for the network.

    Args:
        pose: The pose, with its picture; not of a mirror image.
        min_confidence: Mean confidence, 0 to 1, from which a hand is certain.

    Raises:
        UnclaspError: The pose has no picture or no confidences, or is that of a mirror image.
    """
    if pose.image is None or pose.confidence is None:
        raise UnclaspError(
            "labels need a pose with its picture and confidences; unclasp calibrate gives a trained model the latter"
        )
    if pose.mirrored:
        raise UnclaspError("labels need poses of pictures that are no mirror images: mirror the picture instead")
    certain = _certain_hands(pose, pose.confidence, min_confidence)
    if not certain.any():
        return None
    absent = ~pose.present
    types_known = bool((certain == pose.present).all() and (pose.presence[absent] < MAX_PRESENCE_ABSENT).all())
    valid: Bools = np.repeat(certain, JOINTS_PER_HAND) & (pose.confidence >= MIN_JOINT_CONFIDENCE)
    valid[list(ROOTS)] |= certain  # without its wrist, a hand could not be used
    image, corner, scale, tight = _cut(pose, pose.image)
    box = geometry.expand_box(_moved(tight, np.tile(corner, 2), scale), geometry.TIGHT_TO_ANNOTATED)
    return Sample(
        image=image, joints_cam=pose.joints_cam.astype(np.float32), valid=valid,
        focal=(np.array(pose.camera.focal) * scale).astype(np.float32),
        princpt=_moved(np.array(pose.camera.princpt), corner, scale).astype(np.float32), box=box.astype(np.float32),
        hand_type=pose.present.copy(), hand_type_valid=types_known, parts=None, name=str(pose.source),
    )  # fmt: skip


def _cut(pose: HandPose, image: Pixels) -> tuple[Pixels, Floats, float, Floats]:
    """Cut the picture around the hands, and make it smaller if they are large in it.

    Returns:
        The cut-out, where its corner was (2,), the factor of its size, and the tight box around the hands (4,) before.
    """
    tight = geometry.tight_box(pose.joints_2d[np.repeat(pose.present, JOINTS_PER_HAND)])
    height, width = image.shape[:2]
    left, top, right, bottom = geometry.square_box(tight, _AROUND).round().astype(int).tolist()
    left, top = max(left, 0), max(top, 0)
    cut = brightened(image)[top : min(bottom, height), left : min(right, width)]
    scale = min(1.0, _MAX_SIDE / float((tight[2:] - tight[:2]).max()))
    if scale < 1:
        cut = np.asarray(cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.ascontiguousarray(cut), np.array([left, top]), scale, tight


def _certain_hands(pose: HandPose, confidence: Floats, min_confidence: float) -> Bools:
    """Return which hands can be trained on: (2,), right and left."""
    means = np.array([confidence[joints].mean() for joints in HAND_SLICES])
    doubted = np.array([side in pose.doubted for side in SIDES])
    return np.asarray(pose.present & ~doubted & (means >= min_confidence))


def _moved(points: Floats, corner: Floats, scale: float) -> Floats:
    """Return pixels of a picture as those of a part of it from `corner` on, resized; pixel centres are at integers."""
    return (points - corner + 0.5) * scale - 0.5
