"""The hand model: a CC0 mesh with twelve shape components, skinned to 22 bones (assets/ORIGIN.md).

The hand's frame, in mm and for a right hand: origin at the wrist, x towards the thumb, y towards the base of the middle
finger, z out of the palm. A left hand is the mirror image in x.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from unclasp.arrays import Doubles, Ints, Singles
from unclasp.synth.compiled import compiled

FOREARM_MM = 320.0
"""Length of the extruded forearm, enough for its end to be always outside the picture."""
MEAN_LENGTH_MM = 185.0
"""Length from the wrist to the tip of the middle finger along the bones, of an average adult."""


@dataclass(frozen=True)
class RestHand:
    """A shape in rest pose, in the frame of a right hand; mm."""

    vertices: Doubles
    """(V, 3)."""
    heads: Doubles
    """(B, 3) start of each bone."""
    tails: Doubles
    """(B, 3) end of each bone; the tails of the last finger bones are the fingertips."""
    axes: Doubles
    """(5, 3) unit flexion axis of each finger, derived from the nails and the bones."""


@dataclass(frozen=True)
class HandModel:
    """The data shared by all hands. V vertices, F triangles, B bones."""

    faces: Ints
    """(F, 3) vertex indices, anticlockwise seen from outside for a right hand; reverse the rows for a left one."""
    weights: Doubles
    """(V, B) skinning weights; rows sum to 1."""
    bone_names: tuple[str, ...]
    part_probabilities: Singles
    """(V, 17) skinning weights summed per part: 0 forearm, 1-16 the parts of `unclasp.hands`."""
    nail: Singles
    """(V,) membership of the nails, from 0 to 1."""
    mean: Doubles
    """(N + 2 B, 3) mean of the vertices without the extruded end, heads, and tails."""
    components: Doubles
    """(12, N + 2 B, 3) shape components."""
    loop: Ints
    """Vertices of the forearm's open end, which is extruded: the last vertices are their copies."""

    @property
    def shape_components(self) -> int:
        """Number of shape coefficients."""
        return len(self.components)

    def bone(self, name: str) -> int:
        """Return the index of a bone."""
        return self.bone_names.index(name)

    @staticmethod
    @cache
    def load() -> "HandModel":
        """Load the packaged asset; cached."""
        with (
            resources.files("unclasp.synth").joinpath("assets/hand_cc0.npz").open("rb") as file,
            np.load(file) as asset,
        ):
            arrays = {key: asset[key] for key in asset.files}
        names = tuple(str(name) for name in arrays["bones"])
        count = int(arrays["nV"])
        quads = arrays["quads"].astype(np.int32)
        faces = _outward(np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]), arrays["mean"][:count])
        faces, loop = _extrude(faces, count)
        weights = arrays["w"].astype(np.float64)
        end = np.zeros((len(loop), len(names)))
        end[:, names.index("lowerarm01")] = 1
        weights = np.concatenate([weights / weights.sum(axis=1, keepdims=True), end])
        parts = np.zeros((len(names), 17))
        parts[np.arange(len(names)), [_part_of_bone(name) for name in names]] = 1
        return HandModel(
            faces=faces, weights=weights, bone_names=names, part_probabilities=(weights @ parts).astype(np.float32),
            nail=np.concatenate([arrays["nail"], np.zeros(len(loop))]).astype(np.float32),
            mean=arrays["mean"].astype(np.float64), components=arrays["pcs"].astype(np.float64), loop=loop,
        )  # fmt: skip

    def mean_hand(self) -> RestHand:
        """Return the mean shape in rest pose, at the length of an average adult's hand."""
        return self.rest(np.zeros(self.shape_components), MEAN_LENGTH_MM)

    def rest(self, shape: Doubles, length_mm: float) -> RestHand:
        """Return a shape in rest pose.

        Args:
            shape: Up to twelve coefficients in standard deviations. The first one is the overall size, which is
                overridden by `length_mm`.
            length_mm: Length from the wrist to the tip of the middle finger along the bones.
        """
        points = self.mean + np.tensordot(shape, self.components[: len(shape)], axes=1)
        bones = len(self.bone_names)
        count = len(points) - 2 * bones
        vertices, heads, tails = points[:count], points[count : count + bones], points[count + bones :]
        chain = [heads[self.bone("wrist")], *(heads[self.bone(f"finger3-{k}")] for k in (1, 2, 3))]
        chain.append(tails[self.bone("finger3-3")])
        scale = length_mm / np.linalg.norm(np.diff(chain, axis=0), axis=1).sum()
        away = heads[self.bone("lowerarm01")] - heads[self.bone("wrist")]
        away /= np.linalg.norm(away)
        end = vertices[self.loop]
        end = end - ((end - end.mean(axis=0)) @ away)[:, None] * away + FOREARM_MM / scale * away
        vertices, heads, tails = np.concatenate([vertices, end]) * scale, heads * scale, tails * scale
        return RestHand(vertices, heads, tails, self._flexion_axes(vertices, heads, tails))

    def _flexion_axes(self, vertices: Doubles, heads: Doubles, tails: Doubles) -> Doubles:
        normals = vertex_normals(vertices, self.faces)
        axes = np.empty((5, 3))
        for finger in range(5):
            last = self.bone(f"finger{finger + 1}-3")
            on_nail = (self.nail > 0.5) & (self.weights[:, last] > 0.5)
            along = _unit(tails[last] - heads[last])
            dorsal = normals[on_nail].mean(axis=0)
            axis = np.cross(_unit(dorsal - (dorsal @ along) * along), along)
            if finger > 0:
                first = self.bone(f"finger{finger + 1}-1")
                bone = _unit(heads[first + 1] - heads[first])
                axis = _unit(axis) + _unit(np.cross([0.0, 0.0, -1.0], bone))
            axes[finger] = _unit(axis)
        return axes


