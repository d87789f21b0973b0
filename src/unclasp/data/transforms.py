"""Cropping of pictures, shared by training, evaluation and prediction.

The rules are those of sections 4.1-4.2 and of the published code of InterNet and its successors.

One 3x3 matrix `crop_from_image` combines box, rotation and mirroring. Pixels, joints and part masks are transformed by
the same matrix, and its inverse maps back to the picture.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.arrays import Bools, Floats, Pixels, Singles
from unclasp.batch import Sample
from unclasp.config import AugmentConfig, DepthAxis
from unclasp.data.photometric import PhotometricChange, apply_photometric, random_photometric
from unclasp.hands import FLIPPED_JOINTS, FLIPPED_PARTS, ROOTS

PART_STRIDE = 4
"""Stride of the finest feature map, at whose resolution part masks are compared (section 3.4.2)."""


@dataclass(frozen=True)
class Crop:
    """A square crop of a picture, with its matrix."""

    image: Pixels
    """(S, S, 3) RGB."""
    crop_from_image: Floats
    """3x3, from picture pixels to crop pixels."""

    @property
    def image_from_crop(self) -> Floats:
        """3x3, from crop pixels to picture pixels."""
        return np.linalg.inv(self.crop_from_image)

    @property
    def middle(self) -> Floats:
        """(2,) middle of the crop, in px of the picture."""
        return geometry.apply_affine(self.image_from_crop, geometry.crop_middle(len(self.image)))


def crop_image(image: Pixels, box: Floats, size: int, *, rotation: float = 0.0, flip: bool = False) -> Crop:
    """Crop a square box from a picture; pixels outside the picture are black.

    Args:
        image: (H, W, 3) RGB.
        box: (x1, y1, x2, y2) px of the picture, square and already expanded (`geometry.square_box`).
        size: Side of the crop in px.
        rotation: Clockwise rotation of the box in degrees.
        flip: Mirror the picture first; `box` still refers to the original picture.
    """
    crop_from_image = view_matrix(box, size, width=image.shape[1], rotation=rotation, flip=flip)
    return Crop(_warp(image, crop_from_image, size, cv2.INTER_LINEAR), crop_from_image)


def view_matrix(box: Floats, size: int, *, width: int, rotation: float = 0.0, flip: bool = False) -> Floats:
    """Return the `crop_from_image` of `crop_image` for a picture `width` pixels wide."""
    if not flip:
        return geometry.crop_matrix(box, size, rotation)
    return geometry.crop_matrix(geometry.mirror_box(box, width), size, rotation) @ geometry.flip_matrix(width)


def _warp(image: Pixels, matrix: Floats, size: int, interpolation: int) -> Pixels:
    affine = np.ascontiguousarray(matrix[:2], dtype=np.float64)
    return np.asarray(cv2.warpAffine(image, affine, (size, size), flags=interpolation), dtype=np.uint8)


@dataclass(frozen=True)
class View:
    """The crop and augmentation parameters of one picture."""

    box: Floats
    """(4,) square x1, y1, x2, y2 px in the picture."""
    rotation: float = 0.0
    """Degrees clockwise."""
    flip: bool = False
    """Whether to mirror the picture, which swaps the hands' sides."""
    gain: Singles | None = None
    """(3,) factor per colour channel, or None."""
    look: PhotometricChange | None = None
    """Photometric changes, or None."""


def plain_view(box: Floats) -> View:
    """Return the test view: the annotated box made square and expanded, without augmentation."""
    return View(geometry.square_box(box))


def random_view(box: Floats, config: AugmentConfig, rng: np.random.Generator) -> View:
    """Draw a random augmented view, with the published ranges and clipping."""
    square = geometry.square_box(box)
    side = square[2] - square[0]
    shift = rng.uniform(-config.translation, config.translation, 2) * side
    scale = 1 + config.scale * np.clip(rng.standard_normal(), -1, 1)
    turned = rng.random() < config.rotation_probability
    rotation = config.rotation * np.clip(rng.standard_normal(), -2, 2) if turned else 0.0
    flip = bool(rng.random() < config.flip_probability)
    gain = rng.uniform(1 - config.colour, 1 + config.colour, 3).astype(np.float32)
    changes = config.photographic or config.texture
    look = random_photometric(config.photographic, rng, texture=config.texture) if changes else None
    return View(geometry.expand_box(square + np.concatenate([shift, shift]), scale), rotation, flip, gain, look)


