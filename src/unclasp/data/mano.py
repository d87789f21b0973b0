"""The hand model MANO, read from a user's own files: turns pose, shape and translation into the vertices of a mesh.

The files, MANO_RIGHT.pkl and MANO_LEFT.pkl, come from the model's owners (mano.is.tue.mpg.de) under their licence. The
template plus shape-dependent displacements gives the hand at rest, whose joints are weighted sums of its vertices.
Pose-dependent displacements are added, and every vertex follows the 16 joints by linear blend skinning.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Array, Doubles, Ints, Singles
from unclasp.data.inert_pickle import read_arrays
from unclasp.errors import DataError
from unclasp.files import digest
from unclasp.hands import PARTS_PER_HAND, SIDES, Side

JOINTS: Final = 16
SHAPES: Final = 10
"""Number of shape coefficients of a fit; a file may have more."""
PARENTS: Final = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
"""Parents of the 16 joints: wrist, then three each of index, middle, pinky, ring, thumb."""
PART_OF_JOINT: Final = np.array([0, 4, 5, 6, 7, 8, 9, 13, 14, 15, 10, 11, 12, 1, 2, 3])
"""Index in `hands.HAND_PART_NAMES` of the part that each joint moves."""
MM: Final = 1000.0
"""Millimetres per metre; the model and the fits are in metres."""
_MAX_SAME_AXIS_DIFFERENCE: Final = 1.0
"""If the sum of absolute differences of both hands' first shape axes is below this, the left one is a copy of the right
one: a known flaw of the files."""


@dataclass(frozen=True)
class ManoModel:
    """One hand of MANO, in metres, with V vertices and one more that closes the wrist."""

    template: Doubles
    """(V, 3)."""
    shape_axes: Doubles
    """(V, 3, 10)."""
    pose_axes: Doubles
    """(V, 3, 135)."""
    joint_weights: Doubles
    """(16, V) maps vertices at rest to joints at rest."""
    skinning: Doubles
    """(V, 16); rows sum to 1."""
    mean_pose: Doubles
    """(45,) mean pose, which the poses of fits are relative to."""
    ring: npt.NDArray[np.int64]
    """Vertices around the opening at the wrist, whose mean is the last vertex; empty for a closed mesh."""
    faces: Ints
    """(F, 3) including those that close the wrist; anticlockwise seen from outside."""

    def vertices(self, pose: Doubles, shape: Doubles, place: Doubles) -> Doubles:
        """Return (V + 1, 3) vertices in mm, in the frame of the fit.

        Args:
            pose: (48,) rotation vectors: global orientation, then the 15 finger joints without the mean pose.
            shape: (10,) coefficients.
            place: (3,) m, translation, added last.
        """
        local = rotations((pose + np.concatenate([np.zeros(3), self.mean_pose])).reshape(JOINTS, 3))
        shaped = self.template + self.shape_axes @ shape
        posed = shaped + self.pose_axes @ (local[1:] - np.eye(3)).ravel()
        joint_rotations, offsets = _joint_transforms(local, self.joint_weights @ shaped)
        blended = (self.skinning @ joint_rotations.reshape(JOINTS, 9)).reshape(-1, 3, 3)
        moved = (blended @ posed[..., None])[..., 0] + self.skinning @ offsets + place
        seal = moved[self.ring].mean(axis=0) if len(self.ring) else moved[0]
        return np.asarray(np.concatenate([moved, seal[None]]) * MM)

    @property
    def part_probabilities(self) -> Singles:
        """(V + 1, 17) skinning weights by part; column 0 is background and all 0."""
        shares = np.zeros((len(self.template) + 1, 1 + PARTS_PER_HAND), dtype=np.float32)
        shares[:-1, 1 + PART_OF_JOINT] = self.skinning
        shares[-1, 1] = 1  # the vertex that closes the wrist belongs to the palm
        return shares


def read_mano(folder: Path | str) -> dict[Side, ManoModel]:
    """Read MANO_RIGHT.pkl and MANO_LEFT.pkl from `folder` or its subfolder `models` or `mano`.

    If the left hand's first shape axis is a copy of the right one's, as in the distributed files, its x is negated:
    otherwise, coefficients that make right hands wider would make left hands narrower.

    Raises:
        DataError: A file is missing, damaged, or not a MANO model of that hand.
    """
    models = {side: _read_hand(mano_path(folder, side)) for side in SIDES}
    right, left = models["right"], models["left"]
    if right.template.shape == left.template.shape:
        if np.array_equal(right.template, left.template):
            raise DataError(f"{mano_path(folder, 'left')} holds the right hand again; copy the left one's file there")
        if np.abs(left.shape_axes[:, 0] - right.shape_axes[:, 0]).sum() < _MAX_SAME_AXIS_DIFFERENCE:
            left.shape_axes[:, 0] *= -1
    return models


def mano_path(folder: Path | str, side: Side) -> Path:
    """Return the path of a hand's file: the one that exists, else the expected one."""
    paths = [Path(folder) / below / f"MANO_{side.upper()}.pkl" for below in (".", "models", "mano")]
    return next((path for path in paths if path.exists()), paths[0])


