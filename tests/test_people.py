"""Hands of other people: each is reported once, none of them the first person's, and only if credible."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from command_line import predict_here
from detected import RIGHT, FakeLandmarks, FakePalms, hand_in, joints_in, make_predictor, result_of
from poses import random_pose
from shades import BRIGHT, BRIGHTER, DIM, EMPTY, FAINT, Box, picture
from unclasp.arrays import Pixels
from unclasp.find.crop_result import MIN_HAND_SCORE, CropResult
from unclasp.find.faces import FacesIn
from unclasp.find.hand_detector import (
    CERTAIN_SCORE,
    MAX_REACH,
    PALM_SIZES,
    PALM_SIZES_IN_CROWDS,
    DetectedHand,
    HandDetector,
    pair_of,
    with_small_hands,
)
from unclasp.find.palms import SIZE, Palm
from unclasp.find.people import MAX_PLACES, Others
from unclasp.find.search import Proposal
from unclasp.geometry import square_box
from unclasp.hands import HAND_SLICES
from unclasp.picture import read_picture
from unclasp.predictor import Predictor

EXAMPLE = Path(__file__).parents[1] / "examples" / "two_hands.jpg"
BLACK = np.zeros((300, 400, 3), np.uint8)
FIRST = result_of(DIM, EMPTY, presence=(1, 0), confidence=(0.5, 0.0), scores=(0.9, 0.0))
"""A right hand alone."""


class FakePredictor:
    """Returns the given results in turn, then the last one again, for any proposal."""

    def __init__(self, *results: CropResult) -> None:
        self.results, self.proposals = list(results), list[Proposal]()

    def __call__(self, proposal: Proposal) -> CropResult:
        self.proposals.append(proposal)
        return self.results[min(len(self.proposals), len(self.results)) - 1]


def right_in(box: Box, **fields: Any) -> CropResult:
    return result_of(box, EMPTY, presence=(1, 0), confidence=(0.5, 0.0), scores=(0.9, 0.0), **fields)


def found(fake: FakePredictor, *hands: DetectedHand, regions: list[Box] | None = None) -> list[CropResult]:
    others = Others(FIRST)
    others.add_detected(hands, BLACK, fake)
    others.add_regions(np.reshape(regions or [], (-1, 4)), fake)
    return others.found


def test_known_hands_are_not_searched_for() -> None:
    fake = FakePredictor(right_in(BRIGHT))
    assert not found(fake, hand_in(DIM), regions=[DIM]) and not fake.proposals


def test_each_further_hand_is_predicted_and_reported_once() -> None:
    fake = FakePredictor(right_in(BRIGHT), right_in(BRIGHTER))
    results = found(fake, hand_in(DIM), hand_in(BRIGHT, score=0.95), hand_in(BRIGHTER))
    assert [result.present_slots for result in results] == [[RIGHT], [RIGHT]] and len(fake.proposals) == 2
    np.testing.assert_allclose(results[0].joints_2d[HAND_SLICES[RIGHT]], joints_in(BRIGHT, 3))


@pytest.mark.parametrize(("apart", "together"), [(0.9 * MAX_REACH, True), (1.1 * MAX_REACH, False)])
def test_hands_that_are_too_far_apart_are_two_people_s(apart: float, together: bool) -> None:
    right = hand_in((100, 100, 110, 110))
    left = hand_in((100 + 10 * apart, 100, 110 + 10 * apart, 110), "left")
    fake = FakePredictor(
        result_of((100, 100, 110, 110), (100 + 10 * apart, 100, 110 + 10 * apart, 110), scores=(0.9, 0.9))
    )
    found(fake, right, left)
    proposal = fake.proposals[0]
    assert len(pair_of([right, left])) == 2
    assert (len(proposal.others) > 0 or proposal.square[2] > 100 + 10 * apart) == together


@pytest.mark.parametrize(("score", "counts"), [(MIN_HAND_SCORE, 0), (MIN_HAND_SCORE + 0.01, 1), (None, 1)])
def test_hands_in_regions_need_the_landmark_network_if_there_is_one(score: float | None, counts: int) -> None:
    scores = None if score is None else (score, 0.0)
    sure = result_of(BRIGHT, EMPTY, presence=(1, 0), confidence=(0.9, 0.0), scores=scores)
    assert len(found(FakePredictor(sure), regions=[BRIGHT])) == counts


def test_a_partner_of_like_size_is_not_hidden_by_a_nearer_small_hand() -> None:
    right, left = hand_in((100, 100, 140, 140)), hand_in((250, 100, 290, 140), "left", score=0.6)
    small = hand_in((160, 100, 170, 110), "left", score=0.6)
    fake = FakePredictor(result_of((100, 100, 140, 140), (250, 100, 290, 140), scores=(0.9, 0.9)))
    found(fake, right, small, left)
    first = fake.proposals[0]
    places = np.concatenate([first.square[None], first.others])
    assert ((places[:, 0] < 270) & (places[:, 2] > 270)).any() and not (
        (places[:, 0] > 150) & (places[:, 2] < 180)
    ).any()


def test_a_known_hand_is_dropped_from_a_result_and_the_detected_one_added() -> None:
    """It predicts the clearest hand around, the first person's; another right one was detected there, too."""
    near = (95.0, 40.0, 155.0, 100.0)
    (result,) = found(
        FakePredictor(right_in(DIM)._replace(square=np.array([0.0, 0, 200, 200]))), hand_in(near, score=0.95)
    )
    assert result.present_slots == [RIGHT]
    np.testing.assert_allclose(result.joints_2d[HAND_SLICES[RIGHT]].min(axis=0), near[:2], atol=1e-6)


