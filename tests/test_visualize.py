"""Drawings of poses: positions, colours, and pixels that must not change."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from unclasp.errors import ImageError
from unclasp.hands import BONES, FINGER_COLOURS, SIDES, Side
from unclasp.skeletons import HandView, draw_overlay, draw_people, draw_skeletons
from unclasp.visualize import draw_pose, turn_about_vertical

GREY = 128


def open_hand(side: Side, *, centre: tuple[float, float] = (160.0, 160.0), scale: float = 1.0) -> HandView:
    """Return an open hand in the picture plane with its fingers pointing up and the index finger 15 mm in front."""
    joints = np.zeros((21, 3))
    for finger in range(5):
        across = (finger - 2) * 22.0 * (1 if side == "left" else -1)
        for step in range(4):
            reach = 60.0 + 25.0 * (3 - step)
            joints[4 * finger + step] = across * reach / 90.0, -reach, -15.0 if finger == 1 else 3.0 * finger
    in_picture = joints[:, :2] * scale + np.array(centre) + [0.0, 60.0 * scale]
    return HandView(joints_2d=in_picture, joints_3d=joints, side=side, score=0.98)


def moved(hand: HandView, offset: tuple[float, float, float]) -> HandView:
    """Return a hand moved by `offset` mm in space, and drawn where it was."""
    return replace(hand, joints_3d=hand.joints_3d + np.array(offset))


def plain(height: int = 320, width: int = 320) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


@pytest.mark.parametrize("side", SIDES)
def test_the_middle_of_every_finger_bone_has_the_colour_of_its_finger(side: Side) -> None:
    hand = open_hand(side)
    drawn = draw_skeletons(plain(), [hand])
    for joint, parent in BONES[:20]:
        if parent == 20:
            continue
        u, v = np.rint(hand.joints_2d[[joint, parent]].mean(axis=0)).astype(int)
        expected = FINGER_COLOURS[SIDES.index(side), joint // 4].astype(int)
        assert np.abs(drawn[v, u].astype(int) - expected).max() <= 3


def test_far_from_the_hand_the_picture_stays_to_the_bit() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    hand = open_hand("right", centre=(80.0, 120.0), scale=0.5)
    drawn = draw_skeletons(picture, [hand])
    (x1, y1), (x2, y2) = hand.joints_2d.min(axis=0) - 8, hand.joints_2d.max(axis=0) + 9
    inside = np.zeros((240, 320), dtype=bool)
    inside[int(y1) : int(y2), int(x1) : int(x2)] = True
    assert np.array_equal(drawn[~inside], picture[~inside])
    assert not np.array_equal(drawn[inside], picture[inside])


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (64, 64), (300, 500), (700, 90)])
def test_shapes_and_types_for_pictures_of_every_size(size: tuple[int, int]) -> None:
    hands = [open_hand("right", centre=(size[1] / 2, size[0] / 2), scale=min(size) / 320)]
    picture = plain(*size)
    drawn, page = draw_skeletons(picture, hands), draw_pose(picture, hands)
    assert (drawn.shape, drawn.dtype) == ((*size, 3), np.uint8)
    assert page.dtype == np.uint8
    assert page.shape[0] > 640
    assert page.shape[2] == 3
    assert (picture == GREY).all()


def test_a_very_wide_picture_gives_a_page_of_limited_width() -> None:
    assert draw_pose(plain(100, 3000), []).shape[1] < 2000


def test_a_grey_picture_becomes_rgb() -> None:
    hand = open_hand("left")
    assert np.array_equal(draw_skeletons(plain()[..., 0], [hand]), draw_skeletons(plain(), [hand]))


@pytest.mark.parametrize("picture", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected a uint8 picture"):
        draw_skeletons(picture, [])


@pytest.mark.parametrize("draw", [draw_skeletons, draw_pose])
def test_hands_with_joints_that_are_not_finite_are_left_out(draw: Callable[..., np.ndarray]) -> None:
    good, bad = open_hand("left"), open_hand("right")
    broken = [replace(bad, joints_2d=np.full((21, 2), np.nan)), replace(bad, joints_3d=np.full((21, 3), np.inf))]
    assert np.array_equal(draw(plain(), [good, *broken]), draw(plain(), [good]))
    assert np.array_equal(draw(plain(), broken), draw(plain(), []))


@pytest.mark.parametrize("far", [-500.0, 1e5, 1e12])
def test_joints_outside_the_picture_do_no_harm(far: float) -> None:
    hand = open_hand("right")
    outside = replace(hand, joints_2d=hand.joints_2d + far)
    assert np.array_equal(draw_skeletons(plain(), [outside]), plain())
    partly = hand.joints_2d.copy()
    partly[8] = far, -far
    assert draw_pose(plain(), [replace(hand, joints_2d=partly)]).shape[0] > 640


def test_the_near_hand_lies_over_the_far_one() -> None:
    hands = [open_hand("right"), open_hand("left")]
    u, v = np.rint(hands[0].joints_2d[[9, 10]].mean(axis=0)).astype(int)
    for depth, side in ((100.0, 0), (-100.0, 1)):
        drawn = draw_skeletons(plain(), [hands[0], moved(hands[1], (0.0, 0.0, depth))])
        assert np.abs(drawn[v, u].astype(int) - FINGER_COLOURS[side, 2]).max() <= 3


def test_the_two_sides_have_different_colours() -> None:
    right, left = open_hand("right"), replace(open_hand("right"), side="left")
    assert not np.array_equal(draw_skeletons(plain(), [right]), draw_skeletons(plain(), [left]))


def test_the_picture_stands_at_the_left_of_the_page() -> None:
    page = draw_pose(plain(640, 480), [])
    assert (page[100:600, 60:480] == GREY).all()
    assert page[:, 520:].mean() > 235


def white(page: np.ndarray) -> np.ndarray:
    """Return the mask of the white frames of insets in a page's picture, which is grey."""
    return np.asarray((page[28:668, 28:668] == 255).all(axis=2))