@dataclass(frozen=True)
class Example:
    """One crop with its targets: the fields of `Batch` for a single picture."""

    image: Pixels
    pose_2p5d: Singles
    valid: Bools
    parts: npt.NDArray[np.int64] | None
    hand_type: Bools
    hand_type_valid: bool
    root_depth: float
    root_depth_valid: bool
    name: str


def make_example(sample: Sample, view: View, size: int, *, depth_axis: DepthAxis = DepthAxis.CAMERA) -> Example:
    """Crop a sample to a view and transform all its annotations.

    Mirroring swaps the hands' joints, their validity, the hand types and the part classes. Rotation only affects
    pixels and not the relative depths (the weak-perspective assumption of 2.5D poses).

    Args:
        sample: Picture and annotations.
        view: Crop and augmentation.
        size: Side of the crop in px.
        depth_axis: Axis along which depths are measured.

    Returns:
        The crop and its targets. Joints outside the crop or the depth range are invalid; in a black crop, everything
        is.
    """
    crop = crop_image(sample.image, view.box, size, rotation=view.rotation, flip=view.flip)
    image = crop.image
    not_black = cv2.hasNonZero(image.reshape(size, -1))  # black crops are not trained on; checked before noise is added
    if view.gain is not None:
        image = _multiply(image, view.gain)
    if view.look is not None:
        image = apply_photometric(image, view.look)
    order = FLIPPED_JOINTS if view.flip else slice(None)
    safe = np.where(sample.valid[:, None], sample.joints_cam, np.float32(1.0))
    sight = sight_of(crop.middle, sample.focal, sample.princpt, depth_axis)
    pose = geometry.pose_2p5d_from_cam(safe, sample.focal, sample.princpt, crop.crop_from_image, sight)[order]
    valid = sample.valid[order]
    roots_known = bool(sample.valid[list(ROOTS)].all()) and sample.interacting and not_black
    depth = geometry.root_depth(safe, sight) * (-1 if view.flip else 1)
    inside = ((pose[:, :2] >= 0) & (pose[:, :2] < size)).all(axis=1)
    trainable = valid & inside & (np.abs(pose[:, 2]) < geometry.DEPTH_RANGE / 2) & not_black
    return Example(
        image=image,
        pose_2p5d=np.where(valid[:, None], pose, 0.0).astype(np.float32),
        valid=trainable,
        parts=crop_parts(sample.parts, crop.crop_from_image, size, flip=view.flip) if not_black else None,
        hand_type=sample.hand_type[::-1].copy() if view.flip else sample.hand_type,
        hand_type_valid=sample.hand_type_valid and not_black,
        root_depth=depth if roots_known else 0.0,
        root_depth_valid=roots_known,
        name=sample.name,
    )


def sight_of(middle: Floats, focal: Floats, princpt: Floats, depth_axis: DepthAxis) -> Floats:
    """Return the unit vector (3,), in the camera frame, along which the depths of a crop are measured.

    Args:
        middle: (2,) middle of the crop, in px of the picture.
        focal: (2,) px of the picture.
        princpt: (2,) px of the picture.
        depth_axis: The camera's axis, or the line of sight through the crop's middle.
    """
    if depth_axis is DepthAxis.CAMERA:
        return np.array(geometry.CAMERA_AXIS)
    return geometry.sight_through(middle, focal, princpt)


def _multiply(image: Pixels, gain: Singles) -> Pixels:
    """Multiply each channel by its factor; a channel matrix takes a sixth of the time of a lookup table."""
    return np.asarray(cv2.transform(image, np.diag(gain)), dtype=np.uint8)


def crop_parts(
    parts: Pixels | None, crop_from_image: Floats, size: int, *, flip: bool = False
) -> npt.NDArray[np.int64] | None:
    """Return the part classes (size / 4, size / 4) of a crop, from those of the picture (H, W)."""
    if parts is None:
        return None
    # A pixel of the map covers PART_STRIDE crop pixels, so its centre is at (i + 0.5) * stride - 0.5.
    shift = 0.5 / PART_STRIDE - 0.5
    map_from_crop = np.array([[1 / PART_STRIDE, 0, shift], [0, 1 / PART_STRIDE, shift], [0, 0, 1]])
    warped = _warp(parts, map_from_crop @ crop_from_image, size // PART_STRIDE, cv2.INTER_NEAREST)
    return (FLIPPED_PARTS[warped] if flip else warped).astype(np.int64)