def test_results_that_are_not_credible_are_dropped_and_each_hand_is_predicted_once() -> None:
    nothing = result_of(BRIGHT, EMPTY, presence=(1, 0), confidence=(0.1, 0.0), scores=(0.1, 0.0))
    fake = FakePredictor(nothing)
    assert not found(fake, hand_in(BRIGHT, score=0.4), hand_in(BRIGHTER, score=0.4)) and len(fake.proposals) == 2


@pytest.mark.parametrize(("apart", "is_known"), [(0.25, True), (0.35, False)])
def test_hands_whose_middles_are_near_each_other_are_one(apart: float, is_known: bool) -> None:
    x1, y1, x2, y2 = DIM
    fake = FakePredictor(right_in(BRIGHT))
    found(fake, hand_in((x1 + 60 * apart, y1, x2 + 60 * apart, y2), seed=3))
    assert len(fake.proposals) == (not is_known)


def test_weak_hands_of_others_are_reported_with_lower_confidences() -> None:
    weak = result_of(BRIGHT, EMPTY, presence=(1, 0), confidence=(0.2, 0.0), scores=(0.6, 0.0))
    (result,) = found(FakePredictor(weak), hand_in(BRIGHT))
    assert result.reported_confidence is not None and 0 < result.reported_confidence[0] < 0.1


def test_ghosts_are_dropped() -> None:
    ghost = result_of(BRIGHT, BRIGHTER, confidence=(0.5, 0.05), scores=(0.9, 0.05))
    assert [result.present_slots for result in found(FakePredictor(ghost), hand_in(BRIGHT))] == [[RIGHT]]


def test_regions_without_a_known_hand_are_predicted() -> None:
    fake = FakePredictor(right_in(BRIGHT), right_in(FAINT))
    results = found(fake, hand_in(BRIGHT), regions=[DIM, BRIGHT, FAINT])
    assert len(results) == 2 and len(fake.proposals) == 2
    square = fake.proposals[1].square
    np.testing.assert_allclose(square, square_box(np.array(FAINT)))


def test_the_number_of_predictions_for_a_crowd_is_limited() -> None:
    boxes = [(x, y, x + 20.0, y + 20.0) for y in (150.0, 180, 210) for x in range(0, 380, 30)]
    nothing = result_of(BRIGHT, EMPTY, presence=(0, 0), confidence=(0.0, 0.0))
    fake = FakePredictor(nothing)
    found(fake, *(hand_in(box, seed=seed) for seed, box in enumerate(boxes)), regions=[EMPTY, BRIGHT])
    assert len(boxes) > MAX_PLACES and len(fake.proposals) == MAX_PLACES


# ---- in a predictor


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_call_s_hands_come_first_and_the_others_have_some(mirrored: bool) -> None:
    palms = FakePalms((BRIGHT, "right", 0.95), (FAINT, "right", 0.8))
    predictor = make_predictor(palms, EMPTY)
    first, *others = predictor.everyone(picture(), mirrored=mirrored)
    whole, around_first, painted_over = PALM_SIZES, [SIZE], PALM_SIZES
    assert palms.calls == [*whole, *around_first, *PALM_SIZES_IN_CROWDS, *painted_over]
    alone = predictor(picture(), mirrored=mirrored)
    assert first.to_dict() == alone.to_dict() and first.mirrored == mirrored
    assert len(others) == 1 and others[0].sides and others[0].image is first.image
    assert others[0].other_regions is None
    middles = [pose.joints_2d[HAND_SLICES[RIGHT]].mean(axis=0) for pose in (first, others[0])]
    assert np.linalg.norm(np.subtract(*middles)) > 60


class PalmsBySize:
    """A palm detector that finds other hands at each size."""

    def __init__(self, found: dict[int, FakePalms]) -> None:
        self.found = found

    def __call__(self, image: Pixels, size: int) -> list[Palm]:
        return self.found[size](image, size) if size in self.found else []


