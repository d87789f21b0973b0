"""Collision handling: sphere proxies for a fast search, then the skinned surfaces for contact without penetration.

The surface test finds, for each point of one surface, the nearest point of the other; the point is inside if it lies
behind that point's normal. With vertices 3-6 mm apart, this is accurate to about a millimetre; tests/synth compares it
with the exact meshes.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Doubles
from unclasp.synth.compiled import compiled
from unclasp.synth.hand import FOREARM_MM, HandModel, RestHand, vertex_normals

_FINGER_SPHERES, _PALM_SPHERES, _FOREARM_SPHERES, _TUBE_SPHERES = 4, 6, 9, 12
_RING: Final = 24
_TUBE_RINGS: Final = 16
_FINGER_OVERLAP_MM, _THUMB_OVERLAP_MM, _PALM_OVERLAP_MM = 3.0, 6.0, 8.0
_THENAR_OVERLAP_MM = 15.0  # a curled index finger presses into the ball of the thumb
_PUSH_STEPS: Final = 25
"""Most steps of `push_apart`."""
_PUSH_TOLERANCE_MM: Final = 2.0
"""Overlap of spheres below which `push_apart` has succeeded."""
_SLIDE_START_MM: Final = 300.0
"""How far away `slide_in` starts."""
_SLIDE_TOLERANCE_MM: Final = 1.0
"""Overlap of spheres from which hands count as touching in `slide_in`."""
_SETTLE_STEPS: Final = 14
"""Most steps of `settle`."""
_TOUCH_GAP_MM: Final = 1.5
"""Widest gap between surfaces that touch."""
_REACH_MM: Final = 40.0
"""Points of two surfaces farther apart than this are not compared."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Placement of the spheres on a hand, computed once on the mean shape."""

    bone: Indices
    """(S,) the bone that each sphere moves with."""
    along: Doubles
    """(S,) position on the bone, 0 at its head and 1 at its tail; negative on the extruded forearm."""
    ring: Indices
    """(S, 24) vertices of the skin around the sphere."""
    percentile: Doubles
    """(S,) quantile, from 0 to 1, of the ring's distances from the bone that gives the radius."""
    apart: Doubles
    """(S, S) maximum overlap in mm of two spheres of one hand; infinite for neighbours."""


@cache
def sphere_layout() -> Layout:
    """Return the placement of the spheres, which is the same for all hands."""
    model = HandModel.load()
    rest = model.mean_hand()
    count = len(rest.vertices) - len(model.loop)
    places = []
    for name in model.bone_names:
        if name.startswith("finger"):
            ends = (0.1, 0.80) if name.endswith("-3") else (0.05, 0.95)
            places += [(name, u) for u in np.linspace(*ends, _FINGER_SPHERES)]
        elif name.startswith("metacarpal"):
            places += [(name, u) for u in np.linspace(0.02, 0.98, _PALM_SPHERES)]
        elif name.startswith("lowerarm"):
            places += [(name, u) for u in np.linspace(0.02, 0.98, _FOREARM_SPHERES)]
    bones = np.array([model.bone(name) for name, _ in places])
    rings = np.empty((len(places), _RING), dtype=np.int64)
    for row, (bone, (_, u)) in enumerate(zip(bones, places, strict=True)):
        centre = rest.heads[bone] + u * (rest.tails[bone] - rest.heads[bone])
        own = np.flatnonzero(model.weights[:count, bone] > 0.3)
        direction = rest.tails[bone] - rest.heads[bone]
        direction = direction / np.linalg.norm(direction)
        off = np.abs((rest.vertices[own] - centre) @ direction)
        rings[row] = np.resize(own[np.argsort(off, kind="stable")[:_RING]], _RING)
    end = model.bone("lowerarm01")
    tube = np.arange(1, _TUBE_SPHERES + 1) / _TUBE_SPHERES
    names = [name for name, _ in places] + ["tube"] * len(tube)
    return Layout(
        bone=np.concatenate([bones, np.full(len(tube), end)]),
        along=np.concatenate([[u for _, u in places], -tube]),
        ring=np.concatenate([rings, np.resize(model.loop, (len(tube), _RING)).astype(np.int64)]),
        percentile=np.array([_percentile(name) for name in names]),
        apart=_allowed_overlap(names),
    )


def _percentile(name: str) -> float:
    return 0.30 if name.startswith("finger") else 0.10 if name.startswith("metacarpal") else 0.45


def _allowed_overlap(names: list[str]) -> Doubles:
    finger = np.array([int(name[6]) if name.startswith("finger") else 0 for name in names])
    first = np.array([name.endswith("-1") for name in names])
    palm = np.array([name.startswith("metacarpal") for name in names])
    allowed = np.full((len(names), len(names)), np.inf)
    allowed[(finger[:, None] != finger) & (finger[:, None] > 0) & (finger > 0)] = _FINGER_OVERLAP_MM
    thumb = finger == 1
    allowed[thumb[:, None] & (finger > 1)] = _THUMB_OVERLAP_MM
    allowed[((finger > 1) & ~first)[:, None] & palm] = _PALM_OVERLAP_MM
    allowed[(finger == 2)[:, None] & np.array([name == "metacarpal1" for name in names])] = _THENAR_OVERLAP_MM
    return allowed


