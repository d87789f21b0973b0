"""Second opinions: doubtful pictures are also predicted mirrored and turned, and the best supported result counts."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from made_hands import two_hands
from made_results import SIZE, SQUARE, hands, made_result
from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.config import DepthAxis
from unclasp.data.transforms import Crop, crop_image
from unclasp.engines.network import NetworkOutput
from unclasp.find import crop_predictor, second_opinions
from unclasp.find.crop_result import MIN_CONFIDENCE, MIN_HAND_SCORE, CropResult
from unclasp.find.search import Proposal
from unclasp.find.second_opinions import TURN, Variant, best_of_variants, is_doubtful, variants
from unclasp.hands import FLIPPED_JOINTS
from unclasp.lifting import assumed_focal
from unclasp.predictor import Predictor

WIDTH, HEIGHT = 90, 60
FOCAL, PRINCPT = np.full(2, assumed_focal(640, 480)), np.array([1199.5, 899.5])


def dot(x: int, y: int) -> Pixels:
    """Draw a grey dot of 3 x 3 px."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 128
    return image


# ---- the variants


@pytest.mark.parametrize(("x", "y"), [(40, 30), (50, 22), (2, 2), (WIDTH - 3, 4), (WIDTH - 3, HEIGHT - 3)])
def test_every_variant_maps_back_to_the_same_place(x: int, y: int) -> None:
    all_variants = list(variants(dot(x, y), made_result(hands(), square=np.array([0.0, 0.0, 60.0, 60.0]))))
    assert len(all_variants) == 5
    shown = 0
    for variant in all_variants:
        assert variant.image.shape == (HEIGHT, WIDTH, 3)
        rows, columns = np.nonzero(variant.image[..., 0] > 60)
        if len(rows):
            shown += 1
            place = geometry.apply_affine(variant.original_from_image, np.array([columns.mean(), rows.mean()]))
            np.testing.assert_allclose(place, [x, y], atol=0.5)
    if 30 <= x <= 60:
        assert shown == 5 and not any(
            np.array_equal(one.image, other.image) for one, other in combinations(all_variants, 2)
        )
    assert shown >= 1  # corners may leave the turned picture


def test_the_place_of_the_hands_stays_where_it_is_in_turned_pictures() -> None:
    result = made_result(hands())
    turned = list(variants(dot(40, 30), result))[1:5]
    places = [geometry.apply_affine(variant.original_from_image, result.middle) for variant in turned]
    np.testing.assert_allclose(places[::2], [result.middle] * 2)
    angles = [np.rad2deg(np.arctan2(*variant.original_from_image[[1, 0], 0])) for variant in turned[::2]]
    np.testing.assert_allclose(angles, [TURN, -TURN])


@pytest.mark.parametrize("square", [SQUARE, SQUARE + 0.3])
def test_the_variants_of_a_mirror_image_are_the_same(square: Floats) -> None:
    image = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    mirrored, result = np.ascontiguousarray(image[:, ::-1]), made_result(hands(), square=square)
    images = [image, *(variant.image for variant in variants(image, result))]
    others = [mirrored, *(variant.image for variant in variants(mirrored, result.mapped(geometry.flip_matrix(WIDTH))))]
    assert len(images) == 6
    for each in images:
        assert any(each.shape == variant.shape and np.abs(each.astype(int) - variant).max() <= 2 for variant in others)


# ---- results mapped to other pictures


def test_a_mapped_result_has_the_same_hands_in_the_other_picture() -> None:
    result, shift = (
        made_result(hands(), presence=(0.9, 0.4), confidence=(0.3, 0.2)),
        np.array([[1.0, 0, 5], [0, 1, -3], [0, 0, 1]]),
    )
    moved = result.mapped(shift)
    np.testing.assert_allclose(moved.joints_2d, result.joints_2d + np.array([5, -3]))
    np.testing.assert_allclose(moved.square, result.square + np.array([5, -3, 5, -3]))
    np.testing.assert_allclose(moved.middle, result.middle + np.array([5, -3]))
    assert moved.output is result.output


