"""Second opinions: pictures in doubt are looked at in other ways, and what most of them agree on counts."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from unclasp import geometry
from unclasp.hands import FLIPPED_JOINTS
from unclasp.looks import Look
from unclasp.network import Answer
from unclasp.opinions import DOUBTED, Way, agreed, in_doubt, ways
from unclasp.predictor import Predictor
from unclasp.search import Where

Floats = npt.NDArray[np.floating]
WIDTH, HEIGHT, SIZE = 90, 60, 32
SQUARE = np.array([30.0, 20.0, 50.0, 40.0])


def dot(x: int, y: int) -> npt.NDArray[np.uint8]:
    """Draw a grey dot of 3 x 3 px."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 128
    return image


def look(
    joints_2d: Floats, *, presence: tuple[float, float] = (1, 1), confidence: tuple[float, float] | None = (0.1, 0.1),
    square: Floats = SQUARE,
) -> Look:  # fmt: skip
    """Return a look of a crop of SIZE px that sees joints at these pixels of the picture."""
    crop_from_image = geometry.crop_matrix(square, SIZE)
    pose = np.zeros((1, 42, 3))
    pose[0, :, :2] = geometry.apply_affine(crop_from_image, joints_2d)
    pose[0, :, 2] = np.arange(42)
    sure = None if confidence is None else np.repeat(confidence, 21)[None]
    seen = np.zeros((1, 8, 8))
    seen[0, 2, 1] = 1
    answer = Answer(pose, np.array([presence], dtype=float), np.array([7.0]), seen, sure)
    return Look(answer, np.linalg.inv(crop_from_image), square)


