"""Two hands that are apart: their regions in a crop, their sides, a closer crop of each, and hands far apart."""

from typing import Final

import cv2
import numpy as np
import pytest

from made_results import hands, made_result
from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.config import DepthAxis
from unclasp.engines.network import NetworkOutput
from unclasp.find.crop_result import MIN_CONFIDENCE, CropResult
from unclasp.find.search import Proposal
from unclasp.find.split_hands import ONE_HAND_ROOM, slots_of_two, squares_of_two
from unclasp.geometry import square_box
from unclasp.hands import FLIPPED_JOINTS, Side
from unclasp.pose import HandPose
from unclasp.predictor import Predictor


def probability(*regions: tuple[int, int, int, int]) -> Floats:
    """Return a map of 48x48 cells with regions of column, row, width and height."""
    cells = np.zeros((48, 48))
    for column, row, width, height in regions:
        cells[row : row + height, column : column + width] = 0.9
    return cells


def test_squares_are_around_each_region_the_larger_first() -> None:
    squares = squares_of_two(probability((4, 10, 6, 4), (30, 20, 10, 12)), 192)
    assert squares is not None
    np.testing.assert_allclose((squares[:, :2] + squares[:, 2:]) / 2, [[139.5, 103.5], [27.5, 47.5]])
    np.testing.assert_allclose(np.ptp(squares.reshape(2, 2, 2), axis=1), ONE_HAND_ROOM * np.array([[48, 48], [24, 24]]))


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [(4, 10, 6, 4)],
        [(4, 10, 6, 4), (10, 10, 6, 4)],
        [(4, 10, 6, 4), (10, 14, 6, 4)],
        [(4, 10, 10, 10), (30, 20, 2, 7)],
        [(4, 10, 10, 10), (30, 20, 8, 8), (20, 40, 8, 6)],
        [(4, 2, 40, 6), (20, 20, 10, 10)],
    ],
    ids=["none", "one", "touching", "at a corner", "a speck", "a third", "no closer"],
)
def test_without_two_clear_regions_there_is_none(regions: list[tuple[int, int, int, int]]) -> None:
    assert squares_of_two(probability(*regions), 192) is None


def test_specks_beside_two_hands_do_not_count() -> None:
    hands = (4, 10, 10, 10), (30, 20, 8, 8)
    expected = squares_of_two(probability(*hands), 192)
    assert expected is not None
    np.testing.assert_array_equal(squares_of_two(probability(*hands, (20, 40, 4, 4)), 192), expected)


def joints(right: tuple[float, float], left: tuple[float, float]) -> Floats:
    return np.repeat([right, left], 21, axis=0).astype(float)


@pytest.mark.parametrize(
    ("presence", "right", "left", "slots"),
    [
        ([[1, 0], [0, 1]], (20, 20), (80, 20), (0, 1)),
        ([[0, 1], [1, 0]], (80, 20), (20, 20), (1, 0)),
        ([[0.9, 0.9], [0.9, 0.9]], (20, 20), (80, 20), (0, 1)),
        ([[0.9, 0.9], [0.9, 0.9]], (80, 20), (20, 20), (1, 0)),
        ([[0.1, 0.9], [0.9, 0.1]], (50, 20), (50, 20), (1, 0)),
        ([[0.1, 0.9], [0.9, 0.1]], (20, 20), (80, 20), (1, 0)),
        ([[0.4, 0.6], [0.5, 0.5]], (20, 20), (80, 20), (0, 1)),
    ],
)
def test_the_presence_in_each_crop_and_the_joints_in_both_decide_the_sides(
    presence: list[list[float]], right: tuple[float, float], left: tuple[float, float], slots: tuple[int, int]
) -> None:
    middles = np.array([[20.0, 20], [80, 20]])
    assert slots_of_two(np.array(presence, float), middles, joints(right, left)) == slots
    assert slots_of_two(np.array(presence, float)[::-1], middles[::-1], joints(right, left)) == slots[::-1]
    flipped = joints(right, left)[FLIPPED_JOINTS]
    assert slots_of_two(np.array(presence, float)[:, ::-1], middles, flipped) == tuple(1 - slot for slot in slots)


