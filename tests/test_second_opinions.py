"""Second opinions: pictures in doubt are looked at in other ways, and what most of them agree on counts."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from made_hands import two_hands
from made_results import SIZE, SQUARE, hands, look
from unclasp import geometry
from unclasp.config import DepthAxis
from unclasp.data.transforms import Crop, crop_image
from unclasp.engines.network import NetworkOutput
from unclasp.find import crop_predictor, second_opinions
from unclasp.find.crop_result import CropResult
from unclasp.find.search import Proposal
from unclasp.find.second_opinions import MIN_HAND_SCORE, TURN, Variant, best_of_variants, is_doubtful, variants
from unclasp.hands import FLIPPED_JOINTS
from unclasp.lifting import assumed_focal
from unclasp.pose import MIN_CONFIDENCE
from unclasp.predictor import Predictor

Floats = npt.NDArray[np.floating]
WIDTH, HEIGHT = 90, 60
FOCAL, PRINCPT = np.full(2, assumed_focal(640, 480)), np.array([1199.5, 899.5])


def dot(x: int, y: int) -> npt.NDArray[np.uint8]:
    """Draw a grey dot of 3 x 3 px."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 128
    return image


# ---- the ways


@pytest.mark.parametrize(("x", "y"), [(40, 30), (50, 22), (2, 2), (WIDTH - 3, 4), (WIDTH - 3, HEIGHT - 3)])
def test_every_way_leads_back_to_the_same_place(x: int, y: int) -> None:
    seen = list(variants(dot(x, y), look(hands(), square=np.array([0.0, 0.0, 60.0, 60.0]))))
    assert len(seen) == 5
    shown = 0
    for way in seen:
        assert way.image.shape == (HEIGHT, WIDTH, 3)
        rows, columns = np.nonzero(way.image[..., 0] > 60)
        if len(rows):
            shown += 1
            place = geometry.apply_affine(way.original_from_image, np.array([columns.mean(), rows.mean()]))
            np.testing.assert_allclose(place, [x, y], atol=0.5)
    if 30 <= x <= 60:
        assert shown == 5 and not any(np.array_equal(one.image, other.image) for one, other in combinations(seen, 2))
    assert shown >= 1  # corners leave a picture that is turned


def test_the_place_of_the_hands_stays_where_it_is_in_turned_pictures() -> None:
    view = look(hands())
    turned = list(variants(dot(40, 30), view))[1:5]
    places = [geometry.apply_affine(way.original_from_image, view.middle) for way in turned]
    np.testing.assert_allclose(places[::2], [view.middle] * 2)
    angles = [np.rad2deg(np.arctan2(*way.original_from_image[[1, 0], 0])) for way in turned[::2]]
    np.testing.assert_allclose(angles, [TURN, -TURN])


@pytest.mark.parametrize("square", [SQUARE, SQUARE + 0.3])
def test_the_ways_of_a_mirror_image_are_the_same(square: Floats) -> None:
    image = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    mirrored, view = np.ascontiguousarray(image[:, ::-1]), look(hands(), square=square)
    own = [image, *(way.image for way in variants(image, view))]
    other = [mirrored, *(way.image for way in variants(mirrored, view.mapped(geometry.flip_matrix(WIDTH))))]
    assert len(own) == 6
    for each in own:
        assert any(each.shape == way.shape and np.abs(each.astype(int) - way).max() <= 2 for way in other)


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
    assert moved.output is view.output


def test_in_a_mirror_image_right_hands_are_left_ones() -> None:
    view = look(hands(), presence=(0.9, 0.4), confidence=(0.3, 0.2))
    view = view._replace(middles=np.array([[31.0, 32], [33, 34]]))
    mirrored, last = view.mapped(geometry.flip_matrix(WIDTH)), WIDTH - 1
    there = view.joints_2d[FLIPPED_JOINTS]
    np.testing.assert_allclose(mirrored.joints_2d, np.column_stack([last - there[:, 0], there[:, 1]]))
    np.testing.assert_allclose(mirrored.output.presence, [[0.4, 0.9]])
    assert mirrored.confidence(0) == pytest.approx(0.2) and mirrored.confidence(1) == pytest.approx(0.3)
    np.testing.assert_allclose(mirrored.output.pose_2p5d[0, :, 2], view.output.pose_2p5d[0, FLIPPED_JOINTS, 2])
    np.testing.assert_allclose(mirrored.output.root_depth, [-7])
    np.testing.assert_allclose(mirrored.square, [last - 50, 20, last - 30, 40], atol=20 / SIZE)
    np.testing.assert_allclose(mirrored.middles, [[last - 33, 34], [last - 31, 32]])
    assert mirrored.output.hand_probability[0, 2, 6] == 1
    np.testing.assert_allclose(mirrored.middle, [last - view.middle[0], view.middle[1]])
    twice = mirrored.mapped(geometry.flip_matrix(WIDTH))
    np.testing.assert_allclose(twice.joints_2d, view.joints_2d)


