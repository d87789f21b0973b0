"""Hands that MediaPipe's two networks see: which count, what they change, and that only doubtful pictures ask."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from detected import LEFT, RIGHT, Landmarks, Sees, hand_in, joints_in, predictor, view_of
from made_results import look, reading_of
from shades import BRIGHT, BRIGHTER, DIM, EMPTY, FAINT, Box, Shades, is_around, picture
from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.find.crop_predictor import MIN_CONFIDENCE
from unclasp.find.crop_result import (
    DENIED_PRESENCE,
    GHOST_MAX_CONFIDENCE,
    GHOST_SCORES_BESIDE,
    MIN_CONFIDENCE_UNSEEN,
    MIN_DETECTION_SCORE,
    SAME_PLACE,
    CropResult,
)
from unclasp.find.hand_detector import (
    MAX_PALMS,
    MIN_DETECTED_SCORE,
    MIN_FIRST_HAND_SCORE,
    PALM_SIZES,
    PALM_SIZES_IN_VIDEOS,
    DetectedHand,
    HandDetector,
    is_certain,
    proposal_of_hands,
    with_detected,
)  # fmt: skip
from unclasp.find.search import Proposal, everywhere
from unclasp.find.touch_up import DOUBTFUL_CONFIDENCE, MIN_HAND_SCORE, TwoTouchUps
from unclasp.geometry import square_box
from unclasp.hands import BONES, HAND_SLICES, JOINTS_PER_HAND
from unclasp.lifting import BONE_LENGTHS_MM, hand_sized
from unclasp.pose import MIN_PRESENCE_SECOND
from unclasp.predictor import Predictor

Floats = npt.NDArray[np.floating]
UNSEEN, SEEN_BESIDE = GHOST_SCORES_BESIDE


def spotter(sees: Sees, **options: Any) -> HandDetector:
    return HandDetector(sees, Landmarks(sees, **options))  # type: ignore[arg-type]


BLACK = np.zeros((300, 400, 3), np.uint8)


# ---- which hands are seen


def test_hands_of_both_sides_are_read_once_each() -> None:
    sees = Sees((BRIGHT, "left", 0.8), (BRIGHTER, "right", 0.95))
    hands = spotter(sees)(BLACK)
    assert [(hand.side, hand.slot) for hand in hands] == [("right", 0), ("left", 1)], "the likeliest first"
    assert [hand.score for hand in hands] == [0.95, 0.8]
    np.testing.assert_allclose(hands[0].box, BRIGHTER)
    assert sees.asked == list(PALM_SIZES)


@pytest.mark.parametrize("size", PALM_SIZES)
def test_each_size_may_show_a_hand(size: int) -> None:
    sees = Sees((BRIGHT, "left", 0.8), sizes=(size,))
    assert len(spotter(sees)(BLACK)) == 1
    assert len(spotter(sees)(BLACK, PALM_SIZES_IN_VIDEOS)) == (size in PALM_SIZES_IN_VIDEOS)


@pytest.mark.parametrize(("likely", "counts"), [(MIN_DETECTED_SCORE + 0.01, True), (MIN_DETECTED_SCORE - 0.01, False)])
def test_what_is_hardly_a_hand_is_none(likely: float, counts: bool) -> None:
    assert bool(spotter(Sees((BRIGHT, "right", likely)))(BLACK)) is counts


@pytest.mark.parametrize(("share", "counts"), [(1.1, True), (0.9, False)])
def test_what_is_no_hand_at_all_is_not_read_again(share: float, counts: bool) -> None:
    assert bool(spotter(Sees((BRIGHT, "right", 0.9)), first=share * MIN_FIRST_HAND_SCORE / 0.9)(BLACK)) is counts


@pytest.mark.parametrize("box", [(-90, 40, -10, 100), (100, 100, 110, 112), (-80, -80, 0.2, 0.2), (390, 290, 460, 350)])
def test_hands_outside_of_the_picture_and_tiny_ones_are_left_out(box: Box) -> None:
    assert not spotter(Sees((box, "right", 0.9)))(BLACK)


def test_of_a_hand_that_leaves_the_picture_what_is_in_it_is_looked_at() -> None:
    (hand,) = spotter(Sees(((360, 250, 440, 340), "right", 0.9)))(BLACK)
    where = proposal_of_hands([hand], BLACK)
    np.testing.assert_allclose((where.square[:2] + where.square[2:]) / 2, [379.75, 274.75])


def test_a_hand_that_is_certain_is_not_read_at_each_size() -> None:
    reads = {}
    for likely in (0.95, 0.8):
        sees = Sees((BRIGHT, "right", likely))
        landmarks = Landmarks(sees)
        read, asked = landmarks.read, []
        landmarks.read = lambda *given, read=read, asked=asked: asked.append(0) or read(*given)  # type: ignore
        HandDetector(sees, landmarks)(BLACK)  # type: ignore[arg-type]
        reads[likely] = len(asked)
    assert reads == {0.95: 1, 0.8: len(PALM_SIZES)}


def test_of_a_crowd_the_surest_palms_are_read() -> None:
    boxes = [(x, y, x + 32.0, y + 32.0) for x in range(0, 360, 40) for y in range(20, 260, 60)]
    assert len(boxes) > MAX_PALMS
    assert len(spotter(Sees(*((box, "right", 0.95) for box in boxes)))(BLACK)) == MAX_PALMS


def test_where_to_look_is_around_hands_that_are_near_each_other() -> None:
    near = proposal_of_hands([hand_in(BRIGHT), hand_in((215, 40, 260, 100), "left")], BLACK)
    assert not len(near.others)
    assert (near.square[:2] < [150, 40]).all() and (near.square[2:] > [260, 100]).all()
    far = proposal_of_hands([hand_in(DIM, seen=0.6), hand_in((330, 230, 390, 290), "left", 0.9)], BLACK)
    assert len(far.others) == 1
    np.testing.assert_allclose((far.square[:2] + far.square[2:]) / 2, [360, 260])


# ---- what they change


SQUARE = np.array([0.0, 0.0, 300.0, 300.0])


def test_a_hand_that_is_elsewhere_goes_where_it_is_seen() -> None:
    hand = hand_in(BRIGHT, "left")
    view = with_detected(view_of(DIM, EMPTY), [hand], SQUARE)
    np.testing.assert_allclose(view.joints_2d[HAND_SLICES[LEFT]], hand.joints_2d, atol=1e-6)
    np.testing.assert_allclose(view.joints_2d[HAND_SLICES[RIGHT]], joints_in(DIM, 3), atol=1e-6)
    np.testing.assert_allclose(view.output.pose_2p5d[0, HAND_SLICES[LEFT], 2], hand.depths, atol=1e-6)
    assert view.hand_scores is not None and view.hand_scores.tolist() == [0.0, 0.9]
    assert view.confidence(LEFT) == 0 and view.confidence(RIGHT) == pytest.approx(0.1), "sure is only what it saw"


@pytest.mark.parametrize(
    "view",
    [
        view_of(DIM, EMPTY, seen=(0.0, MIN_HAND_SCORE + 0.01)),
        view_of(DIM, EMPTY, confidence=(0.1, 1.1 * DOUBTFUL_CONFIDENCE)),
        view_of(BRIGHT, EMPTY, seen=(0.9, 0.0)),
    ],
    ids=["it is seen there", "the pose network is sure: it hides", "that is the other one, which is seen"],
)
def test_what_is_known_stays(view: CropResult) -> None:
    same = with_detected(view, [hand_in(BRIGHT, "left")], SQUARE)
    np.testing.assert_array_equal(same.joints_2d, view.joints_2d)
    np.testing.assert_array_equal(same.output.presence, view.output.presence)


@pytest.mark.parametrize("likely", [MIN_HAND_SCORE - 0.01, MIN_HAND_SCORE + 0.01])
@pytest.mark.parametrize("box", [BRIGHT, (310.0, 40, 370, 100)])
def test_only_what_is_seen_for_sure_in_the_same_place_counts(likely: float, box: Box) -> None:
    view = view_of(DIM, EMPTY)
    moved = with_detected(view, [hand_in(box, "left", likely)], SQUARE)
    assert (moved is view) == (likely < MIN_HAND_SCORE or box != BRIGHT)


def test_a_single_hand_of_the_other_side_changes_its_side() -> None:
    view = view_of(DIM, DIM, presence=(0.1, 0.9), confidence=(0.3, 0.8), seen=(0.0, 0.01))
    hand = hand_in(DIM, "right")
    told = with_detected(view, [hand], SQUARE)
    assert told.present_slots == [RIGHT] and told.output.presence[0, LEFT] <= DENIED_PRESENCE
    np.testing.assert_allclose(told.joints_2d[HAND_SLICES[RIGHT]], hand.joints_2d, atol=1e-6)
    own = with_detected(view._replace(hand_scores=np.array([0.9, 0.01])), [hand], SQUARE)
    assert own.present_slots == [RIGHT]
    np.testing.assert_array_equal(own.joints_2d, view.joints_2d, err_msg="its own joints are seen there, and stay")
    unsure = with_detected(view._replace(hand_scores=np.array([0.0, 0.3])), [hand], SQUARE)
    assert unsure.present_slots == [LEFT], "it may well be a left one"


def test_a_hand_that_was_not_there_comes_beside_the_other_one() -> None:
    view = view_of(DIM, EMPTY, presence=(0.9, 0.1), seen=(0.9, 0.0))
    assert with_detected(view, [hand_in(BRIGHT, "left")], SQUARE).present_slots == [RIGHT, LEFT]


def test_a_spotted_hand_is_as_likely_as_it_is_seen_and_likely_enough_to_count() -> None:
    view = view_of(DIM, EMPTY, presence=(0.9, 0.1), seen=(0.9, 0.0))
    for seen, told in ((0.95, 0.95), (0.55, MIN_PRESENCE_SECOND)):
        spotted = with_detected(view, [hand_in(BRIGHT, "left", seen)], SQUARE)
        assert spotted.output.presence[0].tolist() == pytest.approx([0.9, told])


@pytest.mark.parametrize("unit", [0.2, 1.0, 30.0])
def test_depths_of_seen_hands_are_those_of_a_hand_of_average_size(unit: float) -> None:
    points = np.random.default_rng(0).normal(0, unit, (21, 3))
    joints, parents = np.array([bone for bone in BONES if bone[0] < JOINTS_PER_HAND]).T
    sized = hand_sized(points)
    lengths = np.linalg.norm(sized[joints] - sized[parents], axis=1)
    assert np.square(lengths).sum() == pytest.approx(np.square(BONE_LENGTHS_MM).sum())
    np.testing.assert_allclose(sized / points, sized[0, 0] / points[0, 0])
    hand = DetectedHand("right", reading_of(points[:, :2], 1.0, 1.0)._replace(joints=points))
    np.testing.assert_allclose(hand.depths, sized[:, 2] - sized[-1, 2])


# ---- how much speaks for hands


def test_what_is_seen_is_worth_more_the_surer_it_is() -> None:
    unsure, sure = (view_of(DIM, EMPTY, confidence=(c, c), seen=(0.9, 0.9)) for c in (0.1, 0.6))
    assert 0 < unsure.detection_score < sure.detection_score
    assert view_of(DIM, EMPTY, confidence=(0.9, 0.9)).detection_score == 0, "what is not seen is worth nothing"
    one = view_of(DIM, EMPTY, presence=(1, 0), confidence=(0.6, 0.6), seen=(0.9, 0.9))
    assert one.detection_score == pytest.approx(sure.detection_score / 2), "nor is what does not count"


def test_two_hands_that_both_networks_are_sure_of_are_settled() -> None:
    assert is_certain(view_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, MIN_CONFIDENCE), seen=(0.9, 0.9)))
    assert is_certain(view_of(DIM, EMPTY, confidence=None))
    for doubtful in (
        view_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, 0.9 * MIN_CONFIDENCE), seen=(0.9, 0.9)),
        view_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, MIN_CONFIDENCE), seen=(0.9, 0.9 * MIN_HAND_SCORE)),
        view_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, MIN_CONFIDENCE), seen=(0.9, 0.9), presence=(1, 0)),
        view_of(DIM, EMPTY, confidence=(MIN_CONFIDENCE, MIN_CONFIDENCE), seen=None),
    ):
        assert not is_certain(doubtful)


@pytest.mark.parametrize(
    ("confidence", "seen", "presence", "ghosts"),
    [
        (0.9 * GHOST_MAX_CONFIDENCE, 0.9 * UNSEEN, (1, 1), True),
        (1.1 * GHOST_MAX_CONFIDENCE, 0.9 * UNSEEN, (1, 1), False),
        (0.9 * GHOST_MAX_CONFIDENCE, 1.1 * UNSEEN, (1, 1), False),
        (0.9 * GHOST_MAX_CONFIDENCE, 0.9 * UNSEEN, (0, 1), False),
    ],
    ids=["neither is sure", "one is sure", "one sees it", "it is alone"],
)
@pytest.mark.parametrize("ghost", [RIGHT, LEFT])
def test_a_second_hand_that_neither_network_is_sure_of_is_no_hand(
    confidence: float, seen: float, presence: tuple[float, float], ghosts: bool, ghost: int
) -> None:
    def ordered(of_ghost: float, other: float) -> tuple[float, float]:
        return (of_ghost, other) if ghost == RIGHT else (other, of_ghost)

    view = view_of(
        DIM, EMPTY, confidence=ordered(confidence, 0.5), seen=ordered(seen, 1.1 * SEEN_BESIDE),
        presence=ordered(presence[0], presence[1]),
    )  # fmt: skip
    assert (ghost not in view.without_ghost().present_slots) == (ghosts or not presence[0])
    beside_none = view._replace(hand_scores=np.minimum(view.hand_scores, 0.9 * SEEN_BESIDE))  # type: ignore[arg-type]
    assert beside_none.without_ghost() is beside_none


@pytest.mark.parametrize(
    ("confidence", "seen", "other", "share", "ghosts"),
    [
        (0.9 * GHOST_MAX_CONFIDENCE, 0.4, 0.95, 0.9 * SAME_PLACE, True),
        (1.1 * GHOST_MAX_CONFIDENCE, 0.4, 0.95, 0.9 * SAME_PLACE, False),
        (0.9 * GHOST_MAX_CONFIDENCE, 0.6, 0.95, 0.9 * SAME_PLACE, False),
        (0.9 * GHOST_MAX_CONFIDENCE, 0.4, 0.85, 0.9 * SAME_PLACE, False),
        (0.9 * GHOST_MAX_CONFIDENCE, 0.4, 0.95, 1.1 * SAME_PLACE, False),
    ],
    ids=["none is sure", "one is sure", "it is seen", "the other one is not seen", "it is beside"],
)
def test_of_two_hands_on_one_place_the_one_that_is_not_seen_is_no_hand(
    confidence: float, seen: float, other: float, share: float, ghosts: bool
) -> None:
    """What is seen of it a little is the other one."""
    joints = joints_in(DIM, 3)
    aside = joints + np.array([share * geometry.extent(joints), 0.0])
    view = look(np.concatenate([joints, aside]), presence=(1, 1), confidence=(confidence, 0.5), square=SQUARE)
    view = view._replace(hand_scores=np.array([seen, other]))
    assert view.are_at_one_place == (share < SAME_PLACE)
    assert view.without_ghost().present_slots == ([LEFT] if ghosts else [RIGHT, LEFT])


# ---- predictions


def test_hands_that_the_search_misses_are_spotted() -> None:
    for box in (BRIGHT, BRIGHTER):
        sees = Sees((box, "right", 0.95))
        pose = predictor(sees, EMPTY)(picture())
        assert pose.sides == ("right",) and is_around(pose, box) and sees.asked == list(PALM_SIZES)


def test_what_is_worth_no_more_does_not_count() -> None:
    sees = Sees((DIM, "right", 0.95), (BRIGHT, "right", 0.95))
    pose = predictor(sees, BRIGHT)(picture())
    assert is_around(pose, BRIGHT), "which is surer, though the other one was spotted, too"


def test_boxes_pictures_said_to_be_crops_and_settled_ones_do_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    sees = Sees((BRIGHT, "right", 0.95))
    assert predictor(sees, EMPTY)(picture(), DIM).sides
    said = Predictor(Shades(), search=everywhere, landmarks=Landmarks(sees), palms=sees)  # type: ignore[arg-type]
    said(np.ascontiguousarray(picture()[200:, 30:100]))
    assert sees.asked == []
    monkeypatch.setattr("unclasp.find.photo_search.is_certain", lambda view: True)
    predictor(sees, EMPTY)(picture())
    assert sees.asked == []


def test_without_the_landmark_network_or_another_search_none_is_spotted() -> None:
    assert Predictor(Shades(), palms=Sees()).photo_search.detector is None  # type: ignore[arg-type]
    assert Predictor.load(landmarks=False).photo_search.detector is None
    assert Predictor.load(detector="network").photo_search.detector is None
    assert Predictor.load(detector="none").photo_search.detector is None
    assert Predictor.load().photo_search.detector is not None


@pytest.mark.parametrize(("fresh", "hands_given"), [(True, False), (False, False), (True, True)])
def test_frames_ask_where_nothing_is_known(fresh: bool, hands_given: bool) -> None:
    sees = Sees((BRIGHT, "right", 0.95))
    spots = predictor(sees, EMPTY)
    if hands_given:
        spots.photo_search.search = everywhere
    told: dict[str, Any] = {"focal": None, "princpt": None, "mirrored": False, "hands_given": False}
    sighting = spots._frame(picture(), None, fresh=fresh, **told)
    assert sees.asked == (list(PALM_SIZES_IN_VIDEOS) if fresh and not hands_given else [])
    if sees.asked:
        assert is_around(sighting.tracked, BRIGHT)


def test_hands_in_frames_have_to_be_surer_to_come_than_to_stay() -> None:
    """Worth between what makes a hand believed and what keeps it so."""
    kept = view_of(DIM, EMPTY, presence=(1, 0), confidence=(0.2, 0.0), seen=(0.1, 0.0))
    assert not kept.is_credible and kept.is_credible_in_track
    assert kept.detection_score < MIN_DETECTION_SCORE and kept.max_confidence < MIN_CONFIDENCE_UNSEEN


@pytest.mark.parametrize("confidence", [0.0, 0.1, 0.2, 0.6])
@pytest.mark.parametrize("seen", [0.0, 0.4, 0.6])
def test_hands_that_come_in_a_frame_stay_in_the_next_like_it(
    monkeypatch: pytest.MonkeyPatch, confidence: float, seen: float
) -> None:
    """Two hands that may be seen are believed in a photo, where each alone would not be."""
    view = view_of(DIM, EMPTY, confidence=(confidence, confidence), seen=(seen, seen))
    asking = predictor(Sees(), DIM)
    monkeypatch.setattr(asking.photo_search, "touch_up_for_video", lambda *_: TwoTouchUps(view, view))
    told: dict[str, Any] = {"focal": None, "princpt": None, "mirrored": False, "hands_given": False}
    came, stayed = (
        asking._frame(picture(), None, fresh=fresh, **told).tracked.present.any() for fresh in (True, False)
    )
    assert stayed or not came


@pytest.mark.parametrize("hands_given", [False, True])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_frame_says_what_speaks_for_its_hands(
    monkeypatch: pytest.MonkeyPatch, fresh: bool, hands_given: bool
) -> None:
    """Where hands are said to be nothing has to; a ghost comes only where hands were before."""
    view = view_of(DIM, EMPTY, confidence=(0.4, 0.05), seen=(0.9, 0.02))
    asking = predictor(Sees(), DIM)
    monkeypatch.setattr(asking.photo_search, "touch_up_for_video", lambda *_: TwoTouchUps(view, view))
    told: dict[str, Any] = {"focal": None, "princpt": None, "mirrored": False, "hands_given": hands_given}
    sighting = asking._frame(picture(), None, fresh=fresh, **told)
    ghost = 0.0 if fresh and not hands_given else 0.02 * 0.55
    assert sighting.is_known and sighting.detection_score == pytest.approx(0.9 * 0.9 + ghost)
    if hands_given:
        assert sighting.hand_evidence is None
    else:
        np.testing.assert_allclose(sighting.hand_evidence, [0.9, 0.05])
    assert sighting.tracked.sides == (("right",) if fresh and not hands_given else ("right", "left"))


@pytest.mark.parametrize("likely", [0.0, 0.2])
def test_a_frame_of_hands_that_a_photo_would_not_be_told_to_show_says_so(
    monkeypatch: pytest.MonkeyPatch, likely: float
) -> None:
    view = view_of(DIM, EMPTY, confidence=(0.3, 0.0), seen=(likely, 0.0))
    asking = predictor(Sees(), DIM)
    monkeypatch.setattr(asking.photo_search, "touch_up_for_video", lambda *_: TwoTouchUps(view, view))
    told: dict[str, Any] = {"focal": None, "princpt": None, "mirrored": False, "hands_given": False}
    sighting = asking._frame(picture(), None, fresh=False, **told)
    assert sighting.tracked.sides and not sighting.is_known


def test_where_no_network_tells_nothing_speaks_for_or_against_a_hand() -> None:
    assert view_of(DIM, EMPTY, confidence=None).hand_evidence is None
    assert view_of(DIM, EMPTY, seen=None).hand_evidence is None


def test_other_ways_to_look_stay_where_hands_were_spotted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search, which misses them in the picture, would miss them mirrored and turned, too."""
    sees = Sees((BRIGHT, "right", 0.95))
    asking = predictor(sees, EMPTY)
    asking.photo_search.second_opinions = True
    squares: list[Floats] = []
    see = asking.crop_predictor.search_from

    def noted(image: ByteArray, where: Proposal) -> Any:
        squares.append(where.square)
        return see(image, where)

    monkeypatch.setattr(asking.crop_predictor, "search_from", noted)
    monkeypatch.setattr("unclasp.find.photo_search.is_doubtful", lambda view: True)
    assert is_around(asking(picture()), BRIGHT)
    mirrored = geometry.mirror_box(square_box(np.array(BRIGHT)), 400)
    assert max(geometry.box_iou(square, mirrored) for square in squares) > 0.5


