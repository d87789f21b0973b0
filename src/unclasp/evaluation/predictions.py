"""Predictions of any method for a data set, and how they are matched to its samples.

In memory, joints are in InterHand2.6M's order, right hand first, and lengths are in mm. `prediction_file` reads and
writes predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.config import DepthAxis
from unclasp.data import Dataset
from unclasp.data.lookup import annotation_ids_of, names_of
from unclasp.errors import UnclaspError, check_choice
from unclasp.evaluation.scoring import PredictedSample
from unclasp.hands import JOINTS_PER_HAND, NUM_JOINTS
from unclasp.metrics import PLANE_UNITS

PixelFrame = Literal["crop", "image"]
_PLAUSIBLE_MM: Final = (30.0, 1000.0)
"""mm: between these lies the extent of a hand, however it is bent, and whatever a method's errors."""


@dataclass(frozen=True, kw_only=True)
class PosePredictions:
    """The predictions of any method for a whole data set: either 2.5D poses or 3D joints in mm.

    Predictions are matched to samples by name or by annotation id; without either, they are in the data set's order.
    """

    pose_2p5d: Floats | None = None
    """(N, 42, 3) u, v in pixels, depth in mm relative to the joint's own wrist."""
    pixels: PixelFrame = "crop"
    """Whether u, v are pixels of the crop or of the whole picture."""
    image_size: int = PLANE_UNITS
    """Side of the crops in pixels. The crops are the protocol's, or those of `boxes`."""
    boxes: Floats | None = None
    """(N, 4) x1, y1, x2, y2 px in the picture: the method's own crops, if it did not use the protocol's."""
    joints_cam: Floats | None = None
    """(N, 42, 3) mm, in the camera frame."""
    relative: bool = False
    """Whether each hand's `joints_cam` are relative to an origin of its own, not in the camera frame."""
    depth_axis: DepthAxis = DepthAxis.CAMERA
    """Axis along which the depths of `pose_2p5d` and `root_depth` are measured; CROP refers to the crops of
    `image_size`."""
    root_depth: Floats | None = None
    """(N,) mm, depth of the left wrist minus that of the right wrist."""
    presence: Floats | None = None
    """(N, 2) probability of the right and of the left hand."""
    confidence: Floats | None = None
    """(N, 42) 0 to 1, the method's confidence in each joint."""
    parts: Pixels | None = None
    """(N, h, w) part classes of the protocol's crops; ignored for samples without ground-truth parts."""
    names: tuple[str, ...] | None = None
    """Names of the samples."""
    annotation_ids: npt.NDArray[np.int64] | None = None
    """(N,) ids of the annotations in the data set's files."""

    def __post_init__(self) -> None:
        self._convert()
        check_choice("pixels", self.pixels, get_args(PixelFrame))
        if (self.pose_2p5d is None) == (self.joints_cam is None):
            raise UnclaspError("predictions are either pose_2p5d or joints_cam; give one of them")
        if self.depth_axis is DepthAxis.CROP and (self.pose_2p5d is None or self.pixels != "crop"):
            got = "joints_cam" if self.pose_2p5d is None else f"pixels of the {self.pixels}"
            raise UnclaspError(f'depth_axis "crop" goes with pose_2p5d in pixels of crops, got {got}')
        joints = self.pose_2p5d if self.joints_cam is None else self.joints_cam
        assert joints is not None  # noqa: S101  # for the type checker
        count = len(joints)
        shapes = {
            "pose_2p5d": (count, NUM_JOINTS, 3), "joints_cam": (count, NUM_JOINTS, 3), "boxes": (count, 4),
            "root_depth": (count,), "presence": (count, 2), "confidence": (count, NUM_JOINTS),
            "annotation_ids": (count,),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise UnclaspError(f"{name} must have shape {shape}, got {array.shape}")
        if self.parts is not None and (self.parts.ndim != 3 or len(self.parts) != count):
            raise UnclaspError(f"parts must have shape ({count}, h, w), got {self.parts.shape}")
        if self.names is not None and len(self.names) != count:
            raise UnclaspError(f"there are {count} poses but {len(self.names)} names")
        for name in ("presence", "confidence"):
            array = getattr(self, name)
            if array is not None and not (good := (array >= 0) & (array <= 1)).all():
                raise UnclaspError(f"{name} must lie between 0 and 1, got {array[~good][0]:g}")

    def _convert(self) -> None:
        """Turn lists into arrays and the names into a tuple, and check that the image size is one."""
        for name in ("pose_2p5d", "boxes", "joints_cam", "root_depth", "presence", "confidence", "parts"):
            value = getattr(self, name)
            try:
                array = value if value is None or isinstance(value, np.ndarray) else np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise UnclaspError(f"{name} must be an array of numbers: {error}") from error
            object.__setattr__(self, name, array)
        if self.annotation_ids is not None:
            object.__setattr__(self, "annotation_ids", np.asarray(self.annotation_ids))
        object.__setattr__(self, "names", None if self.names is None else tuple(self.names))
        if not isinstance(self.image_size, int | np.integer) or self.image_size < 1:
            raise UnclaspError(f"image_size must be a whole number of pixels, got {self.image_size!r}")

    @classmethod
    def from_heatmaps(
        cls, joints: Floats, *, size: int, image_size: int = PLANE_UNITS, depth_range: float = geometry.DEPTH_RANGE,
        root_depth: Floats | None = None, presence: Floats | None = None, names: tuple[str, ...] | None = None,
    ) -> Self:  # fmt: skip
        """Convert from the heat-map units of InterNet and the methods that follow it.

        Args:
            joints: (N, 42, 3) in a volume of size x size x size, whose depth spans `depth_range`, centred on the wrist.
            size: 64 for InterNet and DIGIT, 256 for A2J-Transformer.
            image_size: Side of the crops in pixels.
            depth_range: mm.
            root_depth: (N,) in 64 bins over `depth_range`, as InterNet outputs it, independent of `size`.
            presence: (N, 2) probability of the right and of the left hand.
            names: Names of the samples.
        """
        joints = np.asarray(joints, dtype=np.float64)
        depth = (joints[..., 2:] / size - 0.5) * depth_range
        pose = np.concatenate([joints[..., :2] * (image_size / size), depth], axis=-1)
        if root_depth is not None:
            root_depth = (np.asarray(root_depth, dtype=np.float64) / 64 - 0.5) * depth_range
        return cls(pose_2p5d=pose, image_size=image_size, root_depth=root_depth, presence=presence, names=names)

    def __len__(self) -> int:
        joints = self.pose_2p5d if self.joints_cam is None else self.joints_cam
        return 0 if joints is None else len(joints)

    @property
    def in_crops(self) -> bool:
        """Whether the poses are of crops; for others, `image_size` is only the unit of the 2D error."""
        return self.pose_2p5d is not None and self.pixels == "crop"

    def rows(self, dataset: Dataset, count: int) -> npt.NDArray[np.int64]:
        """Return the row of the prediction for each of the first `count` samples, (count,).

        Raises:
            UnclaspError: A sample has no prediction or several, a prediction matches no sample of the data set, or the
                data set has no annotation ids.
        """
        keys: Sequence[str] | Sequence[int]
        wanted: Sequence[str] | Sequence[int]
        if self.annotation_ids is not None:
            ids = annotation_ids_of(dataset)
            if ids is None:
                raise UnclaspError("the predictions go by annotation ids, which this data set does not have; use names")
            keys, wanted, what = self.annotation_ids.tolist(), ids.tolist(), "annotation"
        elif self.names is not None:
            keys, wanted, what = self.names, names_of(dataset), "sample"
        elif len(self) != len(dataset):
            raise UnclaspError(f"there are {len(self)} predictions for {len(dataset)} samples")
        else:
            return np.arange(count)
        row_of_key = {key: row for row, key in enumerate(keys)}
        if len(row_of_key) != len(keys):
            repeated = next(key for row, key in enumerate(keys) if row_of_key[key] != row)
            raise UnclaspError(f"{what} {repeated} is predicted more than once")
        known = set(wanted)
        _raise_if_any(
            [key for key in row_of_key if key not in known],
            f"predictions are of no {what} of the data set, in which the first is {wanted[0]}",
        )
        _raise_if_any(
            [key for key in wanted[:count] if key not in row_of_key], f"{what}s of the data set have no prediction"
        )
        return np.array([row_of_key[key] for key in wanted[:count]], dtype=np.int64)

    def sample(self, row: int, crop_from_image: Floats) -> PredictedSample:
        """Return one prediction in the form that is scored; a 2.5D pose is converted to the protocol's crop.

        Args:
            row: Row of the prediction.
            crop_from_image: 3x3, from picture pixels to the protocol's crop, whose side is `image_size` pixels.
        """
        common = PredictedSample(
            image_size=self.image_size,
            presence=None if self.presence is None else self.presence[row],
            root_depth=None if self.root_depth is None else float(self.root_depth[row]),
            confidence=None if self.confidence is None else self.confidence[row],
            parts=None if self.parts is None else self.parts[row],
        )
        if self.joints_cam is not None:
            return replace(common, joints_cam=self.joints_cam[row], relative=self.relative)
        assert self.pose_2p5d is not None  # noqa: S101  # for the type checker
        pose = self.pose_2p5d[row].astype(np.float64)
        sight = geometry.crop_middle(self.image_size) if self.depth_axis is DepthAxis.CROP else None
        if self.pixels == "image":
            pose[:, :2] = geometry.apply_affine(crop_from_image, pose[:, :2])
        elif self.boxes is not None:
            box = geometry.square_box(self.boxes[row].astype(np.float64), 1.0)
            own_crop_from_image = geometry.crop_matrix(box, self.image_size)
            crop_from_own_crop = crop_from_image @ np.linalg.inv(own_crop_from_image)
            pose[:, :2] = geometry.apply_affine(crop_from_own_crop, pose[:, :2])
            sight = None if sight is None else geometry.apply_affine(crop_from_own_crop, sight)
        return replace(common, pose_2p5d=pose, sight_pixel=sight)

    def notes(self) -> dict[str, str]:
        """Describe the form of the predictions in words, for the report."""
        if self.joints_cam is not None and self.relative:
            form = "3D joints in mm relative to each hand's own root: no depth is taken from anywhere; no MRRPE, no 2D"
        elif self.joints_cam is not None:
            form = "3D joints in mm in the camera frame: their own depths, whatever the depth above; MRRPE from them"
        elif self.pixels == "image":
            form = "2.5D poses in pixels of the picture; the crop above is only the unit of 2D"
        else:
            along = ", depths along the line of sight through their middles" * (self.depth_axis is DepthAxis.CROP)
            if self.boxes is not None:
                poses = f"2.5D poses in {self.image_size} px crops of their own boxes{along}"
                form = f"{poses}; the crop above is only the unit of 2D"
            else:
                form = f"2.5D poses in {self.image_size} px crops as above{along}"
        extent = self._extent()
        if extent is not None and not _PLAUSIBLE_MM[0] < extent < _PLAUSIBLE_MM[1]:
            form += f"; WARNING: a hand is {extent:.3g} mm large (median): is another unit meant than mm?"
        return {"predictions": form}

    def _extent(self) -> float | None:
        """Return the median extent of the hands' 3D joints, or None if there are none, or all joints are in one place.

        Joints that are in one place are of a method that predicts none.
        """
        if self.joints_cam is None:
            return None
        hands = self.joints_cam.reshape(-1, JOINTS_PER_HAND, 3)
        extents = np.ptp(hands[np.isfinite(hands).all(axis=(1, 2))], axis=1).max(axis=1, initial=0.0)
        extents = extents[extents > 0]
        return float(np.median(extents)) if len(extents) else None


class Recorder:
    """Stores a model's predictions, to be written to a file; `join` merges the recorders of several processes."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, str, PredictedSample]] = []

    def add(self, index: int, name: str, predicted: PredictedSample, *, with_parts: bool) -> None:
        """Store the prediction for sample `index`, with its part classes only if they can be scored."""
        parts = predicted.parts.astype(np.uint8) if with_parts and predicted.parts is not None else None
        pose = predicted.pose_2p5d
        if pose is not None and ((single := pose.astype(np.float32)) == pose).all():
            pose = single  # half the memory, lossless
        self.entries.append((index, name, replace(predicted, pose_2p5d=pose, parts=parts)))

    def join(self, other: "Recorder") -> None:
        """Append the entries of another recorder."""
        self.entries.extend(other.entries)

    def predictions(self, image_size: int) -> PosePredictions:
        """Return the stored predictions in the data set's order.

        Raises:
            UnclaspError: There are none, or the depths of some are along the camera's axis, those of others are not.
        """
        if not self.entries:
            raise UnclaspError("this Recorder holds no predictions: evaluate a model with it first")
        self.entries.sort(key=lambda entry: entry[0])
        predicted = [sample for _, _, sample in self.entries]
        along_sight = {sample.sight_pixel is not None for sample in predicted}
        if len(along_sight) > 1:
            raise UnclaspError("some of these predictions have depths along the camera's axis, others not")
        depth_axis = DepthAxis.CROP if True in along_sight else DepthAxis.CAMERA
        return PosePredictions(
            pose_2p5d=np.stack([sample.pose_2p5d for sample in predicted if sample.pose_2p5d is not None]),
            image_size=image_size,
            depth_axis=depth_axis,
            root_depth=column([sample.root_depth for sample in predicted]),
            presence=column([sample.presence for sample in predicted]),
            confidence=column([sample.confidence for sample in predicted]),
            parts=_parts([sample.parts for sample in predicted]),
            names=tuple(name for _, name, _ in self.entries),
        )


def column(values: Sequence[Any]) -> Any:
    """Stack one value per sample into an array; None if any sample has none."""
    return None if any(value is None for value in values) else np.stack([np.asarray(value) for value in values])


def _parts(maps: Sequence[npt.NDArray[np.integer] | None]) -> Pixels | None:
    """Stack part maps, with zeros for samples without one: these have no ground truth to be scored against."""
    present = [part_map for part_map in maps if part_map is not None]
    if not present:
        return None
    blank = np.zeros_like(present[0])
    return np.stack([blank if part_map is None else part_map for part_map in maps]).astype(np.uint8)


def _raise_if_any(keys: Sequence[object], what: str) -> None:
    if keys:
        examples = ", ".join(str(key) for key in keys[:3]) + (" and so on" if len(keys) > 3 else "")
        raise UnclaspError(f"{len(keys)} {what}: {examples}")