def test_a_turned_look_has_a_square_of_the_same_size_around_the_same_place() -> None:
    view, turned = look(hands()), list(variants(dot(40, 30), look(hands())))[1]
    moved = view.mapped(turned.original_from_image)
    np.testing.assert_allclose(moved.joints_2d, geometry.apply_affine(turned.original_from_image, view.joints_2d))
    np.testing.assert_allclose(moved.square, view.square)
    np.testing.assert_allclose(moved.middle, view.middle)


# ---- doubt


@pytest.mark.parametrize(
    ("presence", "confidence", "doubted"),
    [
        ((1, 1), (0.9, 0.1), True),
        ((1, 1), (0.9, 0.3), False),
        ((1, 0), (0.9, 0.1), False),
        ((1, 0.3), (0.9, 0.9), True),
        ((1, 0.25), (0.9, 0.9), False),
        ((0, 0), (0.1, 0.1), False),
        ((1, 1), None, False),
    ],
    ids=[
        "one unsure",
        "both sure",
        "the unsure one is not there",
        "another one may be there",
        "another one was denied",
        "no hands",
        "untold",
    ],
)
def test_a_picture_is_in_doubt_where_a_hand_that_counts_is(
    presence: tuple[float, float], confidence: tuple[float, float] | None, doubted: bool
) -> None:
    assert is_doubtful(look(hands(), presence=presence, confidence=confidence)) is doubted


@pytest.mark.parametrize(
    ("presence", "likely", "doubted"),
    [
        ((1, 1), (0.9, MIN_HAND_SCORE + 0.01), False),
        ((1, 1), (0.9, MIN_HAND_SCORE - 0.01), True),
        ((1, 0), (0.9, 0.0), False),
    ],
    ids=["both seen", "one not seen", "the unseen one is not there"],
)
def test_a_picture_is_in_doubt_where_the_landmark_network_does_not_see_a_hand(
    presence: tuple[float, float], likely: tuple[float, float], doubted: bool
) -> None:
    view = look(hands(), presence=presence, confidence=(0.9, 0.9))._replace(hand_scores=np.array(likely))
    assert is_doubtful(view) is doubted


# ---- votes


def voted(
    places: Sequence[Floats], *, presences: Sequence[tuple[float, float]] | None = None,
    seen: Sequence[Floats] | None = None,
) -> CropResult:  # fmt: skip
    """Return what wins where each way sees joints at one of these places (42, 2) px of the original picture."""
    image = dot(40, 30)
    shown = [Variant(image, np.eye(3)), *variants(image, look(hands()))]
    assert len(places) == len(shown)
    looks: list[CropResult] = []
    for way, place, presence in zip(shown, places, presences or [(1, 1)] * len(places), strict=True):
        mirrored = np.linalg.det(way.original_from_image) < 0
        there = geometry.apply_affine(np.linalg.inv(way.original_from_image), place)
        looks.append(
            look(there[FLIPPED_JOINTS] if mirrored else there, presence=presence[::-1] if mirrored else presence)
        )
    if seen is not None:
        looks = [view._replace(hand_scores=likely) for view, likely in zip(looks, seen, strict=True)]
    calls = iter(range(1, len(looks)))

    def see(way: Variant) -> CropResult:
        index = next(calls)
        np.testing.assert_array_equal(way.image, shown[index].image)
        return looks[index]

    return best_of_variants(see, image, looks[:1])


def test_what_most_agree_on_counts_though_it_was_not_seen_first() -> None:
    right = hands(0)
    wrong = [hands(seed) + 30.0 * seed for seed in range(1, 7)]
    view = voted([wrong[0], right, wrong[1], right + 1, wrong[2], right - 1])
    np.testing.assert_allclose(view.joints_2d, right, atol=1e-6)


def test_of_equals_the_picture_as_it_is_counts() -> None:
    scattered = [hands(seed) + 60.0 * seed for seed in range(6)]
    view = voted(scattered)
    np.testing.assert_allclose(view.joints_2d, scattered[0])


def test_exchanged_sides_do_not_agree() -> None:
    right = hands(0) + np.repeat([[0.0, 0], [200, 0]], 21, axis=0)
    exchanged = right[np.r_[21:42, 0:21]]
    view = voted([exchanged, right] * 2 + [right, right])
    np.testing.assert_allclose(view.joints_2d, right, atol=1e-6)


