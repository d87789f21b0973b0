"""The sweep over the picture: only where no hand is certain, and only for hands that the landmark network confirms."""

import itertools
from typing import Any

import cv2
import numpy as np
import pytest

from made_results import reading_of
from shades import BRIGHT, BRIGHTER, DIM, EMPTY, SHADES, Box, Shades, is_around, picture
from unclasp.arrays import Floats, Pixels
from unclasp.find import sweep
from unclasp.find.crop_predictor import MIN_CONFIDENCE_GAIN, CropPredictor
from unclasp.find.crop_result import MIN_CONFIDENCE, MIN_HAND_SCORE
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
