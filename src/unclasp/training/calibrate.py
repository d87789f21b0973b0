"""Fit the confidence head of a trained model: how often is a joint that shows these signs of doubt where it is put?

The pose network stays as it is. Logistic regression by a small network on pictures that the model was not trained on,
so that a confidence of 0.8 means that eight of ten such joints lie within `WITHIN` of where they are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from unclasp import geometry
from unclasp.batch import Prediction, Sample
from unclasp.config import Config, with_model
from unclasp.data import Dataset
from unclasp.data.transforms import crop_image, sight_of
from unclasp.errors import UnclaspError
from unclasp.hands import ROOTS
from unclasp.model import DFL, build
from unclasp.model.confidence import WITHIN, Confidence, evidence
from unclasp.model.loading import load_strictly

_STEPS = 500
_RATE = 3e-3
_HELD_OUT = 0.25
_BINS = 10
_FEWEST = 8


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the fitted confidences are worth on pictures held out from the fit."""

    pictures: int
    """Pictures held out."""
    confident_mm: float
    """Mean error of the more confident half of the joints, relative to their wrists and without these."""
    doubtful_mm: float
    """The same of the other half."""
    gap: float
    """Expected calibration error: mean distance of confidence and frequency over ten bins, weighted by their joints."""

    def __str__(self) -> str:
        return (
            f"held out: {self.pictures} pictures\n"
            f"the more confident half of the joints: {self.confident_mm:.2f} mm, the rest: {self.doubtful_mm:.2f} mm\n"
            f"expected calibration error: {self.gap:.3f} (a joint within {WITHIN:g} mm)"
        )