def test_regions_with_one_middle_are_told_apart_by_presence() -> None:
    middles = np.full((2, 2), 50.0)
    for presence, slots in (([[0.9, 0.1], [0.1, 0.9]], (0, 1)), ([[0.1, 0.9], [0.9, 0.1]], (1, 0))):
        assert slots_of_two(np.array(presence), middles, joints((20, 20), (80, 20))) == slots


class Coloured:
    """A network that sees a red right and a green left hand.

    In a crop with both, it puts the joints of either hand between them; alone, each on its hand's corners. `alone` is
    the probability of a hand in a crop of its own, and `sure` its joints' confidence there.
    """

    name, image_size = "coloured", 96

    def __init__(self, alone: float = 1.0, sure: float | None = 0.8) -> None:
        self.looks, self.alone, self.sure = 0, alone, sure

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        self.looks += len(crops)
        pose, presence = np.zeros((1, 42, 3)), np.zeros((1, 2))
        confidence = np.full((1, 42), 0.1)
        masks = [crops[0, ..., slot] > 100 for slot in (0, 1)]
        for slot, mask in enumerate(masks):
            presence[0, slot] = mask.any()
            rows, columns = np.nonzero(mask)
            if len(rows):
                pose[0, 21 * slot : 21 * slot + 21, :2] = 48
                if not masks[1 - slot].any():
                    presence[0, slot] = self.alone
                    confidence[0, 21 * slot : 21 * slot + 21] = self.sure or 0
                    low, middle, high = columns.min(), (columns.min() + columns.max()) / 2, columns.max()
                    pose[0, 21 * slot : 21 * slot + 10] = [low, rows.min(), 30]
                    pose[0, 21 * slot + 10 : 21 * slot + 20] = [high, rows.min(), -30]
                    pose[0, 21 * slot + 20] = [middle, rows.max(), 0]  # it points up, so that there is no upright crop
        return NetworkOutput(
            pose, presence, None, (masks[0] | masks[1])[None].astype(float), None if self.sure is None else confidence
        )


def picture(green: tuple[int, int, int, int] = (240, 100, 290, 150)) -> Pixels:
    image = np.zeros((300, 400, 3), np.uint8)
    cv2.rectangle(image, (100, 120), (140, 180), (200, 0, 0), -1)
    cv2.rectangle(image, green[:2], green[2:], (0, 200, 0), -1)
    return image


BOX: Final = (80, 60, 310, 220)


def test_hands_apart_are_predicted_one_by_one() -> None:
    network = Coloured()
    pose = Predictor(network)(picture(), BOX)
    assert network.looks == 3
    expected: dict[Side, tuple[tuple[int, int], tuple[int, int]]] = {
        "right": ((100, 120), (140, 180)), "left": ((240, 100), (290, 150)),
    }  # fmt: skip
    for side, (low, high) in expected.items():
        pixels, _ = pose.hand(side)
        np.testing.assert_allclose(pixels.min(axis=0), low, atol=2)
        np.testing.assert_allclose(pixels.max(axis=0), high, atol=2)
        depths = pose.hand(side)[1][:20, 2]
        np.testing.assert_allclose(depths, [30] * 10 + [-30] * 10, atol=1e-6)
    assert pose.confidence is not None
    np.testing.assert_allclose(pose.confidence, 0.8)
    np.testing.assert_allclose(pose.presence, 1)
    assert np.ptp(pose.box[::2]) > 230, "the reported crop is that of both"


@pytest.mark.parametrize("depth_axis", DepthAxis)
def test_each_hand_s_depths_are_along_the_line_of_sight_of_its_own_crop(depth_axis: DepthAxis) -> None:
    class Along(Coloured):
        def __call__(self, crops: Pixels, /) -> NetworkOutput:
            return super().__call__(crops)._replace(depth_axis=depth_axis)

    pose = Predictor(Along())(picture(), BOX)
    focal, princpt = np.array(pose.camera.focal), np.array(pose.camera.princpt)
    middles: dict[Side, tuple[int, int]] = {"right": (120, 150), "left": (265, 125)}
    for side, middle in middles.items():
        through = geometry.sight_through(np.array(middle), focal, princpt)
        sight = through if depth_axis is DepthAxis.CROP else np.array(geometry.CAMERA_AXIS)
        np.testing.assert_allclose(pose.hand(side)[1][:20] @ sight, [30] * 10 + [-30] * 10, atol=1)


