"""Scores one predicted sample against its annotation.

A 2.5D pose is mapped from the crop back to the picture by the inverse of the crop's matrix; the wrists get absolute
depths from the protocol's source, and every joint is unprojected with its own depth. 3D joints in mm are scored as they
are. The ground truth is the stored annotation: a joint that falls outside the crop still counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from unclasp import geometry, metrics
from unclasp.arrays import Bools, Doubles, Floats
from unclasp.batch import Sample
from unclasp.contact import contact_between, truly_touch
from unclasp.errors import UnclaspError
from unclasp.evaluation.protocol import Protocol
from unclasp.evaluation.scores import SampleScore
from unclasp.hands import ROOTS


@dataclass(frozen=True, kw_only=True)
class External:
    """Boxes and depths from another program, such as RootNet, by the name of the sample."""

    boxes: Mapping[str, Floats] = field(default_factory=dict)
    """(4,) x1, y1, x2, y2 px, already expanded; for `box_source` "given" and "rootnet"."""
    root_depths: Mapping[str, Floats] = field(default_factory=dict)
    """(2,) mm, absolute depth of the right and of the left wrist; for `depth_source` "given" and "rootnet"."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The ground truth of a sample: a `Sample` without its picture, with the matrix of its crop."""

    name: str
    joints_cam: Floats
    """(42, 3) mm; 1 where invalid, to avoid divisions by 0."""
    valid: Bools
    focal: Floats
    princpt: Floats
    hand_type: Bools
    hand_type_valid: bool
    crop_from_image: Floats
    parts: npt.NDArray[np.int64] | None = None
    """(h, w) part classes of the crop at the resolution of the prediction."""

    @classmethod
    def of(cls, sample: Sample, crop_from_image: Floats, parts: npt.NDArray[np.int64] | None = None) -> Self:
        """Build the ground truth from a sample; joints of hands without an annotated wrist become invalid.

        Raises:
            UnclaspError: A valid joint has no place in the picture.
        """
        valid = geometry.mask_without_root(sample.valid)
        joints = np.where(valid[:, None], sample.joints_cam.astype(np.float64), 1.0)
        if not np.isfinite(joints).all() or not joints[:, 2].all():
            raise UnclaspError(
                f"the annotated joints of {sample.name} must be finite, at depths other than 0: set `valid` to false "
                "for those that are unknown"
            )
        return cls(
            name=sample.name,
            joints_cam=joints,
            valid=valid,
            focal=sample.focal.astype(np.float64),
            princpt=sample.princpt.astype(np.float64),
            hand_type=sample.hand_type,
            hand_type_valid=sample.hand_type_valid,
            crop_from_image=crop_from_image,
            parts=parts,
        )

    @property
    def pose_2p5d(self) -> Floats:
        """(42, 3) u, v in crop pixels, depth in mm relative to the wrist; meaningless where invalid."""
        return geometry.pose_2p5d_from_cam(self.joints_cam, self.focal, self.princpt, self.crop_from_image)

    @property
    def wrists_known(self) -> bool:
        """Whether both hands are present and both wrists annotated."""
        return bool(self.hand_type.all() and self.valid[list(ROOTS)].all())


@dataclass(frozen=True, kw_only=True)
class PredictedSample:
    """The prediction for one sample: a 2.5D pose, or 3D joints in mm."""

    image_size: int
    """Side of the protocol's crop in pixels."""
    pose_2p5d: Floats | None = None
    """(42, 3) u, v in pixels of the protocol's crop, depth in mm relative to the joint's own wrist."""
    sight_pixel: Floats | None = None
    """(2,) u, v in pixels of the protocol's crop. The depths of `pose_2p5d` and `root_depth` are along the line of
    sight through this pixel; if None, along the camera's axis."""
    joints_cam: Floats | None = None
    """(42, 3) mm, in the camera frame, or relative to an origin of each hand's own if `relative`."""
    relative: bool = False
    """Whether the positions of the hands in `joints_cam`, in the camera frame and to each other, are unknown."""
    presence: Floats | None = None
    """(2,) probability of the right and of the left hand."""
    root_depth: float | None = None
    """mm, depth of the left wrist minus that of the right wrist."""
    parts: npt.NDArray[np.integer] | None = None
    """(h, w) part classes."""
    confidence: Floats | None = None
    """(42,) 0 to 1, the model's confidence in each joint."""


