"""Data types for samples, batches and predictions, with the shape, unit and frame of every field.

Letters: B batch size, H and W height and width of a picture or crop, h and w those of the finest feature map, T number
of decoder iterations, L number of pixels of a pyramid level.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from unclasp.arrays import Bools, Pixels, Singles
from unclasp.hands import NUM_JOINTS

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def _expect(name: str, array: object, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if not isinstance(array, np.ndarray):
        raise ValueError(
            f"{name} must be an array, {np.dtype(dtype).name} of shape {shape}, got {type(array).__name__}"
        )
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{name} must be {np.dtype(dtype).name} of shape {shape}, got {array.dtype} of shape {array.shape}"
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One annotated picture of a data set, before cropping."""

    image: Pixels
    """(H, W, 3) RGB."""
    joints_cam: Singles
    """(42, 3) mm, camera frame; values of invalid joints are meaningless and must be masked."""
    valid: Bools
    """(42,) whether each joint is usable; false for a whole hand if its wrist is missing."""
    focal: Singles
    """(2,) px."""
    princpt: Singles
    """(2,) px, principal point."""
    box: Singles
    """(4,) x1, y1, x2, y2 px around the hands as annotated, neither squared nor expanded."""
    hand_type: Bools
    """(2,) whether the right and the left hand are present."""
    hand_type_valid: bool
    """Whether `hand_type` can be trusted."""
    parts: Pixels | None
    """(H, W) part classes, or None without a mask."""
    name: str
    """Name of the picture for messages: a file, or `synthetic:SEED/INDEX`."""

    def __post_init__(self) -> None:
        if np.ndim(self.image) != 3:
            raise ValueError(f"image must be (H, W, 3), got {np.shape(self.image)}")
        _expect("image", self.image, (*self.image.shape[:2], 3), np.uint8)
        _expect("joints_cam", self.joints_cam, (NUM_JOINTS, 3), np.float32)
        _expect("valid", self.valid, (NUM_JOINTS,), np.bool_)
        _expect("focal", self.focal, (2,), np.float32)
        _expect("princpt", self.princpt, (2,), np.float32)
        _expect("box", self.box, (4,), np.float32)
        extent = self.box[2:] - self.box[:2]
        if not (extent >= 0).all() or not extent.any():
            raise ValueError(f"box must be x1, y1, x2, y2 of more than a point, got {self.box} for {self.name}")
        _expect("hand_type", self.hand_type, (2,), np.bool_)
        if self.parts is not None:
            _expect("parts", self.parts, self.image.shape[:2], np.uint8)

    @property
    def interacting(self) -> bool:
        """Whether both hands are present, regardless of their valid joints: the *Two* bucket of the evaluation."""
        return bool(self.hand_type.all())


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Crops and training targets as tensors, for the network and its losses."""

    image: "Tensor"
    """(B, 3, H, W) uint8 RGB crops; the model scales and normalises them."""
    pose_2p5d: "Tensor"
    """(B, 42, 3) u, v in crop pixels, depth in mm relative to the joint's own wrist."""
    valid: "Tensor"
    """(B, 42) bool, whether each joint is usable for training: annotated, inside the crop and within the depth range.
    All false for a black crop."""
    parts: "Tensor"
    """(B, h, w) int64 part classes at the size of the finest feature map; 0 where `parts_valid` is false."""
    parts_valid: "Tensor"
    """(B,) bool, whether the picture has a part mask."""
    hand_type: "Tensor"
    """(B, 2) bool, whether the right and the left hand are present."""
    hand_type_valid: "Tensor"
    """(B,) bool, whether `hand_type` can be trusted."""
    root_depth: "Tensor"
    """(B,) mm, depth of the left wrist minus that of the right wrist."""
    root_depth_valid: "Tensor"
    """(B,) bool, whether both wrists are known."""
    names: tuple[str, ...]
    """Names of the pictures, for messages."""

    def to(self, device: "torch.device | str") -> Self:
        """Return the batch with all tensors on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Return the batch in page-locked memory, from which copies to a GPU need not wait; for `DataLoader`."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[["Tensor"], "Tensor"]) -> Self:
        names = [field.name for field in fields(self) if field.name != "names"]
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        return replace(self, **changed)

    def __len__(self) -> int:
        return len(self.names)


class Prediction(NamedTuple):
    """The network's output for a batch of crops; a tuple, so that wrappers of the network find its tensors."""

    pose_2p5d: "Tensor"
    """(B, 42, 3) u, v in crop pixels, depth in mm relative to the joint's own wrist (section 3.1)."""
    steps: tuple["Tensor", ...]
    """T tensors (B, 42, 2): u, v in crop pixels as estimated after each iteration, for supervision (section 3.4)."""
    part_logits: "Tensor"
    """(B, 33, h, w) logits of the part classes on the finest map (section 3.2)."""
    relations: tuple["Tensor", ...]
    """Relation logits of the initialisation and of each J-I, averaged over the heads: (B, 42, L) each, before the
    softmax, row-major over the level's pixels. Empty for a decoder without joint-image relations."""
    presence: "Tensor | None"
    """(B, 2) logits of the right and the left hand being in the picture; None without that head."""
    root_depth: "Tensor | None"
    """(B,) mm, depth of the left wrist minus that of the right wrist; None without that head."""
    confidence: "Tensor | None" = None
    """(B, 42) logits of each joint's error being at most `model.confidence.WITHIN` mm; None without that head."""
