"""The sweep over the picture: only where no hand is certain, and only for hands that the landmark network confirms."""

import itertools
from typing import Any

import cv2
import numpy as np
import pytest

from made_results import hands, made_result, reading_of
from shades import BRIGHT, BRIGHTER, DIM, EMPTY, SHADES, Box, Shades, is_around, picture
from unclasp.arrays import Floats, Pixels
from unclasp.find import sweep
from unclasp.find.crop_predictor import MIN_CONFIDENCE_GAIN, CropPredictor
from unclasp.find.crop_result import MIN_CONFIDENCE, MIN_HAND_SCORE, CropResult
from unclasp.find.landmarks import LandmarkReading
from unclasp.find.search import Proposal, everywhere
from unclasp.geometry import square_box
from unclasp.hands import Side
from unclasp.predictor import Predictor
from unclasp.video import Frame


class FakeLandmarks:
    """A landmark network that reads a hand in given boxes, and none elsewhere."""

    def __init__(self, *hands: Box, hand_score: float = 0.9, side_score: float = 1.0) -> None:
        self.hands, self.calls = np.array(hands).reshape(-1, 4), 0
        self.hand_score, self.side_score = hand_score, side_score

    def __call__(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
        self.calls += 1
        middle = (joints_2d.min(axis=0) + joints_2d.max(axis=0)) / 2
        is_hand = ((middle > self.hands[:, :2]) & (middle < self.hands[:, 2:])).all(axis=1).any()
        return reading_of(joints_2d, self.hand_score if is_hand else 0.01, self.side_score)


def predictor(landmarks: Any, *, first: Box = EMPTY, **options: Any) -> Predictor:
    square = square_box(np.array(first))
    proposal = Proposal(square, np.zeros((0, 4)), fallback=lambda: square)
    return Predictor(Shades(), search=lambda _: proposal, landmarks=landmarks, **options)


# ---- the windows


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (300, 300), (2000, 90), (33, 40)])
def test_windows_of_each_size_cover_the_picture(width: int, height: int) -> None:
    windows = list(sweep.windows(width, height))
    assert len(windows) < 70
    for side, group in itertools.groupby(windows, key=lambda window: round(float(window[2] - window[0]), 6)):
        covered = np.zeros((height, width), dtype=bool)
        for x1, y1, x2, y2 in group:
            assert x2 - x1 == pytest.approx(y2 - y1) == pytest.approx(side)
            covered[int(np.ceil(max(y1, 0))) : int(y2) + 1, int(np.ceil(max(x1, 0))) : int(x2) + 1] = True
        assert covered.all()
    assert len({round(float(window[2] - window[0]), 6) for window in windows}) == 3


def test_a_hand_anywhere_is_nearly_whole_in_some_window() -> None:
    """One of a fifth of the picture to half of it."""
    windows = np.array(list(sweep.windows(640, 480)))
    rng = np.random.default_rng(0)
    for _ in range(200):
        side = rng.uniform(0.2, 0.5) * 640
        x, y = rng.uniform(0, 640 - side), rng.uniform(0, 480 - min(side, 480))
        hand = np.array([x, y, x + side, min(y + side, 480)])
        inside = np.maximum(np.minimum(windows[:, 2:], hand[2:]) - np.maximum(windows[:, :2], hand[:2]), 0).prod(axis=1)
        shares = inside / (hand[2:] - hand[:2]).prod()
        assert shares.max() > 0.75


# ---- which result counts


def test_a_confirmed_hand_is_preferred_to_a_more_confident_one() -> None:
    box = sweep.best_box(CropPredictor(Shades()), FakeLandmarks(BRIGHT), picture())  # type: ignore[arg-type]
    assert box is not None and SHADES[BRIGHTER] > SHADES[BRIGHT]
    assert np.abs(box - [144, 34, 216, 106]).max() < 6
    box = sweep.best_box(CropPredictor(Shades()), FakeLandmarks(), picture())  # type: ignore[arg-type]
    assert box is not None and box[2] > BRIGHTER[2] - 10, "without hand scores, the most confident one"
    black = np.zeros((300, 400, 3), np.uint8)
    assert sweep.best_box(CropPredictor(Shades()), FakeLandmarks(), black) is None  # type: ignore[arg-type]