@pytest.mark.parametrize("second", [2, 5])
def test_most_looks_say_whether_a_hand_is_there(second: int) -> None:
    presences: list[tuple[float, float]] = [(1, 0)] * (6 - second) + [(1, 1)] * second
    assert voted([hands()] * 6, presences=presences).present_slots == ([0, 1] if second == 5 else [0])


@pytest.mark.parametrize("agreed", [True, False])
def test_two_looks_at_the_picture_as_it_is_both_count(agreed: bool) -> None:
    """Two places were looked at; the other ways agree with the second one, or with none."""
    first, second = look(hands()), look(hands(1) + 20)

    def see(way: Variant) -> CropResult:
        return way.of(second if agreed else look(hands(2) - 200))

    chosen = best_of_variants(see, dot(40, 30), [first, second]).joints_2d
    close = [bool(np.allclose(chosen, view.joints_2d, atol=1e-6)) for view in (first, second)]
    assert close == [False, agreed]


def test_a_look_goes_to_a_way_and_back() -> None:
    view = look(hands())
    for way in variants(dot(40, 30), view):
        back = way.of(view).mapped(way.original_from_image)
        np.testing.assert_allclose(back.joints_2d, view.joints_2d, atol=1e-9)
        np.testing.assert_allclose(back.square, view.square, atol=1e-9)


def test_an_outsized_look_does_not_win_by_its_size() -> None:
    rng, hand = np.random.default_rng(5), hands()
    looks = [hand + rng.normal(0, 4, 2) for _ in range(5)]
    outsized = (hand - hand.mean(axis=0)) * 3 + hand.mean(axis=0)
    view = voted([*looks, outsized])
    assert geometry.extent(view.joints_2d) < 1.1 * geometry.extent(hand)


def test_collapsed_joints_agree_with_themselves() -> None:
    spot = np.full((42, 2), 40.0)
    with np.errstate(all="raise"):
        view = voted([hands(3) + 100, *[spot] * 5])
    np.testing.assert_allclose(view.joints_2d, spot, atol=1e-6)


@pytest.mark.parametrize(("likely", "counts"), [(0.9, True), (0.5, False)])
def test_what_the_landmark_network_sees_counts_as_much_as_what_the_others_say(likely: float, counts: bool) -> None:
    """One of five others agrees with the right answer (0.4 of 2), three of five with the wrong one (1.2)."""
    right, wrong = hands(0), hands(1) + 90
    there, hardly = np.full(2, likely), np.full(2, 0.25)
    view = voted([wrong, right, wrong, right, wrong, wrong], seen=[hardly, there, hardly, there, hardly, hardly])
    assert bool(np.allclose(view.joints_2d, right, atol=1e-6)) == counts


def test_mirror_images_can_be_left_out() -> None:
    seen: list[npt.NDArray[np.uint8]] = []

    def see(way: Variant) -> CropResult:
        seen.append(way.image)
        return look(hands())

    best_of_variants(see, dot(40, 30), [look(hands())], mirrored=False)
    assert len(seen) == 2


# ---- predictions


class Unsure:
    """A network that sees both hands in every crop, and is as sure of them as it is told."""

    name, image_size = "unsure", SIZE

    def __init__(self, confidence: float) -> None:
        self.confidence = confidence

    def __call__(self, crops: npt.NDArray[np.uint8], /) -> NetworkOutput:
        count = len(crops)
        pose = np.tile(np.random.default_rng(0).uniform(8, 24, (42, 3)), (count, 1, 1))
        seen = np.ones((count, 8, 8))
        return NetworkOutput(pose, np.ones((count, 2)), None, seen, np.full((count, 42), self.confidence))


class Searches:
    """Finds the same place in every picture, and beside it two other regions; counts both kinds of search."""

    def __init__(self) -> None:
        self.first = self.again = 0

    def __call__(self, image: npt.NDArray[np.uint8]) -> Proposal:
        self.first += 1

        def again() -> Floats:
            self.again += 1
            return np.array([10.0, 0, 70, 60])

        return Proposal(np.array([10.0, 0, 70, 60]), np.array([[35.0, 25, 45, 35], [80, 0, 88, 8]]), fallback=again)


Call = Callable[[Predictor], object]


@pytest.mark.parametrize(
    ("confidence", "call", "expected"),
    [
        (MIN_CONFIDENCE - 0.01, lambda predict: predict(dot(40, 30)), 6),
        (MIN_CONFIDENCE + 0.01, lambda predict: predict(dot(40, 30)), 1),
        (MIN_CONFIDENCE - 0.01, lambda predict: predict(dot(40, 30), [20.0, 10, 60, 50]), 0),
        (MIN_CONFIDENCE - 0.01, lambda predict: predict(dot(40, 30), mirrored=True), 6),
        (MIN_CONFIDENCE - 0.01, lambda predict: list(predict.stream([dot(40, 30)])), 6),
    ],
    ids=["in doubt", "sure", "a box", "a mirror image", "a stream of pictures"],
)
def test_pictures_in_doubt_are_looked_at_in_other_ways(confidence: float, call: Call, expected: int) -> None:
    searches = Searches()
    call(Predictor(Unsure(confidence), search=searches))
    assert searches.first == expected
    assert searches.again == (expected > 1)  # only the first look searches again where it is in doubt


