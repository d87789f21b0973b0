"""Hands in doubt: where the network is not sure of what the search led to, it looks elsewhere in the picture, too."""

import numpy as np
import numpy.typing as npt
import pytest

from shades import BRIGHT, BRIGHTER, DIM, EMPTY, FAINT, SHADES, Box, Shades, is_around, picture
from unclasp.find.crop_predictor import MAX_OTHER_REGIONS, MIN_CONFIDENCE
from unclasp.find.search import Proposal
from unclasp.geometry import square_box
from unclasp.pose import HandPose
from unclasp.predictor import Predictor

Floats = npt.NDArray[np.floating]


def found(network: Shades, first: Box, *others: Box, again: Box | None, image: npt.NDArray[np.uint8]) -> HandPose:
    """Return the pose where the finder sees `first` and `others`, and the other search `again`."""

    def search(_: npt.NDArray[np.uint8]) -> Proposal:
        return Proposal(
            square_box(np.array(first)), np.array(others).reshape(-1, 4),
            fallback=None if again is None else lambda: square_box(np.array(again)),
        )  # fmt: skip

    return Predictor(network, search=search, second_opinions=False)(image)


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
        ((EMPTY,) * MAX_OTHER_REGIONS + (BRIGHT,), EMPTY, DIM, (EMPTY,) * MAX_OTHER_REGIONS + (BRIGHT,)),
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
    def search(_: npt.NDArray[np.uint8]) -> Proposal:
        return Proposal(square_box(np.array(BRIGHT)), np.array([BRIGHTER]), fallback=never)

    def never() -> Floats:
        raise AssertionError("searched again")

    assert SHADES[DIM] / 255 < MIN_CONFIDENCE < SHADES[BRIGHT] / 255
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