def test_a_picture_without_a_certain_hand_is_swept() -> None:
    landmarks = FakeLandmarks(BRIGHT)
    pose = predictor(landmarks)(picture())
    assert pose.sides == ("right",) and is_around(pose, BRIGHT)


@pytest.mark.parametrize(
    ("landmarks", "first", "options"),
    [
        (FakeLandmarks(), DIM, {}),
        (FakeLandmarks(BRIGHT, hand_score=0.9 * MIN_HAND_SCORE), DIM, {}),
        (FakeLandmarks(BRIGHT, side_score=0.9 * MIN_HAND_SCORE), DIM, {}),
        (FakeLandmarks(BRIGHT), DIM, {"second_opinions": False}),
        (None, DIM, {}),
    ],
    ids=["nothing seen", "hardly seen", "of the other side", "not asked for", "no landmark network"],
)
def test_the_first_result_stays(
    monkeypatch: pytest.MonkeyPatch, landmarks: FakeLandmarks | None, first: Box, options: dict[str, Any]
) -> None:
    monkeypatch.setattr("unclasp.find.photo_search.is_doubtful", lambda result: False)
    pose = predictor(landmarks, first=first, **options)(picture())
    assert pose.presence[0] == 1 and is_around(pose, DIM), "credible or not"
    assert bool(pose.sides) == (landmarks is None)


def test_certain_results_boxes_and_videos_are_not_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("swept")

    monkeypatch.setattr("unclasp.find.sweep.best_box", never)
    landmarks = FakeLandmarks(BRIGHT)
    assert SHADES[DIM] / 255 < MIN_CONFIDENCE < SHADES[BRIGHT] / 255
    assert predictor(landmarks, first=BRIGHT)(picture()).sides
    assert predictor(landmarks)(picture(), DIM).sides
    assert list(predictor(landmarks, first=DIM).track([Frame(picture(), 0, 0.0)]))
    whole = Predictor(Shades(), search=everywhere, landmarks=landmarks)  # type: ignore[arg-type]
    assert whole(np.ascontiguousarray(picture()[200:, 30:100])).sides, "a picture that is given as a crop"
    with pytest.raises(AssertionError, match="swept"):
        predictor(landmarks, first=DIM)(picture())


def test_a_confirmed_hand_needs_no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[int] = []
    monkeypatch.setattr("unclasp.find.sweep.best_box", lambda *_: swept.append(0))
    monkeypatch.setattr("unclasp.find.photo_search.is_doubtful", lambda result: False)
    predictor(FakeLandmarks(DIM), first=DIM)(picture())
    assert not swept
    predictor(FakeLandmarks(DIM, hand_score=0.9 * MIN_HAND_SCORE), first=DIM)(picture())
    assert swept


def test_a_swept_hand_needs_a_clearly_higher_confidence() -> None:
    def result_with(shade: int) -> Any:
        image = np.zeros((300, 400, 3), np.uint8)
        cv2.rectangle(image, (150, 40), (210, 100), (shade, 0, 0), -1)
        return (
            CropPredictor(Shades())
            .one_crop(image, square_box(np.array(BRIGHT)))
            ._replace(hand_scores=np.array([0.9, 0.0]))
        )

    before, threshold = result_with(45), round(255 * (45 / 255 + MIN_CONFIDENCE_GAIN))
    assert sweep.is_better(result_with(threshold + 2), before) and not sweep.is_better(
        result_with(threshold - 2), before
    )
    assert not sweep.is_better(result_with(threshold + 2)._replace(hand_scores=np.array([0.1, 0.9])), before), (
        "the score is another hand's"
    )
    assert not sweep.is_better(result_with(threshold + 2)._replace(hand_scores=None), before)
    nothing = result_with(0)
    assert not nothing.present_slots and not sweep.is_better(nothing, before)
    unseen = before._replace(hand_scores=np.array([0.0, 0.9]))
    assert sweep.is_needed(unseen) and sweep.is_needed(before._replace(hand_scores=None)), "no present hand is certain"
    assert sweep.is_needed(nothing) and not sweep.is_needed(before) and not sweep.is_needed(result_with(200))
    without = nothing._replace(output=nothing.output._replace(confidence=None))
    assert not sweep.is_needed(without), "a network without confidences cannot tell"


