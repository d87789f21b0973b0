"""Hands in doubt: where the network is not sure of what the search led to, it looks elsewhere in the picture, too."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from unclasp.engines.network import Answer
from unclasp.find.looking import OTHER_REGIONS, SURE
from unclasp.find.search import Where
from unclasp.geometry import box_iou, expand_box, square_box
from unclasp.pose import HandPose
from unclasp.predictor import Predictor

Box = tuple[float, float, float, float]
Floats = npt.NDArray[np.floating]

DIM, BRIGHT, BRIGHTER, EMPTY = (30.0, 40, 90, 100), (150.0, 40, 210, 100), (270.0, 40, 330, 100), (200.0, 220, 260, 280)
FAINT: Final = (30.0, 200, 90, 260)
SHADES: Final = {DIM: 30, BRIGHT: 150, BRIGHTER: 240, FAINT: 50}


class Shades:
    """A network that sees a right hand in what is red and a left one in what is green, as surely as it is bright."""

    name, image_size = "shades", 96

    def __init__(self, *, told: bool = True) -> None:
        self.told = told

    def __call__(self, crops: npt.NDArray[np.uint8], /) -> Answer:
        pose, presence, confidence = np.zeros((1, 42, 3)), np.zeros((1, 2)), np.zeros((1, 42))
        for slot in (0, 1):
            rows, columns = np.nonzero(crops[0, ..., slot] > 10)
            if not len(rows):
                continue
            hand = slice(21 * slot, 21 * slot + 21)
            presence[0, slot] = 1
            pose[0, hand, :2] = columns.max(), rows.max()
            pose[0, 21 * slot : 21 * slot + 10, :2] = columns.min(), rows.min()
            confidence[0, hand] = crops[0, ..., slot].max() / 255
        seen = (crops.max(axis=3) > 10).astype(float)
        return Answer(pose, presence, None, seen, confidence if self.told else None)


def picture(*, both: bool = False) -> npt.NDArray[np.uint8]:
    """Draw red hands of four shades; with `both`, the dim one has a green one beneath."""
    image = np.zeros((300, 400, 3), np.uint8)
    for (x1, y1, x2, y2), shade in SHADES.items():
        cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), (shade, 0, 0), -1)
    if both:
        cv2.rectangle(image, (30, 101), (90, 110), (0, SHADES[DIM], 0), -1)
    return image


def found(network: Shades, first: Box, *others: Box, again: Box | None, image: npt.NDArray[np.uint8]) -> HandPose:
    """Return the pose where the finder sees `first` and `others`, and the other search `again`."""

    def search(_: npt.NDArray[np.uint8]) -> Where:
        return Where(
            square_box(np.array(first)), np.array(others).reshape(-1, 4),
            again=None if again is None else lambda: square_box(np.array(again)),
        )  # fmt: skip

    return Predictor(network, search=search, second_opinions=False)(image)


def is_around(pose: HandPose, hand: Box) -> bool:
    return box_iou(pose.box, square_box(expand_box(np.array(hand), 1.2))) > 0.5


@pytest.mark.parametrize(
    ("others", "again", "chosen", "left"),
    [
        ((BRIGHT,), DIM, BRIGHT, ()),
        ((EMPTY, BRIGHT), BRIGHTER, BRIGHTER, (EMPTY, BRIGHT)),
        ((BRIGHT, BRIGHTER), EMPTY, BRIGHTER, (BRIGHT,)),
        ((BRIGHTER, BRIGHT), EMPTY, BRIGHTER, (BRIGHT,)),
        ((BRIGHT, EMPTY), DIM, BRIGHT, (EMPTY,)),
        ((), BRIGHT, BRIGHT, ()),
        ((EMPTY,), EMPTY, DIM, (EMPTY,)),
        ((FAINT,), FAINT, DIM, (FAINT,)),
        ((FAINT, BRIGHT), FAINT, BRIGHT, (FAINT,)),
        ((EMPTY,) * OTHER_REGIONS + (BRIGHT,), EMPTY, DIM, (EMPTY,) * OTHER_REGIONS + (BRIGHT,)),
    ],
    ids=[
        "a region",
        "the other search",
        "the surer region",
        "the surer region, not the last",
        "not the emptier",
        "no region",
        "none",
        "none clearly surer",
        "the one clearly surer",
        "too many regions",
    ],
)
def test_the_surest_look_counts(others: tuple[Box, ...], again: Box, chosen: Box, left: tuple[Box, ...]) -> None:
    pose = found(Shades(), DIM, *others, again=again, image=picture())
    assert is_around(pose, chosen)
    given_up = () if chosen == DIM else (DIM,)
    np.testing.assert_allclose(pose.other_regions, np.array([*left, *given_up]).reshape(-1, 4))


def test_a_sure_look_is_the_only_one() -> None:
    def search(_: npt.NDArray[np.uint8]) -> Where:
        return Where(square_box(np.array(BRIGHT)), np.array([BRIGHTER]), again=never)

    def never() -> Floats:
        raise AssertionError("searched again")

    assert SHADES[DIM] / 255 < SURE < SHADES[BRIGHT] / 255
    pose = Predictor(Shades(), search=search, second_opinions=False)(picture())
    assert is_around(pose, BRIGHT) and len(pose.other_regions) == 1


def test_a_surer_look_at_fewer_hands_does_not_count() -> None:
    image = picture(both=True)
    pose = found(Shades(), (30, 40, 90, 110), BRIGHT, again=BRIGHTER, image=image)
    assert pose.sides == ("right", "left") and is_around(pose, (30, 40, 90, 110))


@pytest.mark.parametrize("told", [True, False], ids=["nowhere else to search", "no confidence"])
def test_without_confidence_or_another_search_the_first_look_stays(told: bool) -> None:
    pose = found(Shades(told=told), DIM, BRIGHT, again=None if told else BRIGHT, image=picture())
    assert is_around(pose, DIM) and len(pose.other_regions) == 1
