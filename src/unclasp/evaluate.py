"""Scores a model, or stored predictions of any method, on a data set and returns a `Report` (section 4.1)."""

import typing
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from unclasp import geometry
from unclasp.arrays import Pixels
from unclasp.batch import Prediction
from unclasp.config import DepthAxis
from unclasp.data import Dataset
from unclasp.data.collate import Guarded, listed_or_error, raise_errors, start_worker
from unclasp.data.lookup import annotated, notes_of
from unclasp.data.progress import Progress
from unclasp.data.transforms import crop_image, crop_parts
from unclasp.engines.torch_network import check_device
from unclasp.errors import UnclaspError, check_at_least
from unclasp.evaluation.baseline import MeanPose, mean_pose
from unclasp.evaluation.predictions import PosePredictions, Recorder, column
from unclasp.evaluation.protocol import Protocol
from unclasp.evaluation.report import Report
from unclasp.evaluation.scores import Scores
from unclasp.evaluation.scoring import External, PredictedSample, Truth, crop_box, score
from unclasp.predictor import Predictor

__all__ = [
    "CropModel",
    "EvaluateOptions",
    "External",
    "MeanPose",
    "PosePredictions",
    "Protocol",
    "Recorder",
    "Report",
    "Scores",
    "collect_scores",
    "evaluate",
    "mean_pose",
    "predictions_of",
    "sample_count",
    "score_predictions",
    "share_of",
]


class CropModel(typing.Protocol):
    """A model that maps crops to predictions: `DFL`, `MeanPose`, or anything with these members."""

    @property
    def name(self) -> str:
        """Name in the report."""

    @property
    def image_size(self) -> int:
        """S, side of the crops in px."""

    @property
    def depth_axis(self) -> DepthAxis:
        """Axis along which predicted depths are measured; the paper's is the camera's."""

    def __call__(self, image: Tensor, /) -> Prediction:
        """Predict from crops (B, 3, S, S) uint8 RGB."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of an evaluation. Protocol, external values and limit determine the figures, the others do not."""

    protocol: Protocol = field(default_factory=Protocol)
    """The evaluation protocol; InterHand2.6M's by default."""
    external: External = field(default_factory=External)
    """Boxes and depths, for protocols that take them from another program."""
    limit: int | None = None
    """Score only this many samples, from the first on."""
    batch_size: int = 32
    """Crops per forward pass."""
    workers: int = 0
    """Number of loader processes."""
    progress: Progress | None = None
    """Called after every batch, with the number of samples done and the total."""
    recorder: Recorder | None = None
    """Stores every prediction; a new one for each evaluation."""

    def __post_init__(self) -> None:
        check_at_least(1, batch_size=self.batch_size)
        check_at_least(0, workers=self.workers)


def evaluate(
    model: CropModel, dataset: Dataset, options: EvaluateOptions | None = None, *, device: torch.device | str = "cpu"
) -> Report:
    """Score a model on the samples of a data set.

    Args:
        model: Maps crops to predictions. It must be on `device`. A module is in eval mode during the evaluation.
        dataset: Samples; they are not changed.
        options: Protocol, number of samples and how they are processed.
        device: Device that the crops are moved to.

    Raises:
        UnclaspError: There are no samples, something that the protocol needs is missing, a prediction is not finite,
            the recorder is used, or the device is not available.
    """
    options = options or EvaluateOptions()
    count = sample_count(dataset, options.limit)
    scores = collect_scores(model, dataset, options, indices=range(count), device=device)
    return report_of(scores, model, dataset, options.protocol)


def report_of(scores: Scores, model: CropModel, dataset: Dataset, protocol: Protocol) -> Report:
    """Return the report of a model's scores on a data set, of one process or summed over several."""
    return Report.from_scores(
        scores, model=model.name, dataset=_name(dataset), image_size=model.image_size, protocol=protocol,
        notes=_notes(scores, dataset),
    )  # fmt: skip


def _notes(scores: Scores, dataset: Dataset) -> dict[str, str]:
    """Return the data set's notes, and how many of its pictures were scored if not all were."""
    scored, count = scores.sample_count("all"), len(dataset)
    return notes_of(dataset) | ({"limit": f"the first {scored} of {count} pictures"} if scored < count else {})


