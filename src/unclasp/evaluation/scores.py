"""The accumulator behind every report: it adds up the errors of samples, and accumulators themselves can be summed."""

import heapq
import math
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Final, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from unclasp import metrics
from unclasp.arrays import Bools, Doubles
from unclasp.errors import UnclaspError
from unclasp.hands import NUM_JOINTS, NUM_PARTS
from unclasp.metrics import Average, Counts, Root

Bucket = Literal["single", "two", "all"]
BUCKETS: Final[tuple[Bucket, ...]] = ("single", "two", "all")
"""single: one hand is present; two: both are, however many joints are valid; all: both buckets pooled, which is not
the mean of the two."""
WORST_KEPT: Final = 100
"""Number of worst samples that an accumulator keeps."""
_CONFIDENCE_BINS: Final = 1000

_FRACTION_BITS: Final = 40
"""Sums are kept as integer multiples of 2^-40."""
_MAX_ERROR: Final = 2.0**900
"""Errors must be smaller than this, so that they stay finite as multiples of 2^-40."""
_Integers = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True)
class SampleScore:
    """The errors of one sample. Fields that the model or the data set does not provide are None."""

    name: str
    """Name of the sample."""
    interacting: bool
    """Whether both hands are present."""
    errors: Doubles
    """(42,) mm, `metrics.joint_errors`."""
    plane_errors: Doubles | None
    """(42,) pixels of a 256 x 256 crop, `metrics.plane_errors`; None for predictions that have no position in the
    picture, NaN for single joints without one."""
    valid: Bools
    """(42,) whether each joint is scored."""
    wrist_offset_error: float | None = None
    """mm, `metrics.wrist_offset_errors`; only if both hands are present and both wrists annotated."""
    contact: tuple[bool, bool] | None = None
    """Whether the hands touch (`contact.contact_between`), by the prediction and in truth; only if both hands are
    present, all their joints are annotated, and the prediction has confidences and the hands' relative position."""
    handedness_correct: bool | None = None
    """Only if the hand type is marked as valid."""
    confusion: Counts | None = None
    """(33, 33) pixels by true and by predicted part class, `metrics.confusion_matrix`."""
    confidence: Doubles | None = None
    """(42,) 0 to 1, the model's confidence in each joint."""

    @property
    def mean_error(self) -> float:
        """Mean over the sample's valid joints in mm, roots included; NaN where there are none."""
        return float(self.errors[self.valid].mean()) if self.valid.any() else math.nan


def _exact(values: Doubles) -> _Integers:
    """Round numbers to integer multiples of 2^-40, so that sums depend on neither order nor grouping."""
    scaled = np.rint(np.ldexp(values, _FRACTION_BITS))
    return np.array([int(value) for value in scaled.tolist()], dtype=object)


def _inexact(sums: _Integers) -> Doubles:
    return np.array([value / 2**_FRACTION_BITS for value in sums.tolist()], dtype=np.float64)


def _integers(*shape: int) -> _Integers:
    return np.full(shape, 0, dtype=object)


def _counts(*shape: int) -> Counts:
    return np.zeros(shape, dtype=np.int64)


