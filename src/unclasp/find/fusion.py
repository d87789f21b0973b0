"""What two networks say of a hand, made one: late fusion by a small network that has learned whom to trust when.

The pose network tells hands apart and how deep their joints lie, and has learned that from rendered hands. The landmark
network has seen real ones, one at a time; its depths are not ours, but tell of ours how wrong they are. A joint's place
in the picture lies between where both have it, never beyond: what rendered hands teach of how far MediaPipe's joints
are off does not hold for real ones.
"""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.config import DepthAxis
from unclasp.errors import CheckpointError
from unclasp.find.crop_result import LIKELY_PRESENCE, CropResult
from unclasp.find.landmarks import FEATURES, SIZE, LandmarkReading
from unclasp.hands import HAND_SLICES, JOINTS_PER_HAND
from unclasp.lifting import mm_per_px
from unclasp.npz import read_arrays
from unclasp.shipped import WEIGHTS

Floats = npt.NDArray[np.floating]

FORMAT: Final = "fusion 1"
"""Version of the file: names and shapes of its tensors, and the order of the numbers in `FusionInput`."""
NUMBERS: Final = 278
"""How many numbers there are beside the landmark network's features."""
BLOCKS: Final = 2
"""How many residual blocks the network has."""
UNIT_MM: Final = 100.0
"""Depths are in units of so many mm."""
HINTS: Final = 128
"""How many numbers it makes of the landmark network's features."""
DEPTH_CORRECTION_SHARE: Final = 0.7
"""This share of what depths are told to lack is believed: it was learned from rendered hands."""
LARGEST: Final = 6.0
"""Standard deviations from the mean at which its inputs are clipped."""

_FARTHEST: Final = 3.0
"""Sides of the crop at which the other hand's joints are clipped."""
_DEEPEST: Final = 4.0
"""The same for its depths, in units of `UNIT_MM`."""
_SUREST: Final = 8.0
"""Logit at which the landmark network's two answers are clipped."""


class FusionInput(NamedTuple):
    """What both networks say of a hand, in the landmark network's crop: a right hand that points up."""

    numbers: Floats
    """(NUMBERS + FEATURES,) what the fusion network sees."""
    own: Floats
    """(21, 3) where the pose network has the joints: sides of the crop from its middle, depths in `UNIT_MM`."""
    read: Floats
    """(21, 2) where the landmark network has them."""


class Fusion:
    """The network, in NumPy: a hand takes 1.4 million multiplications.

    Args:
        tensors: As of `fusion_net.FusionNet`.
    """

    def __init__(self, tensors: dict[str, Floats]) -> None:
        self._tensors = {name: np.asarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}

    def __call__(self, view: CropResult, slot: int, reading: LandmarkReading) -> tuple[Floats, Floats]:
        """Return a hand's joints (21, 2) px of the picture, and their depths (21,) mm relative to the wrist.

        Args:
            view: What the pose network saw, with a confidence.
            slot: The hand, 0 right and 1 left.
            reading: What the landmark network read around it.
        """
        evidence = fusion_input(view, slot, reading)
        share, deeper = self.forward(evidence.numbers)
        joints = share[:, None] * evidence.own[:, :2] + (1 - share[:, None]) * evidence.read
        depths = UNIT_MM * (evidence.own[:, 2] + DEPTH_CORRECTION_SHARE * deeper)
        depths[-1] = 0.0  # the wrist, from which they are measured
        return geometry.apply_affine(np.linalg.inv(reading.crop_from_image), (joints + 0.5) * SIZE), depths

    def forward(self, numbers: Floats) -> tuple[Floats, Floats]:
        """Return the pose network's share (21,) of each joint's place, and what its depths lack (21,), but the wrist's.

        Args:
            numbers: (NUMBERS + FEATURES,) of `FusionInput`.

        Returns:
            0 to 1, and in units of `UNIT_MM`.
        """
        single: Floats = np.asarray(numbers, dtype=np.float32)  # or all the weights would be widened
        x = np.clip((single - self._tensors["mean"]) / self._tensors["deviation"], -LARGEST, LARGEST)
        x = np.concatenate([x[:NUMBERS], np.maximum(self._linear("features", x[NUMBERS:]), 0)])
        x = self._linear("enter", x)
        for block in range(BLOCKS):
            normed = x - x.mean()
            normed = normed / np.sqrt(np.square(normed).mean() + 1e-5)
            x = x + self._linear(f"narrow.{block}", np.maximum(self._linear(f"widen.{block}", normed), 0))
        share, deeper = self._linear("answer", x).reshape(JOINTS_PER_HAND, 2).T.astype(np.float64)
        return 1 / (1 + np.exp(-share)), deeper

    def _linear(self, name: str, x: Floats) -> Floats:
        return np.asarray(self._tensors[f"{name}.weight"] @ x + self._tensors[f"{name}.bias"])


