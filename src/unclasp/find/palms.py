"""MediaPipe's palm detector, which is trained on real hands: finds palms in a whole picture.

It runs on squares of any size: at its own, 192 px, it finds hands that fill much of the picture, at larger ones smaller
hands. It mostly misses two hands that clasp each other, which the finder is for.
"""

from pathlib import Path
from typing import Final, NamedTuple, Unpack

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.engines.onnx_engine import NetworkSpec, Runner, RunnerOptions, open_runner
from unclasp.find.anchors import OUTPUTS, detections, output_shapes
from unclasp.find.letterbox import letterbox

SIZE: Final = 192
"""Side of the squares that it is trained on, px."""
PALMS: Final = NetworkSpec(
    "palm detector", "palms.onnx", SIZE, OUTPUTS, output_shapes(SIZE, keypoints=7),
    "leave it out: --no-landmarks, landmarks=False",
)  # fmt: skip

MIN_SCORE: Final = 0.3
"""Palms whose score is below this are dropped; MediaPipe uses 0.5, but without a second network that checks each
palm."""
_WRIST, _KNUCKLE = 0, 2
"""Keypoints: the wrist and the middle finger's knuckle."""
_HAND_SCALE: Final = 2.6
"""Side of the square around a hand over that of its palm's box (MediaPipe's palm_detection_detection_to_roi.pbtxt)."""
_HAND_SHIFT: Final = 0.5
"""Shift of that square from the palm towards the fingers, in sides of the palm's box (the same file)."""


class Palm(NamedTuple):
    """A palm in a picture."""

    score: float
    """Probability that it is a palm, 0 to 1."""
    middle: Floats
    """(2,) px: the middle of its box."""
    wrist: Floats
    """(2,) px."""
    knuckle: Floats
    """(2,) px: the middle finger's."""
    side: float
    """px: the longer side of its box."""

    def moved(self, offset: Floats) -> "Palm":
        """Return the palm shifted by (2,) px."""
        return self._replace(middle=self.middle + offset, wrist=self.wrist + offset, knuckle=self.knuckle + offset)

    def around_hand(self) -> tuple[Floats, float]:
        """Return the square (4,) px around the hand, and the degrees clockwise by which the hand is turned in it."""
        x, y = self.knuckle - self.wrist
        angle = np.arctan2(x, -y)
        middle = self.middle + _HAND_SHIFT * self.side * np.array([np.sin(angle), -np.cos(angle)])
        half = _HAND_SCALE * self.side / 2
        return geometry.square_around(middle, half), float(np.rad2deg(angle))


class PalmDetector:
    """Finds palms in whole pictures with the palm detector.

    Args:
        run: Runs the network.
    """

    def __init__(self, run: Runner) -> None:
        self.run = run

    def __call__(self, image: Pixels, size: int = SIZE) -> list[Palm]:
        """Return the palms in a picture, by descending score; there may be none.

        Args:
            image: (H, W, 3) RGB.
            size: Side of the square that it is letterboxed into, px; a multiple of 32.
        """
        square = letterbox(image, size)
        found = detections(self.run(square.image), size, MIN_SCORE)
        points = [[palm.middle, palm.keypoints[_WRIST], palm.keypoints[_KNUCKLE]] for palm in found]
        in_picture = square.to_picture(np.reshape(points, (-1, 3, 2)))
        return [
            Palm(palm.score, middle, wrist, knuckle, float((palm.extent / square.scale).max()))
            for palm, (middle, wrist, knuckle) in zip(found, in_picture, strict=True)
        ]


def open_palms(weights: Path | str | None = None, **options: Unpack[RunnerOptions]) -> PalmDetector:
    """Open a file written by `unclasp palms`, or the shipped one, as `onnx_engine.open_runner` does."""
    return PalmDetector(open_runner(PALMS, weights, **options))
