"""The metrics of section 4.1 as pure functions in float64; lengths are in mm unless stated otherwise.

Letters: N samples, J joints, K thresholds. Joints are aligned per hand: the root joint of each hand, by default its
wrist, is subtracted from the hand's 21 joints, in the prediction and in the ground truth alike. Nothing is rotated, and
nothing is scaled unless requested. Only valid joints count: annotated joints of a hand whose wrist is annotated. A mean
over no values is NaN. Arguments are never modified.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Bools, Doubles, Floats
from unclasp.hands import JOINTS_PER_HAND, NUM_JOINTS, NUM_PARTS, ROOTS

Counts = npt.NDArray[np.int64]

Average = Literal["joint", "sample"]
"""joint: the mean over the samples for each joint, then the unweighted mean over the joints (InterHand2.6M's evaluator
and those derived from it). sample: a single mean over all valid joints of all samples (mmpose's evaluator)."""
Root = Literal["wrist", "middle_mcp"]
"""wrist: common for model-free methods. middle_mcp: IntagHand's evaluator."""
Scaling = Literal["none", "bone"]
"""bone: each predicted hand is scaled by the ratio of the true to the predicted distance from wrist to middle MCP
(IntagHand's and DIR's evaluators)."""

MIDDLE_MCPS: Final = (11, 32)
"""Indices of the right and the left middle MCP among the 42 joints."""
ROOT_JOINTS: Final[dict[Root, tuple[int, int]]] = {"wrist": ROOTS, "middle_mcp": MIDDLE_MCPS}
"""Joint by which the right and the left hand are aligned."""
PCK_THRESHOLDS: Final[Doubles] = np.linspace(0.0, 50.0, 101)
"""(101,) mm: 0, 0.5, … 50."""
PRESENCE_THRESHOLD: Final = 0.5
"""A hand is predicted present above this probability, and absent below it."""
PLANE_UNITS: Final = 256
"""Side of the crop, in px, to which in-plane errors are normalised, whatever the size of the network's input; it is
that of InterHand2.6M's baseline and the methods that follow it, and also the unit of the losses."""
WITHOUT_ROOTS: Final[dict[Root, Bools]] = {
    root: ~np.isin(np.arange(NUM_JOINTS), joints) for root, joints in ROOT_JOINTS.items()
}
"""(42,) true at the 40 joints whose error is not 0 merely by alignment to this root."""
WITHOUT_WRISTS: Final[Bools] = WITHOUT_ROOTS["wrist"]
"""(42,) true at the 40 joints that are not wrists."""


def joint_errors(predicted: Floats, truth: Floats, *, root: Root = "wrist", scaling: Scaling = "none") -> Doubles:
    """Return each joint's Euclidean distance to the truth after per-hand alignment.

    Args:
        predicted: (…, 42, 3) mm, camera frame.
        truth: (…, 42, 3) mm, camera frame.
        root: The joint by which each hand is aligned.
        scaling: With "bone", aligned hands are scaled to the true distance from wrist to middle MCP.

    Returns:
        (…, 42) mm; both root joints are exactly 0. Values at invalid joints are meaningless. With "bone", values are
        NaN or infinite for a hand whose predicted wrist and middle MCP coincide.
    """
    joints, true_joints = predicted.astype(np.float64), truth.astype(np.float64)
    aligned, true_aligned = _aligned(joints, root), _aligned(true_joints, root)
    if scaling == "bone":
        with np.errstate(divide="ignore", invalid="ignore"):
            scales = _palm_lengths(true_joints) / _palm_lengths(joints)
            aligned = aligned * np.repeat(scales, JOINTS_PER_HAND, axis=-1)[..., None]
    return np.asarray(np.linalg.norm(aligned - true_aligned, axis=-1))


def usable_joints(valid: Bools, *, root: Root = "wrist", scaling: Scaling = "none") -> Bools:
    """Invalidate hands that cannot be aligned: the root, or with "bone" the middle MCP, is not annotated.

    Args:
        valid: (…, 42), already false for hands without a wrist.
        root: The joint by which each hand is aligned.
        scaling: With "bone", the middle MCP must be annotated too; the wrist always is where `valid` is true.

    Returns:
        (…, 42), a new array.
    """
    needed = MIDDLE_MCPS if scaling == "bone" else ROOT_JOINTS[root]
    return np.asarray(valid & np.repeat(valid[..., list(needed)], JOINTS_PER_HAND, axis=-1))


def _aligned(joints: Doubles, root: Root) -> Doubles:
    return np.asarray(joints - np.repeat(joints[..., list(ROOT_JOINTS[root]), :], JOINTS_PER_HAND, axis=-2))


def _palm_lengths(joints: Doubles) -> Doubles:
    """Return the distance from wrist to middle MCP of the right and the left hand, (…, 2) mm."""
    return np.asarray(np.linalg.norm(joints[..., list(MIDDLE_MCPS), :] - joints[..., list(ROOTS), :], axis=-1))


def plane_errors(predicted: Floats, truth: Floats, crop_size: int) -> Doubles:
    """Return the in-plane error of each joint, without any alignment.

    Args:
        predicted: (…, 42, 2) u, v in crop pixels.
        truth: (…, 42, 2) u, v in crop pixels.
        crop_size: Side of the crop in pixels.

    Returns:
        (…, 42) pixels of a 256 x 256 crop.
    """
    difference = predicted.astype(np.float64) - truth.astype(np.float64)
    return np.asarray(np.linalg.norm(difference, axis=-1) * (PLANE_UNITS / crop_size))


def mpjpe(errors: Floats, valid: Bools, *, average: Average = "joint") -> float:
    """Return the mean per-joint position error.

    With `average="joint"`, errors are averaged for each joint over the samples in which it is valid, then over the
    joints that are valid in at least one sample. With `average="sample"`, the mean runs over all valid (sample, joint)
    pairs. Root joints count with error 0; leave their columns out for the mean over 40 joints.

    Args:
        errors: (N, J) mm.
        valid: (N, J).
        average: Order of averaging, see `Average`.

    Examples:
        >>> errors, valid = np.array([[2.0, 6.0], [4.0, 0.0]]), np.array([[True, True], [True, False]])
        >>> mpjpe(errors, valid), mpjpe(errors, valid, average="sample")
        (4.5, 4.0)
    """
    total = np.where(valid, errors, 0.0).sum(axis=0, dtype=np.float64)
    return mean_of_joints(total, valid.sum(axis=0, dtype=np.int64), average)


def mean_of_joints(total: Floats, count: Counts, average: Average) -> float:
    """Return `mpjpe` from the sum (J,) and the number (J,) of each joint's errors."""
    occurs = count > 0
    if not occurs.any():
        return float("nan")
    if average == "sample":
        return float(total[occurs].sum() / count.sum())
    return float((total[occurs] / count[occurs]).mean())


def wrist_offset_errors(predicted: Floats, truth: Floats) -> Doubles:
    """Return the error of the vector from the right to the left wrist, which MRRPE averages.

    Args:
        predicted: (…, 2, 3) mm, camera frame, right and left wrist.
        truth: (…, 2, 3) mm, camera frame, right and left wrist.

    Returns:
        (…) mm.
    """
    offset, true_offset = (np.diff(wrists.astype(np.float64), axis=-2)[..., 0, :] for wrists in (predicted, truth))
    return np.asarray(np.linalg.norm(offset - true_offset, axis=-1))


def mrrpe(predicted: Floats, truth: Floats, valid: Bools) -> float:
    """Return the mean relative-root position error over the samples in which it is defined.

    Args:
        predicted: (N, 2, 3) mm, camera frame, right and left wrist.
        truth: (N, 2, 3) mm, camera frame, right and left wrist.
        valid: (N,) whether both hands are present and both wrists annotated.
    """
    errors = wrist_offset_errors(predicted, truth)[valid]
    return float(errors.mean()) if len(errors) else float("nan")


def handedness_correct(presence: Floats, hand_type: Bools) -> Bools:
    """Return whether the hands predicted to be present are those that are present.

    Both hands must be correct: `presence` must be above `PRESENCE_THRESHOLD` for a present hand and below it for an
    absent one.

    Args:
        presence: (…, 2) predicted probability of the right and the left hand.
        hand_type: (…, 2) whether the right and the left hand are present.

    Returns:
        (…).
    """
    correct = np.where(hand_type, presence > PRESENCE_THRESHOLD, presence < PRESENCE_THRESHOLD)
    return np.asarray(correct.all(axis=-1))


def handedness_accuracy(presence: Floats, hand_type: Bools, valid: Bools) -> float:
    """Return the share of samples for which `handedness_correct` holds, among those with a trusted label.

    Args:
        presence: (N, 2) predicted probability of the right and the left hand.
        hand_type: (N, 2) whether the right and the left hand are present.
        valid: (N,) whether the label can be trusted.
    """
    correct = handedness_correct(presence, hand_type)[valid]
    return float(correct.mean()) if len(correct) else float("nan")


def pck_counts(errors: Floats, valid: Bools, thresholds: Doubles = PCK_THRESHOLDS) -> Counts:
    """Count valid errors by the first threshold they do not exceed.

    Args:
        errors: (N, J) mm.
        valid: (N, J).
        thresholds: (K,) mm, ascending.

    Returns:
        (J, K + 1) counts; the last column is for errors above every threshold.
    """
    counts = np.zeros((errors.shape[-1], len(thresholds) + 1), dtype=np.int64)
    _, joint = np.nonzero(valid)
    np.add.at(counts, (joint, np.searchsorted(thresholds, errors[valid], side="left")), 1)
    return counts


def pck_from_counts(counts: Counts) -> Doubles:
    """Return the PCK curve (K,) from `pck_counts` (J, K + 1), pooled over all joints."""
    total = counts.sum()
    if total == 0:
        return np.full(counts.shape[1] - 1, np.nan)
    return np.asarray(counts.sum(axis=0).cumsum()[:-1] / total)


def pck_curve(errors: Floats, valid: Bools, *, wrists: bool = False, thresholds: Doubles = PCK_THRESHOLDS) -> Doubles:
    """Return the percentage of correct keypoints (PCK) as a share of all valid (sample, joint) pairs, per threshold.

    Args:
        errors: (N, 42) mm.
        valid: (N, 42).
        wrists: Include the wrists, whose error is 0 by alignment and which raise the whole curve.
        thresholds: (K,) mm, ascending.

    Returns:
        (K,) in [0, 1], non-decreasing.
    """
    counted = valid if wrists else valid & WITHOUT_WRISTS
    return pck_from_counts(pck_counts(errors, counted, thresholds))


def auc(curve: Doubles, thresholds: Doubles = PCK_THRESHOLDS) -> float:
    """Return the area under a PCK curve by the trapezoidal rule, divided by the range of the thresholds: in [0, 1].

    Examples:
        >>> auc(np.array([0.0, 0.5, 1.0]), np.array([0.0, 25.0, 50.0]))
        0.5
    """
    return float(np.trapezoid(curve, thresholds) / (thresholds[-1] - thresholds[0]))


def confusion_matrix(predicted: npt.NDArray[np.integer], truth: npt.NDArray[np.integer]) -> Counts:
    """Return the (33, 33) confusion matrix: pixel counts by true class (row) and predicted class (column).

    Args:
        predicted: (…) part classes 0-32.
        truth: (…) part classes 0-32, of the same shape.
    """
    pairs = truth.astype(np.int64).ravel() * NUM_PARTS + predicted.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=NUM_PARTS**2).reshape(NUM_PARTS, NUM_PARTS).astype(np.int64)


def pixel_accuracy(confusion: Counts) -> float:
    """Return the share of all pixels, background included, whose predicted class out of 33 is correct."""
    return _share(np.trace(confusion), confusion.sum())


def hand_pixel_accuracy(confusion: Counts) -> float:
    """Return the share of the pixels whose true class is a hand part (1-32) that are classified correctly."""
    return _share(np.trace(confusion[1:, 1:]), confusion[1:].sum())


def mean_iou(confusion: Counts) -> float:
    """Return the mean IoU over the classes that occur, with the pixels of all samples pooled.

    A class occurs if it has a pixel in the ground truth or the prediction; the background counts as a class.
    """
    shared = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - shared
    occurs = union > 0
    return float((shared[occurs] / union[occurs]).mean()) if occurs.any() else float("nan")


def _share(part: np.integer, whole: np.integer) -> float:
    return float(part / whole) if whole else float("nan")
