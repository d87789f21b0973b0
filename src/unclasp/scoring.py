"""One predicted sample against its annotation.

The way of a prediction: 2.5D pose in the crop, back through the crop's matrix to the picture, absolute depth from the
protocol's source, un-projection of every joint with its own depth, and then the measures. Only stored annotations are
scored against: a joint that falls outside the crop still counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from unclasp import geometry, metrics
from unclasp.batch import BoolArray, Sample
from unclasp.errors import UnclaspError
from unclasp.hands import ROOTS
from unclasp.report import Protocol
from unclasp.scores import SampleScore

Array = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class External:
    """Boxes and depths from another program, such as RootNet, by the name of the sample."""

    boxes: Mapping[str, Array] = field(default_factory=dict)
    """(4,) x1, y1, x2, y2 px, already expanded; for `box_source="given"`."""
    root_depths: Mapping[str, Array] = field(default_factory=dict)
    """(2,) mm, absolute depth of the right and of the left wrist; for `depth_source="given"`."""


@dataclass(frozen=True, kw_only=True)
class PosePredictions:
    """The predictions of any method for a whole data set, in the data set's order."""

    pose_2p5d: Array
    """(N, 42, 3) u, v in crop pixels, depth in mm relative to the joint's own wrist."""
    image_size: int
    """Side of the crops in pixels; the crops are the protocol's."""
    root_depth: Array | None = None
    """(N,) mm, depth of the left wrist minus that of the right wrist."""
    presence: Array | None = None
    """(N, 2) probability of the right and of the left hand."""
    names: tuple[str, ...] | None = None
    """Names of the samples, where known; the data set's have to agree."""

    def __post_init__(self) -> None:
        count = len(self.pose_2p5d)
        shapes = {"pose_2p5d": (count, 42, 3), "root_depth": (count,), "presence": (count, 2)}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise UnclaspError(f"{name} must have shape {shape}, got {array.shape}")
        if self.names is not None and len(self.names) != count:
            raise UnclaspError(f"there are {count} poses but {len(self.names)} names")

    @classmethod
    def from_heatmaps(
        cls, joints: Array, *, size: int, image_size: int = 256, depth_range: float = 400.0,
        root_depth: Array | None = None, presence: Array | None = None, names: tuple[str, ...] | None = None,
    ) -> Self:  # fmt: skip
        """Convert from the heat-map units of the InterHand2.6M line.

        Args:
            joints: (N, 42, 3) in a volume of size x size x size, whose depth spans `depth_range` about the wrist.
            size: 64 for InterNet and DIGIT, 256 for A2J-Transformer.
            image_size: Side of the crops in pixels.
            depth_range: mm.
            root_depth: (N,) in 64 bins over `depth_range`, as InterNet gives it, whatever `size` is.
            presence: (N, 2) probability of the right and of the left hand.
            names: Names of the samples.
        """
        joints = joints.astype(np.float64)
        depth = (joints[..., 2:] / size - 0.5) * depth_range
        pose = np.concatenate([joints[..., :2] * (image_size / size), depth], axis=-1)
        if root_depth is not None:
            root_depth = (root_depth.astype(np.float64) / 64 - 0.5) * depth_range
        return cls(pose_2p5d=pose, image_size=image_size, root_depth=root_depth, presence=presence, names=names)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a sample is scored against: a `Sample` without its picture."""

    name: str
    joints_cam: Array
    """(42, 3) mm; 1 where invalid, so that nothing divides by a placeholder of 0."""
    valid: BoolArray
    focal: Array
    princpt: Array
    hand_type: BoolArray
    hand_type_valid: bool
    crop_from_image: Array
    parts: npt.NDArray[np.int64] | None = None
    """(h, w) part classes of the crop at the resolution of the prediction."""

    @classmethod
    def of(cls, sample: Sample, crop_from_image: Array, parts: npt.NDArray[np.int64] | None = None) -> Self:
        """Take over what a sample says, masked where it says nothing."""
        valid = geometry.mask_without_root(sample.valid)
        return cls(
            name=sample.name,
            joints_cam=np.where(valid[:, None], sample.joints_cam.astype(np.float64), 1.0),
            valid=valid,
            focal=sample.focal.astype(np.float64),
            princpt=sample.princpt.astype(np.float64),
            hand_type=sample.hand_type,
            hand_type_valid=sample.hand_type_valid,
            crop_from_image=crop_from_image,
            parts=parts,
        )

    @property
    def pose_2p5d(self) -> Array:
        """(42, 3) crop pixels and wrist-relative mm; meaningless where invalid."""
        return geometry.pose_2p5d_from_cam(self.joints_cam, self.focal, self.princpt, self.crop_from_image)

    @property
    def wrists_known(self) -> bool:
        """Both hands are present and both wrists are annotated."""
        return bool(self.hand_type.all() and self.valid[list(ROOTS)].all())


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was predicted for one sample."""

    pose_2p5d: Array
    image_size: int
    presence: Array | None
    root_depth: float | None
    parts: npt.NDArray[np.int64] | None = None


