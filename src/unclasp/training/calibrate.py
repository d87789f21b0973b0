"""Fitting of the confidence head of a trained model.

The head is a small network, fitted by binary cross-entropy on pictures that the model was not trained on. A confidence
of 0.8 then means that eight of ten such joints lie within `WITHIN` of the truth, relative to their wrist (wrists: in
the camera frame). The pose network is not changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unclasp import geometry
from unclasp.arrays import Floats
from unclasp.batch import Prediction, Sample
from unclasp.config import Config, with_model
from unclasp.data import Dataset
from unclasp.data.progress import NamedProgress
from unclasp.data.transforms import crop_image, sight_of
from unclasp.errors import UnclaspError, check_at_least
from unclasp.hands import ROOTS
from unclasp.model import DFL, build
from unclasp.model.confidence import WITHIN, Confidence, evidence
from unclasp.model.loading import load_strictly
from unclasp.model.units import depth_share_of, shares_of
from unclasp.training.reliability import calibration_error

_STEPS = 500
_LEARNING_RATE = 3e-3
_HELD_OUT = 4
"""Every how many-th picture is held out from the fit."""
_MIN_PICTURES = 8
"""Smallest number of pictures that calibration accepts."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Quality of the fitted confidences, measured on pictures that were held out from the fit."""

    pictures: int
    """Number of pictures held out."""
    confident_mm: float
    """Mean wrist-relative error of the more confident half of the joints, wrists excluded."""
    doubtful_mm: float
    """The same for the other half."""
    gap: float
    """Expected calibration error: the mean difference between confidence and frequency over ten bins, weighted by their
    number of joints."""

    def __str__(self) -> str:
        return (
            f"held out: {self.pictures} pictures\n"
            f"the more confident half of the joints: {self.confident_mm:.2f} mm, the rest: {self.doubtful_mm:.2f} mm\n"
            f"expected calibration error: {self.gap:.3f} (a joint within {WITHIN:g} mm)"
        )


def calibrate(
    model: DFL, config: Config, dataset: Dataset, *, limit: int | None = None, batch_size: int = 32,
    progress: NamedProgress | None = None,
) -> tuple[DFL, Config, Calibration]:  # fmt: skip
    """Return the model with a fitted confidence head, its config, and the quality of the confidences.

    Args:
        model: The model, in evaluation mode; an existing confidence head is replaced.
        config: Config of the model.
        dataset: Pictures that the model was not trained on; a quarter is held out from the fit.
        limit: Use at most this many of them, evenly spread.
        batch_size: Crops per forward pass.
        progress: Called with the name of the step (predict, fit), the amount done and the total.

    Raises:
        UnclaspError: The model has no relations, there are too few pictures or no annotated joints in them, or
            `batch_size` is below 1.
    """
    check_at_least(1, batch_size=batch_size)
    report_progress = progress or (lambda *_: None)
    fitted_config = with_model(config, confidence_head=True, confidence_context=True)
    fitted = build(fitted_config.model)
    head = cast(Confidence, fitted.confidence)
    of_head = {f"confidence.{key}": value for key, value in head.state_dict().items()}
    load_strictly(fitted, {**model.state_dict(), **of_head}, "the model to calibrate")
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count < _MIN_PICTURES:
        raise UnclaspError(f"calibration needs at least {_MIN_PICTURES} pictures, got {count}")
    observed: list[Observed] = []
    for batch in _batches(dataset, count, batch_size):
        observed.append(_observe(model, batch, config.model.image_size))
        report_progress("predict", sum(len(part.signs) for part in observed), count)
    joined = Observed(*map(torch.cat, zip(*observed, strict=True)))
    return fitted.eval(), fitted_config, fit(head, joined, report_progress)


def _batches(dataset: Dataset, count: int, size: int) -> Iterator[list[Sample]]:
    indices = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
    for start in range(0, count, size):
        yield [dataset[index] for index in indices[start : start + size]]


class Observed(NamedTuple):
    """What a head is fitted to: evidence and errors of the model's predictions for N pictures."""

    signs: Tensor
    """(N, 42, F), see `evidence`."""
    camera_errors: Tensor
    """(N, 42) mm, in the camera frame, given the true depth of the wrists; NaN at joints that are not annotated."""
    relative_errors: Tensor
    """(N, 42) mm, relative to the wrists; NaN at joints that are not annotated."""