# ---- what a window shows


class Windows:
    """Shows a hand in each of the first windows, one after another, and none in the others."""

    def __init__(self, *results: CropResult) -> None:
        self.results = iter(results)

    def one_crop(self, *_: object) -> CropResult:
        return next(self.results, shown(0.0, presence=(0, 0)))


class Readings:
    """A landmark network with prepared hand scores; it keeps the sides that it was asked for."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.sides = iter(scores), list[Side]()

    def __call__(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
        self.sides.append(side)
        return reading_of(joints_2d, next(self.scores), 1.0)


def shown(
    *confidence: float, x: float = 0.0, presence: tuple[float, float] = (1, 0), scores: Any = (0.0, 0.0)
) -> CropResult:
    """Return a result for a hand that is shifted by x px; the left hand has the second confidence."""
    both = (confidence[0], confidence[-1])
    joints = hands() + np.array([x, 0.0])
    return made_result(joints, presence=presence, confidence=both)._replace(hand_scores=np.array(scores))


def best_of(readings: Readings, *results: CropResult) -> Floats | None:
    return sweep.best_box(Windows(*results), readings, np.zeros((300, 400, 3), np.uint8))  # type: ignore[arg-type]


def is_at(box: Floats | None, x: float) -> bool:
    return box is not None and abs((box[0] + box[2]) / 2 - 40 - x) < 5


def test_only_hands_that_may_be_the_best_are_read() -> None:
    readings = Readings(1.0, 0.9)
    assert is_at(best_of(readings, shown(0.09), shown(0.9, x=50), shown(0.85, x=100), shown(0.92, x=150)), 50)
    assert len(readings.sides) == 2, "0.92 may have been better, as a hand that is missed counts a little"
    assert is_at(best_of(Readings(0.5, 0.53), shown(0.9, x=50), shown(0.9, x=100)), 100)


def test_confidence_and_hand_score_of_a_window_are_multiplied_and_hands_that_are_missed_count_a_little() -> None:
    assert is_at(best_of(Readings(0.9, 0.5), shown(0.2, x=50), shown(0.9, x=100)), 100)
    assert is_at(best_of(Readings(0.0, 0.0), shown(0.2, x=50), shown(0.9, x=100)), 100)


def test_each_hand_of_a_window_is_read_as_one_of_its_side() -> None:
    readings = Readings(0.5, 0.5)
    best_of(readings, shown(0.4), shown(0.8, presence=(0, 1)))
    assert readings.sides == ["right", "left"]


def test_a_hand_outside_of_the_picture_does_not_hide_the_others() -> None:
    assert is_at(best_of(Readings(1.0, 0.5), shown(0.9, x=900), shown(0.5, x=50)), 50)


@pytest.mark.parametrize(
    ("confidence", "scores", "better"),
    [
        ((0.9, 0.3), (0.9, 0.0), True),
        ((0.9, 0.3), (0.0, 0.9), False),
        ((0.9, 0.3), (MIN_HAND_SCORE, 0.9), False),
        ((0.5 * MIN_CONFIDENCE + 0.5 * MIN_CONFIDENCE_GAIN, 0.0), (0.9, 0.0), False),
    ],
    ids=["surer", "the other one", "hardly seen", "unsure"],
)
def test_the_most_confident_hand_of_a_swept_result_decides(
    confidence: tuple[float, float], scores: tuple[float, float], better: bool
) -> None:
    assert sweep.is_better(shown(*confidence, presence=(1, 1), scores=scores), shown(0.0)) == better


def test_a_hand_score_of_just_the_minimum_does_not_prevent_a_sweep() -> None:
    assert sweep.is_needed(shown(0.1, scores=(MIN_HAND_SCORE, 0)))
    assert not sweep.is_needed(shown(0.1, scores=(MIN_HAND_SCORE + 0.01, 0)))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (2000, 90)])
def test_windows_of_a_mirrored_picture_are_the_mirrored_windows(width: int, height: int) -> None:
    windows = np.array(list(sweep.windows(width, height)))
    turned = np.array([width, height, width, height]) - 1 - windows[:, [2, 3, 0, 1]]
    assert {tuple(window) for window in windows.round(6)} == {tuple(window) for window in turned.round(6)}
