"""Whether two hands touch: in a result, and as `unclasp evaluate` scores it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluated import SIZE, Samples, dataset, guesses, run, true_pose  # noqa: F401  fixtures
from made_hands import two_hands
from poses import pose_of
from unclasp import Predictor, read_picture
from unclasp.contact import CONTACT_MM, CONTACT_PROBABILITY, Contact, contact_between, truly_touch
from unclasp.evaluate import PosePredictions, Recorder, score_predictions
from unclasp.evaluation.prediction_file import read_predictions, write_predictions
from unclasp.evaluation.scores import SampleScore, Scores
from unclasp.hands import FLIPPED_JOINTS

SURE = np.ones(42)
PICTURES = Path(__file__).parents[1] / "src" / "unclasp" / "web" / "pictures"


def tips_apart(gap: float) -> np.ndarray:
    """Two hands far apart, but for the left thumb's tip, which is `gap` mm beside the right index finger's."""
    joints = two_hands(3, (600.0, 600.0))
    joints[21:, 0] += 400
    joints[21] = joints[4] + [gap, 0, 0]
    return joints


def side_by_side(gap: float) -> np.ndarray:
    """Two equal hands, each joint `gap` mm from the other hand's."""
    joints = two_hands(1, (600.0, 600.0))
    joints[21:] = joints[:21] + np.array([gap, 0.0, 0.0])
    return joints


def probability(joints: np.ndarray, confidence: np.ndarray | None = SURE) -> float:
    found = contact_between(joints, confidence).probability
    assert found is not None
    return found


def test_the_nearest_joints_are_named() -> None:
    found = contact_between(tips_apart(12), SURE)
    assert (found.right, found.left) == ("index4", "thumb4") and found.distance == pytest.approx(12)
    assert truly_touch(tips_apart(CONTACT_MM - 0.1)) and not truly_touch(tips_apart(CONTACT_MM + 0.1))


@pytest.mark.parametrize("seed", range(4))
def test_a_mirror_image_touches_as_much(seed: int) -> None:
    joints, confidence = two_hands(seed, (600, 620)), np.random.default_rng(seed).random(42)
    found = contact_between(joints, confidence)
    mirrored = contact_between((joints * [-1, 1, 1])[FLIPPED_JOINTS], confidence[FLIPPED_JOINTS])
    assert mirrored.probability == pytest.approx(found.probability, abs=1e-12)
    assert mirrored.distance == pytest.approx(found.distance) and mirrored.right == found.left


@pytest.mark.parametrize("axis", [0, 2])
def test_the_farther_apart_the_less_likely(axis: int) -> None:
    joints, found = side_by_side(8), []
    for shift in (0, 150, 400):
        moved = joints.copy()
        moved[21:, axis] += shift
        found.append(probability(moved))
    assert found == sorted(found, reverse=True) and found[0] > 0.9 and found[-1] < 0.2


def test_depth_counts_by_the_confidence() -> None:
    joints, behind = side_by_side(6), side_by_side(6)
    behind[21:] *= 1.4  # on the same rays
    assert probability(joints) > 0.9 and probability(behind) < 0.5
    unsure = np.zeros(42)
    assert probability(behind, unsure) == pytest.approx(probability(joints, unsure), abs=0.1)


def test_hands_on_the_same_rays_are_near_each_other_as_seen_wherever_they_are() -> None:
    joints = side_by_side(6) + np.array([400.0, 0.0, 0.0])
    behind = joints.copy()
    behind[21:] *= 1.4
    assert probability(behind, np.zeros(42)) == pytest.approx(probability(joints, np.zeros(42)), abs=0.1)


def test_hands_far_from_each_other_are_all_equally_unlikely_to_touch() -> None:
    near, far = probability(side_by_side(350)), probability(side_by_side(4000))
    assert near == pytest.approx(far, rel=1e-9, abs=0) and far > 0


def test_joints_at_the_distance_of_contact_touch() -> None:
    joints = np.zeros((42, 3))
    joints[21:, 0] = CONTACT_MM
    assert truly_touch(joints) and not truly_touch(np.nextafter(1, 2) * joints)