def test_a_frame_takes_what_is_seen_though_the_pose_network_does_not_know_it() -> None:
    place = (150.0, 200, 200, 250)  # nothing is red there
    told: dict[str, Any] = {"focal": None, "princpt": None, "mirrored": False, "hands_given": False}
    sighting = predictor(Sees((place, "right", 0.95)), EMPTY)._frame(picture(), None, fresh=True, **told)
    for pose in (sighting.tracked, sighting.reported):
        assert pose.sides == ("right",)
        np.testing.assert_allclose(pose.joints_2d[HAND_SLICES[RIGHT]].min(axis=0), place[:2], atol=1e-6)


def test_other_regions_are_those_that_are_left_of_both_searches() -> None:
    sees = Sees((BRIGHT, "right", 0.95), (FAINT, "right", 0.6))
    asking = predictor(sees, EMPTY)
    others = np.array([EMPTY, EMPTY, BRIGHT, FAINT, DIM])
    where = asking.search(picture())._replace(others=others, fallback=None)
    asking.photo_search.search = lambda _: where
    pose = asking(picture())
    assert is_around(pose, BRIGHT) and pose.other_regions is not None
    left = [[box[0] < x < box[2] and box[1] < y < box[3] for box in (FAINT, EMPTY, EMPTY, DIM)]
            for x, y in (pose.other_regions[:, :2] + pose.other_regions[:, 2:]) / 2]  # fmt: skip
    np.testing.assert_array_equal(np.sum(left, axis=1) > 0, True, err_msg="the one that was taken is not left")
    assert [row.index(True) for row in left].count(0) == 1, "what both saw is there once"
    assert any(row[3] for row in left), "what the finder alone saw is there"


