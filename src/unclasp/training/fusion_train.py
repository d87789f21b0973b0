"""The fusion network's training: what both networks say of rendered hands, kept in a file, and a fit to where they are.

The pictures must be others than the pose network was trained on: it is surer of those than of what users bring.
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

_SHIFTED: Final = 0.06
"""Sides of the crop, at most, by which a look is beside the annotated box, either way."""
_SCALED: Final = (-0.15, 0.12)
"""The same for the logarithm of its size."""
_CROP_MM: Final = 250.0
"""About the side of the landmark network's crop, at the hand: makes places and depths count alike."""
_GIVEN_MM: Final = 50.0
"""Errors are given in such units to the loss."""
_WIDTH: Final = 512
_BATCH: Final = 256
_RATE: Final = 1e-3
_WEIGHT_DECAY: Final = 0.05
_KEPT: Final = {
    "numbers": (np.float16, (NUMBERS + FEATURES,)), "own": (np.float32, (JOINTS_PER_HAND, 3)),
    "read": (np.float32, (JOINTS_PER_HAND, 2)), "truth": (np.float32, (JOINTS_PER_HAND, 3)),
}  # fmt: skip
"""What is kept of each hand: `Evidence`, and where the joints are, as `Evidence.own`."""


def looks_at(
    predictor: Predictor, dataset: Dataset, out: Path, *, mirrored: bool = False, seed: int = 0,
    limit: int | None = None, progress: Progress | None = None,
) -> int:  # fmt: skip
    """Write what both networks say of each hand of a data set, and where its joints are.

    Args:
        predictor: With a landmark network, and a pose network that can be fused (`fusion.can_fuse`).
        dataset: Samples; they are not changed.
        out: Ends in .npz.
        mirrored: Look at the mirror images.
        seed: Of how far each crop is beside the annotated box.
        limit: Only the first so many samples.
        progress: Told after every sample.

    Returns:
        How many hands there are.

    Raises:
        DataError: There is no whole hand in the data set.
        UnclaspError: The network does not say what the fusion needs, or there is no landmark network.
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
        middle = (square[:2] + square[2:]) / 2 + rng.uniform(-_SHIFTED, _SHIFTED, 2) * side
        half = side / 2 * np.exp(rng.uniform(*_SCALED))
        view = predictor.crop_predictor.hands_in(sample.image, np.concatenate([middle - half, middle + half]))
        if not can_fuse(view):
            raise UnclaspError(
                f"{predictor.network.name} cannot be fused: it tells no confidence (unclasp calibrate), no distance of "
                "the wrists, or depths along the camera's axis instead of the crop's line of sight"
            )
        rows += [
            tuple(part.astype(kind) for part, (kind, _) in zip(hand, _KEPT.values(), strict=True))
            for hand in _hands(landmarks, view, sample)
        ]
        if progress is not None:
            progress(index + 1, count)
    if not rows:
        raise DataError("there is no hand with all its joints in these pictures that the network sees")
    columns = (np.stack(column) for column in zip(*rows, strict=True))
    facts = {"format": np.array(FORMAT), "network": np.array(predictor.network.name)}
    with whole(out) as temporary:
        _save(temporary, facts | dict(zip(_KEPT, columns, strict=True)))
    return len(rows)


def train_fusion(
    looks: Sequence[Path], out: Path, *, epochs: int = 12, seed: int = 0, progress: Progress | None = None
) -> float:
    """Fit a fusion network to files of `looks_at`, and write it whole, in half precision.

    Args:
        looks: One file or more; all are held in memory.
        out: Ends in .npz.
        epochs: How often each hand is seen.
        seed: Of the start and the order.
        progress: Told after every epoch.

    Returns:
        The mean loss in the last epoch.

    Raises:
        DataError: A file is missing, damaged, something else, or of another network than the first one, or there are
            too few hands for a batch.
        UnclaspError: The loss is not finite.
    """
    files = [_read(path) for path in looks]
    for path, file in zip(looks, files, strict=True):
        if file["network"] != files[0]["network"]:
            raise DataError(
                f"{path} has looks of {file['network']}, {looks[0]} of {files[0]['network']}: use one network's"
            )
    numbers, own, read, truth = (torch.from_numpy(np.concatenate([file[key] for file in files])) for key in _KEPT)
    steps = epochs * (len(numbers) // _BATCH)
    if len(numbers) < _BATCH:
        raise DataError(f"expected at least {_BATCH} hands to train on, got {len(numbers)}")
    torch.manual_seed(seed)
    net = FusionNet(_WIDTH)
    net.mean.copy_(numbers.mean(dim=0, dtype=torch.float32))
    net.deviation.copy_((numbers.float() - net.mean).square().mean(dim=0).sqrt() + 1e-3)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    mean = 0.0
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(numbers))[: len(numbers) // _BATCH * _BATCH].view(-1, _BATCH):
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
    """Return the mean distance of the joints, and a part of that along each axis, in units of `_GIVEN_MM`."""
    places = share[..., None] * own[..., :2] + (1 - share[..., None]) * read
    apart = torch.cat(
        [_CROP_MM * (places - truth[..., :2]), UNIT_MM * (own[..., 2] + deeper - truth[..., 2])[..., None]], 2
    )
    apart = apart / _GIVEN_MM
    return ((apart.square().sum(dim=2) + 1e-4).sqrt() + 0.3 * apart.abs().sum(dim=2)).mean()


def _hands(landmarks: Landmarks, view: CropResult, sample: Sample) -> Iterator[tuple[Floats, ...]]:
    """Yield the evidence of each hand that is there and may be seen, and the truth: (21, 3), as `Evidence.own`."""
    pixels = geometry.project(np.where(sample.valid[:, None], sample.joints_cam, 1.0), sample.focal, sample.princpt)
    for slot, joints in enumerate(HAND_SLICES):
        if (
            not sample.hand_type[slot]
            or not sample.valid[joints].all()
            or view.output.presence[0, slot] < LIKELY_PRESENCE
        ):
            continue
        reading = landmarks(sample.image, view.joints_2d[joints], SIDES[slot])
        if not reading.finite:
            continue
        sight = sight_of(
            view.middles_of_hands[slot], np.asarray(sample.focal), np.asarray(sample.princpt), view.output.depth_axis
        )
        depths = (sample.joints_cam[joints] - sample.joints_cam[joints][-1]) @ sight / UNIT_MM
        yield (*fusion_input(view, slot, reading), np.column_stack([in_crop(reading, pixels[joints]), depths]))


def _mirror_image(sample: Sample) -> Sample:
    """Return what is asked of a sample here, mirrored."""
    width = sample.image.shape[1]
    return replace(
        sample, image=np.ascontiguousarray(sample.image[:, ::-1]), parts=None,
        box=geometry.mirror_box(sample.box, width).astype(np.float32),
        joints_cam=(sample.joints_cam * np.array([-1, 1, 1], np.float32))[FLIPPED_JOINTS],
        valid=sample.valid[FLIPPED_JOINTS], hand_type=sample.hand_type[::-1].copy(),
        princpt=np.array([width - 1 - sample.princpt[0], sample.princpt[1]], np.float32),
    )  # fmt: skip


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        arrays = read_arrays(path)
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{path}: expected a file of unclasp fusion look ({error})") from error
    kind = str(arrays.get("format", "none"))
    if kind != FORMAT or arrays.keys() != {"format", "network", *_KEPT}:
        raise DataError(f"{path}: expected a file of unclasp fusion look, format {FORMAT!r}, got {kind!r}")
    for key, (_, shape) in _KEPT.items():
        if arrays[key].shape != (len(arrays["numbers"]), *shape) or not np.isfinite(arrays[key]).all():
            raise DataError(f"{path}: {key} is not finite or not of shape (hands, {', '.join(map(str, shape))})")
    return arrays