def test_the_less_confident_hand_decides() -> None:
    joints, confidence = side_by_side(10), np.ones(42)
    confidence[21:] = 0.2
    assert probability(joints, confidence) == pytest.approx(probability(joints, np.full(42, 0.2)), abs=1e-12)


def test_single_fingertips_can_touch() -> None:
    """Two straight index fingers in one line, whose tips are 15 mm apart; all other joints are far from each other."""
    joints = two_hands(3, (600.0, 600.0))
    joints[:21, 0] -= 300
    joints[21:, 0] += 300
    for hand, sign in ((0, -1), (21, 1)):
        joints[hand + 4 : hand + 8] = [[sign * (7.5 + along), 0.0, 600.0] for along in (0.0, 25.0, 48.0, 90.0)]
    assert contact_between(joints, SURE).distance == pytest.approx(15) and probability(joints, 0.7 * SURE) > 0.5
    joints[21:, 0] += 60
    assert probability(joints, 0.7 * SURE) < 0.4


def test_without_confidences_there_is_a_distance_alone() -> None:
    found = contact_between(tips_apart(5), None)
    assert found.probability is None and found.distance == pytest.approx(5) and not found.is_likely
    assert found.to_dict()["probability"] is None and found.to_dict()["likely"] is False


@pytest.mark.parametrize(("probability", "likely"), [(0.5, True), (0.4999, False), (1.0, True), (None, False)])
def test_from_one_half_on_hands_are_said_to_touch(probability: float | None, likely: bool) -> None:
    assert (CONTACT_MM, CONTACT_PROBABILITY) == (30, 0.5), "the pages say so"
    found = Contact(probability, 12.0, "index4", "thumb4")
    assert found.is_likely == likely == found.to_dict()["likely"]


@pytest.mark.parametrize(
    "joints",
    [np.zeros((42, 3)), np.full((42, 3), -50.0), two_hands(0, (1e5, 120.0)), 1e90 * two_hands(0, (600.0, 620.0))],
)
def test_impossible_hands_do_no_harm(joints: np.ndarray) -> None:
    assert 0 <= probability(joints) <= 1


def test_a_result_has_it_if_both_hands_are_present() -> None:
    pose = pose_of(tips_apart(8), confidence=SURE)
    assert pose.contact == contact_between(pose.joints_cam, SURE) and pose.contact is not None
    entry = pose.to_dict()["contact"]
    assert entry == {
        "likely": pose.contact.is_likely, "probability": round(pose.contact.probability or 0, 4), "distance": 8.0,
        "right": "index4", "left": "thumb4",
    }  # fmt: skip
    alone = replace(pose, present=np.array([True, False]))
    assert alone.contact is None and alone.to_dict()["contact"] is None


@pytest.mark.parametrize(("confidence", "likely"), [(0.31, True), (0.29, False)])
def test_hands_in_doubt_are_not_said_to_touch(confidence: float, likely: bool) -> None:
    pose = pose_of(side_by_side(5), confidence=np.r_[np.ones(21), np.full(21, confidence)])
    assert pose.contact is not None and (pose.contact.probability or 0) > 0.9
    assert pose.contact.is_likely == pose.to_dict()["contact"]["likely"] == likely


# ---- evaluation


def figures_of(samples: Samples, guesses: dict[str, np.ndarray], **changes: np.ndarray) -> list[float | None]:  # noqa: F811
    figures = run(samples, guesses | changes).figures
    return [figures["contact_precision"], figures["contact_recall"]]


@pytest.fixture
def touching(dataset: Samples) -> Samples:  # noqa: F811
    """Of the pictures of two hands, the first two touch and the last does not; one lacks a joint."""
    joints = [side_by_side(10), side_by_side(15), side_by_side(400)]
    two = [sample for sample in dataset.samples if sample.hand_type.all()][:3]
    samples = [
        replace(sample, joints_cam=own.astype(np.float32), valid=np.ones(42, dtype=bool))
        for sample, own in zip(two, joints, strict=True)
    ]
    partial = samples[0].valid.copy()
    partial[7] = False
    return Samples([*samples, replace(samples[0], valid=partial, name="partial"), dataset.samples[1]])


