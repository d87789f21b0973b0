"""The hand detector: which hands it finds, how they change a result, and that only doubtful pictures use it."""

from typing import Any

import numpy as np
import pytest

from detected import LEFT, RIGHT, FakeLandmarks, FakePalms, hand_in, joints_in, make_predictor, result_of
from made_results import made_result, reading_of
from shades import BRIGHT, BRIGHTER, DIM, EMPTY, FAINT, Box, Shades, is_around, picture
from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.find.boxes import SMALLEST_CROP
from unclasp.find.credibility import (
    GHOST_MAX_CONFIDENCE,
    GHOST_SCORES_BESIDE,
    GHOST_SCORES_SAME_PLACE,
    MIN_CONFIDENCE_UNSEEN,
    MIN_DETECTION_SCORE,
    detection_score,
    hand_evidence,
    is_certain,
    is_credible,
    is_credible_in_track,
    max_confidence,
    without_ghost,
)
from unclasp.find.crop_result import DENIED_PRESENCE, MIN_CONFIDENCE, MIN_HAND_SCORE, SAME_PLACE, CropResult
from unclasp.find.hand_detector import (
    MAX_OTHER_SIDE_SCORE,
    MAX_PALMS,
    MIN_DETECTED_SCORE,
    MIN_FIRST_HAND_SCORE,
    PALM_SIZES,
    PALM_SIZES_IN_VIDEOS,
    DetectedHand,
    HandDetector,
    pair_of,
    proposal_of_hands,
    with_detected,
)  # fmt: skip
from unclasp.find.palms import SIZE
from unclasp.find.search import Proposal, everywhere
from unclasp.find.touch_up import MAX_CONFIDENCE_TO_FOLLOW
from unclasp.find.versions import Versions
from unclasp.geometry import square_box
from unclasp.hands import BONES, HAND_SLICES, JOINTS_PER_HAND
from unclasp.lifting import BONE_LENGTHS_MM, hand_sized
from unclasp.pose import MIN_PRESENCE_SECOND
from unclasp.predictor import Predictor

UNSEEN, SEEN_BESIDE = GHOST_SCORES_BESIDE
UNSEEN_ON, SEEN_ON = GHOST_SCORES_SAME_PLACE


def detector_of(palms: FakePalms, **options: Any) -> HandDetector:
    return HandDetector(palms, FakeLandmarks(palms, **options))  # type: ignore[arg-type]


BLACK = np.zeros((300, 400, 3), np.uint8)


# ---- detection


def test_hands_of_both_sides_are_read_once_each() -> None:
    palms = FakePalms((BRIGHT, "left", 0.8), (BRIGHTER, "right", 0.95))
    hands = detector_of(palms)(BLACK)
    assert [(hand.side, hand.slot) for hand in hands] == [("right", 0), ("left", 1)], "by descending score"
    assert [hand.score for hand in hands] == [0.95, 0.8]
    np.testing.assert_allclose(hands[0].box, BRIGHTER)
    assert palms.calls == list(PALM_SIZES)


@pytest.mark.parametrize("size", PALM_SIZES)
def test_a_hand_may_be_detected_at_any_size(size: int) -> None:
    palms = FakePalms((BRIGHT, "left", 0.8), sizes=(size,))
    assert len(detector_of(palms)(BLACK)) == 1
    assert len(detector_of(palms)(BLACK, PALM_SIZES_IN_VIDEOS)) == (size in PALM_SIZES_IN_VIDEOS)


@pytest.mark.parametrize(("score", "counts"), [(MIN_DETECTED_SCORE + 0.01, True), (MIN_DETECTED_SCORE - 0.01, False)])
def test_hands_with_low_scores_are_dropped(score: float, counts: bool) -> None:
    assert bool(detector_of(FakePalms((BRIGHT, "right", score)))(BLACK)) is counts


