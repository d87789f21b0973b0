"""The face detector: which hands are faces, when it runs, the shipped file, and what it does to photos and videos."""

from pathlib import Path

import numpy as np
import pytest

from detected import FakeLandmarks, FakePalms, hand_in, joints_in, make_predictor, result_of
from shades import BRIGHT, BRIGHTER, DIM, EMPTY, FAINT, Box, Shades, is_around, picture
from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.errors import CheckpointError
from unclasp.find.faces import (
    CERTAIN_CONFIDENCE,
    CERTAIN_HAND_SCORE,
    FACE_SIZES,
    FACE_SIZES_IN_VIDEOS,
    MIN_SCORE,
    MIN_SCORE_MARGIN,
    MIN_SIZE_OF_HAND,
    SIZE,
    Face,
    FaceDetector,
    FacesIn,
    open_faces,
)
from unclasp.find.photo_search import PhotoSearchResult
from unclasp.find.search import Proposal, everywhere
from unclasp.picture import read_picture
from unclasp.predictor import Predictor
from unclasp.video import Frame

REAL = Path(__file__).parents[2] / "shared" / "real"
FACE: Box = (100, 100, 200, 200)
AROUND_DIM: Box = (DIM[0] - 5, DIM[1] - 5, DIM[2] + 5, DIM[3] + 5)
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


@pytest.mark.parametrize("turned", [False, True])
def test_hands_are_compared_with_the_longer_side_of_a_face(*, turned: bool) -> None:
    oblong: Box = (125, 100, 175, 200) if turned else (100, 125, 200, 175)
    for size, is_face in ((SMALL, True), (USUAL, False)):
        assert faces_in(FakeFaces(oblong)).is_face(hand_on_face(size), LIKELIER) is is_face


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


@pytest.mark.parametrize("slot", [0, 1])
def test_of_a_result_each_hand_has_its_own_score_and_confidence(slot: int) -> None:
    def among(**values: tuple[float, float]) -> list[bool]:
        given = {name: pair if slot == 0 else pair[::-1] for name, pair in values.items()}
        return faces_in(FakeFaces(FACE)).among(result_of(FACE, FACE, **given)).tolist()  # type: ignore[arg-type]

    one = [slot == 0, slot == 1]
    assert among(scores=(LESS_LIKELY, CERTAIN_HAND_SCORE)) == one
    assert among(scores=(0.0, 0.0), confidence=(0.1, CERTAIN_CONFIDENCE + 0.01)) == one


def test_without_confidences_only_small_hands_are_faces() -> None:
    small, large = ((150 - half, 150 - half, 150 + half, 150 + half) for half in (20.0, 40.0))
    for confidence, expected in (((0.1, 0.1), [True, True]), (None, [True, False])):
        result = result_of(small, large, confidence=confidence, scores=(0.0, 0.0))
        assert faces_in(FakeFaces(FACE)).among(result).tolist() == expected


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


@pytest.mark.parametrize("shape", [(100, 400), (400, 100)])
def test_the_longer_side_of_the_picture_tells_how_large_faces_can_be(shape: tuple[int, int]) -> None:
    detector = FakeFaces()
    faces = FacesIn(detector, np.zeros((*shape, 3), np.uint8))  # type: ignore[arg-type]
    assert not faces.is_face(joints_in((0, 0, 90, 90)), 0.1)
    assert detector.calls == [128, 256]


# ---- what the detector returns


def test_faces_are_boxes_in_the_picture() -> None:
    """A face of 20 x 10 px of the square around the middle of a cell, in a picture twice as large, with bars above."""
    scores, places = np.zeros((1, 2, 16, 16), np.float32), np.zeros((1, 32, 16, 16), np.float32)
    scores[0, 1, 6, 4], places[0, 16:20, 6, 4] = SCORE, (1.0, 2.0, 20.0, 10.0)
    scores[0, 0, 12, 12], places[0, :4, 12, 12] = MIN_SCORE - 0.01, (0.0, 0.0, 20.0, 20.0)
    maps = [scores, places, np.zeros((1, 6, 8, 8), np.float32), np.zeros((1, 96, 8, 8), np.float32)]
    (face,) = FaceDetector(lambda _: maps)(np.zeros((128, 256, 3), np.uint8))
    assert face.score == pytest.approx(SCORE)
    x, y = 2 * (4.5 * 8 + 1), 2 * (6.5 * 8 + 2 - 32)
    np.testing.assert_allclose(face.box, [x - 20, y - 10, x + 20, y + 10], atol=1.1)


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
    palms = FakePalms((DIM, "right", 0.6))
    poses = [
        make_predictor(palms, DIM, faces=faces)(picture()) for faces in (None, FakeFaces(FAINT), FakeFaces(AROUND_DIM))
    ]
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