def perfect(samples: Samples) -> dict[str, np.ndarray]:
    poses = np.stack([true_pose(sample) for sample in samples.samples])
    depths = np.array([sample.joints_cam[41, 2] - sample.joints_cam[20, 2] for sample in samples.samples])
    return {
        "poses": poses, "presence": np.full((len(poses), 2), 3.0), "root_depth": depths,
        "confidence": np.ones((len(poses), 42)),
    }  # fmt: skip


def test_perfect_joints_have_perfect_figures(touching: Samples) -> None:
    assert figures_of(touching, perfect(touching)) == [1, 1]
    report = str(run(touching, perfect(touching)))
    assert "Contact, precision" in report and "Contact, recall" in report
    assert f"within {CONTACT_MM:g} mm; predicted from a probability of {CONTACT_PROBABILITY:g}" in report


def test_recorded_predictions_touch_as_much(touching: Samples, tmp_path: Path) -> None:
    recorder = Recorder()
    guesses = perfect(touching)  # noqa: F811
    far = guesses["root_depth"] + [0, 500, 0, 0, 0]
    figures = run(touching, guesses | {"root_depth": far}, recorder=recorder).figures
    write_predictions(tmp_path / "kept.npz", recorder.predictions(SIZE))
    assert score_predictions(read_predictions(tmp_path / "kept.npz"), touching).figures == figures
    assert (figures["contact_precision"], figures["contact_recall"]) == (1, 0.5)


def test_a_hand_at_another_depth_does_not_touch(touching: Samples) -> None:
    right = perfect(touching)
    far = right["root_depth"].copy()
    far[1] += 500
    assert figures_of(touching, right, root_depth=far) == [1, 0.5]
    assert figures_of(touching, right, root_depth=right["root_depth"] + 500) == [None, 0]


def test_an_absent_hand_touches_nothing(touching: Samples) -> None:
    right = perfect(touching)
    presence = right["presence"].copy()
    presence[0] = [3, -3]
    assert figures_of(touching, right, presence=presence) == [1, 0.5]


def test_what_does_not_touch_costs_precision(touching: Samples) -> None:
    right = perfect(touching)
    poses = right["poses"].copy()
    poses[2, 21:] = poses[2, :21]
    assert figures_of(touching, right, poses=poses, root_depth=0 * right["root_depth"]) == [
        pytest.approx(2 / 3), 1,
    ]  # fmt: skip


@pytest.mark.parametrize("lacking", ["confidence", "root_depth"])
def test_without_confidences_or_a_relative_position_there_are_no_figures(touching: Samples, lacking: str) -> None:
    rest = {name: values for name, values in perfect(touching).items() if name != lacking}
    assert figures_of(touching, rest) == [None, None]


def test_hands_whose_relative_position_is_unknown_are_not_judged(touching: Samples) -> None:
    joints = np.stack([sample.joints_cam for sample in touching.samples]).astype(np.float64)
    names = tuple(sample.name for sample in touching.samples)
    given = PosePredictions(joints_cam=joints, confidence=np.ones((len(joints), 42)), names=names)
    for relative, expected in ((False, 1), (True, None)):
        figures = score_predictions(replace(given, relative=relative), touching).figures
        assert figures["contact_precision"] == figures["contact_recall"] == expected


def test_scores_add_up_in_any_order() -> None:
    told = [(True, True), (True, False), (False, True), (True, True), (False, False), None]
    scores = [Scores() for _ in told]
    for each, contact in zip(scores, told, strict=True):
        each.add(SampleScore(
            name="a", interacting=True, errors=np.zeros(42), plane_errors=None, valid=np.ones(42, dtype=bool),
            contact=contact,
        ))  # fmt: skip
    assert sum(scores, Scores()).contact() == sum(reversed(scores), Scores()).contact() == (2 / 3, 2 / 3)


@pytest.mark.parametrize(("name", "likely"), [("touching.jpg", True), ("apart.jpg", False)])
def test_the_example_pictures_of_the_web_page_are_told_right(name: str, likely: bool) -> None:
    pose = Predictor.load()(read_picture(PICTURES / name))
    assert pose.contact is not None and pose.contact.is_likely == likely
    assert abs((pose.contact.probability or 0) - likely) < 0.1