def mano_key(folder: Path | str) -> str:
    """Return a short hash of both files, to tell models apart."""
    return digest(*(mano_path(folder, side) for side in SIDES))[:16]


def rotations(vectors: Doubles) -> Doubles:
    """Return (N, 3, 3) rotation matrices for (N, 3) rotation vectors (Rodrigues' formula)."""
    angles = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = (vectors / np.maximum(angles[:, 0], 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    return np.asarray(np.eye(3) + np.sin(angles) * cross + (1 - np.cos(angles)) * (cross @ cross))


def _joint_transforms(local: Doubles, joints: Doubles) -> tuple[Doubles, Doubles]:
    """Return the rigid transform of each joint (forward kinematics): (16, 3, 3) rotations and (16, 3) offsets.

    Args:
        local: (16, 3, 3) rotations relative to the parents.
        joints: (16, 3) positions at rest.
    """
    rotation, position = local.copy(), joints.copy()
    for joint, parent in enumerate(PARENTS[1:], start=1):
        rotation[joint] = rotation[parent] @ local[joint]
        position[joint] = rotation[parent] @ (joints[joint] - joints[parent]) + position[parent]
    return rotation, position - (rotation @ joints[..., None])[..., 0]


def _read_hand(path: Path) -> ManoModel:
    if not path.exists():
        raise DataError(
            f"{path} is missing; --mano names the folder with the owners' MANO_RIGHT.pkl and MANO_LEFT.pkl, which have "
            "to be fetched from mano.is.tue.mpg.de"
        )
    arrays = read_arrays(path)

    def take(name: str, *shape: int | None) -> Array:
        found = arrays.get(name)
        if found is None:
            raise DataError(f"{path} lacks '{name}', so it is no model of MANO; fetch it again")
        fits = found.ndim == len(shape) and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
        if not fits or not np.isfinite(found).all():
            wanted = " x ".join("any" if side is None else str(side) for side in shape)
            raise DataError(f"{path}: '{name}' must hold {wanted} finite numbers, got {found.shape}; fetch it again")
        return found

    template = take("v_template", None, 3).astype(np.float64)
    count = len(template)
    shapes = take("shapedirs", count, 3, None).astype(np.float64)
    parents = take("kintree_table", 2, JOINTS)[0].astype(np.int64)
    if shapes.shape[2] < SHAPES or parents[1:].tolist() != list(PARENTS[1:]):
        raise DataError(f"{path} has other joints or fewer shapes than MANO has; fetch it again")
    faces = take("f", None, 3).astype(np.int64)
    if not len(faces) or faces.min() < 0 or faces.max() >= count:
        raise DataError(f"{path}: 'f' must name the {count} vertices, got others; fetch it again")
    closed, ring = _closed(faces, count)
    seal = template[ring] if len(ring) else template[:1]
    return ManoModel(
        template=template, shape_axes=shapes[..., :SHAPES].copy(),
        pose_axes=take("posedirs", count, 3, 9 * (JOINTS - 1)).astype(np.float64),
        joint_weights=take("J_regressor", JOINTS, count).astype(np.float64),
        skinning=take("weights", count, JOINTS).astype(np.float64),
        mean_pose=take("hands_mean", 3 * (JOINTS - 1)).astype(np.float64), ring=ring,
        faces=_outward(closed, np.concatenate([template, seal.mean(axis=0)[None]])),
    )  # fmt: skip


def _closed(faces: npt.NDArray[np.int64], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Close the opening at the wrist with triangles to vertex `count`; return the faces and the opening's vertices."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {(int(a), int(b)) for a, b in edges}
    border = sorted((a, b) for a, b in directed if (b, a) not in directed)
    fan = np.array([(b, a, count) for a, b in border], dtype=np.int64).reshape(-1, 3)
    return np.concatenate([faces, fan]), np.unique(fan[:, :2])


def _outward(faces: npt.NDArray[np.int64], vertices: Doubles) -> Ints:
    """Orient the faces of a closed mesh anticlockwise seen from outside, by the sign of its volume."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    oriented = faces if np.einsum("ij,ij->", a, np.cross(b, c)) > 0 else faces[:, ::-1]
    return np.ascontiguousarray(oriented, dtype=np.int32)