def test_all_people_have_the_faces_of_one_search() -> None:
    palms, faces = FakePalms((DIM, "right", 0.6), (BRIGHTER, "right", 0.6)), FakeFaces(EMPTY)
    assert len(make_predictor(palms, DIM, faces=faces).everyone(picture())) == 2
    assert faces.calls == list(FACE_SIZES)


def test_a_box_declares_hands() -> None:
    palms = FakePalms((DIM, "right", 0.6))
    pose = make_predictor(palms, DIM, faces=FakeFaces((0, 0, 400, 400)))(picture(), box=DIM)
    assert pose.sides == ("right",)


@pytest.mark.parametrize("hands_given", [False, True])
def test_the_tracker_is_told_of_faces_in_its_crop(*, hands_given: bool) -> None:
    palms = FakePalms((DIM, "right", 0.6))
    for detector, expected in ((None, False), (FakeFaces(FAINT), False), (FakeFaces(AROUND_DIM), True)):
        search, square = make_predictor(palms, DIM, faces=detector).frame_search, geometry.square_box(np.array(DIM))
        found = search.in_given_crop(picture(), square) if hands_given else search(picture(), square, fresh=False)
        assert found.results.tracked.present[0], "the frames decide together"
        assert (
            found.are_faces is None if hands_given else found.are_faces is not None and found.are_faces[0] == expected
        )


def test_a_frame_that_is_searched_has_no_faces() -> None:
    palms = FakePalms((DIM, "right", 0.6))
    for detector, present in ((None, True), (FakeFaces(AROUND_DIM), False)):
        search = make_predictor(palms, DIM, faces=detector).frame_search
        found = search(picture(), None, fresh=True)
        assert found.results.tracked.present.any() == present
        square = geometry.square_box(np.array(DIM))
        search.search = lambda _, square=square: Proposal(square, hands_given=True)  # type: ignore[misc]
        for given in (search(picture(), None, fresh=True), search.in_given_crop(picture(), square)):
            assert given.results.tracked.present[0]


# ---- each of the other searches, too

GREEN: Box = (BRIGHTER[0], 101, BRIGHTER[2], 120)
"""A left hand right under a right one: one crop shows both."""
LARGE: Box = (BRIGHT[0] - 45, BRIGHT[1] - 45, BRIGHT[2] + 45, BRIGHT[3] + 45)
"""A face so large that the bright hand is too small for it."""
AROUND_GREEN: Box = (GREEN[0] - 5, GREEN[1] - 20, GREEN[2] + 5, GREEN[3] + 5)


def with_green() -> Pixels:
    image = picture()
    x1, y1, x2, y2 = map(int, GREEN)
    image[y1 : y2 + 1, x1 : x2 + 1] = (0, 90, 0)
    return image


FOUND = pytest.mark.parametrize(
    ("boxes", "sides"), [((), ("right", "left")), ((AROUND_GREEN,), ("right",))], ids=["no face", "face"]
)


@FOUND
def test_beside_a_detected_hand_faces_are_none(boxes: tuple[Box, ...], sides: tuple[str, ...]) -> None:
    """The hand detector finds the right one; the pose network adds the left one."""
    palms = FakePalms((BRIGHTER, "right", 0.95), (GREEN, "left", 0.25))
    predictor = make_predictor(palms, DIM, faces=FakeFaces(*boxes))
    pose = predictor(with_green())
    assert pose.sides == sides and np.abs(pose.joints_2d[:21].mean(axis=0) - (300, 70)).max() < 10
    frame = predictor.frame_search(with_green(), None, fresh=True)
    assert frame.results.tracked.present.tolist() == [True, "left" in sides]