@pytest.mark.parametrize(("share", "counts"), [(1.1, True), (0.9, False)])
def test_palms_with_a_low_first_hand_score_are_not_read_again(share: float, counts: bool) -> None:
    assert (
        bool(detector_of(FakePalms((BRIGHT, "right", 0.9)), first=share * MIN_FIRST_HAND_SCORE / 0.9)(BLACK)) is counts
    )


@pytest.mark.parametrize("box", [(-90, 40, -10, 100), (100, 100, 110, 112), (-80, -80, 0.2, 0.2), (390, 290, 460, 350)])
def test_hands_outside_of_the_picture_and_tiny_ones_are_left_out(box: Box) -> None:
    assert not detector_of(FakePalms((box, "right", 0.9)))(BLACK)


def test_narrow_hands_count_if_they_are_long_enough() -> None:
    (hand,) = detector_of(FakePalms(((-50, 40, 10, 100), "right", 0.9)))(BLACK)
    assert np.diff(hand.box_in(400, 300)[[0, 2]]) < SMALLEST_CROP


def test_a_palm_beside_a_certain_hand_is_another_hand_s() -> None:
    _, y1, x2, y2 = BRIGHT
    beside = (x2 - 15, y1, x2 + 15, y2)
    assert len(detector_of(FakePalms((BRIGHT, "right", 0.95), (beside, "left", 0.95)))(BLACK)) == 2


def test_the_proposal_for_a_hand_at_the_border_is_clipped_to_the_picture() -> None:
    (hand,) = detector_of(FakePalms(((360, 250, 440, 340), "right", 0.9)))(BLACK)
    proposal = proposal_of_hands([hand], BLACK)
    np.testing.assert_allclose((proposal.square[:2] + proposal.square[2:]) / 2, [379.75, 274.75])


def test_a_hand_that_is_certain_is_not_read_at_each_size() -> None:
    reads = {}
    for score in (0.95, 0.8):
        palms = FakePalms((BRIGHT, "right", score))
        landmarks = FakeLandmarks(palms)
        read, asked = landmarks.read, []
        landmarks.read = lambda *given, read=read, asked=asked: asked.append(0) or read(*given)  # type: ignore
        HandDetector(palms, landmarks)(BLACK)  # type: ignore[arg-type]
        reads[score] = len(asked)
    assert reads == {0.95: 1, 0.8: len(PALM_SIZES)}


def test_only_the_best_palms_of_a_crowd_are_read() -> None:
    boxes = [(x, y, x + 32.0, y + 32.0) for x in range(0, 360, 40) for y in range(20, 260, 60)]
    assert len(boxes) > MAX_PALMS
    assert len(detector_of(FakePalms(*((box, "right", 0.95) for box in boxes)))(BLACK)) == MAX_PALMS


def test_the_proposal_holds_hands_that_are_near_each_other() -> None:
    near = proposal_of_hands([hand_in(BRIGHT), hand_in((215, 40, 260, 100), "left")], BLACK)
    assert not len(near.others)
    assert (near.square[:2] < [150, 40]).all() and (near.square[2:] > [260, 100]).all()
    far = proposal_of_hands([hand_in(DIM, score=0.6), hand_in((330, 230, 390, 290), "left", 0.9)], BLACK)
    assert len(far.others) == 1
    np.testing.assert_allclose((far.square[:2] + far.square[2:]) / 2, [360, 260])


# ---- adding detected hands to a result


SQUARE = np.array([0.0, 0.0, 300.0, 300.0])