def test_in_a_mirror_image_right_hands_are_left_ones() -> None:
    result = made_result(hands(), presence=(0.9, 0.4), confidence=(0.3, 0.2))
    result = result._replace(middles=np.array([[31.0, 32], [33, 34]]))
    mirrored, last = result.mapped(geometry.flip_matrix(WIDTH)), WIDTH - 1
    there = result.joints_2d[FLIPPED_JOINTS]
    np.testing.assert_allclose(mirrored.joints_2d, np.column_stack([last - there[:, 0], there[:, 1]]))
    np.testing.assert_allclose(mirrored.output.presence, [[0.4, 0.9]])
    assert mirrored.confidence(0) == pytest.approx(0.2) and mirrored.confidence(1) == pytest.approx(0.3)
    np.testing.assert_allclose(mirrored.output.pose_2p5d[0, :, 2], result.output.pose_2p5d[0, FLIPPED_JOINTS, 2])
    np.testing.assert_allclose(mirrored.output.root_depth, [-7])
    np.testing.assert_allclose(mirrored.square, [last - 50, 20, last - 30, 40], atol=20 / SIZE)
    np.testing.assert_allclose(mirrored.middles, [[last - 33, 34], [last - 31, 32]])
    assert mirrored.output.hand_probability[0, 2, 6] == 1
    np.testing.assert_allclose(mirrored.middle, [last - result.middle[0], result.middle[1]])
    twice = mirrored.mapped(geometry.flip_matrix(WIDTH))
    np.testing.assert_allclose(twice.joints_2d, result.joints_2d)


def test_a_turned_result_has_a_square_of_the_same_size_around_the_same_place() -> None:
    result, turned = made_result(hands()), list(variants(dot(40, 30), made_result(hands())))[1]
    moved = result.mapped(turned.original_from_image)
    np.testing.assert_allclose(moved.joints_2d, geometry.apply_affine(turned.original_from_image, result.joints_2d))
    np.testing.assert_allclose(moved.square, result.square)
    np.testing.assert_allclose(moved.middle, result.middle)


# ---- doubtful results


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
def test_a_picture_is_doubtful_if_a_present_hand_is(
    presence: tuple[float, float], confidence: tuple[float, float] | None, doubted: bool
) -> None:
    assert is_doubtful(made_result(hands(), presence=presence, confidence=confidence)) is doubted


@pytest.mark.parametrize(
    ("presence", "scores", "doubted"),
    [
        ((1, 1), (0.9, MIN_HAND_SCORE), False),
        ((1, 1), (0.9, MIN_HAND_SCORE - 0.01), True),
        ((1, 0), (0.9, 0.0), False),
    ],
    ids=["both seen", "one not seen", "the unseen one is not there"],
)
def test_a_picture_is_doubtful_if_a_hand_score_is_low(
    presence: tuple[float, float], scores: tuple[float, float], doubted: bool
) -> None:
    result = made_result(hands(), presence=presence, confidence=(0.9, 0.9))._replace(hand_scores=np.array(scores))
    assert is_doubtful(result) is doubted


# ---- the choice


def best_of(
    places: Sequence[Floats], *, presences: Sequence[tuple[float, float]] | None = None,
    scores: Sequence[Floats] | None = None,
) -> CropResult:  # fmt: skip
    """Return the best result if the variants have these joints (42, 2), px of the original picture."""
    image = dot(40, 30)
    shown = [Variant(image, np.eye(3)), *variants(image, made_result(hands()))]
    assert len(places) == len(shown)
    results: list[CropResult] = []
    for variant, place, presence in zip(shown, places, presences or [(1, 1)] * len(places), strict=True):
        mirrored = np.linalg.det(variant.original_from_image) < 0
        there = geometry.apply_affine(np.linalg.inv(variant.original_from_image), place)
        results.append(
            made_result(there[FLIPPED_JOINTS] if mirrored else there, presence=presence[::-1] if mirrored else presence)
        )
    if scores is not None:
        results = [result._replace(hand_scores=pair) for result, pair in zip(results, scores, strict=True)]
    calls = iter(range(1, len(results)))

    def predict(variant: Variant) -> CropResult:
        index = next(calls)
        np.testing.assert_array_equal(variant.image, shown[index].image)
        return results[index]

    return best_of_variants(predict, image, results[:1])


def test_the_result_that_most_agree_with_counts_even_if_it_is_not_the_first() -> None:
    right = hands(0)
    wrong = [hands(seed) + 30.0 * seed for seed in range(1, 7)]
    result = best_of([wrong[0], right, wrong[1], right + 1, wrong[2], right - 1])
    np.testing.assert_allclose(result.joints_2d, right, atol=1e-6)


def test_of_equals_the_original_picture_counts() -> None:
    scattered = [hands(seed) + 60.0 * seed for seed in range(6)]
    result = best_of(scattered)
    np.testing.assert_allclose(result.joints_2d, scattered[0])


def test_results_with_exchanged_sides_do_not_agree() -> None:
    right = hands(0) + np.repeat([[0.0, 0], [200, 0]], 21, axis=0)
    exchanged = right[np.r_[21:42, 0:21]]
    result = best_of([exchanged, right] * 2 + [right, right])
    np.testing.assert_allclose(result.joints_2d, right, atol=1e-6)