@FOUND
def test_beside_other_peoples_hands_faces_are_none(boxes: tuple[Box, ...], sides: tuple[str, ...]) -> None:
    palms, faces = FakePalms((BRIGHTER, "right", 0.95), (GREEN, "left", 0.25)), FakeFaces(*boxes)
    search = make_predictor(palms, DIM, faces=faces).photo_search
    known = result_of(EMPTY, EMPTY, presence=(0, 0))
    found = PhotoSearchResult(known, np.zeros((0, 4)), is_credible=True, hands=[hand_in(BRIGHTER, "right", 0.95)])
    (other,) = search.of_others(with_green(), found)
    assert other.present.tolist() == [True, "left" in sides]


@pytest.mark.parametrize("is_face", [False, True])
def test_the_result_of_a_variant_is_no_face(monkeypatch: pytest.MonkeyPatch, *, is_face: bool) -> None:
    best = result_of(BRIGHT, EMPTY, presence=(1, 0), confidence=(0.4, 0), scores=(0.7, 0))
    monkeypatch.setattr("unclasp.find.photo_search.best_of_variants", lambda *_, **__: best)
    palms = FakePalms((DIM, "right", 0.2), sizes=())
    search = make_predictor(palms, DIM, faces=FakeFaces(BRIGHT if is_face else EMPTY, score=0.99)).photo_search
    search.second_opinions = True
    monkeypatch.setattr("unclasp.find.sweep.is_needed", lambda result: False)
    assert search.in_photo(picture()).result.present.tolist() == [not is_face, False]


@pytest.mark.parametrize("is_face", [False, True])
def test_the_result_of_a_sweep_is_no_face(monkeypatch: pytest.MonkeyPatch, *, is_face: bool) -> None:
    palms = FakePalms((BRIGHT, "right", 0.7), sizes=())
    search = make_predictor(palms, EMPTY, faces=FakeFaces(LARGE if is_face else EMPTY)).photo_search
    search.second_opinions = True
    monkeypatch.setattr("unclasp.find.photo_search.best_of_variants", lambda predict, image, firsts, **_: firsts[0])
    assert search.in_photo(picture()).result.present[0] == (not is_face)


def test_a_picture_that_is_given_as_a_crop_shows_hands() -> None:
    predictor = Predictor(
        Shades(), search=everywhere, landmarks=FakeLandmarks(FakePalms()), faces=FakeFaces((0, 0, 400, 300))
    )  # type: ignore[arg-type]
    assert predictor(np.ascontiguousarray(picture()[20:120, 10:110])).sides == ("right",)


# ---- in videos


@pytest.mark.parametrize(("fresh", "sizes"), [(True, FACE_SIZES_IN_VIDEOS), (False, FACE_SIZES_IN_VIDEOS[:1])])
def test_frames_are_searched_for_faces_of_the_sizes_of_videos(*, fresh: bool, sizes: tuple[int, ...]) -> None:
    palms, detector = FakePalms((DIM, "right", 0.6)), FakeFaces()
    search = make_predictor(palms, DIM, faces=detector).frame_search
    search(picture(), geometry.square_box(np.array(DIM)), fresh=fresh)
    assert detector.calls == list(sizes)


def test_in_tracked_crops_it_does_not_run_for_networks_without_evidence() -> None:
    palms, detector = FakePalms((DIM, "right", 0.6)), FakeFaces(AROUND_DIM)
    network, square = Shades(has_confidence=False), geometry.square_box(np.array(DIM))
    predictor = Predictor(network, landmarks=FakeLandmarks(palms), faces=detector)  # type: ignore[arg-type]
    found = predictor.frame_search(picture(), square, fresh=False)
    assert found.hand_evidence is None and found.are_faces is None and not detector.calls


def test_hands_that_are_tracked_may_be_before_faces_wherever_they_are_found() -> None:
    palms = FakePalms((DIM, "right", 0.6))
    predictor = make_predictor(palms, DIM, faces=FakeFaces(AROUND_DIM))
    found = predictor.frame_search(picture(), None, fresh=False)
    assert found.is_credible and found.results.tracked.present[0]
    assert found.are_faces is not None and found.are_faces.tolist() == [True, False]


def test_a_video_of_a_face_has_no_hands() -> None:
    """Between the searches the square of the last one is predicted: there the face is none, either."""
    palms = FakePalms((DIM, "right", 0.6))
    for detector, sides in ((None, ("right",)), (FakeFaces(AROUND_DIM), ())):
        poses = make_predictor(palms, DIM, faces=detector).track(Frame(picture(), n, n / 30) for n in range(9))
        assert {pose.sides for pose in poses} == {sides}