def test_a_doubtful_hand_moves_to_the_detected_one() -> None:
    hand = hand_in(BRIGHT, "left")
    result = with_detected(result_of(DIM, EMPTY), [hand], SQUARE)
    np.testing.assert_allclose(result.joints_2d[HAND_SLICES[LEFT]], hand.joints_2d, atol=1e-6)
    np.testing.assert_allclose(result.joints_2d[HAND_SLICES[RIGHT]], joints_in(DIM, 3), atol=1e-6)
    np.testing.assert_allclose(result.output.pose_2p5d[0, HAND_SLICES[LEFT], 2], hand.depths, atol=1e-6)
    assert result.hand_scores is not None and result.hand_scores.tolist() == [0.0, 0.9]
    assert result.confidence(LEFT) == 0 and result.confidence(RIGHT) == pytest.approx(0.1), (
        "only joints that the pose network predicted have a confidence"
    )


@pytest.mark.parametrize(
    "result",
    [
        result_of(DIM, EMPTY, scores=(0.0, MIN_HAND_SCORE + 0.01)),
        result_of(DIM, EMPTY, confidence=(0.1, 1.1 * MAX_CONFIDENCE_TO_FOLLOW)),
        result_of(BRIGHT, EMPTY, scores=(0.9, 0.0)),
    ],
    ids=["it is seen there", "the pose network is sure: it hides", "that is the other one, which is seen"],
)
def test_confirmed_hands_do_not_change(result: CropResult) -> None:
    same = with_detected(result, [hand_in(BRIGHT, "left")], SQUARE)
    np.testing.assert_array_equal(same.joints_2d, result.joints_2d)
    np.testing.assert_array_equal(same.output.presence, result.output.presence)


@pytest.mark.parametrize("score", [MIN_HAND_SCORE - 0.01, MIN_HAND_SCORE + 0.01])
@pytest.mark.parametrize("box", [BRIGHT, (310.0, 40, 370, 100)])
def test_only_hands_with_high_scores_inside_the_square_are_added(score: float, box: Box) -> None:
    result = result_of(DIM, EMPTY)
    moved = with_detected(result, [hand_in(box, "left", score)], SQUARE)
    assert (moved is result) == (score < MIN_HAND_SCORE or box != BRIGHT)


def test_a_single_hand_of_the_other_side_changes_its_side() -> None:
    result = result_of(DIM, DIM, presence=(0.1, 0.9), confidence=(0.3, 0.8), scores=(0.0, 0.01))
    hand = hand_in(DIM, "right")
    changed = with_detected(result, [hand], SQUARE)
    assert changed.present_slots == [RIGHT] and changed.output.presence[0, LEFT] <= DENIED_PRESENCE
    np.testing.assert_allclose(changed.joints_2d[HAND_SLICES[RIGHT]], hand.joints_2d, atol=1e-6)
    own = with_detected(result._replace(hand_scores=np.array([0.9, 0.01])), [hand], SQUARE)
    assert own.present_slots == [RIGHT]
    np.testing.assert_array_equal(
        own.joints_2d, result.joints_2d, err_msg="its own joints are confirmed there, and stay"
    )
    hardly = with_detected(result._replace(hand_scores=np.array([0.0, MAX_OTHER_SIDE_SCORE])), [hand], SQUARE)
    assert hardly.present_slots == [RIGHT]
    unsure = with_detected(result._replace(hand_scores=np.array([0.0, 0.3])), [hand], SQUARE)
    assert unsure.present_slots == [LEFT], "it may really be a left one"


def test_a_missing_hand_is_added_to_the_other_one() -> None:
    result = result_of(DIM, EMPTY, presence=(0.9, 0.1), scores=(0.9, 0.0))
    assert with_detected(result, [hand_in(BRIGHT, "left")], SQUARE).present_slots == [RIGHT, LEFT]


def test_the_presence_of_a_detected_hand_is_its_score_but_enough_to_count() -> None:
    result = result_of(DIM, EMPTY, presence=(0.9, 0.1), scores=(0.9, 0.0))
    for score, presence in ((0.95, 0.95), (0.55, MIN_PRESENCE_SECOND)):
        changed = with_detected(result, [hand_in(BRIGHT, "left", score)], SQUARE)
        assert changed.output.presence[0].tolist() == pytest.approx([0.9, presence])


