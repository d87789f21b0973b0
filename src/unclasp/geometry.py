"""Pure functions for cameras, 2.5D poses, boxes and crops.

Conventions of the whole package:

- Camera frame: x right, y down, z forward, millimetres. The camera is a pinhole without distortion:
  u = fx * X / Z + cx, v = fy * Y / Z + cy.
- World to camera is `rotation @ (point - position)`: InterHand2.6M's `campos` is the camera's centre, not a
  translation.
- Pixel centres stand at integers: the top left pixel covers [-0.5, 0.5] in both directions.
- A 2.5D pose (…, 42, 3) is u, v in crop pixels and the depth in mm relative to the wrist of the joint's own
  hand (section 3.1). The depth is measured along the camera's axis, as in the paper, or along another line of sight
  (`sight_through`, `config.DepthAxis`).
- Transforms are named `destination_from_source` and act on column vectors: `crop_from_image` is 3x3 and maps
  (u, v, 1) from the picture to the crop. All 2D quantities of a crop are transformed by its one matrix.
- Boxes are (x1, y1, x2, y2) in pixels; on disk InterHand2.6M stores (x, y, width, height).
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Bools, Floats
from unclasp.hands import JOINTS_PER_HAND, ROOT_OF_JOINT, ROOTS

DEPTH_RANGE: Final = 400.0
"""mm: range of the network's relative depths, from -200 to 200; training leaves out joints beyond it (protocol of the
InterHand2.6M line)."""

CAMERA_AXIS: Final = (0.0, 0.0, 1.0)
"""Default line of sight along which depths are measured."""


def camera_from_world(points: Floats, rotation: Floats, position: Floats) -> Floats:
    """Transform world points (…, 3) mm to the frame of a camera with a 3x3 rotation at a world position.

    Examples:
        >>> camera_from_world(np.array([1.0, 2.0, 3.0]), np.eye(3), np.array([1.0, 0.0, 0.0])).tolist()
        [0.0, 2.0, 3.0]
    """
    return (points - position) @ rotation.T


def project(points: Floats, focal: Floats, princpt: Floats) -> Floats:
    """Project camera points (…, 3) mm to pixels u, v (…, 2)."""
    return points[..., :2] / points[..., 2:] * focal + princpt


def unproject(pixels: Floats, depth: Floats, focal: Floats, princpt: Floats) -> Floats:
    """Back-project pixels (…, 2) with depths (…) in mm to camera points (…, 3) mm."""
    lateral = (pixels - princpt) / focal * depth[..., None]
    return np.concatenate([lateral, depth[..., None]], axis=-1)


def relative_to_roots(joints: Floats) -> Floats:
    """Return joints (…, 42, 3) relative to the wrist of their own hand."""
    return joints - joints[..., ROOT_OF_JOINT, :]


def sight_through(pixel: Floats, focal: Floats, princpt: Floats) -> Floats:
    """Return the unit vector (3,) of the line of sight through a pixel (2,), in the camera frame.

    Examples:
        >>> sight_through(np.array([500.0, 250.0]), np.array([500.0, 500.0]), np.array([500.0, 250.0])).tolist()
        [0.0, 0.0, 1.0]
    """
    ray = _rays(pixel, focal, princpt)
    return ray / np.linalg.norm(ray)


def pose_2p5d_from_cam(
    joints_cam: Floats, focal: Floats, princpt: Floats, crop_from_image: Floats, sight: npt.ArrayLike = CAMERA_AXIS
) -> Floats:
    """Convert camera joints (42, 3) mm to the 2.5D pose of a crop: crop pixels and wrist-relative mm.

    Args:
        joints_cam: (42, 3) mm.
        focal: (2,) px of the picture.
        princpt: (2,) px of the picture.
        crop_from_image: 3x3.
        sight: (3,) unit vector along which depths are measured.
    """
    in_plane = apply_affine(crop_from_image, project(joints_cam, focal, princpt))
    return np.concatenate([in_plane, (relative_to_roots(joints_cam) @ np.asarray(sight))[..., None]], axis=-1)


def cam_from_pose_2p5d(
    pose_2p5d: Floats, root_depths: Floats, *, focal: Floats, princpt: Floats, image_from_crop: Floats,
    sights: npt.ArrayLike = CAMERA_AXIS,
) -> Floats:  # fmt: skip
    """Convert a 2.5D pose (42, 3) to camera joints (42, 3) mm.

    Args:
        pose_2p5d: (42, 3) crop pixels and wrist-relative mm.
        root_depths: (2,) mm, absolute depths of the right and the left wrist along the camera's axis.
        focal: (2,) px of the picture.
        princpt: (2,) px of the picture.
        image_from_crop: 3x3.
        sights: (3,), or (2, 3) with one per hand: unit vectors along which the pose's depths are measured.
    """
    pixels = apply_affine(image_from_crop, pose_2p5d[..., :2])
    return on_lines(joint_lines(pixels, pose_2p5d[..., 2], focal, princpt, sights), root_depths)


class JointLines(NamedTuple):
    """Joint positions as linear functions Z a + b of the depth Z of their wrist along the camera's axis."""

    per_mm: Floats
    """(42, 3) a."""
    fixed: Floats
    """(42, 3) b, mm."""