def test_second_opinions_can_be_left_out_and_are_fewer_with_the_flip_test() -> None:
    without, flipped = Searches(), Searches()
    Predictor(Unsure(0.01), search=without, second_opinions=False)(dot(40, 30))
    Predictor(Unsure(0.01), search=flipped, flip_test=True)(dot(40, 30))
    assert without.first == 1 and flipped.first == 3


def test_frames_of_a_video_are_looked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    writer.write(dot(40, 30))
    writer.release()
    searches = Searches()
    (pose,) = Predictor(Unsure(0.01), search=searches).stream(path)
    assert pose.present.all() and searches.first == 1


class Oracle:
    """A network that knows where joints are, in whichever crop of whichever way was made last; the first look errs."""

    name, image_size = "oracle", SIZE

    def __init__(self, joints: Floats) -> None:
        self.joints, self.image_from_original = joints, np.eye(3)
        self.crop_from_image, self.errs = np.eye(3), True

    def __call__(self, crops: npt.NDArray[np.uint8], /) -> NetworkOutput:
        crop_from_original = self.crop_from_image @ self.image_from_original
        middle = geometry.apply_affine(np.linalg.inv(crop_from_original), geometry.crop_middle(SIZE))
        sight = geometry.sight_through(middle, FOCAL, PRINCPT)
        pose = geometry.pose_2p5d_from_cam(self.joints, FOCAL, PRINCPT, crop_from_original, sight)
        root = geometry.root_depth(self.joints, sight)
        if np.linalg.det(self.image_from_original) < 0:
            pose, root = pose[FLIPPED_JOINTS], -root
        if self.errs:
            pose[:, :2] = pose[::-1, :2]
        answer = pose[None], np.ones((1, 2)), np.array([root]), np.ones((1, 8, 8)), np.full((1, 42), 0.1)
        return NetworkOutput(*answer, DepthAxis.CROP)


@pytest.mark.parametrize("index", range(5))
def test_what_was_seen_in_any_way_comes_back_exactly(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    joints = (
        two_hands(0, (600.0, 640.0)) + np.array([60.0, -20.0, 0.0]) + np.repeat([[-90.0, 0, 0], [90, 0, 0]], 21, axis=0)
    )
    network, image = Oracle(joints), np.zeros((1800, 2400, 3), np.uint8)
    pixels = geometry.project(joints, FOCAL, PRINCPT)
    tight = geometry.tight_box(pixels, np.full(42, True))
    square = geometry.square_box(geometry.expand_box(tight, geometry.TIGHT_TO_ANNOTATED))
    between = np.array([(pixels[:21, 0].max() + pixels[21:, 0].min()) / 2, pixels[:, 1].mean()])

    def twice(picture: npt.NDArray[np.uint8], view: CropResult) -> Iterator[Variant]:
        way = list(variants(picture, view))[index]
        network.image_from_original, network.errs = np.linalg.inv(way.original_from_image), False
        yield from (way, way)

    def search(_: npt.NDArray[np.uint8]) -> Proposal:
        middle = geometry.apply_affine(network.image_from_original, (square[:2] + square[2:]) / 2)
        half = (square[2] - square[0]) / 2
        there = np.concatenate([middle - half, middle + half])
        elsewhere = np.array([[5.0, 5, 45, 45], [*tight[:2], *pixels[20]], [*between - 5, *between + 5]])
        return Proposal(there, elsewhere)

    def recorded(picture: npt.NDArray[np.uint8], box: Floats, size: int, **turned: float) -> Crop:
        crop = crop_image(picture, box, size, **turned)
        network.crop_from_image = crop.crop_from_image
        return crop

    monkeypatch.setattr(crop_predictor, "crop_image", recorded)
    monkeypatch.setattr(second_opinions, "variants", twice)
    pose = Predictor(network, search=search)(image, focal=tuple(FOCAL), princpt=tuple(PRINCPT))
    np.testing.assert_allclose(pose.joints_2d, pixels, atol=1e-6)
    np.testing.assert_allclose(pose.joints_cam, joints, atol=1e-5)
    assert geometry.box_iou(pose.box, square) > 0.85  # a turn, and a pixel of a small crop
    np.testing.assert_allclose(pose.other_regions, [[5, 5, 45, 45], [*between - 5, *between + 5]])
