"""The other hand of a person of whom one is known, where it was detected too far away for a crop around both."""

from typing import Any

import cv2
import numpy as np
import pytest

from detected import LEFT, RIGHT, FakePalms, hand_in, joints_in, make_predictor, result_of
from shades import Box
from unclasp import geometry
from unclasp.arrays import Pixels
from unclasp.find.crop_result import MIN_HAND_SCORE
from unclasp.find.hand_detector import MAX_REACH, MAX_SIZE_RATIO_OF_PAIR, DetectedHand, partner_of
from unclasp.find.photo_search import with_both
from unclasp.hands import HAND_SLICES, Side

KNOWN: Box = (100, 100, 140, 140)
ABSENT: Box = (0, 0, 9, 9)
ALONE = result_of(KNOWN, ABSENT, presence=(1, 0), scores=(0.9, 0.0))
"""A right hand, 40 px large."""


def at(distance: float, side: Side = "left", *, size: float = 1.0, score: float = 0.9) -> DetectedHand:
    """Return a hand to the right of the known one, at a distance in sizes of the larger one."""
    extent = 40 * size
    x, y = 120 + distance * max(extent, 40), 120.0
    hand = hand_in((x - extent / 2, y - extent / 2, x + extent / 2, y + extent / 2), side, score, seed=3)
    return hand._replace(reading=hand.reading._replace(side_score=1.0))


@pytest.mark.parametrize(
    ("hand", "counts"),
    [
        (at(4), True),
        (at(MAX_REACH - 0.05), True),
        (at(MAX_REACH + 0.05), False),
        (at(4, "right"), False),
        (at(4, score=MIN_HAND_SCORE + 0.01), True),
        (at(4, score=MIN_HAND_SCORE), False),
        (at(4, size=MAX_SIZE_RATIO_OF_PAIR - 0.01), True),
        (at(4, size=MAX_SIZE_RATIO_OF_PAIR + 0.01), False),
        (at(4, size=1 / (MAX_SIZE_RATIO_OF_PAIR - 0.01)), True),
        (at(4, size=1 / (MAX_SIZE_RATIO_OF_PAIR + 0.01)), False),
        (at(0.1), False),
    ],
)
def test_a_partner_is_in_reach_and_of_the_other_side_and_like_size(hand: DetectedHand, counts: bool) -> None:
    assert (partner_of(ALONE, [at(0, "right"), hand]) is hand) == counts


def test_the_nearest_one_is_the_partner() -> None:
    near, far = at(3, score=0.6), at(5, score=0.99)
    assert partner_of(ALONE, [far, near]) is near


def test_two_hands_and_none_have_no_partner() -> None:
    assert partner_of(ALONE.without_hand(RIGHT), [at(4)]) is None
    assert partner_of(result_of(KNOWN, (200, 200, 240, 240)), [at(4)]) is None


NEAR, FAR = (30.0, 40, 90, 100), (330.0, 40, 390, 100)


def with_far_hand(*, side: Side = "left", score: float = 0.9, shade: int = 150) -> tuple[Pixels, FakePalms]:
    """Return a picture of a red, right hand, and of another one that the finder does not know."""
    image = np.zeros((300, 420, 3), np.uint8)
    for (x1, y1, x2, y2), colour in ((NEAR, (120, 0, 0)), (FAR, (0, shade, 0))):
        cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), colour, -1)
    return image, FakePalms((NEAR, "right", 0.95), (FAR, side, score))


def test_the_other_hand_is_predicted_in_a_crop_of_its_own() -> None:
    image, palms = with_far_hand()
    pose = make_predictor(palms, NEAR)(image)
    assert pose.sides == ("right", "left") and pose.confidence is not None
    for slot, box in ((RIGHT, NEAR), (LEFT, FAR)):
        joints = pose.joints_2d[HAND_SLICES[slot]]
        assert geometry.box_iou(np.concatenate([joints.min(axis=0), joints.max(axis=0)]), np.array(box)) > 0.7
    assert pose.box[0] < NEAR[0] and pose.box[2] > FAR[2], "around both"
    assert pose.presence.min() > 0.7
    assert pose.confidence[:21].mean() == pytest.approx(120 / 255, abs=0.02)
    assert pose.confidence[21:].mean() == pytest.approx(150 / 255, abs=0.02)
    assert pose.other_regions is not None and not len(pose.other_regions)


def test_a_hand_alone_stays_although_it_is_less_likely_than_its_partner() -> None:
    """Its presence is enough for one hand, but not for the second of two."""
    right = result_of(NEAR, ABSENT, presence=(0.6, 0.1), scores=(0.9, 0.0))
    left = result_of(ABSENT, FAR, presence=(0.1, 0.95), scores=(0.0, 0.9))
    assert right.present_slots == [RIGHT]
    both = with_both(result_of(NEAR, FAR, presence=(0.3, 0.3)), {RIGHT: right, LEFT: left})
    assert both.present_slots == [RIGHT, LEFT]
    assert both.hand_scores is not None and both.hand_scores.tolist() == [0.9, 0.9]


def test_where_the_pose_network_misses_it_it_is_in_doubt() -> None:
    image, palms = with_far_hand(shade=0)
    pose = make_predictor(palms, NEAR)(image)
    assert pose.sides == ("right", "left") and pose.doubted == ("left",)
    np.testing.assert_allclose(pose.joints_2d[HAND_SLICES[LEFT]], joints_in(FAR), atol=0.01)


@pytest.mark.parametrize("told", [{"side": "right"}, {"score": MIN_HAND_SCORE - 0.01}])
def test_without_a_partner_one_hand_is_reported(told: dict[str, Any]) -> None:
    image, palms = with_far_hand(shade=0, **told)
    assert make_predictor(palms, NEAR)(image).sides == ("right",)


def test_a_box_needs_no_partner() -> None:
    image, palms = with_far_hand()
    assert make_predictor(palms, NEAR)(image, NEAR).sides == ("right",)
    assert not palms.calls