def _unit(vector: Doubles) -> Doubles:
    return np.asarray(vector / np.linalg.norm(vector))


def _part_of_bone(name: str) -> int:
    if name == "wrist" or name.startswith("metacarpal"):
        return 1
    if name.startswith("finger"):
        finger, bone = name.removeprefix("finger").split("-")
        return 2 + 3 * (int(finger) - 1) + int(bone) - 1
    return 0


def _outward(faces: Ints, vertices: Doubles) -> Ints:
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    volume = np.einsum("ij,ij->", a, np.cross(b, c))
    return faces if volume > 0 else faces[:, ::-1]


def _extrude(faces: Ints, count: int) -> tuple[Ints, Ints]:
    """Add a wall of triangles between the open loop and a copy of it; return the faces and the loop."""
    edges = Counter((int(face[i]), int(face[(i + 1) % 3])) for face in faces for i in range(3))
    border = sorted(edge for edge in edges if edge[::-1] not in edges)
    loop = np.array(sorted({vertex for edge in border for vertex in edge}), dtype=np.int32)
    copy = {int(vertex): count + index for index, vertex in enumerate(loop)}
    wall = [triangle for a, b in border for triangle in ((b, a, copy[a]), (b, copy[a], copy[b]))]
    return np.ascontiguousarray(np.concatenate([faces, np.array(wall)]), dtype=np.int32), loop


@compiled
def vertex_normals(vertices: Doubles, faces: Ints) -> Doubles:
    """Return area-weighted unit normals (V, 3)."""
    normals = np.zeros(vertices.shape)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2],
        )  # fmt: skip
        vx, vy, vz = (
            vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2],
        )  # fmt: skip
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in range(3):
            index = faces[f, corner]
            normals[index, 0] += nx
            normals[index, 1] += ny
            normals[index, 2] += nz
    for i in range(vertices.shape[0]):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        for axis in range(3):
            normals[i, axis] /= length
    return normals
