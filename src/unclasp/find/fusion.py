"""Late fusion of the pose network's and the landmark network's joints of a hand, by a small network.

The pose network tells hands apart and predicts how deep their joints lie, but is trained on rendered hands. The
landmark network is trained on real ones, one at a time; its depths are not as good as the pose network's, but show how
wrong those are. A joint's place in the picture is always a weighted mean of both, never beyond: the error of
MediaPipe's joints that can be learned from rendered hands does not hold for real ones.
"""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats
from unclasp.config import DepthAxis
from unclasp.errors import CheckpointError
from unclasp.find.crop_result import LIKELY_PRESENCE, CropResult
from unclasp.find.landmarks import FEATURES, SIZE, LandmarkReading
from unclasp.hands import HAND_SLICES, JOINTS_PER_HAND
from unclasp.lifting import mm_per_px
from unclasp.npz import read_arrays
from unclasp.shipped import WEIGHTS

SHIPPED: Final = WEIGHTS / "fusion.npz"
"""The shipped network."""
FORMAT: Final = "fusion 2"
"""Version of a network's file: names and shapes of its tensors, and the order of the values in `FusionInput`."""
NUMBERS: Final = 278
"""Number of input values other than the landmark network's features."""
BLOCKS: Final = 2
"""Number of residual blocks."""
UNIT_MM: Final = 100.0
"""Unit of depths in the network, mm."""
HINTS: Final = 128
"""Number of values to which the landmark network's features are reduced."""
DEPTH_CORRECTION_SHARE: Final = 0.7
"""Share of the predicted depth correction that is applied: it was learned from rendered hands."""
LARGEST: Final = 6.0
"""The inputs are clipped at this many standard deviations from the mean."""
CONFIDENCE_INPUTS: Final = 4
"""Number of values from which the confidence in a joint is computed (`confidence_inputs`)."""

_MAX_BYTES: Final = 2**28
"""Most bytes of a network's tensors; the shipped one's are 6 million."""
_MAX_OFFSET: Final = 3.0
"""The other hand's joints are clipped at this many sides of the crop from its middle."""
_MAX_DEPTH: Final = 4.0
"""The other hand's depths are clipped at this, in units of `UNIT_MM`."""
_MAX_LOGIT: Final = 8.0
"""The logits of the landmark network's two probabilities are clipped at this."""
_MAX_CONFIDENCE_LOGIT: Final = 6.0
"""The logits of confidences are clipped at this, above which half precision, in files of evidence, cannot tell them
apart."""
_CONFIDENCES: Final = slice(63, 84)
"""Where `FusionInput.numbers` have the pose network's confidences."""
_LOGITS: Final = slice(190, 192)
"""Where they have the logits of the landmark network's two probabilities."""


class FusionInput(NamedTuple):
    """The outputs of both networks for a hand, in the landmark network's crop: a right hand that points up."""

    numbers: Floats
    """(NUMBERS + FEATURES,) the fusion network's input."""
    own: Floats
    """(21, 3) the pose network's joints: sides of the crop from its middle, depths in `UNIT_MM`."""
    read: Floats
    """(21, 2) the landmark network's joints, in sides of the crop from its middle."""


class FusedHand(NamedTuple):
    """A hand as both networks have it together."""

    joints_2d: Floats
    """(21, 2) px of the picture."""
    depths: Floats
    """(21,) mm relative to the wrist."""
    confidence: Floats
    """(21,) probability that a joint is where it should be, as a pose network's (`training.calibrate`)."""