@compiled
def _fit(
    vertices: Doubles, heads: Doubles, tails: Doubles, bone: Indices, along: Doubles, ring: Indices,
    percentile: Doubles, beyond: float,
) -> tuple[Doubles, Doubles]:  # fmt: skip
    centres, radii = np.empty((len(bone), 3)), np.empty(len(bone))
    distances = np.empty(ring.shape[1])
    for s in range(len(bone)):
        head, tail = heads[bone[s]], tails[bone[s]]
        axis = tail - head
        length = np.sqrt((axis * axis).sum())
        axis = axis / length
        mean = np.zeros(3)
        for k in range(ring.shape[1]):
            mean += vertices[ring[s, k]] / ring.shape[1]
        start = ((mean - head) * axis).sum()
        at = along[s] * length if along[s] >= 0 else start + along[s] * beyond
        centre = mean + (at - start) * axis
        for k in range(ring.shape[1]):
            offset = vertices[ring[s, k]] - centre
            offset = offset - (offset * axis).sum() * axis
            distances[k] = np.sqrt((offset * offset).sum())
        distances.sort()
        centres[s] = centre
        radii[s] = distances[int(percentile[s] * (ring.shape[1] - 1))]
    return centres, radii


@dataclass(frozen=True)
class Spheres:
    """A hand as spheres: centres (S, 3) in mm, in any frame, and radii (S,)."""

    centres: Doubles
    radii: Doubles

    def moved(self, rotation: Doubles, translation: Doubles) -> "Spheres":
        """Return the spheres transformed by `rotation @ x + translation`."""
        return Spheres(self.centres @ rotation.T + translation, self.radii)


def rest_spheres(rest: RestHand) -> Spheres:
    """Fit the spheres to a shape in rest pose."""
    layout = sphere_layout()
    centres, radii = _fit(
        rest.vertices, rest.heads, rest.tails, layout.bone, layout.along, layout.ring, layout.percentile, FOREARM_MM
    )
    return Spheres(centres, radii)


def pose_spheres(spheres: Spheres, transforms: Doubles) -> Spheres:
    """Transform the rest spheres with their bones."""
    of_bone = transforms[sphere_layout().bone]
    return Spheres(np.einsum("sij,sj->si", of_bone[:, :, :3], spheres.centres) + of_bone[:, :, 3], spheres.radii)


@compiled
def _excess(centres: Doubles, radii: Doubles, allowed: Doubles) -> float:
    worst = -1e9
    for i in range(len(radii)):
        for j in range(len(radii)):
            if allowed[i, j] < 1e9:
                d = centres[i] - centres[j]
                worst = max(worst, radii[i] + radii[j] - np.sqrt((d * d).sum()) - allowed[i, j])
    return worst


def self_collides(spheres: Spheres) -> bool:
    """Return whether fingers penetrate each other or the palm by more than skin can give way."""
    return bool(_excess(spheres.centres, spheres.radii, sphere_layout().apart) > 0)


@compiled
def _overlap(ca: Doubles, ra: Doubles, cb: Doubles, rb: Doubles, push: Doubles) -> float:
    """Return the deepest overlap of two hands' spheres, and write the summed push of b out of a to `push`."""
    worst = -1e9
    push[:] = 0.0
    for i in range(len(ra)):
        for j in range(len(rb)):
            x, y, z = cb[j, 0] - ca[i, 0], cb[j, 1] - ca[i, 1], cb[j, 2] - ca[i, 2]
            distance = np.sqrt(x * x + y * y + z * z) + 1e-9
            depth = ra[i] + rb[j] - distance
            worst = max(worst, depth)
            if depth > 0.5:
                push[0] += (depth - 0.5) * x / distance
                push[1] += (depth - 0.5) * y / distance
                push[2] += (depth - 0.5) * z / distance
    return worst


def overlap(a: Spheres, b: Spheres) -> float:
    """Return the deepest overlap of two hands' spheres in mm; negative values are gaps."""
    return float(_overlap(a.centres, a.radii, b.centres, b.radii, np.zeros(3)))


def push_apart(a: Spheres, b: Spheres) -> Doubles | None:
    """Return a translation of b after which the overlap is below `_PUSH_TOLERANCE_MM`, or None if none is found."""
    moved, push = np.zeros(3), np.zeros(3)
    for _ in range(_PUSH_STEPS):
        deepest = _overlap(a.centres, a.radii, b.centres + moved, b.radii, push)
        if deepest < _PUSH_TOLERANCE_MM:
            return moved
        moved = moved + push / (np.linalg.norm(push) + 1e-9) * min(deepest, 6.0)
    return None