def test_two_hands_of_one_side_are_not_one_person_s() -> None:
    """The nearest of the other side is, if it is near enough; all others are left."""
    beside, across = (215.0, 40, 275, 100), (150.0, 105, 210, 165)
    where = proposal_of_hands([hand_in(BRIGHT), hand_in(beside), hand_in(across, "left", 0.6)], BLACK)
    assert (where.square[:2] < [150, 40]).all() and (where.square[2:] > [210, 165]).all()
    assert len(where.others) == 1
    np.testing.assert_allclose((where.others[0, :2] + where.others[0, 2:]) / 2, [245, 70])
    large, small = (100.0, 100, 280, 280), (20.0, 20, 60, 60)
    where = proposal_of_hands([hand_in(small), hand_in(large, seen=0.4), hand_in(BRIGHT, seen=0.8)], BLACK)
    np.testing.assert_allclose(
        (where.square[:2] + where.square[2:]) / 2, [180, 70], err_msg="not the large unlikely one"
    )


def test_of_each_side_the_likeliest_hand_is_told() -> None:
    view = with_detected(
        view_of(DIM, EMPTY), [hand_in(BRIGHT, "left", 0.9), hand_in((90, 200, 150, 260), "left", 0.8)], SQUARE
    )
    np.testing.assert_allclose(view.joints_2d[HAND_SLICES[LEFT]].min(axis=0), BRIGHT[:2], atol=1e-6)