def crop_box(sample: Sample, protocol: Protocol, external: External) -> Array:
    """Return the square box (x1, y1, x2, y2) px of the crop that the protocol prescribes."""
    if protocol.box_source == "annotated":
        return geometry.square_box(sample.box.astype(np.float64), protocol.box_expansion)
    return geometry.square_box(_given(external.boxes, sample.name, (4,), "box"), 1.0)


def _given(values: Mapping[str, Array], name: str, shape: tuple[int, ...], what: str) -> Array:
    if name not in values:
        raise UnclaspError(f"the protocol takes each {what} from outside, but none is given for {name}")
    value = np.asarray(values[name], dtype=np.float64)
    if value.shape != shape:
        raise UnclaspError(f"the {what} given for {name} must have shape {shape}, got {value.shape}")
    return value


def score(answer: Answer, truth: Truth, protocol: Protocol, external: External) -> SampleScore:
    """Measure one answer.

    Raises:
        UnclaspError: The protocol needs what is not there, or the part classes have another size than the true ones.
    """
    pose = answer.pose_2p5d.astype(np.float64)
    depths = _root_depths(answer, truth, protocol, external)
    return SampleScore(
        name=truth.name,
        interacting=bool(truth.hand_type.all()),
        errors=metrics.joint_errors(_in_camera(pose, depths, truth), truth.joints_cam),
        plane_errors=metrics.plane_errors(pose[:, :2], truth.pose_2p5d[:, :2], answer.image_size),
        valid=truth.valid,
        wrist_offset_error=_wrist_offset_error(answer, truth, right_depth=depths[0]),
        handedness_correct=_handedness_correct(answer, truth),
        confusion=_confusion(answer, truth),
    )


def _root_depths(answer: Answer, truth: Truth, protocol: Protocol, external: External) -> Array:
    """Return the absolute depth of the right and of the left wrist, (2,) mm."""
    true_depths = truth.joints_cam[list(ROOTS), 2]
    if protocol.depth_source == "gt":
        return true_depths
    if protocol.depth_source == "given":
        return _given(external.root_depths, truth.name, (2,), "pair of wrist depths")
    if answer.root_depth is None:
        raise UnclaspError(
            'depth_source="relative" needs a model that predicts the wrist offset: use "gt", or turn on root_depth_head'
        )
    if truth.valid[ROOTS[0]]:
        return np.array([true_depths[0], true_depths[0] + answer.root_depth])
    return true_depths  # of which only the left one matters


def _in_camera(pose: Array, root_depths: Array, truth: Truth) -> Array:
    return geometry.cam_from_pose_2p5d(
        pose,
        root_depths,
        focal=truth.focal,
        princpt=truth.princpt,
        image_from_crop=np.linalg.inv(truth.crop_from_image),
    )


def _wrist_offset_error(answer: Answer, truth: Truth, *, right_depth: float) -> float | None:
    roots = list(ROOTS)
    if answer.root_depth is None or not truth.wrists_known:
        return None
    depths = np.array([right_depth, right_depth + answer.root_depth])
    predicted = _in_camera(answer.pose_2p5d.astype(np.float64), depths, truth)[roots]
    return float(metrics.wrist_offset_errors(predicted, truth.joints_cam[roots]))


def _handedness_correct(answer: Answer, truth: Truth) -> bool | None:
    if answer.presence is None or not truth.hand_type_valid:
        return None
    return bool(metrics.handedness_correct(answer.presence, truth.hand_type))


def _confusion(answer: Answer, truth: Truth) -> metrics.Counts | None:
    if answer.parts is None or truth.parts is None:
        return None
    if answer.parts.shape != truth.parts.shape:
        raise UnclaspError(f"part logits must be {truth.parts.shape} for these crops, got {answer.parts.shape}")
    return metrics.confusion_matrix(answer.parts, truth.parts)