@pytest.mark.parametrize("unit", [0.2, 1.0, 30.0])
def test_depths_of_detected_hands_are_scaled_to_an_average_hand(unit: float) -> None:
    points = np.random.default_rng(0).normal(0, unit, (21, 3))
    joints, parents = np.array([bone for bone in BONES if bone[0] < JOINTS_PER_HAND]).T
    sized = hand_sized(points)
    lengths = np.linalg.norm(sized[joints] - sized[parents], axis=1)
    assert np.square(lengths).sum() == pytest.approx(np.square(BONE_LENGTHS_MM).sum())
    np.testing.assert_allclose(sized / points, sized[0, 0] / points[0, 0])
    hand = DetectedHand("right", reading_of(points[:, :2], 1.0, 1.0)._replace(joints=points))
    np.testing.assert_allclose(hand.depths, sized[:, 2] - sized[-1, 2])


# ---- scores of a result


def test_the_detection_score_grows_with_confidence_and_hand_score() -> None:
    unsure, sure = (result_of(DIM, EMPTY, confidence=(c, c), scores=(0.9, 0.9)) for c in (0.1, 0.6))
    assert 0 < detection_score(unsure) < detection_score(sure)
    assert detection_score(result_of(DIM, EMPTY, confidence=(0.9, 0.9))) == 0, "hands without a hand score add nothing"
    one = result_of(DIM, EMPTY, presence=(1, 0), confidence=(0.6, 0.6), scores=(0.9, 0.9))
    assert detection_score(one) == pytest.approx(detection_score(sure) / 2), "nor do absent hands"


def test_two_hands_that_both_networks_support_are_certain() -> None:
    assert is_certain(result_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, MIN_CONFIDENCE), scores=(0.9, 0.9)))
    assert is_certain(result_of(DIM, EMPTY, confidence=None))
    for doubtful in (
        result_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, 0.9 * MIN_CONFIDENCE), scores=(0.9, 0.9)),
        result_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, MIN_CONFIDENCE), scores=(0.9, MIN_HAND_SCORE)),
        result_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, MIN_CONFIDENCE), scores=(0.9, 0.9), presence=(1, 0)),
        result_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, MIN_CONFIDENCE), scores=None),
    ):
        assert not is_certain(doubtful)


@pytest.mark.parametrize(
    ("confidence", "seen", "presence", "ghosts"),
    [
        (0.9 * GHOST_MAX_CONFIDENCE, 0.9 * UNSEEN, (1, 1), True),
        (1.1 * GHOST_MAX_CONFIDENCE, 0.9 * UNSEEN, (1, 1), False),
        (0.9 * GHOST_MAX_CONFIDENCE, UNSEEN, (1, 1), False),
        (0.9 * GHOST_MAX_CONFIDENCE, 0.9 * UNSEEN, (0, 1), False),
    ],
    ids=["neither is sure", "one is sure", "one sees it", "it is alone"],
)
@pytest.mark.parametrize("ghost", [RIGHT, LEFT])
def test_a_second_hand_that_neither_network_supports_is_a_ghost(
    confidence: float, seen: float, presence: tuple[float, float], ghosts: bool, ghost: int
) -> None:
    def ordered(of_ghost: float, other: float) -> tuple[float, float]:
        return (of_ghost, other) if ghost == RIGHT else (other, of_ghost)

    result = result_of(
        DIM, EMPTY, confidence=ordered(confidence, 0.5), scores=ordered(seen, SEEN_BESIDE),
        presence=ordered(presence[0], presence[1]),
    )  # fmt: skip
    assert (ghost not in without_ghost(result).present_slots) == (ghosts or not presence[0])
    beside_none = result._replace(hand_scores=np.minimum(result.hand_scores, 0.9 * SEEN_BESIDE))  # type: ignore[arg-type]
    assert without_ghost(beside_none) is beside_none