def test_a_pair_that_is_seen_is_told_even_where_the_other_hand_was_taken_to_be() -> None:
    right, left = hand_in(EMPTY), hand_in(BRIGHT, "left")
    view = with_detected(view_of(DIM, EMPTY, confidence=(0.1, 0.1), seen=(0.0, 0.2)), [right, left], SQUARE)
    np.testing.assert_allclose(view.joints_2d, np.concatenate([right.joints_2d, left.joints_2d]), atol=1e-6)


def test_a_hand_that_the_pose_network_has_in_its_place_is_seen_there() -> None:
    hand = hand_in(BRIGHT, "left")
    view = view_of(DIM, EMPTY, confidence=(0.1, 1.1 * DOUBTFUL_CONFIDENCE)).with_joints_2d({LEFT: hand.joints_2d + 2.0})
    told = with_detected(view, [hand], SQUARE)
    assert told.hand_scores is not None and told.hand_scores[LEFT] == hand.score
    np.testing.assert_array_equal(told.joints_2d, view.joints_2d)
    assert told.confidence(LEFT) == view.confidence(LEFT)


def test_an_answer_that_is_believed_does_not_give_way_to_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asking = predictor(Sees((BRIGHT, "right", 0.95)), EMPTY)
    asking.photo_search.second_opinions = True
    doubtful = view_of(DIM, EMPTY)
    assert not doubtful.is_credible
    monkeypatch.setattr("unclasp.find.photo_search.is_doubtful", lambda view: True)
    monkeypatch.setattr("unclasp.find.photo_search.best_of_variants", lambda *_, **__: doubtful)
    assert is_around(asking(picture()), BRIGHT)
