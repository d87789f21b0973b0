"""The accumulator: equal to the plain functions, and to itself however the samples are split."""

import math
import pickle
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest

from unclasp import metrics
from unclasp.errors import UnclaspError
from unclasp.evaluation.scores import BUCKETS, WORST_KEPT, SampleScore, Scores


def make_scores(count: int, seed: int = 0) -> list[SampleScore]:
    rng = np.random.default_rng(seed)
    return [
        SampleScore(
            name=f"sample {index:03}",
            interacting=bool(rng.random() < 0.5),
            errors=np.where(np.isin(np.arange(42), (20, 41)), 0.0, rng.gamma(2.0, 8.0, 42)),
            plane_errors=rng.gamma(2.0, 2.0, 42),
            valid=rng.random(42) < 0.6,
            wrist_offset_error=float(rng.gamma(2.0, 15.0)) if rng.random() < 0.5 else None,
            handedness_correct=bool(rng.random() < 0.8) if rng.random() < 0.9 else None,
            confusion=rng.integers(0, 9, (33, 33)) if rng.random() < 0.7 else None,
            confidence=rng.random(42) if rng.random() < 0.8 else None,
        )
        for index in range(count)
    ]


def accumulate(samples: list[SampleScore]) -> Scores:
    scores = Scores()
    for sample in samples:
        scores.add(sample)
    return scores


def state(scores: Scores) -> dict[str, object]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(scores).items()}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_it_agrees_with_the_plain_functions(bucket: str) -> None:
    samples = make_scores(23)
    scores = accumulate(samples)
    kept = [sample for sample in samples if bucket == "all" or sample.interacting == (bucket == "two")]
    errors, plane, valid = (np.stack([getattr(s, key) for s in kept]) for key in ("errors", "plane_errors", "valid"))
    assert scores.sample_count(bucket) == len(kept)
    for average in ("joint", "sample"):
        for wrists in (True, False):
            columns = slice(None) if wrists else metrics.WITHOUT_WRISTS
            expected = metrics.mpjpe(errors[:, columns], valid[:, columns], average=average)
            assert scores.mpjpe(bucket, average=average, wrists=wrists) == pytest.approx(expected, abs=1e-10)
            expected = metrics.mpjpe(plane[:, columns], valid[:, columns], average=average)
            assert scores.plane_error(bucket, average=average, wrists=wrists) == pytest.approx(expected, abs=1e-10)
    for wrists in (True, False):
        expected_curve = metrics.pck_curve(errors, valid, wrists=wrists)
        np.testing.assert_allclose(scores.pck_curve(bucket, wrists=wrists), expected_curve, atol=1e-15)
    means = [errors[valid[:, joint], joint].mean() for joint in range(42)]
    np.testing.assert_allclose(scores.joint_errors(bucket), means, atol=1e-10)


def test_the_rest_agrees_too() -> None:
    samples = make_scores(23)
    scores = accumulate(samples)
    offsets = [s.wrist_offset_error for s in samples if s.wrist_offset_error is not None]
    assert scores.mrrpe() == pytest.approx(sum(offsets) / len(offsets), abs=1e-10)
    told = [s.handedness_correct for s in samples if s.handedness_correct is not None]
    assert scores.handedness_accuracy() == sum(told) / len(told)
    np.testing.assert_array_equal(scores.confusion, sum(s.confusion for s in samples if s.confusion is not None))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("root", ["wrist", "middle_mcp"])