@torch.inference_mode()
def _observe(model: DFL, samples: list[Sample], image_size: int) -> Observed:
    """Run the model on some pictures."""
    crops = [crop_image(sample.image, geometry.square_box(sample.box), image_size) for sample in samples]
    prediction = model(torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2))
    camera_errors, relative_errors = list[Floats](), list[Floats]()
    for sample, crop, pose in zip(samples, crops, prediction.pose_2p5d.double().numpy(), strict=True):
        valid = geometry.mask_without_root(sample.valid)
        truth = np.where(valid[:, None], sample.joints_cam.astype(np.float64), 1.0)
        joints = geometry.cam_from_pose_2p5d(
            pose, truth[list(ROOTS), 2], focal=sample.focal, princpt=sample.princpt,
            image_from_crop=crop.image_from_crop,
            sights=sight_of(crop.middle, sample.focal, sample.princpt, model.depth_axis),
        )  # fmt: skip
        relative = geometry.relative_to_roots(joints) - geometry.relative_to_roots(truth)
        for errors, difference in ((camera_errors, joints - truth), (relative_errors, relative)):
            errors.append(np.where(valid, np.linalg.norm(difference, axis=1), np.nan))
    return Observed(_evidence(prediction, image_size), *(
        torch.from_numpy(np.stack(errors)) for errors in (camera_errors, relative_errors)
    ))  # fmt: skip


def _evidence(prediction: Prediction, image_size: int) -> Tensor:
    """Return the evidence (B, 42, F) of predictions, with px and mm converted back to the decoder's units."""
    pose = prediction.pose_2p5d
    return evidence(
        torch.cat((shares_of(pose[..., :2], image_size), depth_share_of(pose[..., 2:])), dim=-1),
        [shares_of(step, image_size) for step in prediction.steps],
        prediction.relations, prediction.part_logits, prediction.presence,
    )  # fmt: skip


def fit(head: Confidence, observed: Observed, progress: NamedProgress = lambda *_: None) -> Calibration:
    """Fit a head to three quarters of the pictures, and measure its confidences on the others."""
    signs, camera_errors, errors = observed
    known, held_out = camera_errors.isfinite(), torch.arange(len(signs)) % _HELD_OUT == 0
    train = ~held_out
    if not (known[train].any() and known[held_out].any()):
        raise UnclaspError("calibration needs annotated joints, and these pictures have none; take another data set")
    wrists = torch.isin(torch.arange(signs.shape[1]), torch.tensor(ROOTS))
    found = (torch.where(wrists, camera_errors, errors) <= WITHIN).float()
    _train(head, signs[train], found[train], known[train], progress)
    valid = known & held_out[:, None]
    # The error of a wrist relative to itself is always 0.
    return quality(
        head(signs[held_out]).sigmoid()[known[held_out]], torch.where(wrists, torch.nan, errors)[valid],
        found[valid], pictures=int(held_out.sum()),
    )  # fmt: skip


def _train(head: Confidence, signs: Tensor, found: Tensor, known: Tensor, progress: NamedProgress) -> None:
    """Fit a head from scratch, so that its sigmoid is the probability that a known joint is found, (N, 42) 1 or 0."""
    head.mean.copy_(signs.mean(dim=(0, 1)))
    head.std.copy_(signs.std(dim=(0, 1)).clamp(min=1e-6))
    torch.manual_seed(0)
    for module in head.children():
        module.reset_parameters()  # type: ignore[operator]
    adam = torch.optim.AdamW(head.parameters(), lr=_LEARNING_RATE, weight_decay=1e-3)
    for step in range(_STEPS):
        for group in adam.param_groups:
            group["lr"] = _LEARNING_RATE * (1 - step / _STEPS)
        loss = functional.binary_cross_entropy_with_logits(head(signs)[known], found[known])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        progress("fit", step + 1, _STEPS)
    head.requires_grad_(False)


def quality(confidence: Tensor, errors: Tensor, found: Tensor, *, pictures: int) -> Calibration:
    """Measure confidences of joints (J,) by their errors in mm, NaN at wrists, and whether each was found (1 or 0)."""
    ranked = errors[confidence.argsort(descending=True)]
    ranked = ranked[ranked.isfinite()]
    half = len(ranked) // 2
    return Calibration(
        pictures=pictures, confident_mm=float(ranked[:half].mean()), doubtful_mm=float(ranked[half:].mean()),
        gap=calibration_error(confidence.numpy(), found.bool().numpy()),
    )  # fmt: skip