def crop_box(sample: Sample, protocol: Protocol, external: External) -> Floats:
    """Return the square box (x1, y1, x2, y2) px of the crop that the protocol prescribes."""
    if protocol.box_source == "annotated":
        return geometry.square_box(sample.box.astype(np.float64), protocol.box_expansion)
    box = _given(external.boxes, sample.name, (4,), what="box", source=protocol.box_source)
    if not (box[2:] > box[:2]).all():
        raise UnclaspError(
            f"the box given for {sample.name} must be x1, y1, x2, y2 with x2 > x1 and y2 > y1, got {box}"
        )
    return geometry.square_box(box, 1.0)


def _given(values: Mapping[str, Floats], name: str, shape: tuple[int, ...], *, what: str, source: str) -> Floats:
    if name not in values:
        where = "RootNet's file" if source == "rootnet" else "outside"
        raise UnclaspError(f"the protocol takes each {what} from {where}, but none is given for {name}")
    value = np.asarray(values[name], dtype=np.float64)
    if value.shape != shape:
        raise UnclaspError(f"the {what} given for {name} must have shape {shape}, got {value.shape}")
    return value


def score(predicted: PredictedSample, truth: Truth, protocol: Protocol, external: External) -> SampleScore:
    """Score one prediction against its ground truth.

    Raises:
        UnclaspError: Something that the protocol needs is missing, a predicted hand cannot be scaled, or the size of
            the predicted part map differs from the true one's.
    """
    joints, together = _joints(predicted, truth, protocol, external)
    valid = metrics.usable_joints(truth.valid, root=protocol.root, scaling=protocol.scaling)
    errors = metrics.joint_errors(joints, truth.joints_cam, root=protocol.root, scaling=protocol.scaling)
    if protocol.scaling == "bone" and np.isfinite(joints).all() and not np.isfinite(errors[valid]).all():
        raise UnclaspError(f"a hand predicted for {truth.name} cannot be scaled: its wrist and middle MCP coincide")
    offset = None
    if together is not None and truth.wrists_known:
        roots = list(ROOTS)
        offset = float(metrics.wrist_offset_errors(together[roots], truth.joints_cam[roots]))
    return SampleScore(
        name=truth.name,
        interacting=bool(truth.hand_type.all()),
        errors=errors,
        plane_errors=_plane_errors(predicted, truth),
        valid=valid,
        wrist_offset_error=offset,
        contact=_contact(predicted, truth, together),
        handedness_correct=_handedness_correct(predicted, truth),
        confusion=_confusion(predicted, truth),
        confidence=None if predicted.confidence is None else predicted.confidence.astype(np.float64),
    )


def _joints(
    predicted: PredictedSample, truth: Truth, protocol: Protocol, external: External
) -> tuple[Floats, Floats | None]:
    """Return the joints (42, 3) mm, and those of hands that are where the prediction has them relative to each other.

    The latter are None if the prediction does not say that. MRRPE and contact are judged by them.
    """
    if predicted.joints_cam is not None:
        joints_cam = predicted.joints_cam.astype(np.float64)
        return joints_cam, None if predicted.relative else joints_cam
    if predicted.pose_2p5d is None:
        raise UnclaspError(f"nothing is predicted for {truth.name}: give pose_2p5d or joints_cam")
    placed = _Placed.of(predicted.pose_2p5d.astype(np.float64), predicted, truth)
    depths = _root_depths(placed, truth, protocol, external)
    joints = geometry.on_lines(placed.lines, depths)
    if predicted.root_depth is None:
        return joints, None
    return joints, geometry.on_lines(placed.lines, np.array([depths[0], placed.left_from(depths[0])]))


def lifted(predicted: PredictedSample, truth: Truth) -> Floats:
    """Return the predicted joints (42, 3) mm, those of a 2.5D pose at the true depths of the wrists."""
    return _joints(predicted, truth, Protocol(), External())[0]


