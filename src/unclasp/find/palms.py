"""MediaPipe's palm detector, which is trained on real hands: finds palms in a whole picture.

It runs on squares of any size: at its own, 192 px, it finds hands that fill much of the picture, at larger ones smaller
hands. It mostly misses two hands that clasp each other, which the finder is for.
"""

from pathlib import Path
from typing import Final, NamedTuple, Unpack

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats, Pixels, Singles
from unclasp.engines.onnx_engine import NetworkSpec, Runner, RunnerOptions, open_runner
from unclasp.find.letterbox import letterbox

SIZE: Final = 192
"""Side of the squares that it is trained on, px."""
OUTPUTS: Final = ("fine_scores", "fine_places", "coarse_scores", "coarse_places")
"""As of `model.palms.PalmOutput`."""
PALMS: Final = NetworkSpec(
    "palm detector", "palms.onnx", SIZE, OUTPUTS,
    ((1, 2, SIZE // 8, SIZE // 8), (1, 36, SIZE // 8, SIZE // 8),
     (1, 6, SIZE // 16, SIZE // 16), (1, 108, SIZE // 16, SIZE // 16)),
    "leave it out: --no-landmarks, landmarks=False",
)  # fmt: skip

MIN_SCORE: Final = 0.3
"""Palms whose score is below this are dropped; MediaPipe uses 0.5, but without a second network that checks each
palm."""
_NMS_IOU: Final = 0.3
"""If the IoU of a box with one of a higher score is above this, both are the same palm."""
_VALUES_PER_PALM: Final = 18
_MIDDLE, _EXTENT, _KEYPOINTS = slice(0, 2), slice(2, 4), slice(4, 18)
"""Columns of the box's middle, the box's size and the seven keypoints in the values of a palm."""
_PALM_POINTS: Final = [0, 1, 4, 5, 8, 9]
"""Columns of the box's middle, of the wrist, which is the first keypoint, and of the middle finger's knuckle, which is
the third."""
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
        fine_scores, fine_places, coarse_scores, coarse_places = self.run(square.image)
        decoded = [
            _decode_map(fine_scores[0], fine_places[0], size),
            _decode_map(coarse_scores[0], coarse_places[0], size),
        ]
        scores, values = (np.concatenate(each) for each in zip(*decoded, strict=True))
        distinct = _weighted_nms(scores, values)
        points = square.to_picture(np.array([palm[_PALM_POINTS] for _, palm in distinct]).reshape(-1, 3, 2))
        return [
            Palm(score, middle, wrist, knuckle, float((palm[_EXTENT] / square.scale).max()))
            for (score, palm), (middle, wrist, knuckle) in zip(distinct, points, strict=True)
        ]


def _decode_map(scores: Singles, values: Singles, size: int) -> tuple[Floats, Floats]:
    """Return the palms on a map whose score is at least `MIN_SCORE`: (N,) scores and (N, 18) values, px of the square.

    Args:
        scores: (A, M, M), of A anchors in each cell.
        values: (A * 18, M, M), relative to the cells' middles.
        size: Side of the square, px.
    """
    anchors, rows, columns = np.nonzero(scores >= MIN_SCORE)
    decoded = values.reshape(len(scores), _VALUES_PER_PALM, *values.shape[1:])[anchors, :, rows, columns].astype(
        np.float64
    )
    middles = (np.column_stack([columns, rows]) + 0.5) * (size / scores.shape[-1]) - 0.5
    decoded[:, _MIDDLE] += middles
    decoded[:, _KEYPOINTS] += np.tile(middles, _VALUES_PER_PALM // 2 - 2)
    usable = np.isfinite(decoded).all(axis=1) & (decoded[:, _EXTENT] > 0).all(axis=1)
    return scores[anchors, rows, columns].astype(np.float64)[usable], decoded[usable]


def _weighted_nms(scores: Floats, values: Floats) -> list[tuple[float, Floats]]:
    """Merge detections of the same palm: the highest score, and the mean of the values, weighted by the scores.

    Args:
        scores: (N,).
        values: (N, 18).
    """
    half = values[:, _EXTENT] / 2
    low, high, area = values[:, _MIDDLE] - half, values[:, _MIDDLE] + half, values[:, _EXTENT].prod(axis=1)
    remaining = np.argsort(-scores, kind="stable")
    distinct = []
    while len(remaining):
        best = remaining[0]
        sides = np.minimum(high[remaining], high[best]) - np.maximum(low[remaining], low[best])
        overlap = np.maximum(sides, 0).prod(axis=1)
        is_same = overlap > _NMS_IOU * (area[remaining] + area[best] - overlap)
        is_same[0] = True
        same = remaining[is_same]
        distinct.append((float(scores[best]), np.average(values[same], axis=0, weights=scores[same])))
        remaining = remaining[~is_same]
    return distinct


def open_palms(weights: Path | str | None = None, **options: Unpack[RunnerOptions]) -> PalmDetector:
    """Open a file written by `unclasp palms`, or the shipped one.

    Args:
        weights: Ends in .onnx.
        options: As of `onnx_engine.open_runner`.

    Raises:
        CheckpointError: The file is missing, damaged or another network.
    """
    return PalmDetector(open_runner(PALMS, weights, **options))