def collect_scores(
    model: CropModel, dataset: Dataset, options: EvaluateOptions, *, indices: Sequence[int],
    device: torch.device | str = "cpu",
) -> Scores:  # fmt: skip
    """Score a model on a subset of the samples, which may be empty: one process's share of `evaluate`.

    The sum of the scores of all shares, whatever their sizes, gives the same report as a single process. The arguments
    are those of `evaluate` and `indices`, the samples of this share, which replace `options.limit`.
    """
    check_device(device)
    if options.recorder is not None and options.recorder.entries:
        raise UnclaspError("this Recorder holds the predictions of another evaluation: give each one a new Recorder()")
    crops = _Crops(dataset, indices, model.image_size, options.protocol, options.external)
    loader: DataLoader[Any] = DataLoader(
        Guarded(crops), sampler=range(len(indices)), batch_size=options.batch_size, num_workers=options.workers,
        collate_fn=listed_or_error, worker_init_fn=start_worker,
    )  # fmt: skip
    scores, next_indices = Scores(), iter(indices)
    with closing(raise_errors(loader)) as batches, _in_eval_mode(model):
        for items in batches if len(indices) else ():
            images = torch.from_numpy(np.stack([image for image, _ in items]).transpose(0, 3, 1, 2)).to(device)
            with torch.inference_mode():
                prediction = model(images)
            predicted_samples = _split_batch(prediction, model.image_size, model.depth_axis)
            for predicted, (_, truth) in zip(predicted_samples, items, strict=True):
                scores.add(score(predicted, truth, options.protocol, options.external))
                index = next(next_indices)
                if options.recorder is not None:
                    options.recorder.add(index, truth.name, predicted, with_parts=truth.parts is not None)
            if options.progress is not None:
                options.progress(int(scores.samples.sum()), len(indices))
    return scores


@contextmanager
def _in_eval_mode(model: CropModel) -> Iterator[None]:
    """Set a module to evaluation mode within the block, and each of its parts back to its own mode afterwards."""
    modes = [(module, module.training) for module in (model.modules() if isinstance(model, nn.Module) else ())]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def share_of(count: int, batch_size: int, *, rank: int, world: int) -> list[int]:
    """Return the sample indices of one of several processes: every `world`-th batch of a single-process run.

    Batches are never split, because a network's output for a picture can differ in the last bit with the rest of its
    batch.
    """
    return [
        index
        for start in range(rank * batch_size, count, world * batch_size)
        for index in range(start, min(start + batch_size, count))
    ]


def score_predictions(
    predictions: PosePredictions, dataset: Dataset, *, protocol: Protocol | None = None, name: str = "predictions",
    external: External | None = None, limit: int | None = None, progress: Progress | None = None,
) -> Report:  # fmt: skip
    """Score stored predictions of any method on the data set that they were made for.

    Args:
        predictions: One per sample of the data set.
        dataset: Samples; they are not changed. Pictures are decoded only to score part classes.
        protocol: Evaluation protocol; InterHand2.6M's by default. Its boxes define the crops.
        name: Name of the method in the report.
        external: Boxes and depths, for protocols that take them from another program.
        limit: Score only this many samples, from the first on.
        progress: Called after every sample.

    Raises:
        UnclaspError: The predictions do not match the samples, a prediction is not finite, or something that the
            protocol needs is missing.
    """
    protocol, external = protocol or Protocol(), external or External()
    count = sample_count(dataset, limit)
    scores, size = Scores(), predictions.image_size
    for index, row in enumerate(predictions.rows(dataset, count).tolist()):
        sample = annotated(dataset, index) if predictions.parts is None else dataset[index]
        crop_from_image = geometry.crop_matrix(crop_box(sample, protocol, external), size)
        parts = None if predictions.parts is None else crop_parts(sample.parts, crop_from_image, size)
        truth = Truth.of(sample, crop_from_image, parts)
        scores.add(score(predictions.sample(row, crop_from_image), truth, protocol, external))
        if progress is not None:
            progress(index + 1, count)
    return Report.from_scores(
        scores, model=name, dataset=_name(dataset), image_size=size if predictions.in_crops else None,
        protocol=protocol, notes={**_notes(scores, dataset), **predictions.notes()},
    )  # fmt: skip


