"""The measures of section 4.1 as pure functions: float64, mm unless said otherwise, no argument is ever changed.

Letters: N samples, J joints, K thresholds. Joints are aligned per hand: the hand's own root joint, by default its
wrist, is subtracted from its 21 joints, in the prediction and in the truth alike; nothing is rotated, and nothing is
scaled unless asked for. Only valid joints count: those that are annotated, of a hand whose wrist is. A mean over
nothing is NaN.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from unclasp.hands import JOINTS_PER_HAND, NUM_JOINTS, NUM_PARTS, ROOTS

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

Average = Literal["joint", "sample"]
"""joint: mean over the samples of each joint, then plain mean over the joints (InterHand2.6M's evaluator and its
followers). sample: one mean over all valid joints of all samples at once (mmpose's evaluator)."""
Root = Literal["wrist", "middle_mcp"]
"""wrist: model-free practice. middle_mcp: IntagHand's evaluator."""
Scaling = Literal["none", "bone"]
"""bone: each predicted hand times true over predicted length from wrist to middle MCP (IntagHand's and DIR's
evaluators)."""

MIDDLE_MCPS: Final = (11, 32)
"""Index of the right and of the left middle MCP among the 42 joints."""
ROOT_JOINTS: Final[dict[Root, tuple[int, int]]] = {"wrist": ROOTS, "middle_mcp": MIDDLE_MCPS}
"""What each hand is aligned by, right and left."""
PCK_THRESHOLDS: Final[Doubles] = np.linspace(0.0, 50.0, 101)
"""(101,) mm: 0, 0.5, … 50."""
PRESENCE_THRESHOLD: Final = 0.5
"""A hand is said to be there above, and not to be there below this probability."""
PLANE_UNITS: Final = 256.0
"""Side of the crop in which in-plane errors are measured, whatever the size of the network's input."""
WITHOUT_ROOTS: Final[dict[Root, Bools]] = {
    root: ~np.isin(np.arange(NUM_JOINTS), joints) for root, joints in ROOT_JOINTS.items()
}
"""(42,) true at the 40 joints that alignment by this root does not bring to zero."""
WITHOUT_WRISTS: Final[Bools] = WITHOUT_ROOTS["wrist"]
"""(42,) true at the 40 joints that are not wrists."""


def joint_errors(predicted: Floats, truth: Floats, *, root: Root = "wrist", scaling: Scaling = "none") -> Doubles:
    """Return each joint's Euclidean distance to the truth after per-hand alignment.

    Args:
        predicted: (…, 42, 3) mm, camera frame.
        truth: (…, 42, 3) mm, camera frame.
        root: The joint that each hand is aligned by.
        scaling: With "bone", aligned hands are brought to the true length from wrist to middle MCP.

    Returns:
        (…, 42) mm; both root joints are exactly 0. What stands at invalid joints is meaningless. NaN or infinite where
        a hand is scaled whose predicted wrist and middle MCP coincide.
    """
    joints, true_joints = predicted.astype(np.float64), truth.astype(np.float64)
    aligned, true_aligned = _aligned(joints, root), _aligned(true_joints, root)
    if scaling == "bone":
        with np.errstate(divide="ignore", invalid="ignore"):
            aligned = (
                aligned * np.repeat(_palm_lengths(true_joints) / _palm_lengths(joints), JOINTS_PER_HAND, -1)[..., None]
            )
    return np.asarray(np.linalg.norm(aligned - true_aligned, axis=-1))


def usable_joints(valid: Bools, *, root: Root = "wrist", scaling: Scaling = "none") -> Bools:
    """Invalidate hands that cannot be aligned: the root, or the middle MCP to scale by, is not annotated.

    Args:
        valid: (…, 42), already false for hands without a wrist.
        root: The joint that each hand is aligned by.
        scaling: With "bone" both ends of the bone are needed.

    Returns:
        (…, 42), a new array.
    """
    needed = MIDDLE_MCPS if scaling == "bone" else ROOT_JOINTS[root]
    return np.asarray(valid & np.repeat(valid[..., list(needed)], JOINTS_PER_HAND, axis=-1))


def _aligned(joints: Doubles, root: Root) -> Doubles:
    return np.asarray(joints - np.repeat(joints[..., list(ROOT_JOINTS[root]), :], JOINTS_PER_HAND, axis=-2))


def _palm_lengths(joints: Doubles) -> Doubles:
    """Return the distance from wrist to middle MCP of the right and of the left hand, (…, 2) mm."""
    return np.asarray(np.linalg.norm(joints[..., list(MIDDLE_MCPS), :] - joints[..., list(ROOTS), :], axis=-1))


def plane_errors(predicted: Floats, truth: Floats, crop_size: int) -> Doubles:
    """Return each joint's distance in the picture plane, without any alignment.

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

    With `average="joint"`: for every joint the mean over the samples in which it is valid, then the mean over the
    joints that are valid in any sample. With `average="sample"`: the mean over all valid (sample, joint) pairs. The
    roots count as joints with error 0; leave their columns out for the mean over 40 joints.

    Args:
        errors: (N, J) mm.
        valid: (N, J).
        average: What is averaged first.

    >>> errors, valid = np.array([[2.0, 6.0], [4.0, 0.0]]), np.array([[True, True], [True, False]])
    >>> mpjpe(errors, valid), mpjpe(errors, valid, average="sample")
    (4.5, 4.0)
    """
    total = np.where(valid, errors, 0.0).sum(axis=0, dtype=np.float64)
    return mean_of_joints(total, valid.sum(axis=0, dtype=np.int64), average)


def mean_of_joints(total: Floats, count: Counts, average: Average) -> float:
    """Return `mpjpe` from the sum of each joint's errors (J,) and the number of them (J,)."""
    seen = count > 0
    if not seen.any():
        return float("nan")
    if average == "sample":
        return float(total[seen].sum() / count.sum())
    return float((total[seen] / count[seen]).mean())


def wrist_offset_errors(predicted: Floats, truth: Floats) -> Doubles:
    """Return the error of the vector from the right to the left wrist: what MRRPE averages.

    Args:
        predicted: (…, 2, 3) mm, camera frame, right and left wrist.
        truth: (…, 2, 3) mm, camera frame, right and left wrist.

    Returns:
        (…) mm.
    """
    offset = predicted.astype(np.float64)[..., 1, :] - predicted.astype(np.float64)[..., 0, :]
    true_offset = truth.astype(np.float64)[..., 1, :] - truth.astype(np.float64)[..., 0, :]
    return np.asarray(np.linalg.norm(offset - true_offset, axis=-1))


def mrrpe(predicted: Floats, truth: Floats, valid: Bools) -> float:
    """Return the mean relative-root position error over the samples in which it is defined.

    Args:
        predicted: (N, 2, 3) mm, camera frame, right and left wrist.
        truth: (N, 2, 3) mm, camera frame, right and left wrist.
        valid: (N,) both hands are present and both wrists annotated.
    """
    errors = wrist_offset_errors(predicted, truth)[valid]
    return float(errors.mean()) if len(errors) else float("nan")


def handedness_correct(presence: Floats, hand_type: Bools) -> Bools:
    """Return whether the hands said to be in the picture are those that are.

    Both have to be told correctly: a present hand needs a probability above, an absent one below `PRESENCE_THRESHOLD`.

    Args:
        presence: (…, 2) probability of the right and of the left hand.
        hand_type: (…, 2) right and left hand present.

    Returns:
        (…).
    """
    correct = np.where(hand_type, presence > PRESENCE_THRESHOLD, presence < PRESENCE_THRESHOLD)
    return np.asarray(correct.all(axis=-1))


def handedness_accuracy(presence: Floats, hand_type: Bools, valid: Bools) -> float:
    """Return the share of samples with `handedness_correct`, among those whose label can be trusted.

    Args:
        presence: (N, 2) probability of the right and of the left hand.
        hand_type: (N, 2) right and left hand present.
        valid: (N,) the label can be trusted.
    """
    correct = handedness_correct(presence, hand_type)[valid]
    return float(correct.mean()) if len(correct) else float("nan")


def pck_counts(errors: Floats, valid: Bools, thresholds: Doubles = PCK_THRESHOLDS) -> Counts:
    """Count valid errors by the first threshold that they do not exceed.

    Args:
        errors: (N, J) mm.
        valid: (N, J).
        thresholds: (K,) mm, ascending.

    Returns:
        (J, K + 1); the last column holds the errors above every threshold.
    """
    counts = np.zeros((errors.shape[-1], len(thresholds) + 1), dtype=np.int64)
    _, joint = np.nonzero(valid)
    np.add.at(counts, (joint, np.searchsorted(thresholds, errors[valid], side="left")), 1)
    return counts


def pck_from_counts(counts: Counts) -> Doubles:
    """Return the PCK curve (K,) of `pck_counts` (J, K + 1), all joints pooled."""
    total = counts.sum()
    if total == 0:
        return np.full(counts.shape[1] - 1, np.nan)
    return np.asarray(counts.sum(axis=0).cumsum()[:-1] / total)


def pck_curve(errors: Floats, valid: Bools, *, wrists: bool = False, thresholds: Doubles = PCK_THRESHOLDS) -> Doubles:
    """Return the share of correct keypoints: of all valid (sample, joint) pairs, those with at most each error.

    Args:
        errors: (N, 42) mm.
        valid: (N, 42).
        wrists: Count the wrists, whose error is 0 by alignment and which lift the whole curve.
        thresholds: (K,) mm, ascending.

    Returns:
        (K,) in [0, 1], never falling.
    """
    kept = valid if wrists else valid & WITHOUT_WRISTS
    return pck_from_counts(pck_counts(errors, kept, thresholds))


def auc(curve: Doubles, thresholds: Doubles = PCK_THRESHOLDS) -> float:
    """Return the area under a PCK curve by the trapezoid rule, divided by the range of the thresholds: in [0, 1].

    >>> auc(np.array([0.0, 0.5, 1.0]), np.array([0.0, 25.0, 50.0]))
    0.5
    """
    return float(np.trapezoid(curve, thresholds) / (thresholds[-1] - thresholds[0]))


def confusion_matrix(predicted: npt.NDArray[np.integer], truth: npt.NDArray[np.integer]) -> Counts:
    """Count pixels by their true class (row) and predicted class (column): (33, 33).

    Args:
        predicted: (…) part classes 0-32.
        truth: (…) part classes 0-32, of the same shape.
    """
    pairs = truth.astype(np.int64).ravel() * NUM_PARTS + predicted.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=NUM_PARTS**2).reshape(NUM_PARTS, NUM_PARTS).astype(np.int64)


def pixel_accuracy(confusion: Counts) -> float:
    """Return the share of all pixels with the right one of the 33 classes, background included."""
    return _share(np.trace(confusion), confusion.sum())


def hand_pixel_accuracy(confusion: Counts) -> float:
    """Return the share with the right one of the 33 classes among the pixels that truly show a hand (classes 1-32)."""
    return _share(np.trace(confusion[1:, 1:]), confusion[1:].sum())


def mean_iou(confusion: Counts) -> float:
    """Return intersection over union, pixels of all samples pooled: mean over the classes that occur.

    Those are the classes with a pixel in truth or prediction; the background is one of them.
    """
    shared = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - shared
    seen = union > 0
    return float((shared[seen] / union[seen]).mean()) if seen.any() else float("nan")


def _share(part: np.integer, whole: np.integer) -> float:
    return float(part / whole) if whole else float("nan")