@pytest.mark.parametrize("second", [2, 3, 5])
def test_the_majority_decides_whether_a_hand_is_present(second: int) -> None:
    """Of equally many it is, as to agree on a hand counts more than to agree on none."""
    presences: list[tuple[float, float]] = [(1, 0)] * (6 - second) + [(1, 1)] * second
    assert best_of([hands()] * 6, presences=presences).present_slots == ([0, 1] if second >= 3 else [0])


def test_a_result_does_not_agree_with_itself() -> None:
    """Two hands would agree with themselves more than one does."""
    scattered = [hands(seed) + 60.0 * seed for seed in range(6)]
    assert best_of(scattered, presences=[(1, 0), *[(1, 1)] * 5]).present_slots == [0]


def test_hands_that_are_a_third_of_their_size_apart_do_not_agree() -> None:
    step = 0.35 * geometry.extent(hands())
    places = [hands() + np.array([index * step, 0.0]) for index in range(6)]
    np.testing.assert_allclose(best_of(places).joints_2d, places[0])


def test_a_result_with_a_joint_far_away_does_not_agree_with_all_near_it() -> None:
    places = [hands() + np.array([30.0 * index, 0.0]) for index in range(6)]
    places[3][[0, 21]] += 400
    np.testing.assert_allclose(best_of(places).joints_2d, places[0])


def test_pictures_are_turned_about_the_place_of_the_first_result() -> None:
    first, second = made_result(hands()), made_result(hands(), square=np.array([0.0, 0.0, 90.0, 90.0]))
    turns: list[Floats] = []

    def predict(variant: Variant) -> CropResult:
        turns.append(variant.original_from_image)
        return variant.of(first)

    best_of_variants(predict, dot(40, 30), [first, second])
    for found, variant in zip(turns, variants(dot(40, 30), first), strict=True):
        np.testing.assert_allclose(found, variant.original_from_image)


@pytest.mark.parametrize("agreed", [True, False])
def test_two_results_for_the_original_picture_both_count(agreed: bool) -> None:
    """There are two results for the original picture; the variants agree with the second one, or with none."""
    first, second = made_result(hands()), made_result(hands(1) + 20)

    def predict(variant: Variant) -> CropResult:
        return variant.of(second if agreed else made_result(hands(2) - 200))

    chosen = best_of_variants(predict, dot(40, 30), [first, second]).joints_2d
    close = [bool(np.allclose(chosen, result.joints_2d, atol=1e-6)) for result in (first, second)]
    assert close == [False, agreed]


def test_a_result_maps_to_a_variant_and_back() -> None:
    result = made_result(hands())
    for variant in variants(dot(40, 30), result):
        back = variant.of(result).mapped(variant.original_from_image)
        np.testing.assert_allclose(back.joints_2d, result.joints_2d, atol=1e-9)
        np.testing.assert_allclose(back.square, result.square, atol=1e-9)


def test_an_outsized_result_does_not_win_by_its_size() -> None:
    rng, hand = np.random.default_rng(5), hands()
    results = [hand + rng.normal(0, 4, 2) for _ in range(5)]
    outsized = (hand - hand.mean(axis=0)) * 3 + hand.mean(axis=0)
    result = best_of([*results, outsized])
    assert geometry.extent(result.joints_2d) < 1.1 * geometry.extent(hand)


def test_collapsed_joints_agree_with_themselves() -> None:
    spot = np.full((42, 2), 40.0)
    with np.errstate(all="raise"):
        result = best_of([hands(3) + 100, *[spot] * 5])
    np.testing.assert_allclose(result.joints_2d, spot, atol=1e-6)


@pytest.mark.parametrize(("score", "counts"), [(0.9, True), (0.5, False)])
def test_hand_scores_weigh_as_much_as_agreement(score: float, counts: bool) -> None:
    """One of five others agrees with the right result (0.4 of 2), three of five with the wrong one (1.2)."""
    right, wrong = hands(0), hands(1) + 90
    high, low = np.full(2, score), np.full(2, 0.25)
    result = best_of([wrong, right, wrong, right, wrong, wrong], scores=[low, high, low, high, low, low])
    assert bool(np.allclose(result.joints_2d, right, atol=1e-6)) == counts


def test_mirror_images_can_be_left_out() -> None:
    images: list[Pixels] = []

    def predict(variant: Variant) -> CropResult:
        images.append(variant.image)
        return made_result(hands())

    best_of_variants(predict, dot(40, 30), [made_result(hands())], mirrored=False)
    assert len(images) == 2