def hands(seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(30, 50, (42, 2))


# ---- the ways


@pytest.mark.parametrize(("x", "y"), [(40, 30), (2, 2), (WIDTH - 3, 4), (WIDTH - 3, HEIGHT - 3)])
def test_every_way_shows_the_whole_picture_and_leads_back_to_the_same_place(x: int, y: int) -> None:
    seen = list(ways(dot(x, y), np.array([0.0, 0.0, 60.0, 60.0])))
    assert len(seen) == 7 and not any(np.array_equal(one.image, other.image) for one, other in combinations(seen, 2))
    for way in seen:
        rows, columns = np.nonzero(way.image[..., 0] > 60)
        place = geometry.apply_affine(way.back, np.array([columns.mean(), rows.mean()]))
        np.testing.assert_allclose(place, [x, y], atol=0.3)


def test_a_small_place_is_also_cut_out_and_seen_both_ways_round() -> None:
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    square = np.array([-5.0, 12.0, 10.0, 27.0])  # three times as wide: from -20 to 25, and from -3 to 42
    cut, mirrored = list(ways(image, square))[7:]
    np.testing.assert_array_equal(cut.image, image[:42, :25])
    np.testing.assert_array_equal(mirrored.image, image[:42, 24::-1])
    np.testing.assert_allclose(geometry.apply_affine(cut.back, np.array([3.0, 5.0])), [3, 5])
    np.testing.assert_allclose(geometry.apply_affine(mirrored.back, np.array([3.0, 5.0])), [21, 5])


def test_the_ways_of_a_mirror_image_are_the_same() -> None:
    image = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    own = [image, *(way.image for way in ways(image, SQUARE))]
    other = [mirrored, *(way.image for way in ways(mirrored, geometry.mirror_box(SQUARE, WIDTH)))]
    assert len(own) == 10
    for each in own:
        assert any(each.shape == way.shape and np.abs(each.astype(int) - way).max() <= 1 for way in other)


# ---- looks in other pictures


def test_a_mapped_look_sees_the_same_hands_in_the_other_picture() -> None:
    view, shift = (
        look(hands(), presence=(0.9, 0.4), confidence=(0.3, 0.2)),
        np.array([[1.0, 0, 5], [0, 1, -3], [0, 0, 1]]),
    )
    moved = view.mapped(shift)
    np.testing.assert_allclose(moved.joints_2d, view.joints_2d + np.array([5, -3]))
    np.testing.assert_allclose(moved.square, view.square + np.array([5, -3, 5, -3]))
    np.testing.assert_allclose(moved.middle, view.middle + np.array([5, -3]))
    assert moved.answer is view.answer


def test_in_a_mirror_image_right_hands_are_left_ones() -> None:
    view = look(hands(), presence=(0.9, 0.4), confidence=(0.3, 0.2))
    view = view._replace(middles=np.array([[31.0, 32], [33, 34]]))
    mirrored, last = view.mapped(geometry.flip_matrix(WIDTH)), WIDTH - 1
    there = view.joints_2d[FLIPPED_JOINTS]
    np.testing.assert_allclose(mirrored.joints_2d, np.column_stack([last - there[:, 0], there[:, 1]]))
    np.testing.assert_allclose(mirrored.answer.presence, [[0.4, 0.9]])
    assert mirrored.confidence(0) == pytest.approx(0.2) and mirrored.confidence(1) == pytest.approx(0.3)
    np.testing.assert_allclose(mirrored.answer.pose_2p5d[0, :, 2], view.answer.pose_2p5d[0, FLIPPED_JOINTS, 2])
    np.testing.assert_allclose(mirrored.answer.root_depth, [-7])
    np.testing.assert_allclose(mirrored.square, [last - 50, 20, last - 30, 40])
    np.testing.assert_allclose(mirrored.middles, [[last - 33, 34], [last - 31, 32]])
    assert mirrored.answer.hand_probability[0, 2, 6] == 1
    crop_pixel = (view.square[2] - view.square[0]) / SIZE
    np.testing.assert_allclose(mirrored.middle, [last - view.middle[0], view.middle[1]], atol=1.01 * crop_pixel)
    twice = mirrored.mapped(geometry.flip_matrix(WIDTH))
    np.testing.assert_allclose(twice.joints_2d, view.joints_2d)


def test_a_turned_look_has_a_square_of_the_same_size_around_the_same_place() -> None:
    view, turned = look(hands()), list(ways(dot(40, 30), SQUARE))[1]
    moved = view.mapped(turned.back)
    np.testing.assert_allclose(moved.joints_2d, geometry.apply_affine(turned.back, view.joints_2d))
    np.testing.assert_allclose(np.diff(moved.square[[0, 2, 1, 3]])[[0, 2]], 20)
    np.testing.assert_allclose(
        (moved.square[:2] + moved.square[2:]) / 2, geometry.apply_affine(turned.back, [40.0, 30.0])
    )


# ---- doubt


@pytest.mark.parametrize(
    ("presence", "confidence", "doubted"),
    [
        ((1, 1), (0.9, 0.1), True),
        ((1, 1), (0.9, 0.3), False),
        ((1, 0), (0.9, 0.1), False),
        ((0, 0), (0.1, 0.1), False),
        ((1, 1), None, False),
    ],
    ids=["one unsure", "both sure", "the unsure one is not there", "no hands", "untold"],
)
def test_a_picture_is_in_doubt_where_a_hand_that_counts_is(
    presence: tuple[float, float], confidence: tuple[float, float] | None, doubted: bool
) -> None:
    assert in_doubt(look(hands(), presence=presence, confidence=confidence)) is doubted


# ---- votes


def voted(places: Sequence[Floats], *, presences: Sequence[tuple[float, float]] | None = None) -> tuple[Look, Floats]:
    """Return what wins where each way sees joints at one of these places (42, 2) px of the original picture."""
    image = dot(40, 30)
    shown = [Way(image, np.eye(3)), *ways(image, SQUARE)]
    assert len(places) == len(shown)
    presences = presences or [(1, 1)] * len(places)
    looks = []
    for way, place, presence in zip(shown, places, presences, strict=True):
        mirrored = np.linalg.det(way.back[:2, :2]) < 0
        there = geometry.apply_affine(np.linalg.inv(way.back), place)
        looks.append(
            look(there[FLIPPED_JOINTS] if mirrored else there, presence=presence[::-1] if mirrored else presence)
        )
    calls = iter(range(1, len(looks)))
    boxes = [np.array([[index, 0.0, index + 2.0, 2.0]]) for index in range(len(looks))]

    def see(picture: npt.NDArray[np.uint8]) -> tuple[Look, Floats]:
        index = next(calls)
        np.testing.assert_array_equal(picture, shown[index].image)
        return looks[index], boxes[index]

    view, others = agreed(see, image, (looks[0], boxes[0]))
    return view, others


def test_what_most_agree_on_counts_though_it_was_not_seen_first() -> None:
    right = hands(0)
    wrong = [hands(seed) + 30.0 * seed for seed in range(1, 7)]
    view, others = voted([wrong[0], right, wrong[1], right + 1, wrong[2], right - 1, *wrong[3:], wrong[0] + 300])
    np.testing.assert_allclose(view.joints_2d, right, atol=1e-6)
    np.testing.assert_allclose(others, [[WIDTH - 1 - 3, 0, WIDTH - 1 - 1, 2]])  # of the mirror image, mirrored back


def test_of_equals_the_picture_as_it_is_counts() -> None:
    scattered = [hands(seed) + 60.0 * seed for seed in range(10)]
    view, others = voted(scattered)
    np.testing.assert_allclose(view.joints_2d, scattered[0])
    np.testing.assert_allclose(others, [[0, 0, 2, 2]])


def test_exchanged_sides_do_not_agree() -> None:
    right = hands(0) + np.repeat([[0.0, 0], [200, 0]], 21, axis=0)
    exchanged = right[np.r_[21:42, 0:21]]
    view, _ = voted([exchanged, right] * 4 + [right, right])
    np.testing.assert_allclose(view.joints_2d, right, atol=1e-6)


def test_hands_that_are_not_there_do_not_vote() -> None:
    both, place = (1, 1), hands(0)
    view, _ = voted([place] * 10, presences=[(1, 0), both] * 4 + [both, both])
    assert view.present.all()


# ---- predictions


class Unsure:
    """A network that sees both hands in every crop, and is as sure of them as it is told."""

    name, image_size = "unsure", SIZE

    def __init__(self, confidence: float) -> None:
        self.confidence = confidence

    def __call__(self, crops: npt.NDArray[np.uint8], /) -> Answer:
        count = len(crops)
        pose = np.tile(np.random.default_rng(0).uniform(8, 24, (42, 3)), (count, 1, 1))
        seen = np.ones((count, 8, 8))
        return Answer(pose, np.ones((count, 2)), None, seen, np.full((count, 42), self.confidence))


class Searches:
    """Counts the pictures that hands are looked for in."""

    def __init__(self) -> None:
        self.pictures: list[tuple[int, ...]] = []

    def __call__(self, image: npt.NDArray[np.uint8]) -> Where:
        self.pictures.append(image.shape)
        return Where(np.array([10.0, 0, 70, 60]), np.zeros((0, 4)), again=lambda: np.array([10.0, 0, 70, 60]))


Call = Callable[[Predictor], object]


@pytest.mark.parametrize(
    ("confidence", "call", "expected"),
    [
        (DOUBTED - 0.01, lambda predict: predict(dot(40, 30)), 8),
        (DOUBTED + 0.01, lambda predict: predict(dot(40, 30)), 1),
        (DOUBTED - 0.01, lambda predict: predict(dot(40, 30), [20.0, 10, 60, 50]), 0),
        (DOUBTED - 0.01, lambda predict: predict(dot(40, 30), mirrored=True), 8),
        (DOUBTED - 0.01, lambda predict: list(predict.stream([dot(40, 30)])), 8),
    ],
    ids=["in doubt", "sure", "a box", "a mirror image", "a stream of pictures"],
)
def test_pictures_in_doubt_are_looked_at_in_other_ways(confidence: float, call: Call, expected: int) -> None:
    searches = Searches()
    call(Predictor(Unsure(confidence), search=searches))
    assert len(searches.pictures) == expected


def test_frames_of_a_video_are_not(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    writer.write(dot(40, 30))
    writer.release()
    searches = Searches()
    (pose,) = Predictor(Unsure(0.01), search=searches).stream(path)
    assert pose.present.all() and len(searches.pictures) == 1