def can_fuse(view: CropResult) -> bool:
    """Tell whether the pose network says what is asked of it.

    That is a confidence in each joint, the distance of the wrists in depth, and depths along the crop's line of sight.
    """
    answer = view.output
    return answer.confidence is not None and answer.root_depth is not None and answer.depth_axis is DepthAxis.CROP


def fusion_input(view: CropResult, slot: int, reading: LandmarkReading) -> FusionInput:
    """Gather what both networks say of a hand.

    Args:
        view: What the pose network saw, with a confidence.
        slot: The hand, 0 right and 1 left.
        reading: What the landmark network read around it.
    """
    answer, (own, other) = view.output, (HAND_SLICES[slot], HAND_SLICES[1 - slot])
    assert answer.confidence is not None and answer.root_depth is not None  # noqa: S101  `can_fuse`
    pixels, confidence, depths = view.joints_2d, answer.confidence[0], answer.pose_2p5d[0, :, 2]
    joints = in_crop(reading, pixels)
    read = reading.joints / SIZE - [0.5, 0.5, 0]
    there = float(answer.presence[0, 1 - slot] >= LIKELY_PRESENCE)
    behind = float(answer.root_depth[0]) * (1 if slot == 0 else -1)
    chances = np.clip([reading.hand_score, reading.side_score], 1e-6, 1 - 1e-6)
    logits = np.clip(np.log(chances / (1 - chances)), -_SUREST, _SUREST)
    side = SIZE / np.sqrt(np.abs(np.linalg.det(reading.crop_from_image[:2, :2])))
    numbers = np.concatenate([
        joints[own].ravel(), depths[own] / UNIT_MM, confidence[own], answer.presence[0, [slot]],
        read.ravel(), (read[:, :2] - joints[own]).ravel(), logits,
        [np.log(side * mm_per_px(pixels[own], depths[own]) / UNIT_MM)],
        there * np.clip(joints[other], -_FARTHEST, _FARTHEST).ravel(),
        there * np.clip((depths[other] + behind) / UNIT_MM, -_DEEPEST, _DEEPEST), there * confidence[other], [there],
        np.log1p(reading.features),
    ])  # fmt: skip
    return FusionInput(numbers, np.column_stack([joints[own], depths[own] / UNIT_MM]), read[:, :2])


def in_crop(reading: LandmarkReading, pixels: Floats) -> Floats:
    """Return where pixels (N, 2) of the picture are in the reading's crop: sides of it, from its middle."""
    return geometry.apply_affine(reading.crop_from_image, pixels) / SIZE - 0.5


def open_fusion(weights: Path | str | None = None) -> Fusion:
    """Open a file of `unclasp fusion train`, or the shipped one.

    Args:
        weights: Ends in .npz.

    Raises:
        CheckpointError: The file is missing, damaged or something else.
    """
    path = Path(weights) if weights is not None else WEIGHTS / "fusion.npz"
    if not path.is_file():
        without = "--no-landmarks, landmarks=False" if weights is None else "the shipped one is used then"
        raise CheckpointError(f"there is no fusion network {path}; leave it out: {without}")
    try:
        tensors = read_arrays(path)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read as npz ({error})") from error
    kind = str(tensors.pop("format", "none"))
    shapes = shapes_of(tensors["enter.bias"].size if "enter.bias" in tensors else 0)
    fits = kind == FORMAT and {name: tensor.shape for name, tensor in tensors.items()} == shapes
    if not (fits and all(tensor.dtype.kind == "f" and np.isfinite(tensor).all() for tensor in tensors.values())):
        raise CheckpointError(
            f"{path} is no fusion network of format {FORMAT!r}; was it written by unclasp fusion train?"
        )
    return Fusion(tensors)


def shapes_of(width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the network's tensors.

    Args:
        width: Numbers between its blocks.
    """
    layers = {"features": (HINTS, FEATURES), "enter": (width, NUMBERS + HINTS), "answer": (2 * JOINTS_PER_HAND, width)}
    layers |= {f"{name}.{block}": (width, width) for block in range(BLOCKS) for name in ("widen", "narrow")}
    weights: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in layers.items()}
    biases: dict[str, tuple[int, ...]] = {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    return weights | biases | dict.fromkeys(("mean", "deviation"), (NUMBERS + FEATURES,))
