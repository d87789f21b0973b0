"""Training of the fusion network: collects both networks' outputs for rendered hands in a file, and fits it to these.

The pictures must not be those that the pose network was trained on, because it is more confident on its training data
than on users' pictures.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unclasp import geometry
from unclasp.batch import Sample
from unclasp.data import Dataset
from unclasp.data.transforms import sight_of
from unclasp.errors import DataError, UnclaspError
from unclasp.files import whole
from unclasp.find.crop_result import LIKELY_PRESENCE, CropResult
from unclasp.find.fusion import FORMAT, NUMBERS, UNIT_MM, can_fuse, fusion_input, in_crop
from unclasp.find.landmarks import FEATURES, Landmarks
from unclasp.hands import FLIPPED_JOINTS, HAND_SLICES, JOINTS_PER_HAND, SIDES
from unclasp.npz import read_arrays
from unclasp.predictor import Predictor
from unclasp.training.fusion_net import FusionNet

Floats = npt.NDArray[np.floating]
Progress = Callable[[int, int], None]

_MAX_SHIFT: Final = 0.06
"""Largest offset of the crop from the annotated box along each axis, in sides of the box."""
_LOG_SCALE_RANGE: Final = (-0.15, 0.12)
"""Range of the logarithm of the crop's size relative to the annotated box."""
_CROP_MM: Final = 250.0
"""Approximate side of the landmark network's crop at the hand; converts in-plane errors to mm, like those of depth."""
_LOSS_UNIT_MM: Final = 50.0
"""Unit of errors in the loss."""
_WIDTH: Final = 512
_BATCH_SIZE: Final = 256
_LEARNING_RATE: Final = 1e-3
_WEIGHT_DECAY: Final = 0.05
_COLUMNS: Final = {
    "numbers": (np.float16, (NUMBERS + FEATURES,)), "own": (np.float32, (JOINTS_PER_HAND, 3)),
    "read": (np.float32, (JOINTS_PER_HAND, 2)), "truth": (np.float32, (JOINTS_PER_HAND, 3)),
}  # fmt: skip
"""Type and shape of what is stored for each hand: `FusionInput`, and the true joints in the form of its `own`."""


def collect_evidence(
    predictor: Predictor, dataset: Dataset, out: Path, *, mirrored: bool = False, seed: int = 0,
    limit: int | None = None, progress: Progress | None = None,
) -> int:  # fmt: skip
    """Run both networks on each hand of a data set, and write their outputs and the true joints to a file.

    Args:
        predictor: A predictor with a landmark network and a pose network that can be fused (`fusion.can_fuse`).
        dataset: The samples.
        out: Output file, ending in .npz.
        mirrored: Use the mirror images of the samples.
        seed: Seed of the random offsets of the crops from the annotated boxes.
        limit: Use at most this many samples, the first ones.
        progress: Called after every sample with the number done and the total.

    Returns:
        The number of hands.

    Raises:
        DataError: The data set has no usable hand with all its joints.
        UnclaspError: The pose network lacks outputs that the fusion needs, or there is no landmark network.
    """
    landmarks = predictor.landmarks
    if landmarks is None:
        raise UnclaspError("the fusion learns from the landmark network, and the predictor has none: landmarks=True")
    count = len(dataset) if limit is None else min(limit, len(dataset))
    rows: list[tuple[Floats, ...]] = []
    for index in range(count):
        sample = _mirror_image(dataset[index]) if mirrored else dataset[index]
        rng = np.random.default_rng([seed, index, mirrored])
        square = geometry.square_box(sample.box)
        side = square[2] - square[0]
        middle = (square[:2] + square[2:]) / 2 + rng.uniform(-_MAX_SHIFT, _MAX_SHIFT, 2) * side
        half = side / 2 * np.exp(rng.uniform(*_LOG_SCALE_RANGE))
        result = predictor.crop_predictor.hands_in(sample.image, np.concatenate([middle - half, middle + half]))
        if not can_fuse(result):
            raise UnclaspError(
                f"{predictor.network.name} cannot be fused: it tells no confidence (unclasp calibrate), no distance of "
                "the wrists, or depths along the camera's axis instead of the crop's line of sight"
            )
        rows += [
            tuple(part.astype(kind) for part, (kind, _) in zip(hand, _COLUMNS.values(), strict=True))
            for hand in _hands(landmarks, result, sample)
        ]
        if progress is not None:
            progress(index + 1, count)
    if not rows:
        raise DataError("there is no hand with all its joints in these pictures that the network sees")
    columns = (np.stack(column) for column in zip(*rows, strict=True))
    facts = {"format": np.array(FORMAT), "network": np.array(predictor.network.name)}
    with whole(out) as temporary:
        _save(temporary, facts | dict(zip(_COLUMNS, columns, strict=True)))
    return len(rows)