def joint_lines(
    pixels: Floats, relative: Floats, focal: Floats, princpt: Floats, sights: npt.ArrayLike = CAMERA_AXIS
) -> JointLines:
    """Return the position of each joint as a linear function of its wrist's depth.

    A joint lies on the ray through its pixel, at the point whose depth along the line of sight is the wrist's plus the
    joint's relative depth.

    Args:
        pixels: (42, 2) px of the picture.
        relative: (42,) mm, depths relative to the joint's own wrist, along its hand's line of sight.
        focal: (2,) px of the picture.
        princpt: (2,) px of the picture.
        sights: (3,), or (2, 3) with one per hand: unit vectors.
    """
    sight = np.repeat(np.broadcast_to(np.asarray(sights, dtype=np.float64), (2, 3)), JOINTS_PER_HAND, axis=0)
    rays = _rays(pixels, focal, princpt)
    along = _lengths_along(rays, sight)
    return JointLines(rays * (along[ROOT_OF_JOINT] / along)[:, None], rays * (relative / along)[:, None])


def on_lines(lines: JointLines, root_depths: Floats) -> Floats:
    """Return the joints (42, 3) mm for the depths (2,) mm of the right and the left wrist."""
    return np.repeat(root_depths, JOINTS_PER_HAND)[:, None] * lines.per_mm + lines.fixed


def offset_along(
    wrists: Floats, offset: float, focal: Floats, princpt: Floats, sight: npt.ArrayLike = CAMERA_AXIS
) -> tuple[float, float]:
    """Return the left wrist's depth as a linear function of the right wrist's depth Z: scale Z + shift.

    Args:
        wrists: (2, 2) px of the picture, the right and the left wrist.
        offset: mm, depth of the left wrist minus that of the right wrist, along the sight.
        focal: (2,) px of the picture.
        princpt: (2,) px of the picture.
        sight: (3,) unit vector.

    Returns:
        scale and shift in mm; depths are along the camera's axis.
    """
    right, left = _lengths_along(_rays(wrists, focal, princpt), np.asarray(sight, dtype=np.float64))
    return float(right / left), float(offset / left)


def _lengths_along(rays: Floats, sight: Floats) -> Floats:
    """Return the components (N,) of rays (N, 3) along unit vectors (N, 3) or (3,).

    The angle between the two is limited to 84 degrees: at 90 degrees a depth would not determine a joint's position.
    """
    return np.asarray(np.maximum((rays * sight).sum(axis=1), 0.1 * np.linalg.norm(rays, axis=1)))


def _rays(pixels: Floats, focal: Floats, princpt: Floats) -> Floats:
    """Return the points (…, 3) at depth 1 on the rays through pixels (…, 2)."""
    return unproject(pixels, np.ones(pixels.shape[:-1]), focal, princpt)


def apply_affine(matrix: Floats, points: Floats) -> Floats:
    """Apply a 3x3 affine `destination_from_source` to points (…, 2)."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def scale_of(matrix: Floats) -> float:
    """Return the factor by which a similarity, 2x3 or 3x3, enlarges."""
    return float(np.sqrt(np.abs(np.linalg.det(matrix[:2, :2]))))


def is_mirroring(matrix: Floats) -> bool:
    """Return whether an affine map, 3x3, mirrors the picture."""
    return bool(np.linalg.det(matrix) < 0)


def mask_without_root(valid: Bools) -> Bools:
    """Return a copy of `valid` (…, 42) in which a hand with a missing wrist is entirely invalid."""
    return valid & valid[..., ROOT_OF_JOINT]


def tight_box(points: Floats, valid: Bools | None = None) -> Floats:
    """Return the tight box (x1, y1, x2, y2) around the valid points of `points` (N, 2); without `valid`, around all.

    Raises:
        ValueError: No point is valid.
    """
    points = points if valid is None else points[valid]
    if not len(points):
        raise ValueError("a box needs at least one valid joint, got none")
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def mean_distance(first: Floats, second: Floats) -> float:
    """Return the mean distance between corresponding points (N, 2) and (N, 2)."""
    return float(np.linalg.norm(first - second, axis=1).mean())


def extent(points: Floats) -> float:
    """Return the longer side of the tight box around points (N, 2), at least 1 px so that it can be a divisor."""
    return max(float(np.ptp(points, axis=0).max()), 1.0)


def on_one_place(first: Floats, second: Floats, share: float) -> bool:
    """Tell whether the mean points of two hands (N, 2) are closer than a share of the larger `extent`."""
    distance = float(np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)))
    return distance < share * max(extent(first), extent(second))


TIGHT_TO_ANNOTATED: Final = 1.2
"""Ratio of InterHand2.6M's annotated boxes, from which crops are made, to the tight boxes."""