def test_random_poses_score_as_the_plain_functions_say(seed: int, root: metrics.Root) -> None:
    """`Scores` adds sample by sample and keeps no poses; the functions take those of all samples at once."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 60, (19, 42, 3)) + np.array([0, 0, 800])
    predicted = truth + rng.normal(0, 12, truth.shape)
    hand_type, trusted, presence = rng.random((19, 2)) < 0.7, rng.random(19) < 0.8, rng.random((19, 2))
    valid = metrics.usable_joints((rng.random((19, 42)) < 0.8) & hand_type.repeat(21, axis=1), root=root)
    errors = metrics.joint_errors(predicted, truth, root=root)
    wrists = [20, 41]
    both = hand_type.all(axis=1) & valid[:, wrists].all(axis=1)
    offsets = metrics.wrist_offset_errors(predicted[:, wrists], truth[:, wrists])
    correct = metrics.handedness_correct(presence, hand_type)
    scores = accumulate([
        SampleScore(
            name=str(index), interacting=bool(hand_type[index].all()), errors=errors[index],
            plane_errors=metrics.plane_errors(predicted[index, :, :2], truth[index, :, :2], 64), valid=valid[index],
            wrist_offset_error=float(offsets[index]) if both[index] else None,
            handedness_correct=bool(correct[index]) if trusted[index] else None,
        )
        for index in range(19)
    ])  # fmt: skip
    assert 0 < both.sum() < 19 and 0 < trusted.sum() < 19
    assert scores.mrrpe() == pytest.approx(metrics.mrrpe(predicted[:, wrists], truth[:, wrists], both), abs=1e-9)
    assert scores.handedness_accuracy() == metrics.handedness_accuracy(presence, hand_type, trusted)
    for bucket, rows in (("all", slice(None)), ("two", hand_type.all(axis=1)), ("single", ~hand_type.all(axis=1))):
        plane = metrics.plane_errors(predicted[rows, :, :2], truth[rows, :, :2], 64)
        for average in ("joint", "sample"):
            mean = metrics.mpjpe(errors[rows], valid[rows], average=average)
            assert scores.mpjpe(bucket, average=average) == pytest.approx(mean, abs=1e-9)
            mean = metrics.mpjpe(plane, valid[rows], average=average)
            assert scores.plane_error(bucket, average=average) == pytest.approx(mean, abs=1e-9)
        everywhere = metrics.pck_curve(errors[rows], valid[rows], wrists=True)
        np.testing.assert_allclose(scores.pck_curve(bucket, wrists=True), everywhere, atol=1e-15)
        elsewhere = metrics.pck_curve(errors[rows], valid[rows] & metrics.WITHOUT_ROOTS[root], wrists=True)
        np.testing.assert_allclose(scores.pck_curve(bucket, root=root), elsewhere, atol=1e-15)


def test_halves_by_confidence_are_a_sort() -> None:
    """Confidences lie on a grid, so that a bin holds joints of both halves only through ties."""
    samples, rng = make_scores(24), np.random.default_rng(1)
    order = rng.permutation(24 * 42).reshape(24, 42) % 1000
    samples = [
        replace(s, valid=np.ones(42, bool), confidence=(row + 0.5) / 1000)
        for s, row in zip(samples, order, strict=True)
    ]
    kept = metrics.WITHOUT_WRISTS
    pairs = [(s.confidence[j], s.errors[j]) for s in samples for j in np.flatnonzero(kept)]
    errors = np.array([error for _, error in sorted(pairs, key=lambda pair: -pair[0])])
    half = len(errors) // 2
    confident, doubtful = accumulate(samples).halves_by_confidence()
    assert confident == pytest.approx(errors[:half].mean(), abs=0.05)
    assert doubtful == pytest.approx(errors[half:].mean(), abs=0.05)
    assert (confident + doubtful) / 2 == pytest.approx(errors.mean(), abs=1e-9)


def test_confidence_that_knows_the_errors_parts_them() -> None:
    known = [replace(s, confidence=1 / (1 + s.errors)) for s in make_scores(30)]
    confident, doubtful = accumulate(known).halves_by_confidence()
    assert confident < 0.5 * doubtful
    blind = [replace(s, confidence=np.full(42, 0.7)) for s in known]
    assert len(set(np.round(accumulate(blind).halves_by_confidence(), 9))) == 1
    assert all(
        math.isnan(half) for half in accumulate([replace(s, confidence=None) for s in known]).halves_by_confidence()
    )


def test_all_pools_the_samples_and_is_not_the_mean_of_the_columns() -> None:
    def constant(value: float, interacting: bool) -> SampleScore:
        errors = np.full(42, value)
        return SampleScore(
            name="", interacting=interacting, errors=errors, plane_errors=errors, valid=np.ones(42, dtype=np.bool_)
        )

    scores = accumulate([constant(10.0, False), constant(20.0, True), constant(22.0, True), constant(24.0, True)])
    assert [scores.mpjpe(bucket) for bucket in BUCKETS] == [10, 22, 19]


@pytest.mark.parametrize("cuts", [(1,), (5, 6), (0, 13), (3, 4, 12)])
def test_the_sum_of_shares_is_one_pass_to_the_bit(cuts: tuple[int, ...]) -> None:
    samples = make_scores(13)
    bounds = (0, *cuts, len(samples))
    shares = [accumulate(samples[start:stop]) for start, stop in pairwise(bounds)]
    assert state(reduce(add, shares)) == state(accumulate(samples))


def test_neither_order_nor_interleaving_matters() -> None:
    samples = make_scores(13)
    whole = state(accumulate(samples))
    assert state(accumulate(samples[::-1])) == whole
    ranks = [accumulate(samples[rank::3]) for rank in range(3)]
    assert state(ranks[2] + (ranks[0] + ranks[1])) == whole
    travelled = [pickle.loads(pickle.dumps(rank)) for rank in ranks]  # noqa: S301
    assert state(reduce(add, travelled)) == whole


def test_adding_changes_neither_side() -> None:
    left, right = accumulate(make_scores(4)), accumulate(make_scores(3, seed=1))
    before = state(left), state(right)
    total = left + right
    total.add(make_scores(1, seed=2)[0])
    assert (state(left), state(right)) == before


def test_samples_are_not_changed() -> None:
    (sample,) = make_scores(1)
    kept = {key: np.copy(getattr(sample, key)) for key in ("errors", "plane_errors", "valid")}
    for key in kept:
        getattr(sample, key).flags.writeable = False
    accumulate([sample, sample])
    for key, before in kept.items():
        np.testing.assert_array_equal(getattr(sample, key), before)


def test_sums_do_not_lose_small_errors_beside_large_ones() -> None:
    (sample,) = make_scores(1)
    sample = replace(sample, valid=np.ones(42, dtype=np.bool_))
    large = replace(sample, errors=np.full(42, 1e12))
    small = replace(sample, errors=np.full(42, 2.0**-30))
    scores = accumulate([large, *[small] * 999])
    assert scores.error_sums.sum() == 42 * (10**12 * 2**40 + 999 * 2**10)


def test_nothing_gives_nan_and_no_warning() -> None:
    scores = Scores()
    figures = [scores.mpjpe("all"), scores.plane_error("two"), scores.mrrpe(), scores.handedness_accuracy()]
    assert all(math.isnan(figure) for figure in figures)
    assert np.isnan(scores.pck_curve("single")).all()
    assert np.isnan(scores.joint_errors("all")).all()
    assert scores.sample_count("all") == 0


def test_a_sample_without_valid_joints_counts_as_a_picture_only() -> None:
    samples = make_scores(5)
    blind = replace(samples[0], valid=np.zeros(42, dtype=np.bool_), errors=np.full(42, np.nan))
    assert math.isnan(blind.mean_error)
    scores, without = accumulate([*samples, blind]), accumulate(samples)
    assert scores.sample_count("all") == 6
    assert scores.mpjpe("all") == without.mpjpe("all")
    assert scores.worst == without.worst


@pytest.mark.parametrize(
    "change",
    [
        {"errors": np.full(42, np.nan)}, {"errors": np.full(42, np.inf)}, {"errors": np.full(42, 1e300)},
        {"plane_errors": np.full(42, np.inf)}, {"wrist_offset_error": math.nan},
    ],
)  # fmt: skip
def test_predictions_that_are_not_finite_are_refused_by_name(change: dict[str, object]) -> None:
    (sample,) = make_scores(1)
    scores = Scores()
    with pytest.raises(UnclaspError, match="sample 000 is not finite"):
        scores.add(replace(sample, **change))
    assert state(scores) == state(Scores())


def test_samples_without_a_place_in_the_picture_count_for_mm_alone() -> None:
    samples = make_scores(9)
    lifted = [replace(sample, plane_errors=None) if index % 3 else sample for index, sample in enumerate(samples)]
    scores, kept = accumulate(lifted), accumulate(samples[::3])
    assert scores.mpjpe("all") == accumulate(samples).mpjpe("all")
    assert scores.plane_error("all") == kept.plane_error("all")
    assert math.isnan(accumulate(lifted[1:3]).plane_error("all"))


@pytest.mark.parametrize("root", list(metrics.ROOT_JOINTS))
def test_halves_by_confidence_leave_out_the_joints_of_alignment(root: metrics.Root) -> None:
    aligned = np.isin(np.arange(42), metrics.ROOT_JOINTS[root])
    sample = replace(make_scores(1)[0], valid=np.ones(42, dtype=np.bool_), confidence=np.full(42, 0.5))
    scores = accumulate([replace(sample, errors=np.where(aligned, 0.0, 10.0))])
    assert scores.halves_by_confidence(root=root) == (10, 10)


def test_the_worst_samples_are_kept() -> None:
    samples = make_scores(WORST_KEPT + 15)
    expected = sorted(((s.name, s.mean_error) for s in samples), key=lambda pair: -pair[1])[:WORST_KEPT]
    assert list(accumulate(samples).worst) == expected
    assert list((accumulate(samples[:17]) + accumulate(samples[17:])).worst) == expected


def test_of_samples_with_the_same_error_the_first_names_are_kept_in_any_order() -> None:
    samples = [replace(make_scores(1)[0], name=f"sample {index:03}") for index in range(WORST_KEPT + 2)]
    for ordered in (samples, samples[::-1]):
        assert [name for name, _ in accumulate(ordered).worst] == [sample.name for sample in samples[:WORST_KEPT]]