@pytest.mark.parametrize("rotation", [0.0, 40.0])
def test_the_middle_of_a_result_is_that_of_its_crop(rotation: float) -> None:
    square = np.array([20.0, 30.0, 220.0, 230.0])
    matrix = geometry.crop_matrix(geometry.turned_box(square, 96, rotation), 96, rotation)
    look = CropResult(Coloured()(np.zeros((1, 96, 96, 3), np.uint8)), np.linalg.inv(matrix), square, 96)
    np.testing.assert_allclose(geometry.apply_affine(matrix, look.middle), geometry.crop_middle(96))


def test_a_hand_of_another_result_keeps_the_middle_of_its_own_crop() -> None:
    both, other = made_result(hands()), made_result(hands())._replace(middles=np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(both.with_hands({0: both, 1: other}).middles_of_hands, [both.middle, [3, 4]])


def test_a_mirrored_picture_gives_the_mirrored_result() -> None:
    image = picture()
    pose = Predictor(Coloured())(image, BOX)
    mirror_image = np.ascontiguousarray(image[:, ::-1])
    mirrored = Predictor(Coloured())(mirror_image, (399 - 310, 60, 399 - 80, 220), mirrored=True)
    np.testing.assert_allclose(mirrored.joints_3d, pose.joints_3d, atol=1e-6)
    np.testing.assert_allclose(399 - mirrored.joints_2d[:, 0], pose.joints_2d[:, 0], atol=1e-6)


@pytest.mark.parametrize("missing", [(0,), (1,), (0, 1)])
def test_nothing_changes_if_a_hand_is_missing_in_its_own_crop(missing: tuple[int, ...]) -> None:
    class Missing(Coloured):
        def __call__(self, crops: Pixels, /) -> NetworkOutput:
            answer = super().__call__(crops)
            if not (answer.presence == 1).all():
                answer.presence[:, missing] *= 0.4
            return answer

    network = Missing()
    pose = Predictor(network)(picture(), BOX)
    assert network.looks == 3
    np.testing.assert_allclose(np.ptp(pose.hand("right")[0], axis=0), 0)
    assert pose.confidence is not None
    np.testing.assert_allclose(pose.confidence, 0.1)


def test_one_hand_is_not_predicted_again() -> None:
    network, image = Coloured(), picture()
    image[:, 200:] = 0
    Predictor(network)(image, BOX)
    assert network.looks == 1


RED, GREEN, NOTHING = (100.0, 120, 140, 180), (240.0, 100, 290, 150), (200.0, 220, 240, 260)


def found(network: Coloured, *others: tuple[float, float, float, float], image: Pixels) -> HandPose:
    """Return the pose in a picture whose finder sees the red hand first, and other regions."""
    where = Proposal(square_box(np.array(RED)), np.array(others).reshape(-1, 4))
    return Predictor(network, search=lambda _: where)(image)


def test_the_other_hand_may_be_in_another_region() -> None:
    pose = found(Coloured(), NOTHING, GREEN, image=picture())
    assert pose.sides == ("right", "left")
    for side, (x1, y1, x2, y2) in (("right", RED), ("left", GREEN)):
        pixels = pose.joints_2d[:21] if side == "right" else pose.joints_2d[21:]
        np.testing.assert_allclose(pixels.min(axis=0), (x1, y1), atol=2)
        np.testing.assert_allclose(pixels.max(axis=0), (x2, y2), atol=2)
    np.testing.assert_allclose(pose.other_regions, [NOTHING])
    assert pose.box[0] < RED[0] and pose.box[2] > GREEN[2], "the reported crop is that of both"


@pytest.mark.parametrize(
    ("network", "others"),
    [
        (Coloured(), ()),
        (Coloured(), (NOTHING,)),
        (Coloured(sure=MIN_CONFIDENCE - 0.01), (GREEN,)),
        (Coloured(sure=None), (GREEN,)),
        (Coloured(), (NOTHING, NOTHING, GREEN)),
        (Coloured(), (RED,)),
    ],
    ids=[
        "no other region",
        "no hand",
        "unsure",
        "no confidence",
        "too many regions",
        "the same hand again",
    ],
)
def test_without_another_hand_there_is_one(
    network: Coloured, others: tuple[tuple[float, float, float, float], ...]
) -> None:
    pose = found(network, *others, image=picture())
    assert pose.sides == ("right",)
    np.testing.assert_allclose(pose.other_regions, np.array(others).reshape(-1, 4))


def test_a_hand_of_another_size_is_another_person_s() -> None:
    """Sure of its hand in the larger region, too, the network would be believed."""
    assert found(Discerning(0.9), (100.0, 0, 390, 290), image=picture()).sides == ("right",)
    assert found(Discerning(0.9), GREEN, image=picture()).sides == ("right", "left")


def test_a_hand_missing_in_the_crop_of_both_is_not_this_person_s() -> None:
    class Forgetful(Coloured):
        """Does not see the second hand where both are in its crop."""

        def __call__(self, crops: Pixels, /) -> NetworkOutput:
            answer = super().__call__(crops)
            if (answer.presence == 1).all():
                answer.presence[0, 1] = 0.1
            return answer

    pose = found(Forgetful(), GREEN, image=picture())
    assert pose.sides == ("right",) and pose.other_regions is not None and len(pose.other_regions) == 1


def test_two_right_hands_are_two_people_s() -> None:
    image = picture()
    cv2.rectangle(image, (240, 100), (290, 150), (200, 0, 0), -1)
    pose = found(Coloured(), GREEN, image=image)
    assert pose.sides == ("right",) and len(pose.other_regions) == 1


class Discerning(Coloured):
    """One that puts each hand's joints on its corners in a crop of both, too, `both` sure of them.

    If it `doubles`, it puts the left hand's joints on the right hand there.
    """

    def __init__(self, both: float, *, doubles: bool = False) -> None:
        super().__init__()
        self.both, self.doubles = both, doubles

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        answer = super().__call__(crops)
        if not (answer.presence == 1).all():
            return answer
        pose = answer.pose_2p5d.copy()
        for slot in (0, 1):
            seen = super().__call__(np.where(np.arange(3) == slot, crops, np.uint8(0))).pose_2p5d
            pose[:, 21 * slot : 21 * slot + 21] = seen[:, 21 * slot : 21 * slot + 21]
        if self.doubles:
            pose[:, 21:] = pose[:, :21]
        return answer._replace(pose_2p5d=pose, confidence=np.full((1, 42), self.both))


BESIDE: Final = (172, 110, 196, 150)
"""The green hand beside the red one."""


@pytest.mark.parametrize(
    ("network", "seen"),
    [
        (Discerning(MIN_CONFIDENCE + 0.01), True),
        (Discerning(MIN_CONFIDENCE - 0.01), False),
        (Discerning(0.9, doubles=True), False),
    ],
    ids=["sure", "unsure", "on the hand that was found"],
)
def test_a_wider_crop_may_show_the_other_hand(network: Discerning, seen: bool) -> None:
    pose = found(network, image=picture(BESIDE))
    assert pose.sides == (("right", "left") if seen else ("right",))
    np.testing.assert_allclose(pose.joints_2d[:21].max(axis=0), (140, 180), atol=2)
    if seen:
        np.testing.assert_allclose(pose.joints_2d[21:].min(axis=0), (172, 110), atol=2)


def test_without_another_hand_in_the_wider_crop_there_are_no_more_crops() -> None:
    unsure, doubling, sure = Discerning(MIN_CONFIDENCE - 0.01), Discerning(0.9, doubles=True), Discerning(0.9)
    for network in (unsure, doubling, sure):
        found(network, image=picture(BESIDE))
    assert unsure.looks == doubling.looks < sure.looks