def expand_box(box: Floats, factor: float) -> Floats:
    """Scale a box about its centre.

    Examples:
        >>> expand_box(np.array([0.0, 0.0, 10.0, 20.0]), 1.2).tolist()
        [-1.0, -2.0, 11.0, 22.0]
    """
    x1, y1, x2, y2 = box.tolist()
    x, y, half_x, half_y = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2 * factor, (y2 - y1) / 2 * factor
    return np.array([x - half_x, y - half_y, x + half_x, y + half_y])


CROP_EXPANSION: Final = 1.25
"""Ratio of a crop's side to the longer side of the annotated box."""


def square_box(box: Floats, expansion: float = CROP_EXPANSION) -> Floats:
    """Make a box square about its centre by extending its shorter side, then expand it: InterHand2.6M's crop rule.

    The annotated box is 1.2 times the tight box, so the crop's side is 1.5 times the tight box's longer side.
    """
    x1, y1, x2, y2 = box.tolist()
    x, y, half = (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) / 2 * expansion
    return np.array([x - half, y - half, x + half, y + half])


def square_around(middle: Floats, half: float) -> Floats:
    """Return the square, x1, y1, x2, y2, around a point (2,) whose sides are twice `half`."""
    return np.concatenate([middle - half, middle + half])


def crop_middle(size: int) -> Floats:
    """Return the middle (2,) u, v of a crop of size x size px: the point that mirroring does not move.

    `crop_matrix` puts the centre of the box half a pixel further right and down.
    """
    return np.full(2, (size - 1) / 2)


def box_iou(first: Floats, second: Floats) -> float:
    """Return the IoU of two boxes x1, y1, x2, y2 that are not empty.

    Examples:
        >>> box_iou(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2]))
        0.3333333333333333
    """
    shared = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = float(shared.clip(0).prod())
    return common / (float((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod()) - common)


def mirror_box(box: Floats, width: int) -> Floats:
    """Mirror boxes x1, y1, x2, y2 (..., 4) in a picture that is `width` px wide."""
    last = width - 1
    return np.stack([last - box[..., 2], box[..., 1], last - box[..., 0], box[..., 3]], axis=-1)


def crop_matrix(box: Floats, size: int, rotation: float = 0.0) -> Floats:
    """Return `crop_from_image`, 3x3, for a square box and a crop of size x size pixels.

    By the published rule, the box's centre maps to (size / 2, size / 2), and the middle of its (rotated) right edge to
    (size, size / 2).

    Args:
        box: (x1, y1, x2, y2) px, square.
        size: Side of the crop in px.
        rotation: Degrees by which the box is rotated clockwise in the picture (y points down).
    """
    x1, y1, x2, y2 = box.tolist()
    x, y, angle = (x1 + x2) / 2, (y1 + y2) / 2, math.radians(rotation)
    cos, sin = math.cos(angle) * size / (x2 - x1), math.sin(angle) * size / (x2 - x1)
    return np.array(
        [[cos, sin, size / 2 - cos * x - sin * y], [-sin, cos, size / 2 + sin * x - cos * y], [0.0, 0.0, 1.0]]
    )


def turned_box(box: Floats, size: int, rotation: float) -> Floats:
    """Return the box with which `crop_matrix`, given the rotation, rotates the crop about its middle.

    The published rule rotates a crop about its pixel (size / 2, size / 2), half a pixel off its middle. Crops of a
    picture and of its mirror image, rotated in opposite directions, would then not be mirror images of each other.
    """
    angle = math.radians(rotation)
    cos, sin = math.cos(angle), math.sin(angle)
    shift = 0.5 * (box[2] - box[0]) / size * np.array([cos - sin - 1, sin + cos - 1])
    return np.asarray(box + np.concatenate([shift, shift]))


def flip_matrix(width: int) -> Floats:
    """Return the 3x3 matrix that mirrors a picture horizontally: u becomes width - 1 - u."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def turn_matrix(pivot: Floats, degrees: float) -> Floats:
    """Return the 3x3 matrix that rotates a picture about a pixel (2,), clockwise (y points down)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, pivot - turn @ pivot
    return matrix


def root_depth(joints_cam: Floats, sight: npt.ArrayLike = CAMERA_AXIS) -> float:
    """Return the depth of the left wrist minus that of the right wrist, in mm along a line of sight."""
    right, left = ROOTS
    return float((joints_cam[left] - joints_cam[right]) @ np.asarray(sight))
