"""Doubtful results: where the confidence at the proposal is low, other regions and the second search are tried."""

import numpy as np
import pytest

from shades import BRIGHT, BRIGHTER, DIM, EMPTY, FAINT, SHADES, Box, Shades, is_around, picture
from unclasp.arrays import Floats, Pixels
from unclasp.find.crop_predictor import MAX_OTHER_REGIONS
from unclasp.find.crop_result import MIN_CONFIDENCE
from unclasp.find.search import Proposal
from unclasp.geometry import square_box
from unclasp.pose import HandPose
from unclasp.predictor import Predictor


def pose_with(network: Shades, first: Box, *others: Box, fallback: Box | None, image: Pixels) -> HandPose:
    """Return the pose where the finder proposes `first` and `others`, and the second search `fallback`."""

    def search(_: Pixels) -> Proposal:
        return Proposal(
            square_box(np.array(first)), np.array(others).reshape(-1, 4),
            fallback=None if fallback is None else lambda: square_box(np.array(fallback)),
        )  # fmt: skip

    return Predictor(network, search=search, second_opinions=False)(image)


@pytest.mark.parametrize(
    ("others", "fallback", "chosen", "remaining"),
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
        "the second search",
        "the more confident region",
        "the more confident region, not the last",
        "not the emptier",
        "no region",
        "none",
        "none clearly more confident",
        "the one clearly more confident",
        "too many regions",
    ],
)
def test_the_most_confident_result_counts(
    others: tuple[Box, ...], fallback: Box, chosen: Box, remaining: tuple[Box, ...]
) -> None:
    pose = pose_with(Shades(), DIM, *others, fallback=fallback, image=picture())
    assert is_around(pose, chosen)
    replaced = () if chosen == DIM else (DIM,)
    np.testing.assert_allclose(pose.other_regions, np.array([*remaining, *replaced]).reshape(-1, 4))


def test_a_confident_result_ends_the_search() -> None:
    def search(_: Pixels) -> Proposal:
        return Proposal(square_box(np.array(BRIGHT)), np.array([BRIGHTER]), fallback=never)

    def never() -> Floats:
        raise AssertionError("searched again")

    assert SHADES[DIM] / 255 < MIN_CONFIDENCE < SHADES[BRIGHT] / 255
    pose = Predictor(Shades(), search=search, second_opinions=False)(picture())
    assert is_around(pose, BRIGHT) and len(pose.other_regions) == 1


def test_a_more_confident_result_with_fewer_hands_does_not_count() -> None:
    image = picture(both=True)
    pose = pose_with(Shades(), (30, 40, 90, 110), BRIGHT, fallback=BRIGHTER, image=image)
    assert pose.sides == ("right", "left") and is_around(pose, (30, 40, 90, 110))


@pytest.mark.parametrize("has_confidence", [True, False], ids=["nowhere else to search", "no confidence"])
def test_without_confidence_or_another_search_the_first_result_stays(has_confidence: bool) -> None:
    pose = pose_with(
        Shades(has_confidence=has_confidence), DIM, BRIGHT, fallback=None if has_confidence else BRIGHT, image=picture()
    )
    assert is_around(pose, DIM) and len(pose.other_regions) == 1