def train_fusion(
    looks: Sequence[Path], out: Path, *, epochs: int = 12, seed: int = 0, progress: Progress | None = None
) -> float:
    """Fit a fusion network to files of `collect_evidence`, and write it atomically, with weights in half precision.

    Args:
        looks: One or more files; all are held in memory.
        out: Output file, ending in .npz.
        epochs: Number of passes over the hands.
        seed: Seed of the initialisation and the order.
        progress: Called after every epoch with the number done and the total.

    Returns:
        The mean loss in the last epoch.

    Raises:
        DataError: A file is missing, damaged or of another kind, its outputs are from another pose network than those
            of the first file, or there are too few hands for a batch.
        UnclaspError: The loss is not finite.
    """
    files = [_read(path) for path in looks]
    for path, file in zip(looks, files, strict=True):
        if file["network"] != files[0]["network"]:
            raise DataError(
                f"{path} has looks of {file['network']}, {looks[0]} of {files[0]['network']}: use one network's"
            )
    numbers, own, read, truth = (torch.from_numpy(np.concatenate([file[key] for file in files])) for key in _COLUMNS)
    steps = epochs * (len(numbers) // _BATCH_SIZE)
    if len(numbers) < _BATCH_SIZE:
        raise DataError(f"expected at least {_BATCH_SIZE} hands to train on, got {len(numbers)}")
    torch.manual_seed(seed)
    net = FusionNet(_WIDTH)
    net.mean.copy_(numbers.mean(dim=0, dtype=torch.float32))
    net.deviation.copy_((numbers.float() - net.mean).square().mean(dim=0).sqrt() + 1e-3)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    mean = 0.0
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(numbers))[: len(numbers) // _BATCH_SIZE * _BATCH_SIZE].view(-1, _BATCH_SIZE):
            share, deeper = net(numbers[batch].float())
            loss = _loss(share, deeper, own[batch], read[batch], truth[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        mean = float(np.mean(losses))
        if not np.isfinite(mean):
            raise UnclaspError(f"the loss is not finite in epoch {epoch + 1}; nothing was written")
        if progress is not None:
            progress(epoch + 1, epochs)
    tensors = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    halved = {name: tensor.astype(np.float16) if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
    with whole(out) as temporary:
        _save(temporary, {"format": np.array(FORMAT), **halved})
    return mean


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _loss(share: Tensor, deeper: Tensor, own: Tensor, read: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over joints of their distance plus 0.3 times their L1 distance, in units of `_LOSS_UNIT_MM`."""
    positions = share[..., None] * own[..., :2] + (1 - share[..., None]) * read
    errors = torch.cat(
        [_CROP_MM * (positions - truth[..., :2]), UNIT_MM * (own[..., 2] + deeper - truth[..., 2])[..., None]], 2
    )
    errors = errors / _LOSS_UNIT_MM
    return ((errors.square().sum(dim=2) + 1e-4).sqrt() + 0.3 * errors.abs().sum(dim=2)).mean()


def _hands(landmarks: Landmarks, result: CropResult, sample: Sample) -> Iterator[tuple[Floats, ...]]:
    """Yield evidence and true joints (21, 3), in the form of `FusionInput.own`, of each hand with a likely presence.

    Hands must be fully annotated, and the landmark network's output must be finite.
    """
    pixels = geometry.project(np.where(sample.valid[:, None], sample.joints_cam, 1.0), sample.focal, sample.princpt)
    for slot, joints in enumerate(HAND_SLICES):
        if (
            not sample.hand_type[slot]
            or not sample.valid[joints].all()
            or result.output.presence[0, slot] < LIKELY_PRESENCE
        ):
            continue
        reading = landmarks(sample.image, result.joints_2d[joints], SIDES[slot])
        if not reading.finite:
            continue
        sight = sight_of(
            result.middles_of_hands[slot],
            np.asarray(sample.focal),
            np.asarray(sample.princpt),
            result.output.depth_axis,
        )
        depths = (sample.joints_cam[joints] - sample.joints_cam[joints][-1]) @ sight / UNIT_MM
        yield (*fusion_input(result, slot, reading), np.column_stack([in_crop(reading, pixels[joints]), depths]))


def _mirror_image(sample: Sample) -> Sample:
    """Return the mirror image of a sample, without its part mask."""
    width = sample.image.shape[1]
    return replace(
        sample, image=np.ascontiguousarray(sample.image[:, ::-1]), parts=None,
        box=geometry.mirror_box(sample.box, width).astype(np.float32),
        joints_cam=(sample.joints_cam * np.array([-1, 1, 1], np.float32))[FLIPPED_JOINTS],
        valid=sample.valid[FLIPPED_JOINTS], hand_type=sample.hand_type[::-1].copy(),
        princpt=np.array([width - 1 - sample.princpt[0], sample.princpt[1]], np.float32),
    )  # fmt: skip


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a file of `collect_evidence`, and check its format, shapes and values."""
    try:
        arrays = read_arrays(path)
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{path}: expected a file of unclasp fusion look ({error})") from error
    kind = str(arrays.get("format", "none"))
    if kind != FORMAT or arrays.keys() != {"format", "network", *_COLUMNS}:
        raise DataError(f"{path}: expected a file of unclasp fusion look, format {FORMAT!r}, got {kind!r}")
    for key, (_, shape) in _COLUMNS.items():
        if arrays[key].shape != (len(arrays["numbers"]), *shape) or not np.isfinite(arrays[key]).all():
            raise DataError(f"{path}: {key} is not finite or not of shape (hands, {', '.join(map(str, shape))})")
    return arrays
