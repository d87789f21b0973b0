"""A data set and a model, or a file of predictions, in; a `Report` out (section 4.1)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from unclasp import geometry
from unclasp.batch import ByteArray, Prediction
from unclasp.data import Dataset
from unclasp.data.transforms import PART_STRIDE, View, make_example
from unclasp.errors import UnclaspError
from unclasp.hands import NUM_JOINTS, NUM_PARTS
from unclasp.report import Protocol, Report
from unclasp.scores import Scores
from unclasp.scoring import Answer, External, PosePredictions, Truth, crop_box, score

__all__ = [
    "External",
    "MeanPose",
    "PosePredictions",
    "Protocol",
    "Report",
    "Scores",
    "collect_scores",
    "evaluate",
    "mean_pose",
    "score_predictions",
]

Progress = Callable[[int, int], None]
"""Called with the samples done and the samples in all."""
Model = Callable[[Tensor], Prediction]
"""Crops (B, 3, S, S) uint8 RGB to a prediction: `DFL`, `MeanPose`, or anything that answers like them."""


def evaluate(
    model: Model, dataset: Dataset, *, image_size: int, protocol: Protocol | None = None, batch_size: int = 32,
    device: torch.device | str = "cpu", limit: int | None = None, workers: int = 0, progress: Progress | None = None,
    external: External | None = None,
) -> Report:  # fmt: skip
    """Score a model on the samples of a data set.

    Args:
        model: Takes crops to predictions; it has to be on `device`. A module is put into eval mode meanwhile.
        dataset: Samples; they are not changed.
        image_size: Side of the crops in pixels that the model takes.
        protocol: The choices behind the figures; InterHand2.6M's if not given.
        batch_size: Crops per forward pass.
        device: Where the crops go.
        limit: Only the first so many samples.
        workers: Loader processes.
        progress: Told after every batch.
        external: Boxes and depths, for protocols that take them from outside.

    Raises:
        UnclaspError: There are no samples, the protocol needs what is not there, or a prediction is not finite.
    """
    protocol = protocol or Protocol()
    count = len(dataset) if limit is None else min(limit, len(dataset))
    scores = collect_scores(
        model, dataset, image_size=image_size, protocol=protocol, batch_size=batch_size, device=device,
        indices=range(count), workers=workers, progress=progress, external=external,
    )  # fmt: skip
    return Report.from_scores(
        scores, model=_name(model), dataset=_name(dataset), image_size=image_size, protocol=protocol
    )


def collect_scores(
    model: Model, dataset: Dataset, *, image_size: int, protocol: Protocol, indices: Sequence[int],
    batch_size: int = 32, device: torch.device | str = "cpu", workers: int = 0, progress: Progress | None = None,
    external: External | None = None,
) -> Scores:  # fmt: skip
    """Score a model on some samples: a share of `evaluate` for one of several processes.

    The sum of the shares, whatever their sizes, makes the same `Report.from_scores` as a single process. The arguments
    are those of `evaluate`, and `indices`, the samples of this share.
    """
    if not len(indices):
        raise UnclaspError("there is nothing to evaluate: the data set is empty or the limit is 0")
    crops = _Crops(dataset, indices, image_size, protocol, external or External())
    loader: DataLoader[Any] = DataLoader(crops, batch_size=batch_size, num_workers=workers, collate_fn=list)
    scores, modes = Scores(), [(module, module.training) for module in _modules(model)]
    try:
        for module, _ in modes:
            module.training = False
        for items in loader:
            images = torch.from_numpy(np.stack([image for image, _ in items]).transpose(0, 3, 1, 2)).to(device)
            with torch.inference_mode():
                prediction = model(images)
            for answer, (_, truth) in zip(_answers(prediction, image_size), items, strict=True):
                scores.add(score(answer, truth, protocol, crops.external))
            if progress is not None:
                progress(int(scores.samples.sum()), len(indices))
    finally:
        for module, training in modes:
            module.training = training
    return scores


def score_predictions(
    predictions: PosePredictions, dataset: Dataset, *, protocol: Protocol | None = None, name: str = "predictions",
    external: External | None = None,
) -> Report:  # fmt: skip
    """Score stored predictions, whoever made them, on the data set that they were made for.

    Args:
        predictions: One per sample of the data set.
        dataset: Samples; they are not changed.
        protocol: The choices behind the figures; InterHand2.6M's if not given. Its boxes are those of the crops.
        name: Names the method in the report.
        external: Boxes and depths, for protocols that take them from outside.

    Raises:
        UnclaspError: The predictions are of other samples, or not finite, or the protocol needs what is not there.
    """
    protocol, external = protocol or Protocol(), external or External()
    if len(predictions.pose_2p5d) != len(dataset):
        raise UnclaspError(f"there are {len(predictions.pose_2p5d)} predictions for {len(dataset)} samples")
    scores = Scores()
    for index in range(len(dataset)):
        sample = dataset[index]
        if predictions.names is not None and predictions.names[index] != sample.name:
            raise UnclaspError(
                f"prediction {index} is of {predictions.names[index]}, but sample {index} is {sample.name}"
            )
        matrix = geometry.crop_matrix(crop_box(sample, protocol, external), predictions.image_size)
        answer = Answer(
            pose_2p5d=predictions.pose_2p5d[index],
            image_size=predictions.image_size,
            presence=None if predictions.presence is None else predictions.presence[index],
            root_depth=None if predictions.root_depth is None else float(predictions.root_depth[index]),
        )
        scores.add(score(answer, Truth.of(sample, matrix), protocol, external))
    return Report.from_scores(
        scores, model=name, dataset=_name(dataset), image_size=predictions.image_size, protocol=protocol
    )


class _Crops(TorchDataset[tuple[ByteArray, Truth]]):
    """The test crops of some samples, with what they are scored against."""

    def __init__(
        self, dataset: Dataset, indices: Sequence[int], image_size: int, protocol: Protocol, external: External
    ) -> None:
        self.dataset, self.indices, self.image_size = dataset, indices, image_size
        self.protocol, self.external = protocol, external

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[ByteArray, Truth]:
        sample = self.dataset[self.indices[index]]
        box = crop_box(sample, self.protocol, self.external)
        example = make_example(sample, View(box), self.image_size)
        return example.image, Truth.of(sample, geometry.crop_matrix(box, self.image_size), example.parts)


def _answers(prediction: Prediction, image_size: int) -> list[Answer]:
    poses = prediction.pose_2p5d.double().cpu().numpy()
    presence = None if prediction.presence is None else prediction.presence.double().sigmoid().cpu().numpy()
    root_depth = None if prediction.root_depth is None else prediction.root_depth.double().cpu().numpy()
    parts = prediction.part_logits.argmax(dim=1).cpu().numpy()
    return [
        Answer(
            pose_2p5d=pose,
            image_size=image_size,
            presence=None if presence is None else presence[index],
            root_depth=None if root_depth is None else float(root_depth[index]),
            parts=parts[index],
        )
        for index, pose in enumerate(poses)
    ]


def _modules(model: Model) -> list[nn.Module]:
    return list(model.modules()) if isinstance(model, nn.Module) else []


def _name(thing: object) -> str:
    return str(getattr(thing, "name", type(thing).__name__))


class MeanPose(nn.Module):
    """The baseline that does not look: one and the same pose for every crop, with the interface of `DFL`.

    Args:
        pose_2p5d: (42, 3) u, v in crop pixels, depth in mm relative to the joint's own wrist.
        image_size: Side of the crops in pixels.
        presence: (2,) probability of the right and of the left hand.
        root_depth: mm, depth of the left wrist minus that of the right wrist.
    """

    def __init__(self, pose_2p5d: Tensor, image_size: int, *, presence: Tensor, root_depth: float) -> None:
        super().__init__()
        self.name, self.image_size = "mean pose", image_size
        self.register_buffer("pose_2p5d", pose_2p5d)
        self.register_buffer("presence", presence.logit(eps=1e-6))
        self.register_buffer("root_depth", torch.tensor(root_depth))

    def forward(self, image: Tensor) -> Prediction:
        """Answer crops (B, 3, S, S) with the mean pose, and with background everywhere."""
        count, side = len(image), self.image_size // PART_STRIDE
        pose = self.get_buffer("pose_2p5d").expand(count, -1, -1)
        logits = pose.new_zeros(count, NUM_PARTS, side, side)
        logits[:, 0] = 1.0
        return Prediction(
            pose_2p5d=pose,
            steps=(),
            part_logits=logits,
            relations=(),
            presence=self.get_buffer("presence").expand(count, -1),
            root_depth=self.get_buffer("root_depth").expand(count),
        )


def mean_pose(
    dataset: Dataset, *, image_size: int, protocol: Protocol | None = None, limit: int | None = None
) -> MeanPose:
    """Return the mean 2.5D pose of a data set's own test crops.

    It is each joint's mean over the samples in which the joint is valid; one that never is stands at the centre of the
    crop. The relative depth of the wrists and the presence of the hands are means too.

    Args:
        dataset: Samples; training data for an honest baseline, or the data to be scored on for the best constant pose.
        image_size: Side of the crops in pixels.
        protocol: Its boxes make the crops.
        limit: Only the first so many samples.
    """
    protocol = protocol or Protocol()
    total, seen = np.zeros((NUM_JOINTS, 3)), np.zeros((NUM_JOINTS, 1), dtype=np.int64)
    hand_types, root_depths = [], []
    for index in range(len(dataset) if limit is None else min(limit, len(dataset))):
        sample = dataset[index]
        truth = Truth.of(sample, geometry.crop_matrix(crop_box(sample, protocol, External()), image_size))
        total += np.where(truth.valid[:, None], truth.pose_2p5d, 0.0)
        seen += truth.valid[:, None]
        hand_types.append(sample.hand_type)
        if truth.wrists_known:
            root_depths.append(geometry.root_depth(truth.joints_cam))
    if not hand_types:
        raise UnclaspError("a mean pose needs at least one sample; the data set is empty or the limit is 0")
    centre = np.array([image_size / 2, image_size / 2, 0.0])
    pose = np.where(seen > 0, total / np.maximum(seen, 1), centre)
    return MeanPose(
        torch.from_numpy(pose.astype(np.float32)),
        image_size,
        presence=torch.from_numpy(np.mean(hand_types, axis=0, dtype=np.float32)),
        root_depth=float(np.mean(root_depths)) if root_depths else 0.0,
    )