@pytest.mark.parametrize("doubted", [False, True])
def test_small_hands_are_shown_in_an_inset_where_they_are_not(doubted: bool) -> None:
    """In the corner farthest from them; both squares are framed, and the inset shows the same skeleton enlarged."""
    hand = replace(open_hand("right", centre=(480.0, 440.0), scale=0.5), doubted=doubted)
    picture = draw_pose(plain(640, 640), [hand])[28:668, 28:668]
    low, high = hand.joints_2d.min(axis=0), hand.joints_2d.max(axis=0)
    side = math.ceil(1.3 * (high - low).max())
    x, y = np.rint((low + high - side) / 2).astype(int)
    frame = picture[[y, y + side]][:, x : x + side]
    assert (frame > 200).mean() > 0.9, "the square is framed"
    assert (picture[14:16, 40:220] == 255).all(), "and so is the inset"
    size = 230
    inset = picture[16 : 16 + size, 16 : 16 + size]
    placed = [replace(hand, joints_2d=(hand.joints_2d - [x, y] + 0.5) * (size / side) - 0.5)]
    np.testing.assert_array_equal(inset[20:-20, 20:-20], draw_skeletons(plain(size, size), placed)[20:-20, 20:-20])
    dashed = not np.array_equal(inset, draw_pose(plain(640, 640), [replace(hand, doubted=False)])[44:274, 44:274])
    assert dashed == doubted, "hands in doubt are dashed here, too"