def calibrate(
    model: DFL, config: Config, dataset: Dataset, *, limit: int | None = None, batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[DFL, Config, Calibration]:  # fmt: skip
    """Return the model with a fitted confidence head, its config, and what the head is worth.

    Args:
        model: In evaluation mode; a confidence head that it has is fitted anew.
        config: The model's.
        dataset: Pictures that the model was not trained on; a quarter is held out from the fit.
        limit: Only the first so many of them.
        batch_size: Crops per forward pass.
        progress: Told the pictures done and the pictures in all.

    Raises:
        UnclaspError: The model has no relations, or there are too few pictures or no annotated joints in them.
    """
    fitted_config = with_model(config, confidence_head=True, confidence_context=True)
    fitted = build(fitted_config.model)
    head = Confidence(config.model.iterations, context=True)
    fitted.confidence = head
    of_head = {f"confidence.{key}": value for key, value in head.state_dict().items()}
    load_strictly(fitted, {**model.state_dict(), **of_head}, "the model to calibrate")
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count < _FEWEST:
        raise UnclaspError(f"calibration needs at least {_FEWEST} pictures, got {count}")
    gathered = _Gathered()
    for batch in _batches(dataset, count, batch_size):
        gathered.add(model, batch, config.model.image_size)
        if progress is not None:
            progress(len(gathered.signs), count)
    calibration = gathered.fit(head)
    return fitted.eval(), fitted_config, calibration


def _batches(dataset: Dataset, count: int, size: int) -> Iterator[list[Sample]]:
    for start in range(0, count, size):
        yield [dataset[index] for index in range(start, min(start + size, count))]


class _Gathered:
    """Evidence and errors of every picture so far."""

    def __init__(self) -> None:
        self.signs: list[Tensor] = []
        self.placed: list[npt.NDArray[np.floating]] = []
        """(42,) mm from the truth as the camera sees it, the wrist's depth given; NaN where there is no truth."""
        self.errors: list[npt.NDArray[np.floating]] = []
        """(42,) mm, relative to the wrists."""

    @torch.inference_mode()
    def add(self, model: DFL, samples: list[Sample], image_size: int) -> None:
        """Look at some pictures."""
        crops = [crop_image(sample.image, geometry.square_box(sample.box), image_size) for sample in samples]
        images = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2)
        prediction = model(images)
        self.signs += list(_evidence(prediction, image_size).clone())
        for sample, crop, pose in zip(samples, crops, prediction.pose_2p5d.double().numpy(), strict=True):
            valid = geometry.mask_without_root(sample.valid)
            truth = np.where(valid[:, None], sample.joints_cam.astype(np.float64), 1.0)
            joints = geometry.cam_from_pose_2p5d(
                pose, truth[list(ROOTS), 2], focal=sample.focal, princpt=sample.princpt,
                image_from_crop=crop.image_from_crop,
                sights=sight_of(crop.middle, sample.focal, sample.princpt, model.depth_axis),
            )  # fmt: skip
            relative = geometry.relative_to_roots(joints) - geometry.relative_to_roots(truth)
            for kept, difference in ((self.placed, joints - truth), (self.errors, relative)):
                kept.append(np.where(valid, np.linalg.norm(difference, axis=1), np.nan))

    def fit(self, head: Confidence) -> Calibration:
        """Fit the head to three quarters of the pictures and measure it on the rest."""
        signs = torch.stack(self.signs)
        placed, errors = (torch.from_numpy(np.stack(values)) for values in (self.placed, self.errors))
        known = placed.isfinite()
        held_out = torch.arange(len(signs)) % round(1 / _HELD_OUT) == 0
        train = ~held_out
        if not (known[train].any() and known[held_out].any()):
            raise UnclaspError(
                "calibration needs annotated joints, and these pictures have none; take another data set"
            )
        head.mean.copy_(signs[train].mean(dim=(0, 1)))
        head.std.copy_(signs[train].std(dim=(0, 1)).clamp(min=1e-6))
        wrists = torch.isin(torch.arange(signs.shape[1]), torch.tensor(ROOTS))
        found = (torch.where(wrists, placed, errors) <= WITHIN).float()
        torch.manual_seed(0)
        for module in head.children():
            module.reset_parameters()  # type: ignore[operator]
        adam = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=1e-3)
        for step in range(_STEPS):
            for group in adam.param_groups:
                group["lr"] = _RATE * (1 - step / _STEPS)
            logits = head(signs[train])
            loss = functional.binary_cross_entropy_with_logits(logits[known[train]], found[train][known[train]])
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        head.requires_grad_(False)
        confidence, shown = head(signs[held_out]).sigmoid(), known[held_out]
        # A wrist's error relative to itself is nothing.
        return _measure(
            confidence[shown], torch.where(wrists, torch.nan, errors[held_out])[shown], found[held_out][shown],
            int(held_out.sum()),
        )  # fmt: skip


def _evidence(prediction: Prediction, image_size: int) -> Tensor:
    def as_share(pixels: Tensor) -> Tensor:
        return (pixels + 0.5) / image_size

    pose = prediction.pose_2p5d
    return evidence(
        torch.cat((as_share(pose[..., :2]), pose[..., 2:] / geometry.DEPTH_RANGE + 0.5), dim=-1),
        [as_share(step) for step in prediction.steps],
        prediction.relations, prediction.part_logits, prediction.presence,
    )  # fmt: skip


def _measure(confidence: Tensor, errors: Tensor, found: Tensor, pictures: int) -> Calibration:
    ranked = errors[confidence.argsort(descending=True)]
    ranked = ranked[ranked.isfinite()]
    half = len(ranked) // 2
    bins = (confidence * _BINS).long().clamp(max=_BINS - 1)
    gap = 0.0
    for index in range(_BINS):
        inside = bins == index
        if inside.any():
            gap += float(inside.float().mean() * (confidence[inside].mean() - found[inside].mean()).abs())
    return Calibration(
        pictures=pictures, confident_mm=float(ranked[:half].mean()), doubtful_mm=float(ranked[half:].mean()), gap=gap,
    )  # fmt: skip