def test_without_confidence_no_hand_is_a_ghost() -> None:
    """The same scores with low confidences drop the left hand."""
    results = [result_of(BRIGHT, BRIGHTER, confidence=each, scores=(0.9, 0.0)) for each in (None, (0.5, 0.0))]
    assert [without_ghost(result).present_slots for result in results] == [[RIGHT, LEFT], [RIGHT]]
    assert [result.has_confidence for result in results] == [False, True]


@pytest.mark.parametrize(
    ("confidence", "seen", "other", "share", "ghosts"),
    [
        (0.9 * GHOST_MAX_CONFIDENCE, 0.4, SEEN_ON, 0.9 * SAME_PLACE, True),
        (1.1 * GHOST_MAX_CONFIDENCE, 0.4, 0.95, 0.9 * SAME_PLACE, False),
        (0.9 * GHOST_MAX_CONFIDENCE, UNSEEN_ON, 0.95, 0.9 * SAME_PLACE, False),
        (0.9 * GHOST_MAX_CONFIDENCE, 0.4, 0.85, 0.9 * SAME_PLACE, False),
        (0.9 * GHOST_MAX_CONFIDENCE, 0.4, 0.95, 1.1 * SAME_PLACE, False),
    ],
    ids=["none is sure", "one is sure", "it is seen", "the other one is not seen", "it is beside"],
)
def test_of_two_hands_at_one_place_the_one_with_a_low_score_is_a_ghost(
    confidence: float, seen: float, other: float, share: float, ghosts: bool
) -> None:
    """Its low hand score comes from the other hand."""
    joints = joints_in(DIM, 3)
    aside = joints + np.array([share * geometry.extent(joints), 0.0])
    result = made_result(np.concatenate([joints, aside]), presence=(1, 1), confidence=(confidence, 0.5), square=SQUARE)
    result = result._replace(hand_scores=np.array([seen, other]))
    assert result.are_at_one_place == (share < SAME_PLACE)
    assert without_ghost(result).present_slots == ([LEFT] if ghosts else [RIGHT, LEFT])


# ---- predictions


def test_hands_that_the_search_misses_are_detected() -> None:
    for box in (BRIGHT, BRIGHTER):
        palms = FakePalms((box, "right", 0.95))
        pose = make_predictor(palms, EMPTY)(picture())
        assert pose.sides == ("right",) and is_around(pose, box)
        assert palms.calls == [*PALM_SIZES, SIZE], "at last around the hand, which is painted over"


def test_a_candidate_without_a_higher_score_does_not_count() -> None:
    palms = FakePalms((DIM, "right", 0.95), (BRIGHT, "right", 0.95))
    pose = make_predictor(palms, BRIGHT)(picture())
    assert is_around(pose, BRIGHT), "the one with more confidence, though the other one was detected, too"


def test_boxes_given_crops_and_certain_results_do_not_run_the_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    palms = FakePalms((BRIGHT, "right", 0.95))
    assert make_predictor(palms, EMPTY)(picture(), DIM).sides
    predictor = Predictor(Shades(), search=everywhere, landmarks=FakeLandmarks(palms), palms=palms)  # type: ignore[arg-type]
    predictor(np.ascontiguousarray(picture()[200:, 30:100]))
    assert palms.calls == []
    monkeypatch.setattr("unclasp.find.photo_search.is_certain", lambda result: True)
    make_predictor(palms, EMPTY)(picture())
    assert palms.calls == []


def test_the_detector_needs_the_landmark_network_and_the_finder() -> None:
    assert Predictor(Shades(), palms=FakePalms()).photo_search.detector is None  # type: ignore[arg-type]
    assert Predictor.load(landmarks=False).photo_search.detector is None
    assert Predictor.load(detector="network").photo_search.detector is None
    assert Predictor.load(detector="none").photo_search.detector is None
    assert Predictor.load().photo_search.detector is not None