# ---- predictions


class Unsure:
    """A network that finds both hands in every crop, with a given confidence."""

    name, image_size = "unsure", SIZE

    def __init__(self, confidence: float) -> None:
        self.confidence = confidence

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        count = len(crops)
        pose = np.tile(np.random.default_rng(0).uniform(8, 24, (42, 3)), (count, 1, 1))
        probability = np.ones((count, 8, 8))
        return NetworkOutput(pose, np.ones((count, 2)), None, probability, np.full((count, 42), self.confidence))


class Searches:
    """Proposes the same square in every picture, and two other regions; counts the calls of both searches."""

    def __init__(self) -> None:
        self.first = self.again = 0

    def __call__(self, image: Pixels) -> Proposal:
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
def test_variants_of_doubtful_pictures_are_predicted(confidence: float, call: Call, expected: int) -> None:
    searches = Searches()
    call(Predictor(Unsure(confidence), search=searches))
    assert searches.first == expected
    assert searches.again == (expected > 1)  # only the original picture uses the second search


def test_second_opinions_can_be_left_out_and_are_fewer_with_the_flip_test() -> None:
    without, flipped = Searches(), Searches()
    Predictor(Unsure(0.01), search=without, second_opinions=False)(dot(40, 30))
    Predictor(Unsure(0.01), search=flipped, flip_test=True)(dot(40, 30))
    assert without.first == 1 and flipped.first == 3


def test_frames_of_a_video_are_predicted_once(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    writer.write(dot(40, 30))
    writer.release()
    searches = Searches()
    (pose,) = Predictor(Unsure(0.01), search=searches).stream(path)
    assert pose.present.all() and searches.first == 1


class Oracle:
    """A network that knows the joints in the last crop of the last variant.

    Its first result, for the original picture, is wrong.
    """

    name, image_size = "oracle", SIZE

    def __init__(self, joints: Floats) -> None:
        self.joints, self.image_from_original = joints, np.eye(3)
        self.crop_from_image, self.errs = np.eye(3), True

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
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
def test_joints_from_any_variant_map_back_exactly(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    joints = (
        two_hands(0, (600.0, 640.0)) + np.array([60.0, -20.0, 0.0]) + np.repeat([[-90.0, 0, 0], [90, 0, 0]], 21, axis=0)
    )
    network, image = Oracle(joints), np.zeros((1800, 2400, 3), np.uint8)
    pixels = geometry.project(joints, FOCAL, PRINCPT)
    tight = geometry.tight_box(pixels, np.full(42, True))
    square = geometry.square_box(geometry.expand_box(tight, geometry.TIGHT_TO_ANNOTATED))
    between = np.array([(pixels[:21, 0].max() + pixels[21:, 0].min()) / 2, pixels[:, 1].mean()])

    def twice(picture: Pixels, result: CropResult) -> Iterator[Variant]:
        variant = list(variants(picture, result))[index]
        network.image_from_original, network.errs = np.linalg.inv(variant.original_from_image), False
        yield from (variant, variant)

    def search(_: Pixels) -> Proposal:
        middle = geometry.apply_affine(network.image_from_original, (square[:2] + square[2:]) / 2)
        half = (square[2] - square[0]) / 2
        there = np.concatenate([middle - half, middle + half])
        elsewhere = np.array([[5.0, 5, 45, 45], [*tight[:2], *pixels[20]], [*between - 5, *between + 5]])
        return Proposal(there, elsewhere)

    def recorded(picture: Pixels, box: Floats, size: int, **turned: float) -> Crop:
        crop = crop_image(picture, box, size, **turned)
        network.crop_from_image = crop.crop_from_image
        return crop

    monkeypatch.setattr(crop_predictor, "crop_image", recorded)
    monkeypatch.setattr(second_opinions, "variants", twice)
    # Its confidence is low, but its joints are true.
    monkeypatch.setattr("unclasp.crop_lifting.shares_of_size", lambda _: np.ones(2))
    pose = Predictor(network, search=search)(image, focal=tuple(FOCAL), princpt=tuple(PRINCPT))
    np.testing.assert_allclose(pose.joints_2d, pixels, atol=1e-6)
    np.testing.assert_allclose(pose.joints_cam, joints, atol=1e-5)
    assert geometry.box_iou(pose.box, square) > 0.85  # off by the rotation, and by a pixel of a small crop
    np.testing.assert_allclose(pose.other_regions, [[5, 5, 45, 45], [*between - 5, *between + 5]])
