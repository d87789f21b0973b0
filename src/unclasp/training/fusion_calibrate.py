"""Fitting of the confidence in fused joints: logistic regression on four values a joint (`fusion.confidence_inputs`).

A confidence means the same as before the fusion (`training.calibrate`): 0.8 that eight of ten such joints lie within
`WITHIN` of the truth, relative to their wrist. The fusion brings joints nearer to it, so that the pose network's
confidence is too low for them. The fusion network itself is not changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch.nn import functional

from unclasp.arrays import Bools, Floats
from unclasp.data.progress import Progress
from unclasp.errors import DataError
from unclasp.find.fusion import FORMAT, SHIPPED, UNIT_MM, Fusion, FusionInput, confidence_inputs, open_fusion
from unclasp.hands import JOINTS_PER_HAND
from unclasp.model.confidence import WITHIN
from unclasp.npz import read_arrays, write_arrays
from unclasp.training.fusion_evidence import Evidence, read_evidence
from unclasp.training.reliability import calibration_error

_HELD_OUT: Final = 4
"""Every how many-th hand is held out from the fit."""
_MIN_HANDS: Final = 100
"""Smallest number of hands that calibration accepts."""
_ITERATIONS: Final = 100


@dataclass(frozen=True, kw_only=True)
class FusionCalibration:
    """Quality of the confidences in fused joints, on hands that were held out from the fit."""

    hands: int
    """Number of hands held out."""
    before: float
    """Expected calibration error of the pose network's confidences."""
    after: float
    """Expected calibration error of the fitted ones."""

    def __str__(self) -> str:
        return (
            f"held out: {self.hands} hands\n"
            f"expected calibration error: {self.after:.3f}, of the pose network's confidences {self.before:.3f} "
            f"(a joint within {WITHIN:g} mm)"
        )


def calibrate_fusion(
    paths: Sequence[Path], out: Path, *, weights: Path | None = None, progress: Progress | None = None
) -> FusionCalibration:
    """Fit the confidence of a fusion network, and write the network with it atomically.

    Args:
        paths: One or more files of `collect_evidence`, of hands that the fusion network was not trained on.
        out: Output file, ending in .npz.
        weights: A file of `train_fusion`; the shipped one if None.
        progress: Called with the number of hands done and the total.

    Raises:
        CheckpointError: `weights` is missing, damaged or something else.
        DataError: A file is missing, damaged, or of another kind or network than the first, or there are too few hands.
    """
    fusion = open_fusion(weights)
    evidence = read_evidence(paths)
    hands = len(evidence.numbers)
    if hands < _MIN_HANDS:
        raise DataError(f"expected at least {_MIN_HANDS} hands to fit a confidence to, got {hands}")
    errors = np.empty((hands, JOINTS_PER_HAND))
    for row, hand in enumerate(zip(*evidence, strict=True)):
        errors[row] = _errors(fusion, Evidence(*hand))
        if progress is not None:
            progress(row + 1, hands)
    inputs, found = confidence_inputs(evidence.numbers)[:, :-1], errors[:, :-1] <= WITHIN  # wrists have no error
    held_out = np.arange(hands) % _HELD_OUT == 0
    fitted = _fit(inputs[~held_out].reshape(-1, inputs.shape[-1]), found[~held_out].ravel())
    before, after = (
        calibration_error(1 / (1 + np.exp(-logits[held_out].ravel())), found[held_out].ravel())
        for logits in (inputs[..., 0], inputs @ fitted)
    )
    tensors = read_arrays(SHIPPED if weights is None else weights)
    write_arrays(out, tensors | {"format": np.array(FORMAT), "confidence": fitted.astype(np.float32)})
    return FusionCalibration(hands=int(held_out.sum()), before=before, after=after)


def _errors(fusion: Fusion, hand: Evidence) -> Floats:
    """Return the distances (21,) mm of a hand's fused joints from the truth, relative to the wrist."""
    offsets, side_mm = fusion.joints(FusionInput(hand.numbers, hand.own, hand.read)) - hand.truth, float(hand.side_mm)
    offsets -= offsets[-1]
    offsets *= [side_mm, side_mm, UNIT_MM]
    return np.asarray(np.linalg.norm(offsets, axis=1))


def _fit(inputs: Floats, found: Bools) -> Floats:
    """Fit weights (F,) for inputs (J, F) so that their sigmoid is the probability of `found` (J,)."""
    x, y = torch.from_numpy(inputs), torch.from_numpy(found).double()
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = functional.binary_cross_entropy_with_logits(x @ weights, y)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy()
