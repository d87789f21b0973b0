"""Tilted hands are predicted upright, too, and the more confident result counts."""

from typing import Final

import cv2
import numpy as np
import pytest

from unclasp.arrays import Doubles, Pixels
from unclasp.engines.network import NetworkOutput
from unclasp.find.crop_predictor import MIN_TILT
from unclasp.geometry import square_box
from unclasp.hands import SIDES
from unclasp.predictor import Predictor

CENTRE: Final = np.array([200.0, 150.0])
BOX: Final = (120, 70, 280, 230)
FINGERS, WRISTS = ((250, 0, 0), (0, 250, 0)), ((0, 0, 250), (0, 250, 250))
"""Colours of either end of a hand, as the network below knows them; the hand on the left first."""


class Pointing:
    """A network that sees one or two bars as hands, from a wrist of one colour to fingers of another.

    It takes a bar that points up by less than 20 degrees for a left hand and is `sure[1]` of it, and others for a right
    hand with `sure[0]`. Of two bars, the first is the right hand; `loses` takes the last one from any upright crop.
    """

    name, image_size = "pointing", 96

    def __init__(
        self, sure: tuple[float, float] = (0.3, 0.6), *, has_confidence: bool = True, loses: bool = False
    ) -> None:
        self.sure, self.has_confidence, self.loses, self.looks = sure, has_confidence, loses, 0

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        self.looks += len(crops)
        pose, presence, confidence = np.zeros((1, 42, 3)), np.zeros((1, 2)), np.zeros((1, 42))
        ends = [[middle_of(crops[0], colour) for colour in pair] for pair in zip(FINGERS, WRISTS, strict=True)]
        bars = [(fingers, wrist) for fingers, wrist in ends if fingers is not None and wrist is not None]
        directions = [(fingers - wrist) / np.linalg.norm(fingers - wrist) for fingers, wrist in bars]
        up = bool(-sum(directions)[1] / len(bars) > np.cos(np.deg2rad(20)))  # type: ignore[index]
        for index, (fingers, wrist) in enumerate(bars):
            slot = index if len(bars) > 1 else int(up)
            presence[0, slot] = 0.1 if up and self.loses and index == len(bars) - 1 else self.sure[up] + 0.4
            pose[0, 21 * slot : 21 * slot + 20, :2], pose[0, 21 * slot + 20, :2] = fingers, wrist
            confidence[0, 21 * slot : 21 * slot + 21] = self.sure[up]
        if len(bars) == 1 and self.looks > 1:
            presence[0] = np.maximum(presence[0], 0.9 * presence[0].max())  # a ghost, in the upright crop alone
        return NetworkOutput(pose, presence, None, np.ones((1, 24, 24)), confidence if self.has_confidence else None)


def middle_of(crop: Pixels, colour: tuple[int, int, int]) -> Doubles | None:
    rows, columns = np.nonzero(np.abs(crop.astype(int) - colour).max(axis=-1) < 60)
    return None if len(rows) < 8 else np.array([columns.mean(), rows.mean()])


def tip(degrees: float) -> Doubles:
    """Return where fingers are that point so far clockwise from up."""
    angle = np.deg2rad(degrees)
    return 40 * np.array([np.sin(angle), -np.cos(angle)])


def picture(*degrees: float) -> Pixels:
    image = np.full((300, 400, 3), 90, np.uint8)
    for index, each in enumerate(degrees):
        middle = CENTRE + ([0, 0] if len(degrees) == 1 else (-1, 1)[index] * np.array([20, 0]))
        for end, colour in ((middle + tip(each), FINGERS[index]), (middle - tip(each), WRISTS[index])):
            cv2.circle(image, tuple(int(v) for v in np.round(end)), 9, colour, -1)
    return image


@pytest.mark.parametrize("has_confidence", [True, False])
@pytest.mark.parametrize("degrees", [0, 15, -15, MIN_TILT + 5, -MIN_TILT - 5, 90, -90, 140, 180])
def test_a_tilted_hand_is_predicted_upright(degrees: float, has_confidence: bool) -> None:
    network = Pointing(has_confidence=has_confidence)
    pose = Predictor(network)(picture(degrees), BOX)
    assert network.looks == 1 + (abs(degrees) >= MIN_TILT)
    assert pose.sides == ("left",) and pose.presence[0] <= pose.presence[1]
    np.testing.assert_allclose(pose.joints_2d[21], CENTRE + tip(degrees), atol=1.5)
    np.testing.assert_allclose(pose.joints_2d[41], CENTRE - tip(degrees), atol=1.5)
    np.testing.assert_allclose(pose.box, square_box(np.array(BOX)), err_msg="the reported crop is not turned")


@pytest.mark.parametrize("has_confidence", [True, False])
def test_the_less_confident_result_does_not_count(has_confidence: bool) -> None:
    network = Pointing((0.5, 0.4), has_confidence=has_confidence)
    pose = Predictor(network)(picture(90), BOX)
    assert network.looks == 2 and pose.sides == ("right",)
    np.testing.assert_allclose(pose.joints_2d[0], CENTRE + tip(90), atol=1.5)


def test_an_upright_crop_neither_loses_a_hand_nor_adds_one() -> None:
    network = Pointing(loses=True)
    assert Predictor(network)(picture(90), BOX).sides == ("right",) and network.looks == 2
    network = Pointing((0.05, 0.6))
    assert Predictor(network)(picture(90), BOX).sides == () and network.looks == 1


@pytest.mark.parametrize(
    ("degrees", "loses", "looks", "sure"),
    [((90, 100), False, 2, 0.6), ((90, 100), True, 2, 0.3), ((0, 10), False, 1, 0.6), ((0, 180), False, 1, 0.3)],
    ids=["both tilted", "one is lost upright", "both point up", "opposed"],
)
def test_two_hands_that_touch_are_turned_together(
    degrees: tuple[float, float], loses: bool, looks: int, sure: float
) -> None:
    network = Pointing(loses=loses)
    pose = Predictor(network)(picture(*degrees), BOX)
    assert network.looks == looks and pose.sides == SIDES and pose.confidence is not None
    np.testing.assert_allclose(pose.confidence, sure)
    for slot, (sign, each) in enumerate(zip((-1, 1), degrees, strict=True)):
        np.testing.assert_allclose(pose.joints_2d[21 * slot], CENTRE + np.array([sign * 20, 0]) + tip(each), atol=1.5)