def slide_in(a: Spheres, b: Spheres, direction: Doubles) -> float | None:
    """Slide b along `direction` towards a, from `_SLIDE_START_MM` away, until they touch.

    Returns:
        The displacement of b along `direction` in mm at contact, or None if it passes by.
    """
    moved, push = _SLIDE_START_MM, np.zeros(3)
    for _ in range(80):
        gap = -_overlap(a.centres, a.radii, b.centres + moved * direction, b.radii, push)
        if gap < -_SLIDE_TOLERANCE_MM:
            return moved
        moved -= max(gap, 1.0)
        if moved < -_SLIDE_START_MM:
            return None
    return None


@dataclass(frozen=True)
class Surface:
    """A posed surface as points with outward normals: the mesh vertices and rings along the extruded forearm."""

    points: Doubles
    """(P, 3) mm."""
    normals: Doubles
    """(P, 3) unit."""


def surface(model: HandModel, vertices: Doubles, *, mirrored: bool) -> tuple[Surface, Doubles]:
    """Return a posed mesh as a `Surface`, and its vertex normals (V, 3)."""
    normals = vertex_normals(vertices, model.faces)
    if mirrored:
        normals = -normals
    count = len(vertices) - len(model.loop)
    near, far = vertices[model.loop], vertices[count:]
    axis = (far - near).mean(axis=0)
    axis = axis / np.linalg.norm(axis)
    around = normals[model.loop]
    around = around - (around @ axis)[:, None] * axis
    around = around / np.linalg.norm(around, axis=1, keepdims=True)
    steps = (np.arange(1, _TUBE_RINGS + 1) / _TUBE_RINGS)[:, None, None]
    tube = (near + steps * (far - near)).reshape(-1, 3)
    points = np.concatenate([vertices[:count], tube])
    return Surface(points, np.concatenate([normals[:count], np.tile(around, (_TUBE_RINGS, 1))])), normals


@compiled
def _indices_in_box(points: Doubles, low: Doubles, high: Doubles) -> Indices:
    found = np.empty(len(points), dtype=np.int64)
    count = 0
    for i in range(len(points)):
        inside = True
        for k in range(3):
            inside = inside and low[k] <= points[i, k] <= high[k]
        if inside:
            found[count] = i
            count += 1
    return found[:count]


@compiled
def _bounds(points: Doubles, margin: float) -> tuple[Doubles, Doubles]:
    low, high = np.empty(3), np.empty(3)
    for k in range(3):
        low[k], high[k] = points[:, k].min() - margin, points[:, k].max() + margin
    return low, high


@compiled
def _probe(points: Doubles, of: Doubles, normals: Doubles) -> tuple[float, Doubles, float, Doubles]:
    """Measure `points` against a surface, given as points `of` with normals; pairs beyond `_REACH_MM` are ignored.

    Returns:
        Penetration depth of the deepest point and the direction out of the surface there; smallest distance and the
        vector to the nearest point of the surface.
    """
    deepest, out, nearest, towards = 0.0, np.zeros(3), 1e9, np.zeros(3)
    low, high = _bounds(points, _REACH_MM)
    candidates = _indices_in_box(of, low, high)
    low, high = _bounds(of, _REACH_MM)
    for i in _indices_in_box(points, low, high):
        best, at = 1e18, -1
        for j in candidates:
            x, y, z = points[i, 0] - of[j, 0], points[i, 1] - of[j, 1], points[i, 2] - of[j, 2]
            square = x * x + y * y + z * z
            if square < best:
                best, at = square, j
        if at < 0:
            continue
        if best < nearest * nearest:
            nearest, towards = np.sqrt(best), of[at] - points[i]
        offset = points[i] - of[at]
        height = (offset * normals[at]).sum()
        if -height > deepest and best - height * height < 144.0:
            deepest, out = -height, normals[at].copy()
    return deepest, out, nearest, towards


def settle(a: Surface, b: Surface, *, depth: float) -> Doubles | None:
    """Move b until the surfaces touch: at most `depth` mm inside each other, and at most `_TOUCH_GAP_MM` apart.

    Returns:
        The translation of b, or None if the search fails within `_SETTLE_STEPS`.
    """
    moved = np.zeros(3)
    for _ in range(_SETTLE_STEPS):
        points = b.points + moved
        into_a, out_of_a, near, towards = _probe(points, a.points, a.normals)
        into_b, out_of_b, _, _ = _probe(a.points, points, b.normals)
        if max(into_a, into_b) > depth:
            push = out_of_a * into_a if into_a >= into_b else -out_of_b * into_b
            moved = moved + push * (1 - 0.5 * depth / max(into_a, into_b))
        elif max(into_a, into_b) == 0.0 and near > _TOUCH_GAP_MM:
            if near > 60.0:
                return None
            moved = moved + towards * (1 - 0.5 * _TOUCH_GAP_MM / near)
        else:
            return moved
    return None