class Fusion:
    """The fusion network, in NumPy: 1.4 million multiplications for a hand.

    Args:
        tensors: As of `fusion_net.FusionNet`, and `confidence` (`CONFIDENCE_INPUTS`,), weights of `confidence_inputs`.
    """

    def __init__(self, tensors: dict[str, Floats]) -> None:
        self._tensors = {name: np.asarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}

    def __call__(self, result: CropResult, slot: int, reading: LandmarkReading) -> FusedHand:
        """Return a hand as both networks have it together.

        Args:
            result: The result of the pose network, with confidences.
            slot: The hand, 0 right and 1 left.
            reading: The landmark network's reading of it.
        """
        inputs = fusion_input(result, slot, reading)
        joints = self.joints(inputs)
        pixels = geometry.apply_affine(np.linalg.inv(reading.crop_from_image), (joints[:, :2] + 0.5) * SIZE)
        return FusedHand(pixels, UNIT_MM * joints[:, 2], self.confidence(inputs.numbers))

    def joints(self, inputs: FusionInput) -> Floats:
        """Return the fused joints (21, 3) of a hand, in the form of `FusionInput.own`."""
        share, correction = self.forward(inputs.numbers)
        places = share[:, None] * inputs.own[:, :2] + (1 - share[:, None]) * inputs.read
        depths = inputs.own[:, 2] + DEPTH_CORRECTION_SHARE * correction
        depths[-1] = 0.0  # depths are relative to the wrist
        return np.column_stack([places, depths])

    def confidence(self, numbers: Floats) -> Floats:
        """Return the confidence (21,) in the joints of a hand.

        Args:
            numbers: (NUMBERS + FEATURES,) of `FusionInput`.
        """
        return np.asarray(1 / (1 + np.exp(-confidence_inputs(numbers) @ self._tensors["confidence"])))

    def forward(self, numbers: Floats) -> tuple[Floats, Floats]:
        """Run the network.

        Args:
            numbers: (NUMBERS + FEATURES,) of `FusionInput`.

        Returns:
            The pose network's weight (21,) in each joint's place, 0 to 1, and the correction (21,) of each joint's
            depth in units of `UNIT_MM`; the wrist's is meaningless.
        """
        single: Floats = np.asarray(numbers, dtype=np.float32)  # float64 inputs would convert all weights to float64
        x = np.clip((single - self._tensors["mean"]) / self._tensors["deviation"], -LARGEST, LARGEST)
        x = np.concatenate([x[:NUMBERS], np.maximum(self._linear("features", x[NUMBERS:]), 0)])
        x = self._linear("enter", x)
        for block in range(BLOCKS):
            normed = x - x.mean()
            normed = normed / np.sqrt(np.square(normed).mean() + 1e-5)
            x = x + self._linear(f"narrow.{block}", np.maximum(self._linear(f"widen.{block}", normed), 0))
        share, correction = self._linear("answer", x).reshape(JOINTS_PER_HAND, 2).T.astype(np.float64)
        return 1 / (1 + np.exp(-share)), correction

    def _linear(self, name: str, x: Floats) -> Floats:
        return np.asarray(self._tensors[f"{name}.weight"] @ x + self._tensors[f"{name}.bias"])


def can_fuse(result: CropResult) -> bool:
    """Tell whether the fusion network can be used with a result of the pose network.

    It needs a confidence in each joint, the distance of the wrists in depth, and depths along the crop's line of sight.
    """
    output = result.output
    return result.has_confidence and output.root_depth is not None and output.depth_axis is DepthAxis.CROP


def fusion_input(result: CropResult, slot: int, reading: LandmarkReading) -> FusionInput:
    """Return the outputs of both networks for a hand as the fusion network's input.

    Args:
        result: The result of the pose network, with confidences.
        slot: The hand, 0 right and 1 left.
        reading: The landmark network's reading of it.
    """
    output, (hand, other) = result.output, (HAND_SLICES[slot], HAND_SLICES[1 - slot])
    assert output.confidence is not None and output.root_depth is not None  # noqa: S101  `can_fuse`
    pixels, confidence, depths = result.joints_2d, output.confidence[0], output.pose_2p5d[0, :, 2]
    joints = in_crop(reading, pixels)
    read = reading.joints / SIZE - [0.5, 0.5, 0]
    has_other = float(result.presence[1 - slot] >= LIKELY_PRESENCE)
    other_depth = float(output.root_depth[0]) * (1 if slot == 0 else -1)
    logits = _logits(np.array([reading.hand_score, reading.side_score]))
    side = SIZE / geometry.scale_of(reading.crop_from_image)
    numbers = np.concatenate([
        joints[hand].ravel(), depths[hand] / UNIT_MM, confidence[hand], result.presence[[slot]],
        read.ravel(), (read[:, :2] - joints[hand]).ravel(), logits,
        [np.log(side * mm_per_px(pixels[hand], depths[hand]) / UNIT_MM)],
        has_other * np.clip(joints[other], -_MAX_OFFSET, _MAX_OFFSET).ravel(),
        has_other * np.clip((depths[other] + other_depth) / UNIT_MM, -_MAX_DEPTH, _MAX_DEPTH),
        has_other * confidence[other], [has_other],
        np.log1p(reading.features),
    ])  # fmt: skip
    return FusionInput(numbers, np.column_stack([joints[hand], depths[hand] / UNIT_MM]), read[:, :2])


