"""MediaPipe's hand landmark network, which is trained on real hands: reads the joints of one hand.

It takes a crop around a hand that points up, and predicts the joints in it, whether it shows a hand, and which. The
crop follows MediaPipe's own rule (hand_landmark_landmarks_to_roi.pbtxt), except for its size. Left hands are shown to
it as right ones in the mirror image, so that a picture and its mirror image give the same results (except where the
side is not known yet, `hand_detector`).
"""

from pathlib import Path
from typing import Final, NamedTuple, Unpack

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.data.transforms import crop_image
from unclasp.engines.onnx_engine import NetworkSpec, Runner, RunnerOptions, open_runner
from unclasp.find.boxes import snapped, snapped_rotation
from unclasp.hands import HAND_ORDERS, Side

SIZE: Final = 224
"""Side of the network's crop, px."""
OUTPUTS: Final = ("joints", "hand", "right", "features")
"""(1, 21, 3) crop px in MediaPipe's order, with depths; (1, 1) probability of a hand; (1, 1) probability of a right
one; (1, `FEATURES`) the features that these are computed from."""
FEATURES: Final = 1152
"""Number of features, none of which is negative."""

LANDMARKS: Final = NetworkSpec(
    "landmark network", "landmarks.onnx", SIZE, OUTPUTS, ((1, 21, 3), (1, 1), (1, 1), (1, FEATURES)),
    "leave it out: --no-landmarks, landmarks=False",
)  # fmt: skip
_TO_MEDIAPIPE: Final = HAND_ORDERS["mediapipe"]
_FROM_MEDIAPIPE: Final = np.argsort(_TO_MEDIAPIPE)
_WRIST: Final = 0
_KNUCKLES: Final = [5, 9, 9, 13]
"""MediaPipe's joints towards which the hand points from the wrist; the middle finger's knuckle has twice the weight of
each of its two neighbours."""
_FRAMED: Final = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
"""MediaPipe's joints that the crop is laid around: the palm, and the next joint of each finger."""
_CROP_SCALE: Final = 1.8
"""Side of the crop over the extent of these joints; MediaPipe has 2, which is worse on rendered hands and no better on
real ones."""
_SHIFT_SHARE: Final = 0.1
"""Shift of the crop's middle towards the fingertips, as a share of these joints' extent."""


class LandmarkReading(NamedTuple):
    """The outputs of the landmark network for one crop."""

    joints_2d: Floats
    """(21, 2) px of the picture, in InterHand2.6M's order."""
    hand_score: float
    """Probability that there is a hand, 0 to 1."""
    side_score: float
    """Probability that it is of the requested side, 0 to 1."""
    joints: Floats
    """(21, 3) px of the crop, in which any hand is a right one, in the same order; smaller depths are nearer to the
    camera."""
    features: Floats
    """(`FEATURES`,) what the network computes its outputs from."""
    crop_from_image: Floats
    """3x3, pixels of the picture to those of the crop, which is mirrored for left hands."""

    @property
    def score(self) -> float:
        """Probability that there is a hand of the requested side, 0 to 1."""
        return self.hand_score * self.side_score

    @property
    def finite(self) -> bool:
        """Whether all values are finite."""
        return all(bool(np.isfinite(values).all()) for values in self)


class Landmarks:
    """Reads the joints of single hands with the landmark network.

    Args:
        run: Runs the network.
    """

    def __init__(self, run: Runner) -> None:
        self.run = run

    def __call__(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
        """Read a hand.

        Args:
            image: (H, W, 3) RGB.
            joints_2d: (21, 2) px: approximate joints, in InterHand2.6M's order.
            side: The side of the hand, the person's own.
        """
        width, mirrored = image.shape[1], side == "left"
        as_right_hand = geometry.apply_affine(geometry.flip_matrix(width), joints_2d) if mirrored else joints_2d
        return self.read(image, *crop_of(as_right_hand), mirrored=mirrored)

    def read(self, image: Pixels, square: Floats, rotation: float, *, mirrored: bool = False) -> LandmarkReading:
        """Read the hand in a crop of the picture or of its mirror image, where the requested side is the right one.

        Args:
            image: (H, W, 3) RGB.
            square: (4,) x1, y1, x2, y2 px, of the mirror image if `mirrored`.
            rotation: Degrees clockwise by which the hand is turned from pointing up, in the same.
            mirrored: Use the mirror image.
        """
        square, rotation = snapped(square, image, SIZE), snapped_rotation(rotation)
        box = geometry.turned_box(square, SIZE, rotation)
        if mirrored:
            box = geometry.mirror_box(box, image.shape[1])
        crop = crop_image(image, box, SIZE, rotation=rotation, flip=mirrored)
        joints, hand, right, features = self.run(crop.image)
        crop_joints = joints[0, _FROM_MEDIAPIPE].astype(np.float64)
        return LandmarkReading(
            geometry.apply_affine(crop.image_from_crop, crop_joints[:, :2]), float(hand[0, 0]), float(right[0, 0]),
            crop_joints, features[0], crop.crop_from_image,
        )  # fmt: skip


def crop_of(joints_2d: Floats) -> tuple[Floats, float]:
    """Return the network's crop for a hand: a square (4,) x1, y1, x2, y2 px and its rotation in degrees clockwise.

    Args:
        joints_2d: (21, 2) px, in InterHand2.6M's order.
    """
    joints = joints_2d[_TO_MEDIAPIPE]
    x, y = joints[_KNUCKLES].mean(axis=0) - joints[_WRIST]
    angle = np.arctan2(x, -y)
    cos, sin = np.cos(angle), np.sin(angle)
    picture_from_upright = np.array([[cos, -sin], [sin, cos]])
    upright = joints[_FRAMED] @ picture_from_upright
    low, high = upright.min(axis=0), upright.max(axis=0)
    middle = picture_from_upright @ ((low + high) / 2 - [0, _SHIFT_SHARE * (high[1] - low[1])])
    half = max(_CROP_SCALE * float((high - low).max()), 1.0) / 2
    return geometry.square_around(middle, half), float(np.rad2deg(angle))


def open_landmarks(weights: Path | str | None = None, **options: Unpack[RunnerOptions]) -> Landmarks:
    """Open a file written by `unclasp landmarks`, or the shipped one, as `onnx_engine.open_runner` does."""
    return Landmarks(open_runner(LANDMARKS, weights, **options))