@pytest.mark.parametrize(("score", "is_reported"), [(CERTAIN_SCORE, True), (CERTAIN_SCORE - 0.01, False)])
def test_small_hands_of_a_crowd_count_if_they_are_certain(score: float, is_reported: bool) -> None:
    large, small = FakePalms((BRIGHT, "right", 0.95)), FakePalms((FAINT, "right", score), sizes=PALM_SIZES_IN_CROWDS)
    both = FakePalms(*large.hands, *small.hands)
    predictor = make_predictor(both, EMPTY)
    palms = PalmsBySize({PALM_SIZES[0]: large, PALM_SIZES_IN_CROWDS[1]: small})
    assert predictor.photo_search.detector is not None
    predictor.photo_search.detector.palms = palms  # type: ignore[assignment]
    first, *others = predictor.everyone(picture())
    assert first.sides == ("right",) and len(others) == is_reported


@pytest.mark.parametrize(("score", "best"), [(0.92, 0.95), (0.4, 0.95), (0.97, 0.97)])
def test_a_hand_that_is_small_and_known_is_kept_once_with_its_better_score(score: float, best: float) -> None:
    palms = FakePalms((BRIGHT, "right", 0.95), sizes=PALM_SIZES_IN_CROWDS)
    detector, known = HandDetector(palms, FakeLandmarks(palms)), hand_in(BRIGHT, score=score)  # type: ignore[arg-type]
    (hand,) = with_small_hands([known], detector, picture(), FacesIn(None, picture()))
    assert hand.score == pytest.approx(best)


def test_without_credible_hands_there_are_no_other_people() -> None:
    (only,) = make_predictor(FakePalms(), EMPTY).everyone(np.zeros((300, 400, 3), np.uint8))
    assert not only.sides


# ---- results


def test_others_are_saved_without_shared_fields_and_drawn_only_over_the_picture(tmp_path: Path) -> None:
    pose = random_pose()
    other = replace(random_pose(left=0.1), joints_2d=pose.joints_2d + 40.0)
    pose.save_json(tmp_path / "pose.json", others=[other])
    entry = json.loads((tmp_path / "pose.json").read_text())
    whole = json.loads(other.to_json())
    assert entry.pop("others") == [{key: whole[key] for key in ("box", "presence", "hands", "contact")}]
    alone = json.loads(pose.to_json())
    assert entry == alone and "others" not in alone
    black = np.zeros((240, 256, 3), np.uint8)
    plain, drawn = pose.plot(black), pose.plot(black, others=[other])
    assert plain.shape == drawn.shape
    rows, columns = (plain != drawn).any(axis=2).nonzero()
    beside = columns > 0.65 * plain.shape[1]
    assert not beside.all() and rows[beside].max() < 100, "the views beside it are the first one's, but for a caption"


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people at the ends of a wide picture: the example, and its mirror image, smaller."""
    picture = cv2.resize(cv2.imread(str(EXAMPLE)), (320, 320), interpolation=cv2.INTER_AREA)
    wide = np.full((340, 1200, 3), 40, np.uint8)
    wide[10:330, 5:325] = picture
    wide[60:316, 940:1196] = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)[:, ::-1]
    path = tmp_path_factory.mktemp("crowd") / "crowd.png"
    cv2.imwrite(str(path), wide)
    return path


def test_the_command_saves_everyone(crowd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = predict_here(capsys, crowd, "--everyone", "--out", tmp_path / "all")
    assert code == 0 and ": right and left in contact; right and left in contact ->" in out
    entry = json.loads((tmp_path / "all" / "crowd.json").read_text())
    (other,) = entry["others"]
    assert [hand["side"] for hand in other["hands"]] == ["right", "left"]
    assert set(other) == {"box", "presence", "hands", "contact"} and other["contact"]["likely"]
    assert abs(other["box"][0] - entry["box"][0]) > 500
    assert predict_here(capsys, crowd, "--out", tmp_path / "one")[0] == 0
    alone = json.loads((tmp_path / "one" / "crowd.json").read_text())
    assert "others" not in alone and alone["hands"] == entry["hands"]
    plain, drawn = (cv2.imread(str(tmp_path / name / "crowd.png")) for name in ("one", "all"))
    assert plain.shape == drawn.shape and (plain != drawn).any()


def test_the_command_reports_other_people_to_scripts(
    crowd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = predict_here(capsys, crowd, "--everyone", "--json", "--out", tmp_path)
    (entry,) = json.loads(out)
    assert code == 0 and entry["others"] == [{"hands": ["right", "left"], "doubted": [], "in_contact": True}]


@pytest.mark.parametrize("other", [("--box", "1", "2", "30", "40"), ("--detector", "none"), ("--detector", "network")])
def test_what_finds_one_person_does_not_go_with_everyone(
    other: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = predict_here(capsys, EXAMPLE, "--everyone", *other, "--out", tmp_path / "out")
    assert code == 2 and "use one of them" in errors and not (tmp_path / "out").exists()


def test_hands_that_are_not_seen_one_by_one_are_found_in_the_finder_s_regions(crowd: Path) -> None:
    predictor = Predictor.load()
    predictor.photo_search.detector = None
    first, other = predictor.everyone(read_picture(crowd))
    assert len(first.sides) == len(other.sides) == 2 and abs(first.box[0] - other.box[0]) > 500
