"""MediaPipe's palm detector, which has learned from real hands: where it sees palms in a whole picture.

It answers for squares of any size: at its own, 192 px, it sees hands that fill much of the picture, at larger ones the
smaller hands. Two hands that clasp each other it mostly misses, which is what the finder is for.
"""

from pathlib import Path
from typing import Final, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from unclasp.batch import ByteArray, FloatArray
from unclasp.engines.onnx_engine import NetworkSpec, Runner, RunnerOptions, open_runner
from unclasp.find.finder import letterbox

Floats = npt.NDArray[np.floating]

SIZE: Final = 192
"""px: side of the squares that it has learned from."""
OUTPUTS: Final = ("fine_scores", "fine_places", "coarse_scores", "coarse_places")
"""As of `model.palms.PalmAnswer`."""
PALMS: Final = NetworkSpec(
    "palm detector", "palms.onnx", SIZE, OUTPUTS,
    ((1, 2, SIZE // 8, SIZE // 8), (1, 36, SIZE // 8, SIZE // 8),
     (1, 6, SIZE // 16, SIZE // 16), (1, 108, SIZE // 16, SIZE // 16)),
    "leave it out: --no-landmarks, landmarks=False",
)  # fmt: skip

MIN_SCORE: Final = 0.3
"""What is less certain is no palm; MediaPipe asks for 0.5, but has no second network look at each before it counts."""
_NMS_IOU: Final = 0.3
"""IoU with a surer box from which on a box is the same palm."""
_NUMBERS: Final = 18
_MIDDLE, _EXTENT, _KEYPOINTS = slice(0, 2), slice(2, 4), slice(4, 18)
"""Where the box's and the keypoints' numbers stand in a place."""
_POINTS: Final = [0, 1, 4, 5, 8, 9]
"""Those of the middle, the wrist, which is the first keypoint, and the middle finger's knuckle, which is the third."""
_WIDER: Final = 2.6
"""Side of the square around a hand over that of its palm's box (MediaPipe's palm_detection_detection_to_roi.pbtxt)."""
_AHEAD: Final = 0.5
"""How far that square is ahead of the palm, towards the fingers, in sides of the palm's box (the same file)."""


class Palm(NamedTuple):
    """A palm in a picture."""

    score: float
    """How certain it is, 0 to 1."""
    middle: Floats
    """(2,) px, of its box."""
    wrist: Floats
    """(2,) px."""
    knuckle: Floats
    """(2,) px: the middle finger's."""
    side: float
    """px, of its box."""

    def around_hand(self) -> tuple[Floats, float]:
        """Return the square (4,) px around the hand, and the degrees clockwise by which the hand is turned in it."""
        x, y = self.knuckle - self.wrist
        angle = np.arctan2(x, -y)
        middle = self.middle + _AHEAD * self.side * np.array([np.sin(angle), -np.cos(angle)])
        half = _WIDER * self.side / 2
        return np.concatenate([middle - half, middle + half]), float(np.rad2deg(angle))


class PalmFinder:
    """Finds palms in whole pictures.

    Args:
        run: The network.
    """

    def __init__(self, run: Runner) -> None:
        self.run = run

    def __call__(self, image: ByteArray, size: int = SIZE) -> list[Palm]:
        """Find the palms in an (H, W, 3) RGB picture, the surest first; there may be none.

        Args:
            image: The picture.
            size: px: the side of the square that it is shrunk into, a multiple of 32.
        """
        square = letterbox(image, size)
        fine_scores, fine_places, coarse_scores, coarse_places = self.run(square.image)
        likely = [
            _decode_map(fine_scores[0], fine_places[0], size),
            _decode_map(coarse_scores[0], coarse_places[0], size),
        ]
        scores, places = (np.concatenate(each) for each in zip(*likely, strict=True))
        kept = _weighted_nms(scores, places)
        points = square.to_picture(np.array([place[_POINTS] for _, place in kept]).reshape(-1, 3, 2))
        return [
            Palm(score, middle, wrist, knuckle, float((place[_EXTENT] / square.scale).max()))
            for (score, place), (middle, wrist, knuckle) in zip(kept, points, strict=True)
        ]


def _decode_map(scores: FloatArray, places: FloatArray, size: int) -> tuple[Floats, Floats]:
    """Return what is likely enough on a map: (N,) scores and (N, 18) places, in px of the square.

    Args:
        scores: (A, M, M).
        places: (A * 18, M, M), from the cells' middles.
        size: px, of the square.
    """
    anchors, rows, columns = np.nonzero(scores >= MIN_SCORE)
    likely = places.reshape(len(scores), _NUMBERS, *places.shape[1:])[anchors, :, rows, columns].astype(np.float64)
    middles = (np.column_stack([columns, rows]) + 0.5) * (size / scores.shape[-1]) - 0.5
    likely[:, _MIDDLE] += middles
    likely[:, _KEYPOINTS] += np.tile(middles, _NUMBERS // 2 - 2)
    usable = np.isfinite(likely).all(axis=1) & (likely[:, _EXTENT] > 0).all(axis=1)
    return scores[anchors, rows, columns].astype(np.float64)[usable], likely[usable]


def _weighted_nms(scores: Floats, places: Floats) -> list[tuple[float, Floats]]:
    """Join what answers for the same palm: the surest score, and the mean place, weighted by the scores.

    Args:
        scores: (N,).
        places: (N, 18).
    """
    half = places[:, _EXTENT] / 2
    low, high, area = places[:, _MIDDLE] - half, places[:, _MIDDLE] + half, places[:, _EXTENT].prod(axis=1)
    left = np.argsort(-scores, kind="stable")
    distinct = []
    while len(left):
        surest = left[0]
        sides = np.minimum(high[left], high[surest]) - np.maximum(low[left], low[surest])
        shared = np.maximum(sides, 0).prod(axis=1)
        is_same = shared > _NMS_IOU * (area[left] + area[surest] - shared)
        is_same[0] = True
        same = left[is_same]
        distinct.append((float(scores[surest]), np.average(places[same], axis=0, weights=scores[same])))
        left = left[~is_same]
    return distinct


def open_palms(weights: Path | str | None = None, **options: Unpack[RunnerOptions]) -> PalmFinder:
    """Open a file of `unclasp palms`, or the shipped one.

    Args:
        weights: Ends in .onnx.
        options: As of `onnx_engine.open_runner`.

    Raises:
        CheckpointError: The file is missing, damaged or another network.
    """
    return PalmFinder(open_runner(PALMS, weights, **options))
