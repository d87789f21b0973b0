"""MediaPipe's face detector: tells faces from hands.

The networks for hands take some faces for hands. The hands that they put there have a low hand score, or are far
smaller than a hand in front of a face can be.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Unpack

import numpy as np

from unclasp import geometry
from unclasp.arrays import Bools, Floats, Pixels
from unclasp.engines.onnx_engine import NetworkSpec, Runner, RunnerOptions, open_runner
from unclasp.find.anchors import OUTPUTS, detections, output_shapes
from unclasp.find.crop_result import CropResult
from unclasp.find.letterbox import letterbox

SIZE: Final = 128
"""Side of the squares that it is trained on, px."""
FACES: Final = NetworkSpec(
    "face detector", "faces.onnx", SIZE, OUTPUTS, output_shapes(SIZE, keypoints=6),
    "leave it out: --no-landmarks, landmarks=False",
)  # fmt: skip
FACE_SIZES: Final = (128, 256, 512)
"""px: sides of the squares on which it runs; larger ones show smaller faces."""
FACE_SIZES_IN_VIDEOS: Final = (128, 256)
"""The same for frames that are searched; tracked crops, which most frames have, are checked at the first size alone."""

_LARGEST: Final = 110
"""px of the square: larger faces are not detected."""

MIN_SCORE: Final = 0.6
"""Faces whose score is below this are dropped."""
CERTAIN_HAND_SCORE: Final = 0.9
"""A hand with a hand score of at least this is no face; in front of faces most hands have one."""
CERTAIN_CONFIDENCE: Final = 0.5
"""A hand of usual size with at least this mean confidence is no face: it may be hidden behind the other one."""
MIN_SHARE_INSIDE: Final = 0.7
"""A hand is in a box if at least this share of its joints is."""
MIN_SIZE_OF_HAND: Final = 0.45
"""A hand on a face that is smaller than this share of the face's box is a part of it: a fist is about half as large."""
HEAD_EXPANSION: Final = 1.3
"""A box this many times as large as the face's also holds the ears, which look like small hands."""
MIN_SCORE_MARGIN: Final = 0.1
"""Any hand on a face is the face if its hand score is lower than the face's score by more than this."""


class Face(NamedTuple):
    """A face in a picture."""

    score: float
    """Probability that it is a face, 0 to 1."""
    box: Floats
    """(4,) x1, y1, x2, y2 px, from the eyebrows to the chin."""

    def was_taken_for(self, joints_2d: Floats, hand_score: float, confidence: float) -> bool:
        """Tell whether a hand below `CERTAIN_HAND_SCORE` is really this face; see `FacesIn.is_face`."""
        if geometry.extent(joints_2d) < MIN_SIZE_OF_HAND * float((self.box[2:] - self.box[:2]).max()):
            return _is_in(geometry.expand_box(self.box, HEAD_EXPANSION), joints_2d)
        is_likelier = hand_score < self.score - MIN_SCORE_MARGIN
        return is_likelier and confidence < CERTAIN_CONFIDENCE and _is_in(self.box, joints_2d)


def _is_in(box: Floats, joints_2d: Floats) -> bool:
    inside = ((joints_2d > box[:2]) & (joints_2d < box[2:])).all(axis=1)
    return bool(inside.mean() >= MIN_SHARE_INSIDE)


class FaceDetector:
    """Finds faces in whole pictures.

    Args:
        run: Runs the network.
    """

    def __init__(self, run: Runner) -> None:
        self.run = run

    def __call__(self, image: Pixels, size: int = SIZE) -> list[Face]:
        """Return the faces in a picture, by descending score; there may be none.

        Args:
            image: (H, W, 3) RGB.
            size: Side of the square that it is letterboxed into, px; a multiple of 16.
        """
        square = letterbox(image, size)
        return [
            Face(face.score, square.to_picture(face.middle + np.outer([-0.5, 0.5], face.extent)).ravel())
            for face in detections(self.run(square.image), size, MIN_SCORE)
        ]


class FacesIn:
    """The faces in a picture, which are detected when they are first asked for.

    Args:
        detector: The face detector; without it no hand is a face.
        image: (H, W, 3) RGB.
        sizes: px: sides of the squares on which the detector runs.
    """

    def __init__(self, detector: FaceDetector | None, image: Pixels, sizes: tuple[int, ...] = FACE_SIZES) -> None:
        self._longer, self._sizes = max(image.shape[:2]), sizes
        self._of_size = cache(lambda size: [] if detector is None else detector(image, size))

    def is_face(self, joints_2d: Floats, hand_score: float, confidence: float = 0.0) -> bool:
        """Tell whether a hand is really a face.

        Args:
            joints_2d: (21, 2) px.
            hand_score: By the landmark network (`CropResult.hand_scores`).
            confidence: The mean of its joints, by the pose network, if it predicted them.
        """
        return hand_score < CERTAIN_HAND_SCORE and any(
            face.was_taken_for(joints_2d, hand_score, confidence) for face in self._at_least(geometry.extent(joints_2d))
        )

    def _at_least(self, extent: float) -> Iterator[Face]:
        """Yield the faces that may be as large as a hand of this extent, px."""
        for size in self._sizes:
            if extent * size <= _LARGEST * self._longer:
                yield from self._of_size(size)

    def removed_from(self, result: CropResult) -> CropResult:
        """Return the result without the hands that are faces."""
        return result.without_hands(self.among(result))

    def among(self, result: CropResult) -> Bools:
        """Tell which hands of a result are faces: (2,); none without the landmark network."""
        are_faces = np.zeros(2, dtype=np.bool_)
        if result.hand_scores is None:
            return are_faces
        for slot in result.present_slots:
            confidence = result.confidence(slot) if result.has_confidence else 1.0  # then only small ones are faces
            are_faces[slot] = self.is_face(result.joints_of(slot), result.hand_score(slot), confidence)
        return are_faces


def open_faces(weights: Path | str | None = None, **options: Unpack[RunnerOptions]) -> FaceDetector:
    """Open a file written by `unclasp faces`, or the shipped one, as `onnx_engine.open_runner` does."""
    return FaceDetector(open_runner(FACES, weights, **options))
