"""The face detector: which hands are faces, when it runs, the shipped file, and what it does to a photo's hands."""

from pathlib import Path

import numpy as np
import pytest

from detected import FakePalms, joints_in, make_predictor, result_of
from shades import BRIGHT, BRIGHTER, DIM, FAINT, Box, is_around, picture
from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.errors import CheckpointError
from unclasp.find.faces import (
    CERTAIN_CONFIDENCE,
    CERTAIN_HAND_SCORE,
    FACE_SIZES,
    MIN_SCORE_MARGIN,
    MIN_SIZE_OF_HAND,
    SIZE,
    Face,
    FaceDetector,
    FacesIn,
    open_faces,
)
from unclasp.picture import read_picture
from unclasp.video import Frame

REAL = Path(__file__).parents[2] / "shared" / "real"
FACE: Box = (100, 100, 200, 200)
SCORE = 0.8
LIKELIER, LESS_LIKELY = SCORE - MIN_SCORE_MARGIN + 0.01, SCORE - MIN_SCORE_MARGIN - 0.01
USUAL, SMALL = MIN_SIZE_OF_HAND + 0.01, MIN_SIZE_OF_HAND - 0.01


class FakeFaces:
    """A face detector that finds given boxes at every size."""

    def __init__(self, *boxes: Box, score: float = SCORE) -> None:
        self.boxes, self.score = boxes, score
        self.calls: list[int] = []

    def __call__(self, image: Pixels, size: int) -> list[Face]:
        self.calls.append(size)
        return [Face(self.score, np.array(box, dtype=float)) for box in self.boxes]


def faces_in(detector: FakeFaces | None, side: int = 400, *sizes: int) -> FacesIn:
    return FacesIn(detector, np.zeros((side, side, 3), np.uint8), sizes or FACE_SIZES)  # type: ignore[arg-type]


def hand_on_face(size: float) -> Floats:
    """Return joints in the middle of the face, whose extent is this share of it."""
    half = 50 * size
    return joints_in((150 - half, 150 - half, 150 + half, 150 + half))


# ---- which hands are faces


@pytest.mark.parametrize(
    ("size", "score", "confidence", "is_face"),
    [
        (USUAL, LIKELIER, 0.0, False),
        (USUAL, LESS_LIKELY, 0.0, True),
        (USUAL, 0.0, CERTAIN_CONFIDENCE - 0.01, True),
        (USUAL, 0.0, CERTAIN_CONFIDENCE + 0.01, False),
        (SMALL, CERTAIN_HAND_SCORE - 0.01, CERTAIN_CONFIDENCE + 0.01, True),
        (SMALL, CERTAIN_HAND_SCORE + 0.01, 0.0, False),
    ],
    ids=["likelier than the face", "less likely", "unseen", "hidden behind another", "small", "small and seen"],
)
def test_a_hand_on_a_face_is_one_by_its_scores_and_size(
    size: float, score: float, confidence: float, *, is_face: bool
) -> None:
    assert faces_in(FakeFaces(FACE)).is_face(hand_on_face(size), score, confidence) is is_face


@pytest.mark.parametrize(("outside", "is_face"), [(6, True), (7, False), (21, False)])
def test_a_hand_is_on_a_face_with_most_of_its_joints(outside: int, *, is_face: bool) -> None:
    joints = hand_on_face(0.5)
    joints[:outside, 0] += 150
    assert faces_in(FakeFaces(FACE)).is_face(joints, 0.0) is is_face


@pytest.mark.parametrize(("size", "is_face"), [(SMALL, True), (USUAL, False)])
def test_small_hands_beside_a_face_are_its_ears(size: float, *, is_face: bool) -> None:
    beside = hand_on_face(size) + np.array([200 - 150 - 50 * size + 13, 0])
    assert beside[:, 0].max() == pytest.approx(213)
    assert faces_in(FakeFaces(FACE)).is_face(beside, 0.0) is is_face


def test_of_a_result_only_present_hands_are_faces_and_none_without_scores() -> None:
    result = result_of(FACE, FACE, presence=(1, 0.1), scores=(0.0, 0.0))
    faces = faces_in(FakeFaces(FACE))
    assert faces.among(result).tolist() == [True, False]
    assert not faces.removed_from(result).present.any()
    assert not faces.among(result._replace(hand_scores=None)).any()
    assert not faces_in(None).among(result).any()


# ---- when it runs


def test_it_runs_once_a_size_and_only_for_hands_in_doubt() -> None:
    detector = FakeFaces()
    faces = faces_in(detector)
    assert not faces.is_face(hand_on_face(0.5), CERTAIN_HAND_SCORE) and not detector.calls
    for _ in range(2):
        assert not faces.is_face(hand_on_face(0.5), 0.1)
    assert detector.calls == list(FACE_SIZES)


def test_small_faces_are_not_looked_for_behind_large_hands() -> None:
    detector = FakeFaces()
    assert not faces_in(detector).is_face(joints_in((0, 0, 300, 300)), 0.1)
    assert detector.calls == [SIZE]


# ---- the shipped file


@pytest.fixture(scope="module")
def shipped() -> FaceDetector:
    return open_faces()