@dataclass(kw_only=True, eq=False)
class Scores:
    """Sums over samples; `a + b` is, bit for bit, the accumulator of the samples of both, in any order.

    The state has a small, fixed size. The first axis of the per-bucket sums is (single, two).
    """

    samples: Counts = field(default_factory=partial(_counts, 2))
    error_sums: _Integers = field(default_factory=partial(_integers, 2, NUM_JOINTS))
    plane_sums: _Integers = field(default_factory=partial(_integers, 2, NUM_JOINTS))
    joints: Counts = field(default_factory=partial(_counts, 2, NUM_JOINTS))
    plane_joints: Counts = field(default_factory=partial(_counts, 2, NUM_JOINTS))
    pck: Counts = field(default_factory=partial(_counts, 2, NUM_JOINTS, len(metrics.PCK_THRESHOLDS) + 1))
    wrist_offset_sum: _Integers = field(default_factory=partial(_integers, 1))
    wrist_offsets: int = 0
    contacts: Counts = field(default_factory=partial(_counts, 2, 2))
    """Number of samples whose hands do not touch, or do, by the prediction (rows) and in truth (columns)."""
    handedness_correct: int = 0
    handedness_seen: int = 0
    confusion: Counts = field(default_factory=partial(_counts, NUM_PARTS, NUM_PARTS))
    confident_joints: Counts = field(default_factory=partial(_counts, _CONFIDENCE_BINS, NUM_JOINTS))
    """Number of valid joints per confidence bin (bins of 0.001) and joint."""
    confident_sums: _Integers = field(default_factory=partial(_integers, _CONFIDENCE_BINS, NUM_JOINTS))
    """Sum of the errors per confidence bin and joint."""
    worst: tuple[tuple[str, float], ...] = ()
    """Up to `WORST_KEPT` (name, mean error in mm), the worst first."""

    def add(self, score: SampleScore) -> None:
        """Add one sample.

        Raises:
            UnclaspError: The error of a valid joint, or the wrist offset's, is not a finite number.
        """
        valid, bucket = score.valid, int(score.interacting)
        errors = np.where(valid, score.errors, 0.0)
        plane_errors = np.full(NUM_JOINTS, np.nan) if score.plane_errors is None else score.plane_errors
        in_plane = valid & ~np.isnan(plane_errors)
        plane = np.where(in_plane, plane_errors, 0.0)
        offset = score.wrist_offset_error
        if not all(np.all(np.abs(value) < _MAX_ERROR) for value in (errors, plane, offset or 0.0)):
            raise UnclaspError(f"the prediction for {score.name} is not finite; are the weights damaged?")
        self.samples[bucket] += 1
        self.error_sums[bucket] += _exact(errors)
        self.plane_sums[bucket] += _exact(plane)
        self.joints[bucket] += valid
        self.plane_joints[bucket] += in_plane
        self.pck[bucket] += metrics.pck_counts(errors[None], valid[None])
        if offset is not None:
            self.wrist_offset_sum += _exact(np.array([offset]))
            self.wrist_offsets += 1
        if score.contact is not None:
            predicted, true = map(int, score.contact)
            self.contacts[predicted, true] += 1
        if score.handedness_correct is not None:
            self.handedness_correct += score.handedness_correct
            self.handedness_seen += 1
        if score.confusion is not None:
            self.confusion += score.confusion
        if score.confidence is not None:
            bins = np.clip(score.confidence[valid] * _CONFIDENCE_BINS, 0, _CONFIDENCE_BINS - 1).astype(np.int64)
            np.add.at(self.confident_joints, (bins, valid.nonzero()[0]), 1)
            np.add.at(self.confident_sums, (bins, valid.nonzero()[0]), _exact(errors[valid]))
        if valid.any() and (len(self.worst) < WORST_KEPT or score.mean_error >= self.worst[-1][1]):
            self.worst = _worst((*self.worst, (score.name, score.mean_error)))

    def __add__(self, other: Self) -> "Scores":
        """Return a new accumulator that holds the samples of both."""
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        return Scores(**sums | {"worst": _worst(sums["worst"])})

    def sample_count(self, bucket: Bucket) -> int:
        """Return the number of samples in the bucket, with or without valid joints."""
        return int(self.samples[_rows(bucket)].sum())

    def joint_errors(self, bucket: Bucket) -> Doubles:
        """Return each joint's mean error (42,) in mm; NaN for joints that were never valid."""
        rows = _rows(bucket)
        return _means(_pooled(self.error_sums, rows), self.joints[rows].sum(axis=0))

    def mpjpe(self, bucket: Bucket, *, average: Average = "joint", wrists: bool = True, root: Root = "wrist") -> float:
        """Return `metrics.mpjpe` in mm over all 42 joints, or without the two joints of alignment."""
        return _mean_of_joints(self.error_sums, self.joints, _rows(bucket), _kept(wrists, root), average)

    def plane_error(
        self, bucket: Bucket, *, average: Average = "joint", wrists: bool = True, root: Root = "wrist"
    ) -> float:
        """Return the mean in-plane error in pixels of a 256 x 256 crop, averaged as `mpjpe` is."""
        return _mean_of_joints(self.plane_sums, self.plane_joints, _rows(bucket), _kept(wrists, root), average)

    def pck_curve(self, bucket: Bucket, *, wrists: bool = False, root: Root = "wrist") -> Doubles:
        """Return `metrics.pck_curve` at `metrics.PCK_THRESHOLDS`, with or without the joints of alignment."""
        return metrics.pck_from_counts(self.pck[_rows(bucket)].sum(axis=0)[_kept(wrists, root)])

    def halves_by_confidence(self, *, root: Root = "wrist") -> tuple[float, float]:
        """Return the mean errors in mm of the more and the less confident half of the joints; NaN without confidences.

        The joints of alignment, whose error is 0, are left out. If the middle falls within a confidence bin, the joints
        of that bin are split between the halves, with the bin's mean error on both sides.
        """
        kept = metrics.WITHOUT_ROOTS[root]
        joints = self.confident_joints[::-1, kept].sum(axis=1)
        sums = _inexact(cast(_Integers, self.confident_sums[::-1, kept].sum(axis=1)))
        half = joints.sum() / 2
        taken = np.clip(half - (np.cumsum(joints) - joints), 0, joints)
        share = np.divide(taken, joints, out=np.zeros(len(joints)), where=joints > 0)
        confident = float((sums * share).sum())
        means = _means(np.array([confident, float(sums.sum()) - confident]), np.array([half, half]))
        return float(means[0]), float(means[1])

    def mrrpe(self) -> float:
        """Return `metrics.mrrpe` in mm; NaN if no sample has a wrist offset error."""
        return float(_means(_inexact(self.wrist_offset_sum), np.array([self.wrist_offsets]))[0])

    def contact(self) -> tuple[float, float]:
        """Return the precision and the recall of hands that touch; NaN for a share of no sample."""
        found = float(self.contacts[1, 1])
        predicted, true = float(self.contacts[1].sum()), float(self.contacts[:, 1].sum())
        return found / predicted if predicted else math.nan, found / true if true else math.nan

    def handedness_accuracy(self) -> float:
        """Return `metrics.handedness_accuracy`; NaN if no sample was scored for it."""
        return self.handedness_correct / self.handedness_seen if self.handedness_seen else math.nan


def _rows(bucket: Bucket) -> slice:
    return {"single": slice(0, 1), "two": slice(1, 2), "all": slice(0, 2)}[bucket]


def _kept(wrists: bool, root: Root) -> Bools:
    return np.ones(NUM_JOINTS, dtype=np.bool_) if wrists else metrics.WITHOUT_ROOTS[root]


def _pooled(sums: _Integers, rows: slice) -> Doubles:
    return _inexact(cast(_Integers, sums[rows].sum(axis=0)))


def _mean_of_joints(sums: _Integers, counts: Counts, rows: slice, kept: Bools, average: Average) -> float:
    return metrics.mean_of_joints(_pooled(sums, rows)[kept], counts[rows].sum(axis=0)[kept], average)


def _means(total: Doubles, count: Counts) -> Doubles:
    means: Doubles = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means


def _worst(samples: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    return tuple(heapq.nsmallest(WORST_KEPT, samples, key=lambda sample: (-sample[1], sample[0])))