def middles(hand: HandView) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the middles of the bones between joints of a finger."""
    u, v = np.rint([hand.joints_2d[[joint, parent]].mean(axis=0) for joint, parent in BONES[:20] if parent != 20]).T
    return v.astype(int), u.astype(int)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_bones_of_hands_in_doubt_have_gaps_and_are_thin(scale: float) -> None:
    hand = open_hand("right", centre=(320.0, 320.0), scale=scale)
    wrist, knuckle = hand.joints_2d[20], hand.joints_2d[11]
    along = np.rint(np.linspace(wrist, knuckle, 400)).astype(int)
    sure, doubted = (draw_skeletons(plain(640, 640), [replace(hand, doubted=value)]) for value in (False, True))
    untouched = [
        (np.abs(drawn[along[:, 1], along[:, 0]].astype(int) - GREY) < 25).all(axis=1) for drawn in (sure, doubted)
    ]
    assert not untouched[0].any() and 0.1 < untouched[1].mean() < 0.6
    assert np.count_nonzero(np.diff(untouched[1].astype(int)) == 1) >= 2, "a gap on both sides of a dash"
    assert (doubted != GREY).sum() < 0.9 * (sure != GREY).sum()


def test_hands_in_doubt_lie_below_the_others() -> None:
    sure, near = open_hand("right"), moved(replace(open_hand("left"), doubted=True), (0.0, 0.0, -500.0))
    rows, columns = middles(sure)
    drawn = draw_skeletons(plain(), [sure, near])
    np.testing.assert_array_equal(drawn[rows, columns], draw_skeletons(plain(), [sure])[rows, columns])


def test_hands_of_other_people_are_grey_and_lie_below_in_their_order() -> None:
    first, second, own = (
        open_hand(side, centre=(x, 300.0), scale=1.5)
        for side, x in (("left", 280.0), ("right", 310.0), ("right", 295.0))
    )
    drawn = draw_pose(plain(640, 640), [own], others=[[first], [second]])[28:668, 28:668]
    people = [[replace(first, neutral=True)], [replace(second, neutral=True)], [own]]
    expected = draw_people(plain(640, 640), people)
    np.testing.assert_array_equal(drawn[20:-20, 20:-20], expected[20:-20, 20:-20])
    grey = draw_people(plain(640, 640), people[:1])[middles(first)].astype(int)
    assert np.ptp(grey, axis=1).max() < 70 and grey.mean() > GREY + 20
    vivid = draw_people(plain(640, 640), [[first]])[middles(first)].astype(int)
    assert np.ptp(vivid, axis=1).max() > 140
    np.testing.assert_array_equal(expected[middles(own)], draw_people(plain(640, 640), [[own]])[middles(own)])


def test_the_page_says_what_grey_hands_are() -> None:
    own, other = open_hand("right", centre=(200.0, 300.0)), open_hand("left", centre=(450.0, 300.0))
    alone, together, nobody = (draw_pose(plain(640, 640), [own], others=others) for others in ((), [[other]], [[]]))
    views = np.s_[:, 700:]
    rows, columns = np.nonzero((alone[views] != together[views]).any(axis=2))
    assert rows.max() < 100 and np.ptp(columns) > 50, "a caption in the upper card"
    np.testing.assert_array_equal(alone, nobody)


def test_insets_show_the_hands_of_other_people_too() -> None:
    own, other = (open_hand("right", centre=(x, 500.0), scale=0.4) for x in (520.0, 530.0))
    alone, together = (draw_pose(plain(640, 640), [own], others=others) for others in ((), [[other]]))
    assert (alone[44:274, 44:274] != together[44:274, 44:274]).any()


@pytest.mark.parametrize(
    ("size", "centre", "scale"),
    [((640, 640), (320, 320), 2.0), ((640, 640), (320, 320), 1.25),
     ((20, 20), (9, 9), 0.1), ((64, 2000), (40, 30), 0.1), ((2000, 64), (30, 40), 0.1), ((640, 640), (-300, -300), 0.5),
     ((640, 640), (1e6, 100), 0.5)],
)  # fmt: skip
def test_there_is_no_inset_of_large_hands_or_over_hands_or_of_nothing(
    size: tuple[int, int], centre: tuple[float, float], scale: float
) -> None:
    hand = open_hand("right", centre=(float(centre[0]), float(centre[1])), scale=scale)
    framed = white(draw_pose(plain(*size), [hand]))
    assert not framed.any(axis=1).all() and framed.sum() < 20


@pytest.mark.parametrize("centre", [(0.0, 0.0), (320.0, 0.0), (639.0, 639.0), (-8.0, 320.0)])
def test_insets_at_the_edges_show_what_is_in_the_picture(centre: tuple[float, float]) -> None:
    hand = open_hand("left", centre=centre, scale=0.3)
    framed = white(draw_pose(plain(640, 640), [hand]))
    columns, rows = np.flatnonzero(framed.any(axis=0)), np.flatnonzero(framed.any(axis=1))
    assert framed.sum() > 900 and np.ptp(columns) < 640 and np.ptp(rows) < 640


def test_tiny_hands_are_not_enlarged_without_end() -> None:
    hand = open_hand("left", centre=(100.0, 100.0), scale=0.01)
    framed = white(draw_pose(plain(640, 640), [hand]))
    region = np.flatnonzero(framed[:200, :200].any(axis=0))
    assert np.ptp(region) == math.ceil(230 / 12)


def test_without_hands_the_page_says_so() -> None:
    card = draw_pose(plain(640, 640), [])[:, 690:]
    written = np.argwhere((card < 200).any(axis=2))
    assert len(written) > 100
    assert np.abs(written.mean(axis=0) - [348, 206]).max() < 20


def test_the_views_show_both_hands_in_one_space() -> None:
    right, left = open_hand("right"), open_hand("left")
    before, behind = (draw_pose(plain(), [right, moved(left, (150.0, 10.0, depth))]) for depth in (-40.0, 40.0))
    assert before.shape == behind.shape == draw_pose(plain(), [right]).shape
    assert not np.array_equal(before, behind)


def test_the_side_view_shows_the_hand_from_another_side() -> None:
    page = draw_pose(plain(640, 640), [open_hand("right")])
    front, side = (np.ptp(page[rows, 690:1100].astype(int), axis=2) > 60 for rows in (slice(100, 320), slice(410, 630)))
    widths = [np.ptp(np.argwhere(view)[:, 1]) for view in (front, side)]
    assert widths[0] > 1.5 * widths[1]


def test_the_side_view_turns_about_the_vertical() -> None:
    points = np.random.default_rng(1).normal(size=(5, 21, 3))
    turned = turn_about_vertical(points, 70.0)
    np.testing.assert_allclose(turned[..., 1], points[..., 1])
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(points, axis=-1))
    np.testing.assert_allclose(turn_about_vertical(turned, -70.0), points, atol=1e-12)


def test_the_hands_are_not_changed() -> None:
    hand = open_hand("right")
    before = hand.joints_2d.copy(), hand.joints_3d.copy()
    draw_pose(plain(), [hand])
    assert np.array_equal(hand.joints_2d, before[0])
    assert np.array_equal(hand.joints_3d, before[1])


def test_an_overlay_is_resized_and_has_an_inset_of_small_hands() -> None:
    """The inset, in the corner farthest from the hand, is the only thing that is drawn there."""
    small = open_hand("right", centre=(60.0, 60.0), scale=0.15)
    image = plain(480, 640)
    drawn = draw_overlay(image, [small], scale=0.5)
    assert drawn.shape == (240, 320, 3) and (drawn[-60:-20, -60:-20] != plain(240, 320)[:40, :40]).any()
    np.testing.assert_array_equal(draw_overlay(image, []), image)