class _Placed(NamedTuple):
    """A 2.5D pose in the camera frame, still without the absolute depths of the wrists."""

    lines: geometry.JointLines
    left_from_right: tuple[float, float] | None
    """(scale, shift): the left wrist's depth as a linear function of the right one's; None without `root_depth`."""

    @classmethod
    def of(cls, pose: Floats, predicted: PredictedSample, truth: Truth) -> Self:
        """Place the predicted pose (42, 3)."""
        image_from_crop = np.linalg.inv(truth.crop_from_image)
        pixels, sight = geometry.apply_affine(image_from_crop, pose[:, :2]), np.array(geometry.CAMERA_AXIS)
        camera = truth.focal, truth.princpt
        if predicted.sight_pixel is not None:
            sight = geometry.sight_through(geometry.apply_affine(image_from_crop, predicted.sight_pixel), *camera)
        left_from_right = None
        if predicted.root_depth is not None:
            left_from_right = geometry.offset_along(pixels[list(ROOTS)], predicted.root_depth, *camera, sight)
        return cls(geometry.joint_lines(pixels, pose[:, 2], *camera, sight), left_from_right)

    def left_from(self, right: float) -> float:
        """Return the left wrist's depth in mm, from the right one's and the predicted offset."""
        if self.left_from_right is None:
            raise UnclaspError(
                'depth_source="relative" needs a model that predicts the wrist offset: use "gt", or turn on '
                "root_depth_head"
            )
        scale, shift = self.left_from_right
        return scale * right + shift


def _root_depths(placed: _Placed, truth: Truth, protocol: Protocol, external: External) -> Floats:
    """Return the absolute depth of the right and of the left wrist, (2,) mm."""
    true_depths = truth.joints_cam[list(ROOTS), 2]
    if protocol.depth_source == "gt":
        return true_depths
    if protocol.depth_source in ("given", "rootnet"):
        what = "pair of wrist depths"
        return _given(external.root_depths, truth.name, (2,), what=what, source=protocol.depth_source)
    left = placed.left_from(true_depths[0])
    # Without a right wrist, the left one takes its own true depth.
    return np.array([true_depths[0], left]) if truth.valid[ROOTS[0]] else true_depths


def _plane_errors(predicted: PredictedSample, truth: Truth) -> Doubles | None:
    in_plane: Floats | None
    if predicted.joints_cam is None:
        in_plane = None if predicted.pose_2p5d is None else predicted.pose_2p5d.astype(np.float64)[:, :2]
    elif predicted.relative:
        in_plane = None
    else:
        # Predictions for joints without annotation are ignored; their depth may be 0, which must not be divided by.
        safe = np.where(truth.valid[:, None], predicted.joints_cam.astype(np.float64), 1.0)
        in_front = safe[:, 2:] > 0  # joints behind the camera have no position in the picture
        pixels = geometry.project(np.where(in_front, safe, 1.0), truth.focal, truth.princpt)
        in_plane = np.where(in_front, geometry.apply_affine(truth.crop_from_image, pixels), np.nan)
    if in_plane is None:
        return None
    return metrics.plane_errors(in_plane, truth.pose_2p5d[:, :2], predicted.image_size)


def _contact(predicted: PredictedSample, truth: Truth, together: Floats | None) -> tuple[bool, bool] | None:
    """Return whether the hands touch, by the prediction and in truth."""
    if together is None or predicted.confidence is None or not (truth.hand_type.all() and truth.valid.all()):
        return None
    both = predicted.presence is None or bool((predicted.presence >= metrics.PRESENCE_THRESHOLD).all())
    is_predicted = both and contact_between(together, predicted.confidence).is_likely
    return is_predicted, truly_touch(truth.joints_cam)


def _handedness_correct(predicted: PredictedSample, truth: Truth) -> bool | None:
    if predicted.presence is None or not truth.hand_type_valid:
        return None
    return bool(metrics.handedness_correct(predicted.presence, truth.hand_type))


def _confusion(predicted: PredictedSample, truth: Truth) -> metrics.Counts | None:
    if predicted.parts is None or truth.parts is None:
        return None
    if predicted.parts.shape != truth.parts.shape:
        raise UnclaspError(
            f"the part classes predicted for {truth.name} must be {truth.parts.shape}, a quarter of crops of "
            f"{predicted.image_size} px, got {predicted.parts.shape}"
        )
    return metrics.confusion_matrix(predicted.parts, truth.parts)
