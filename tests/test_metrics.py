"""The metrics against worked examples, slow loops and general properties."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from unclasp import metrics
from unclasp.hands import NUM_PARTS

N = 7


@pytest.fixture
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    truth = rng.normal(0, 60, (N, 42, 3)) + np.array([0, 0, 800])
    valid = rng.random((N, 42)) < 0.7
    valid[:, 5] = False
    return {"truth": truth, "predicted": truth + rng.normal(0, 12, truth.shape), "valid": valid}


def slow_errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    errors = np.zeros(truth.shape[:2])
    for sample in range(len(truth)):
        for joint in range(42):
            root = 20 if joint < 21 else 41
            total = 0.0
            for axis in range(3):
                ours = predicted[sample][joint][axis] - predicted[sample][root][axis]
                theirs = truth[sample][joint][axis] - truth[sample][root][axis]
                total += (ours - theirs) ** 2
            errors[sample, joint] = math.sqrt(total)
    return errors


def test_joint_errors_by_hand() -> None:
    truth, predicted = np.zeros((42, 3)), np.zeros((42, 3))
    truth[20], predicted[20] = [1, 2, 3], [11, 2, 3]
    truth[0], predicted[0] = [4, 4, 4], [17, 8, 4]
    predicted[30] = [0, -6, 8]
    errors = metrics.joint_errors(predicted, truth)
    assert errors[0] == 5  # 13 - 10 to the right, 4 down
    assert errors[20] == errors[41] == 0
    assert errors[1] == 10  # it did not move with its wrist
    assert errors[30] == 10
    assert errors[31] == 0


def test_joint_errors_are_a_slow_loop(data: dict[str, np.ndarray]) -> None:
    errors = metrics.joint_errors(data["predicted"], data["truth"])
    np.testing.assert_allclose(errors, slow_errors(data["predicted"], data["truth"]), rtol=0, atol=1e-9)


def slow_aligned(joints: np.ndarray, root: str) -> list[list[float]]:
    aligned = []
    for joint in range(42):
        origin = joints[{"wrist": (20, 41), "middle_mcp": (11, 32)}[root][joint // 21]]
        aligned.append([float(joints[joint][axis] - origin[axis]) for axis in range(3)])
    return aligned


@pytest.mark.parametrize("root", ["wrist", "middle_mcp"])
@pytest.mark.parametrize("scaling", ["none", "bone"])
def test_roots_and_scaling_are_a_slow_loop(data: dict[str, np.ndarray], root: str, scaling: str) -> None:
    errors = metrics.joint_errors(data["predicted"], data["truth"], root=root, scaling=scaling)
    for sample in range(N):
        ours, theirs = (slow_aligned(data[key][sample], root) for key in ("predicted", "truth"))
        for joint in range(42):
            wrist, middle = (20, 11) if joint < 21 else (41, 32)
            factor = 1.0
            if scaling == "bone":
                factor = math.dist(theirs[middle], theirs[wrist]) / math.dist(ours[middle], ours[wrist])
            expected = math.dist([factor * value for value in ours[joint]], theirs[joint])
            assert errors[sample, joint] == pytest.approx(expected, abs=1e-9)
    assert (errors[:, list(metrics.ROOT_JOINTS[root])] == 0).all()


def test_scaling_forgives_the_size_of_each_hand_and_nothing_else(data: dict[str, np.ndarray]) -> None:
    larger = data["truth"].copy()
    larger[:, :21] *= 1.3
    larger[:, 21:] *= 0.8
    assert metrics.joint_errors(larger, data["truth"]).max() > 10
    np.testing.assert_allclose(metrics.joint_errors(larger, data["truth"], scaling="bone"), 0, atol=1e-9)
    moved = larger.copy()
    moved[:, 3, 0] += 1.3
    np.testing.assert_allclose(metrics.joint_errors(moved, data["truth"], scaling="bone")[:, 3], 1, atol=1e-9)


def test_hands_that_cannot_be_aligned_do_not_count() -> None:
    valid = np.ones((2, 42), dtype=np.bool_)
    valid[0, 11] = valid[1, 41] = False
    for options, lost in (
        ({}, ()), ({"root": "middle_mcp"}, range(21)), ({"scaling": "bone"}, range(21)),
    ):  # fmt: skip
        usable = metrics.usable_joints(valid, **options)
        assert usable[0].tolist() == [joint not in lost and joint != 11 for joint in range(42)]
    assert not metrics.usable_joints(valid)[1, 21:].any()
    assert valid.sum() == 82


def test_float32_is_measured_in_float64() -> None:
    truth = np.full((42, 3), 1000, dtype=np.float32)
    predicted = truth.copy()
    predicted[0, 0] = np.nextafter(np.float32(1000), np.float32(1001))
    errors = metrics.joint_errors(predicted, truth)
    assert errors.dtype == np.float64
    assert errors[0] == float(predicted[0, 0]) - 1000
    tenth = np.full((42, 2), 0.1, dtype=np.float32)
    expected = math.sqrt(2) * (1000 - float(tenth[1, 0]))
    assert float(metrics.plane_errors(predicted[:, :2], tenth, 256)[1]) == pytest.approx(expected, rel=1e-12)


def test_moving_a_hand_does_not_change_joint_errors(data: dict[str, np.ndarray]) -> None:
    moved = data["predicted"].copy()
    moved[:, :21] += [30, -20, 10]
    before, after = (metrics.joint_errors(poses, data["truth"]) for poses in (data["predicted"], moved))
    np.testing.assert_allclose(after, before, atol=1e-9)


def test_turning_both_alike_does_not_change_joint_errors(data: dict[str, np.ndarray]) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_allclose(
        metrics.joint_errors(data["predicted"] @ turn, data["truth"] @ turn),
        metrics.joint_errors(data["predicted"], data["truth"]), atol=1e-9,
    )  # fmt: skip


def test_mpjpe_by_hand_and_the_averages_differ() -> None:
    errors = np.array([[0.0, 4.0, 9.0], [0.0, 8.0, 99.0], [0.0, 99.0, 99.0]])
    valid = np.array([[True, True, True], [True, True, False], [True, False, False]])
    assert metrics.mpjpe(errors, valid) == (0 + 6 + 9) / 3
    assert metrics.mpjpe(errors, valid, average="sample") == (0 * 3 + 4 + 8 + 9) / 6


@pytest.mark.parametrize("average", ["joint", "sample"])
def test_mpjpe_is_a_slow_loop(data: dict[str, np.ndarray], average: metrics.Average) -> None:
    errors, valid = metrics.joint_errors(data["predicted"], data["truth"]), data["valid"]
    per_joint, everything = [], []
    for joint in range(42):
        seen = [errors[sample, joint] for sample in range(N) if valid[sample, joint]]
        everything += seen
        if seen:
            per_joint.append(sum(seen) / len(seen))
    assert len(per_joint) == 41
    expected = sum(per_joint) / len(per_joint) if average == "joint" else sum(everything) / len(everything)
    assert metrics.mpjpe(errors, valid, average=average) == pytest.approx(expected, abs=1e-12)


def test_what_stands_at_invalid_joints_does_not_matter(data: dict[str, np.ndarray]) -> None:
    errors, valid = metrics.joint_errors(data["predicted"], data["truth"]), data["valid"]
    spoilt = np.where(valid, errors, np.nan)
    assert metrics.mpjpe(spoilt, valid) == metrics.mpjpe(errors, valid)
    np.testing.assert_array_equal(metrics.pck_curve(spoilt, valid), metrics.pck_curve(errors, valid))


@pytest.mark.filterwarnings("error")
def test_means_over_nothing_are_nan() -> None:
    nothing = np.zeros((2, 42), dtype=np.bool_)
    errors = np.ones((2, 42))
    assert math.isnan(metrics.mpjpe(errors, nothing))
    assert math.isnan(metrics.mpjpe(errors, nothing, average="sample"))
    assert np.isnan(metrics.pck_curve(errors, nothing)).all()
    assert math.isnan(metrics.mrrpe(np.ones((1, 2, 3)), np.ones((1, 2, 3)), np.array([False])))
    assert math.isnan(metrics.handedness_accuracy(np.ones((1, 2)), np.ones((1, 2)) > 0, np.array([False])))
    empty = np.zeros((NUM_PARTS, NUM_PARTS), dtype=np.int64)
    for measure in (metrics.pixel_accuracy, metrics.hand_pixel_accuracy, metrics.mean_iou):
        assert math.isnan(measure(empty))


def test_mrrpe_by_hand() -> None:
    truth = np.array([[[0.0, 0, 500], [100, 0, 500]], [[0, 0, 0], [0, 0, 0]], [[1, 1, 1], [2, 2, 2]]])
    predicted = np.array([[[10.0, 0, 500], [110, 3, 504]], [[9, 9, 9], [8, 8, 8]], [[0, 0, 0], [1, 1, 4]]])
    assert metrics.wrist_offset_errors(predicted, truth).tolist() == [5, math.sqrt(3), 3]
    assert metrics.mrrpe(predicted, truth, np.array([True, False, True])) == 4


def test_mrrpe_sees_one_hand_move_but_not_both() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 100, (4, 2, 3))
    predicted = truth + rng.normal(0, 10, truth.shape)
    everything = np.ones(4, dtype=np.bool_)
    before = metrics.mrrpe(predicted, truth, everything)
    both = predicted + np.array([5, 6, 7])
    one = predicted + np.array([[0, 0, 0], [500, 0, 0]])
    assert metrics.mrrpe(both, truth, everything) == pytest.approx(before, abs=1e-9)
    assert metrics.mrrpe(one, truth, everything) > before + 400


@pytest.mark.parametrize(
    ("presence", "hand_type", "correct"),
    [
        ((0.9, 0.1), (True, False), True), ((0.1, 0.9), (True, False), False), ((0.9, 0.9), (True, False), False),
        ((0.9, 0.9), (True, True), True), ((0.9, 0.4), (True, True), False), ((0.2, 0.51), (False, True), True),
        ((0.5, 0.9), (False, True), False), ((0.5, 0.1), (True, False), False),
    ],
)  # fmt: skip
def test_handedness_needs_both_hands_right(
    presence: tuple[float, float], hand_type: tuple[bool, bool], correct: bool
) -> None:
    assert metrics.handedness_correct(np.array(presence), np.array(hand_type)) == correct


def test_handedness_accuracy_leaves_untrusted_labels_out() -> None:
    presence = np.array([[0.9, 0.1], [0.9, 0.9], [0.1, 0.8], [0.9, 0.9]])
    hand_type = np.array([[True, False], [True, False], [False, True], [True, False]])
    assert metrics.handedness_accuracy(presence, hand_type, np.array([True, True, True, False])) == 2 / 3


def test_pck_by_hand() -> None:
    errors = np.full((1, 42), 100.0)
    errors[0, [20, 41]] = 0.0
    errors[0, 0], errors[0, 1], errors[0, 2] = 0.5, 0.51, 50.0
    valid = np.zeros((1, 42), dtype=np.bool_)
    valid[0, [0, 1, 2, 3, 20]] = True
    curve = metrics.pck_curve(errors, valid)
    assert len(curve) == 101
    assert curve[:3].tolist() == [0, 0.25, 0.5]  # 0, 0.5 and 1 mm: an error on the threshold counts
    assert curve[99:].tolist() == [0.5, 0.75]
    with_wrists = metrics.pck_curve(errors, valid, wrists=True)
    assert with_wrists[:3].tolist() == [0.2, 0.4, 0.6]


@pytest.mark.parametrize("wrists", [False, True])
def test_pck_is_a_slow_loop_and_never_falls(data: dict[str, np.ndarray], wrists: bool) -> None:
    errors, valid = metrics.joint_errors(data["predicted"], data["truth"]), data["valid"]
    curve = metrics.pck_curve(errors, valid, wrists=wrists)
    for index, threshold in enumerate(metrics.PCK_THRESHOLDS):
        hits = seen = 0
        for sample in range(N):
            for joint in range(42):
                if valid[sample, joint] and (wrists or joint not in (20, 41)):
                    seen += 1
                    hits += errors[sample, joint] <= threshold
        assert curve[index] == pytest.approx(hits / seen, abs=1e-15)
    assert (np.diff(curve) >= 0).all()
    slow_area = sum((curve[k] + curve[k + 1]) / 2 * 0.5 for k in range(100)) / 50
    assert metrics.auc(curve) == pytest.approx(slow_area, abs=1e-12)
    assert 0 < metrics.auc(curve) < 1


def test_auc_of_perfect_and_of_hopeless_poses() -> None:
    valid = np.ones((3, 42), dtype=np.bool_)
    assert metrics.auc(metrics.pck_curve(np.zeros((3, 42)), valid)) == 1
    assert metrics.auc(metrics.pck_curve(np.full((3, 42), 50.1), valid)) == 0


def test_auc_of_a_constant_error_by_hand() -> None:
    curve = metrics.pck_curve(np.full((1, 42), 10.0), np.ones((1, 42), dtype=np.bool_))
    # 0 up to 9.5 mm, 1 from 10 mm on: 40 mm of 1 and half of one step.
    assert metrics.auc(curve) == pytest.approx((40 + 0.25) / 50, abs=1e-12)


def test_auc_is_a_share_of_the_range_of_the_thresholds() -> None:
    assert metrics.auc(np.array([0.5, 1.0]), np.array([20.0, 50.0])) == 0.75


def test_plane_errors_are_in_pixels_of_a_256_crop() -> None:
    truth = np.zeros((42, 2))
    predicted = truth + np.array([3.0, 4.0])
    assert (metrics.plane_errors(predicted, truth, 256) == 5).all()
    assert (metrics.plane_errors(predicted, truth, 128) == 10).all()


def test_parts_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 17, 17]])
    predicted = np.array([[0, 1, 1], [1, 0, 5]])
    confusion = metrics.confusion_matrix(predicted, truth)
    assert confusion.shape == (33, 33)
    assert confusion.sum() == 6
    assert (confusion[0, 0], confusion[0, 1], confusion[1, 1], confusion[17, 0], confusion[17, 5]) == (1, 1, 2, 1, 1)
    assert metrics.pixel_accuracy(confusion) == 3 / 6
    assert metrics.hand_pixel_accuracy(confusion) == 2 / 4
    assert metrics.mean_iou(confusion) == pytest.approx((1 / 3 + 2 / 3 + 0 + 0) / 4, abs=1e-15)


def test_parts_are_a_slow_loop() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 33, (4, 9, 9))
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 33, truth.shape)).astype(np.uint8)
    truth[truth == 8] = 0
    expected = np.zeros((33, 33), dtype=np.int64)
    for index in np.ndindex(truth.shape):
        expected[truth[index], predicted[index]] += 1
    confusion = metrics.confusion_matrix(predicted, truth)
    np.testing.assert_array_equal(confusion, expected)
    assert metrics.pixel_accuracy(confusion) == pytest.approx((truth == predicted).mean())
    assert metrics.hand_pixel_accuracy(confusion) == pytest.approx((truth == predicted)[truth > 0].mean())
    ious = []
    for part in range(33):
        union = ((truth == part) | (predicted == part)).sum()
        if union:
            ious.append(((truth == part) & (predicted == part)).sum() / union)
    assert metrics.mean_iou(confusion) == pytest.approx(np.mean(ious))


@pytest.mark.parametrize(
    "measure",
    [
        lambda a, b, valid: metrics.joint_errors(a, b),
        lambda a, b, valid: metrics.plane_errors(a[..., :2], b[..., :2], 128),
        lambda a, b, valid: metrics.mpjpe(a[..., 0], valid),
        lambda a, b, valid: metrics.mrrpe(a[:, :2], b[:, :2], valid[:, 0]),
        lambda a, b, valid: metrics.handedness_accuracy(a[:, :2, 0], valid[:, :2], valid[:, 0]),
        lambda a, b, valid: metrics.pck_curve(np.abs(a[..., 0]), valid),
    ],
)
def test_no_argument_is_changed(data: dict[str, np.ndarray], measure: Callable[..., object]) -> None:
    arguments = (data["predicted"], data["truth"], data["valid"])
    kept = [argument.copy() for argument in arguments]
    for argument in arguments:
        argument.flags.writeable = False
    measure(*arguments)
    for argument, before in zip(arguments, kept, strict=True):
        np.testing.assert_array_equal(argument, before)