@pytest.mark.parametrize("size", FACE_SIZES)
def test_it_runs_at_all_sizes(shipped: FaceDetector, size: int) -> None:
    for maps, stride in zip(shipped.run(np.zeros((size, size, 3), np.uint8)), (8, 8, 16, 16), strict=True):
        assert maps.shape[2:] == (size // stride, size // stride)


def test_no_faces_in_grey_noise_and_black(shipped: FaceDetector) -> None:
    noise = np.repeat(np.random.default_rng(0).integers(0, 256, (120, 160, 1)), 3, axis=2).astype(np.uint8)
    for image in (noise, np.zeros((120, 160, 3), np.uint8)):
        assert shipped(image) == []


def test_other_networks_are_told_from_face_detectors() -> None:
    other = Path(__file__).parents[1] / "src" / "unclasp" / "weights" / "palms.onnx"
    with pytest.raises(CheckpointError, match="no face detector"):
        open_faces(other)
    with pytest.raises(CheckpointError, match=r"there is no face detector .*--no-landmarks"):
        open_faces("none.onnx")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real pictures in ../shared are not there")
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_real_face_is_found_where_it_is(shipped: FaceDetector, mirrored: bool) -> None:
    image = read_picture(REAL / "photos" / "hamer_test5.jpg")
    faces = shipped(np.ascontiguousarray(image[:, ::-1] if mirrored else image))
    box = geometry.mirror_box(faces[0].box, image.shape[1]) if mirrored else faces[0].box
    assert geometry.box_iou(box, np.array([385.0, 435, 800, 850])) > 0.8


# ---- a photo's hands


def test_a_hand_that_is_a_face_is_not_reported() -> None:
    """The networks find a right hand in the picture, the landmark network with a low score."""
    palms, face = FakePalms((DIM, "right", 0.6)), (DIM[0] - 5, DIM[1] - 5, DIM[2] + 5, DIM[3] + 5)
    poses = [make_predictor(palms, DIM, faces=faces)(picture()) for faces in (None, FakeFaces(FAINT), FakeFaces(face))]
    assert [pose.sides for pose in poses] == [("right",), ("right",), ()]


def test_a_detected_hand_that_is_a_face_replaces_none() -> None:
    """The hand detector finds one elsewhere, with a score that would replace the search's result."""
    palms, detector = FakePalms((BRIGHT, "right", 0.85)), FakeFaces(BRIGHT, score=0.99)
    found, kept = (make_predictor(palms, DIM, faces=faces)(picture()) for faces in (None, detector))
    assert is_around(found, BRIGHT) and kept.sides == ()


def test_everyone_has_no_faces_either() -> None:
    palms = FakePalms((DIM, "right", 0.95), (BRIGHTER, "right", 0.6))
    for faces, count in ((None, 2), (FakeFaces(BRIGHTER), 1)):
        assert len(make_predictor(palms, DIM, faces=faces).everyone(picture())) == count


def test_a_box_declares_hands() -> None:
    palms = FakePalms((DIM, "right", 0.6))
    pose = make_predictor(palms, DIM, faces=FakeFaces((0, 0, 400, 400)))(picture(), box=DIM)
    assert pose.sides == ("right",)


@pytest.mark.parametrize("hands_given", [False, True])
def test_the_tracker_is_told_of_faces_in_its_crop(*, hands_given: bool) -> None:
    palms, face = FakePalms((DIM, "right", 0.6)), (DIM[0] - 5, DIM[1] - 5, DIM[2] + 5, DIM[3] + 5)
    for detector, expected in ((None, False), (FakeFaces(FAINT), False), (FakeFaces(face), True)):
        search, square = make_predictor(palms, DIM, faces=detector).photo_search, geometry.square_box(np.array(DIM))
        found = search.in_frame(picture(), square, fresh=False, hands_given=hands_given)
        assert found.results.tracked.present[0], "the frames decide together"
        assert (
            found.are_faces is None if hands_given else found.are_faces is not None and found.are_faces[0] == expected
        )


def test_a_frame_that_is_searched_has_no_faces() -> None:
    palms, face = FakePalms((DIM, "right", 0.6)), (DIM[0] - 5, DIM[1] - 5, DIM[2] + 5, DIM[3] + 5)
    for detector, present in ((None, True), (FakeFaces(face), False)):
        search = make_predictor(palms, DIM, faces=detector).photo_search
        found = search.in_frame(picture(), None, fresh=True, hands_given=False)
        assert found.results.tracked.present.any() == present
        given = search.in_frame(picture(), None, fresh=True, hands_given=True)
        assert given.results.tracked.present[0]


def test_a_video_of_a_face_has_no_hands() -> None:
    """Between the searches the square of the last one is predicted: there the face is none, either."""
    palms, face = FakePalms((DIM, "right", 0.6)), (DIM[0] - 5, DIM[1] - 5, DIM[2] + 5, DIM[3] + 5)
    for detector, sides in ((None, ("right",)), (FakeFaces(face), ())):
        poses = make_predictor(palms, DIM, faces=detector).track(Frame(picture(), n, n / 30) for n in range(9))
        assert {pose.sides for pose in poses} == {sides}