def confidence_inputs(numbers: Floats) -> Floats:
    """Return what the confidence in fused joints is computed from.

    Confidences of a network, and of one that also sees the distances between both networks' joints, are hardly better
    on rendered hands (docs/decisions.md).

    Args:
        numbers: (..., NUMBERS + FEATURES) of `FusionInput`.

    Returns:
        (..., 21, `CONFIDENCE_INPUTS`): the logits of the pose network's confidence, and of the landmark network's
        probabilities that there is a hand and that it is of that side; and 1.
    """
    own = np.clip(_logits(numbers[..., _CONFIDENCES]), -_MAX_CONFIDENCE_LOGIT, _MAX_CONFIDENCE_LOGIT)[..., None]
    read = np.broadcast_to(numbers[..., None, _LOGITS], (*own.shape[:-1], 2))
    return np.concatenate([own, read, np.ones_like(own)], axis=-1)


def _logits(probabilities: Floats) -> Floats:
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.clip(np.log(clipped / (1 - clipped)), -_MAX_LOGIT, _MAX_LOGIT)


def in_crop(reading: LandmarkReading, pixels: Floats) -> Floats:
    """Map pixels (N, 2) of the picture to the reading's crop: sides of it, from its middle."""
    return geometry.apply_affine(reading.crop_from_image, pixels) / SIZE - 0.5


def open_fusion(weights: Path | str | None = None) -> Fusion:
    """Open a file written by `unclasp fusion train`, or the shipped one.

    Args:
        weights: Ends in .npz.

    Raises:
        CheckpointError: The file is missing, damaged or something else.
    """
    path = SHIPPED if weights is None else Path(weights)
    if not path.is_file():
        advice = (
            "leave it out with --no-landmarks, landmarks=False"
            if weights is None
            else "unclasp fusion train writes one"
        )
        raise CheckpointError(f"there is no fusion network {path}; {advice}")
    try:
        tensors = read_arrays(path, max_bytes=_MAX_BYTES)
    except ValueError as error:
        raise CheckpointError(
            f"{path} cannot be read as npz ({error}): expected a fusion network; copy it again"
        ) from error
    kind = str(tensors.pop("format", "none"))
    if kind != FORMAT:
        raise CheckpointError(
            f"{path}: expected a fusion network of format {FORMAT!r}, got {kind!r}; "
            "write it with this version's unclasp fusion train"
        )
    shapes = shapes_of(tensors["enter.bias"].size if "enter.bias" in tensors else 0)
    is_valid = {name: tensor.shape for name, tensor in tensors.items()} == shapes
    if not (is_valid and all(tensor.dtype.kind == "f" and np.isfinite(tensor).all() for tensor in tensors.values())):
        raise CheckpointError(f"{path} is damaged: tensors of a fusion network are missing, or not finite")
    return Fusion(tensors)


def shapes_of(width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the network's tensors.

    Args:
        width: Number of values between its blocks.
    """
    layers = {"features": (HINTS, FEATURES), "enter": (width, NUMBERS + HINTS), "answer": (2 * JOINTS_PER_HAND, width)}
    layers |= {f"{name}.{block}": (width, width) for block in range(BLOCKS) for name in ("widen", "narrow")}
    weights: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in layers.items()}
    biases: dict[str, tuple[int, ...]] = {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    return (
        weights
        | biases
        | dict.fromkeys(("mean", "deviation"), (NUMBERS + FEATURES,))
        | {"confidence": (CONFIDENCE_INPUTS,)}
    )