def predictions_of(
    predictor: Predictor, dataset: Dataset, *, boxed: bool = True, own_distance: bool = False, limit: int | None = None,
    progress: Progress | None = None,
) -> PosePredictions:  # fmt: skip
    """Run a predictor on a data set's pictures and return its poses, ready for `score_predictions`.

    This scores the whole pipeline that users call, where `evaluate` scores one forward pass per annotated crop. The
    predictor gets the data set's camera intrinsics, which the protocol uses as well.

    Args:
        predictor: The predictor to run.
        dataset: Samples; they are not changed.
        boxed: Pass the annotated boxes to the predictor; otherwise it detects the hands itself.
        own_distance: Return the joints at the distance that the predictor estimates from the size of the hands, which
            then counts; otherwise 2.5D poses, which the protocol lifts.
        limit: Only this many samples, from the first on.
        progress: Called after every sample.
    """
    count = sample_count(dataset, limit)
    poses, names = [], []
    for index in range(count):
        sample = dataset[index]
        focal, princpt = ((float(x), float(y)) for x, y in (sample.focal, sample.princpt))
        pose = predictor(sample.image, sample.box if boxed else None, focal=focal, princpt=princpt)
        poses.append(replace(pose, image=None))
        names.append(sample.name)
        if progress is not None:
            progress(index + 1, count)
    joints: dict[str, Any] = {"joints_cam": np.stack([pose.joints_cam for pose in poses])}
    if not own_distance:
        joints = {
            "pose_2p5d": np.stack([np.column_stack([pose.joints_2d, pose.joints_3d[:, 2]]) for pose in poses]),
            "pixels": "image",
            "root_depth": np.array([geometry.root_depth(pose.joints_cam) for pose in poses]),
        }
    return PosePredictions(
        **joints,
        presence=np.stack([pose.present for pose in poses]).astype(np.float64),
        confidence=column([pose.confidence for pose in poses]),
        names=tuple(names),
    )


def sample_count(dataset: Dataset, limit: int | None) -> int:
    """Return the number of samples to score: that of the data set, but at most `limit`.

    Raises:
        UnclaspError: It is 0.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count < 1:
        raise UnclaspError("there is nothing to evaluate: the data set is empty or the limit below 1")
    return count


class _Crops(TorchDataset[tuple[Pixels, Truth]]):
    """The test crops and ground truth of some samples."""

    def __init__(
        self, dataset: Dataset, indices: Sequence[int], image_size: int, protocol: Protocol, external: External
    ) -> None:
        self.dataset, self.indices, self.image_size = dataset, indices, image_size
        self.protocol, self.external = protocol, external

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Pixels, Truth]:
        sample = self.dataset[self.indices[index]]
        crop = crop_image(sample.image, crop_box(sample, self.protocol, self.external), self.image_size)
        parts = crop_parts(sample.parts, crop.crop_from_image, self.image_size)
        return crop.image, Truth.of(sample, crop.crop_from_image, parts)


def _split_batch(prediction: Prediction, image_size: int, depth_axis: DepthAxis) -> list[PredictedSample]:
    """Split a batch into one prediction per sample, with logits turned into probabilities and part classes."""
    middle = geometry.crop_middle(image_size) if depth_axis is DepthAxis.CROP else None
    columns = {"parts": prediction.part_logits.argmax(dim=1).cpu()}
    for name in ("pose_2p5d", "root_depth", "presence", "confidence"):
        values = getattr(prediction, name)
        if values is not None:
            numbers = values.cpu().double()
            columns[name] = numbers.sigmoid() if name in ("presence", "confidence") else numbers
    rows = zip(*(column.numpy() for column in columns.values()), strict=True)
    return [
        PredictedSample(image_size=image_size, sight_pixel=middle, **dict(zip(columns, row, strict=True)))
        for row in rows
    ]


def _name(dataset: Dataset) -> str:
    return str(getattr(dataset, "name", type(dataset).__name__))
