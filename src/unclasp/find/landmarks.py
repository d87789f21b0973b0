"""MediaPipe's hand landmark network, which has learned from real hands: where it sees the joints of one hand.

It takes a crop around a hand that points up, and tells the joints in it, whether it shows a hand, and which. Its crop
is MediaPipe's own rule (hand_landmark_landmarks_to_roi.pbtxt), but for the room. Left hands are shown to it as the
right ones of the mirror image, so that pictures and their mirror images have the same answers (but where the side is
not known yet, `hand_detector`).
"""

from pathlib import Path
from typing import Final, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.data.transforms import crop_image
from unclasp.engines.onnx_engine import NetworkSpec, Runner, RunnerOptions, open_runner
from unclasp.hands import HAND_ORDERS, Side

Floats = npt.NDArray[np.floating]

SIZE: Final = 224
"""px: side of its crop."""
OUTPUTS: Final = ("joints", "hand", "right", "features")
"""(1, 21, 3) crop px in MediaPipe's order, with depths; (1, 1) each how likely there is a hand, and it is a right one;
(1, `FEATURES`) what it reads that from."""
FEATURES: Final = 1152
"""How many numbers that are, none negative."""

LANDMARKS: Final = NetworkSpec(
    "landmark network", "landmarks.onnx", SIZE, OUTPUTS, ((1, 21, 3), (1, 1), (1, 1), (1, FEATURES)),
    "leave it out: --no-landmarks, landmarks=False",
)  # fmt: skip
_TO_MEDIAPIPE: Final = HAND_ORDERS["mediapipe"]
_FROM_MEDIAPIPE: Final = np.argsort(_TO_MEDIAPIPE)
_WRIST: Final = 0
_KNUCKLES: Final = [5, 9, 9, 13]
"""MediaPipe's joints that the wrist points to: the middle finger's knuckle counts as much as both beside it."""
_FRAMED: Final = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
"""MediaPipe's joints that the crop is laid around: the palm, and each finger's next joint."""
_ROOM: Final = 1.8
"""Side of the crop over theirs; MediaPipe has 2, which is worse on rendered hands and no better on real ones."""
_HIGHER: Final = 0.1
"""The crop's middle is this share of their extent nearer to the fingertips."""


class LandmarkReading(NamedTuple):
    """What the network sees in a crop."""

    joints_2d: Floats
    """(21, 2) px of the picture, in InterHand2.6M's order."""
    hand_score: float
    """How likely there is a hand, 0 to 1."""
    side_score: float
    """How likely it is of the side that was asked for, 0 to 1."""
    joints: Floats
    """(21, 3) px of the crop, in which any hand is a right one, in the same order; smaller depths are nearer."""
    features: Floats
    """(`FEATURES`,) what the network reads its answers from."""
    crop_from_image: Floats
    """3x3, pixels of the picture to those of the crop: mirrored for left hands."""

    @property
    def finite(self) -> bool:
        """Whether all of it can be used."""
        return all(bool(np.isfinite(each).all()) for each in self)


class Landmarks:
    """Reads the joints of single hands.

    Args:
        run: The network.
    """

    def __init__(self, run: Runner) -> None:
        self.run = run

    def __call__(self, image: ByteArray, joints_2d: Floats, side: Side) -> LandmarkReading:
        """Read a hand.

        Args:
            image: (H, W, 3) RGB.
            joints_2d: (21, 2) px: where about they are, in InterHand2.6M's order.
            side: The person's own.
        """
        width, mirrored = image.shape[1], side == "left"
        shown = geometry.apply_affine(geometry.flip_matrix(width), joints_2d) if mirrored else joints_2d
        return self.read(image, *crop_of(shown), mirrored=mirrored)

    def read(self, image: ByteArray, square: Floats, rotation: float, *, mirrored: bool = False) -> LandmarkReading:
        """Read what is in a crop of the picture, or of its mirror image; the side that is asked for is right there.

        Args:
            image: (H, W, 3) RGB.
            square: (4,) x1, y1, x2, y2 px, in the mirror image if that is shown.
            rotation: Degrees clockwise by which the hand is turned from pointing up, in the same.
            mirrored: Show the mirror image.
        """
        box = geometry.turned_box(square, SIZE, rotation)
        if mirrored:
            box = geometry.mirror_box(box, image.shape[1])
        crop = crop_image(image, box, SIZE, rotation=rotation, flip=mirrored)
        joints, hand, right, features = self.run(crop.image)
        read = joints[0, _FROM_MEDIAPIPE].astype(np.float64)
        return LandmarkReading(
            geometry.apply_affine(crop.image_from_crop, read[:, :2]), float(hand[0, 0]), float(right[0, 0]), read,
            features[0], crop.crop_from_image,
        )  # fmt: skip


def crop_of(joints_2d: Floats) -> tuple[Floats, float]:
    """Return the square (4,) x1, y1, x2, y2 px around a hand, and the degrees clockwise by which it is turned.

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
    middle = picture_from_upright @ ((low + high) / 2 - [0, _HIGHER * (high[1] - low[1])])
    half = max(_ROOM * float((high - low).max()), 1.0) / 2
    return np.concatenate([middle - half, middle + half]), float(np.rad2deg(angle))


def open_landmarks(weights: Path | str | None = None, **options: Unpack[RunnerOptions]) -> Landmarks:
    """Open a file of `unclasp landmarks`, or the shipped one.

    Args:
        weights: Ends in .onnx.
        options: As of `onnx_engine.open_runner`.

    Raises:
        CheckpointError: The file is missing, damaged or another network.
    """
    return Landmarks(open_runner(LANDMARKS, weights, **options))