@pytest.mark.parametrize(("fresh", "hands_given"), [(True, False), (False, False), (True, True)])
def test_frames_run_the_detector_only_without_known_hands(fresh: bool, hands_given: bool) -> None:
    palms = FakePalms((BRIGHT, "right", 0.95))
    predictor = make_predictor(palms, EMPTY)
    if hands_given:
        predictor.frame_search.search = everywhere
    found = predictor.frame_search(picture(), None, fresh=fresh)
    assert palms.calls == (list(PALM_SIZES_IN_VIDEOS) if fresh and not hands_given else [])
    if palms.calls:
        square = square_box(geometry.expand_box(np.array(BRIGHT), 1.2))
        assert geometry.box_iou(found.results.tracked.square, square) > 0.5


def test_new_hands_in_a_video_need_higher_scores_than_tracked_ones() -> None:
    """The score lies between the thresholds for new and for tracked hands."""
    kept = result_of(DIM, EMPTY, presence=(1, 0), confidence=(0.2, 0.0), scores=(0.1, 0.0))
    assert not is_credible(kept) and is_credible_in_track(kept)
    assert detection_score(kept) < MIN_DETECTION_SCORE and max_confidence(kept) < MIN_CONFIDENCE_UNSEEN


@pytest.mark.parametrize("confidence", [0.0, 0.1, 0.2, 0.6])
@pytest.mark.parametrize("seen", [0.0, 0.4, 0.6])
def test_hands_that_appear_in_a_frame_stay_in_an_equal_one(
    monkeypatch: pytest.MonkeyPatch, confidence: float, seen: float
) -> None:
    """Two hands with middling scores are credible together, where each alone would not be."""
    result = result_of(DIM, EMPTY, confidence=(confidence, confidence), scores=(seen, seen))
    predictor = make_predictor(FakePalms(), DIM)
    monkeypatch.setattr(predictor.touch_up, "for_video", lambda *_: Versions(result, result))
    new, known = (predictor.frame_search(picture(), None, fresh=fresh) for fresh in (True, False))
    assert new.results.tracked.present.any() and known.results.tracked.present.any()
    assert known.is_credible or not new.is_credible


@pytest.mark.parametrize("hands_given", [False, True])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_frame_reports_the_evidence_for_its_hands(
    monkeypatch: pytest.MonkeyPatch, fresh: bool, hands_given: bool
) -> None:
    """With given hands no evidence is reported; ghosts are dropped only in frames without earlier hands."""
    result = result_of(DIM, EMPTY, confidence=(0.4, 0.05), scores=(0.9, 0.02))
    predictor = make_predictor(FakePalms(), DIM)
    monkeypatch.setattr(predictor.touch_up, "for_video", lambda *_: Versions(result, result))
    if hands_given:
        predictor.frame_search.search = everywhere
    found = predictor.frame_search(picture(), None, fresh=fresh)
    ghost = 0.0 if fresh and not hands_given else 0.02 * 0.55
    assert found.is_known and detection_score(found.results.tracked) == pytest.approx(0.9 * 0.9 + ghost)
    if hands_given:
        assert found.hand_evidence is None
    else:
        np.testing.assert_allclose(found.hand_evidence, [0.9, 0.05])
    assert found.results.tracked.present_slots == ([RIGHT] if fresh and not hands_given else [RIGHT, LEFT])


@pytest.mark.parametrize("score", [0.0, 0.2])
def test_a_frame_reports_hands_that_would_not_be_credible_in_a_photo(
    monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    result = result_of(DIM, EMPTY, confidence=(0.3, 0.0), scores=(score, 0.0))
    predictor = make_predictor(FakePalms(), DIM)
    monkeypatch.setattr(predictor.touch_up, "for_video", lambda *_: Versions(result, result))
    found = predictor.frame_search(picture(), None, fresh=False)
    assert found.results.tracked.present.any() and found.is_credible and not found.is_known


def test_without_confidence_or_hand_scores_there_is_no_evidence() -> None:
    assert hand_evidence(result_of(DIM, EMPTY, confidence=None)) is None
    assert hand_evidence(result_of(DIM, EMPTY, scores=None)) is None


def test_variants_are_predicted_where_hands_were_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search, which misses them in the picture, would miss them in its variants, too."""
    palms = FakePalms((BRIGHT, "right", 0.95))
    predictor = make_predictor(palms, EMPTY)
    predictor.photo_search.second_opinions = True
    squares: list[Floats] = []
    predict_proposal = predictor.crop_predictor.predict_proposal

    def recorded(image: Pixels, proposal: Proposal) -> Any:
        squares.append(proposal.square)
        return predict_proposal(image, proposal)

    monkeypatch.setattr(predictor.crop_predictor, "predict_proposal", recorded)
    monkeypatch.setattr("unclasp.find.photo_search.is_doubtful", lambda result: True)
    assert is_around(predictor(picture()), BRIGHT)
    mirrored = geometry.mirror_box(square_box(np.array(BRIGHT)), 400)
    assert max(geometry.box_iou(square, mirrored) for square in squares) > 0.5


def test_a_frame_takes_detected_hands_that_the_pose_network_misses() -> None:
    place = (150.0, 200, 200, 250)  # nothing is red there
    search = make_predictor(FakePalms((place, "right", 0.95)), EMPTY).frame_search
    found = search(picture(), None, fresh=True)
    assert found.is_credible
    for result in found.results:
        assert result.present_slots == [RIGHT]
        np.testing.assert_allclose(result.joints_of(RIGHT).min(axis=0), place[:2], atol=1e-6)


def test_other_regions_are_the_remaining_ones_of_both_searches() -> None:
    palms = FakePalms((BRIGHT, "right", 0.95), (FAINT, "right", 0.6))
    predictor = make_predictor(palms, EMPTY)
    others = np.array([EMPTY, EMPTY, BRIGHT, FAINT, DIM])
    proposal = predictor.search(picture())._replace(others=others, fallback=None)
    predictor.photo_search.search = lambda _: proposal
    pose = predictor(picture())
    assert is_around(pose, BRIGHT) and pose.other_regions is not None
    left = [[box[0] < x < box[2] and box[1] < y < box[3] for box in (FAINT, EMPTY, EMPTY, DIM)]
            for x, y in (pose.other_regions[:, :2] + pose.other_regions[:, 2:]) / 2]  # fmt: skip
    np.testing.assert_array_equal(
        np.sum(left, axis=1) > 0, True, err_msg="the region of the result is not among the others"
    )
    assert [row.index(True) for row in left].count(0) == 1, "a region that both searches found is there once"
    assert any(row[3] for row in left), "a region that only the finder found is there"


def test_two_hands_of_one_side_are_not_one_person_s() -> None:
    """Only the nearest hand of the other side joins the first one; all others stay other regions."""
    beside, across = (215.0, 40, 275, 100), (150.0, 105, 210, 165)
    proposal = proposal_of_hands([hand_in(BRIGHT), hand_in(beside), hand_in(across, "left", 0.6)], BLACK)
    assert (proposal.square[:2] < [150, 40]).all() and (proposal.square[2:] > [210, 165]).all()
    assert len(proposal.others) == 1
    np.testing.assert_allclose((proposal.others[0, :2] + proposal.others[0, 2:]) / 2, [245, 70])
    large, small = (100.0, 100, 280, 280), (20.0, 20, 60, 60)
    proposal = proposal_of_hands([hand_in(small), hand_in(large, score=0.4), hand_in(BRIGHT, score=0.8)], BLACK)
    np.testing.assert_allclose(
        (proposal.square[:2] + proposal.square[2:]) / 2, [180, 70], err_msg="not the large one with a low score"
    )


def test_the_nearest_hand_of_the_other_side_is_the_first_one_s_and_others_follow_by_score_and_size() -> None:
    first, near, far = hand_in(BRIGHT), hand_in(DIM, "left", 0.6), hand_in(EMPTY, "left", 0.6)
    assert [hand.box[0] for hand in pair_of([first, far, near])] == [BRIGHT[0], DIM[0]]
    large, small = hand_in((20, 200, 110, 290), score=0.6), hand_in((300, 200, 340, 240), score=0.8)
    others = proposal_of_hands([first, small, large], BLACK).others
    np.testing.assert_allclose((others[:, :2] + others[:, 2:]) / 2, [[65, 245], [320, 220]])


def test_of_each_side_the_hand_with_the_best_score_counts() -> None:
    result = with_detected(
        result_of(DIM, EMPTY), [hand_in(BRIGHT, "left", 0.9), hand_in((90, 200, 150, 260), "left", 0.8)], SQUARE
    )
    np.testing.assert_allclose(result.joints_2d[HAND_SLICES[LEFT]].min(axis=0), BRIGHT[:2], atol=1e-6)


def test_a_detected_pair_counts_even_at_the_place_of_the_other_hand() -> None:
    right, left = hand_in(EMPTY), hand_in(BRIGHT, "left")
    result = with_detected(result_of(DIM, EMPTY, confidence=(0.1, 0.1), scores=(0.0, 0.2)), [right, left], SQUARE)
    np.testing.assert_allclose(result.joints_2d, np.concatenate([right.joints_2d, left.joints_2d]), atol=1e-6)


def test_a_hand_at_the_detected_place_only_gets_its_score() -> None:
    hand = hand_in(BRIGHT, "left")
    result = result_of(DIM, EMPTY, confidence=(0.1, 1.1 * MAX_CONFIDENCE_TO_FOLLOW)).with_joints_2d(
        {LEFT: hand.joints_2d + 2.0}
    )
    changed = with_detected(result, [hand], SQUARE)
    assert changed.hand_scores is not None and changed.hand_scores[LEFT] == hand.score
    np.testing.assert_array_equal(changed.joints_2d, result.joints_2d)
    assert changed.confidence(LEFT) == result.confidence(LEFT)


def test_a_hand_that_is_hardly_seen_moves_to_a_detected_one_a_third_of_its_size_away() -> None:
    hand = hand_in(BRIGHT, "left")
    for distance, moves in ((0.15, False), (0.3, True)):
        joints = hand.joints_2d + np.array([distance * hand.extent, 0.0])
        result = result_of(DIM, EMPTY, scores=(0.0, MIN_HAND_SCORE)).with_joints_2d({LEFT: joints})
        changed = with_detected(result, [hand], SQUARE)
        expected = hand.joints_2d if moves else joints
        np.testing.assert_allclose(changed.joints_2d[HAND_SLICES[LEFT]], expected, atol=1e-6)
        assert changed.hand_score(LEFT) == hand.score


def test_a_detected_hand_is_no_less_likely_than_before() -> None:
    changed = with_detected(result_of(DIM, EMPTY, presence=(0.9, 0.99)), [hand_in(BRIGHT, "left", 0.8)], SQUARE)
    assert changed.output.presence[0].tolist() == pytest.approx([0.9, 0.99])


def test_a_credible_result_is_not_replaced_by_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = make_predictor(FakePalms((BRIGHT, "right", 0.95)), EMPTY)
    predictor.photo_search.second_opinions = True
    doubtful = result_of(DIM, EMPTY)
    assert not is_credible(doubtful)
    monkeypatch.setattr("unclasp.find.photo_search.is_doubtful", lambda result: True)
    monkeypatch.setattr("unclasp.find.photo_search.best_of_variants", lambda *_, **__: doubtful)
    assert is_around(predictor(picture()), BRIGHT)
