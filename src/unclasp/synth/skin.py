"""How the hands of one picture look: tone of the skin, palm, nails, flush, creases; all painted on the rest pose.

The masks that do not depend on the picture are computed once from the mean hand (`canvas`). Colours are sampled in CIELAB,
along measured tones of human skin from very light to very dark, so that no green or grey hand can come out.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp.synth.hand import HandModel
from unclasp.synth.raster import Floats, Ints
from unclasp.synth.shade import noise_table

TONES: Final[npt.NDArray[np.float32]] = np.array(
    [[73, 8, 14], [68, 10, 16.5], [62, 11.5, 18.5], [55, 12.5, 19.5], [47, 12.5, 18.5], [39, 11.5, 15.5], [31, 9.5, 11]],
    dtype=np.float32,
)  # fmt: skip
"""CIELAB (D65) of the back of the hand, from very light to very dark skin."""

_MEAN_LENGTH_MM: Final = 185.0


class Canvas(NamedTuple):
    """What is painted where on the mean hand. V vertices, F faces of one hand."""

    rest: Floats
    """(V, 3) mm, mean rest pose: the space in which textures live."""
    palm: Floats
    """(V,) 1 on the palmar side of the hand, 0 on its back."""
    flush: Floats
    """(V,) 1 at finger tips and knuckles."""
    nail: Floats
    """(V,)."""
    arc: Floats
    """(V,) mm along the finger, from its base joint."""
    palm_lines: Floats
    """(V, 3) signed distance in mm to heart, head and life line."""
    finger_joints: Floats
    """(5, 3) arc of the finger's base, middle and end joint."""
    face_finger: Ints
    """(F,) finger 0-4, -1 for palm and forearm."""
    probabilities: Floats
    """(V, 17)."""
    dominant: npt.NDArray[np.uint8]
    """(V,) argmax of the probabilities."""


@lru_cache(maxsize=1)
def canvas() -> Canvas:
    """Paint the masks on the mean hand, once per process."""
    model = HandModel.load()
    mean = model.rest(np.zeros(_shape_size(model)), _MEAN_LENGTH_MM)
    vertices = np.asarray(mean.vertices, dtype=np.float32)
    probabilities = np.ascontiguousarray(model.part_probabilities, dtype=np.float32)
    dominant = probabilities.argmax(axis=1).astype(np.uint8)
    normals = vertex_normals(vertices, model.faces)
    palm = _smooth(np.clip((normals[:, 2] + 0.3) / 0.9, 0, 1), model.faces, 2)
    arc, finger_joints = _arc(model, mean)
    finger_of_part = np.array([-1, -1, *np.repeat(np.arange(5), 3)], dtype=np.int32)
    return Canvas(
        rest=vertices,
        palm=palm,
        flush=_flush(probabilities, model.faces),
        nail=np.asarray(model.nail, dtype=np.float32),
        arc=arc,
        palm_lines=_palm_lines(vertices),
        finger_joints=finger_joints,
        face_finger=np.median(finger_of_part[dominant][model.faces], axis=1).astype(np.int32),
        probabilities=probabilities,
        dominant=dominant,
    )


def _shape_size(model: HandModel) -> int:
    return int(model.shape_components)


def vertex_normals(vertices: npt.NDArray[np.floating], faces: Ints) -> Floats:
    """Return (V, 3) unit normals, outward, area-weighted."""
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    indices = faces.ravel()
    sums = [np.bincount(indices, np.repeat(face_normals[:, axis], 3), len(vertices)) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    return normals.astype(np.float32)


def _smooth(values: npt.NDArray[np.floating], faces: Ints, rounds: int) -> Floats:
    """Average each vertex with its neighbours a few times."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    degree = 1 + np.bincount(edges.ravel(), minlength=len(values))
    for _ in range(rounds):
        total = values + np.bincount(edges[:, 0], values[edges[:, 1]], len(values))
        values = (total + np.bincount(edges[:, 1], values[edges[:, 0]], len(values))) / degree
    return values.astype(np.float32)


def _flush(probabilities: Floats, faces: Ints) -> Floats:
    """Finger tips, and wherever two bones of a finger share a vertex: there skin is redder."""
    tips = probabilities[:, 4::3].sum(axis=1)
    shared = 1 - np.abs(2 * probabilities[:, 2:].max(axis=1) - 1)
    knuckles = np.clip(shared, 0, 1) * (probabilities[:, 2:].sum(axis=1) > 0.6)
    return _smooth(0.8 * tips + 0.6 * knuckles, faces, 2)


def _arc(model: HandModel, mean: "object") -> tuple[Floats, Floats]:
    """Return (V,) position along the finger and (5, 3) where its joints lie, in mm."""
    heads, tails, vertices = mean.heads, mean.tails, mean.vertices  # type: ignore[attr-defined]
    names = list(model.bone_names)
    arc, total, joints = np.zeros(len(vertices)), np.full(len(vertices), 1e-6), np.zeros((5, 3))
    for finger in range(5):
        start = 0.0
        for bone in range(3):
            index = names.index(f"finger{finger + 1}-{bone + 1}")
            axis = tails[index] - heads[index]
            length = float(np.linalg.norm(axis))
            weight = model.part_probabilities[:, 2 + 3 * finger + bone]
            arc += weight * (start + (vertices - heads[index]) @ axis / length)
            total += weight
            joints[finger, bone] = start
            start += length
    return (arc / total).astype(np.float32), joints.astype(np.float32)


def _palm_lines(rest: Floats) -> Floats:
    """Signed distances to three curves on the palm, drawn for a hand of 185 mm (x to the thumb, y to the fingers)."""
    x, y = rest[:, 0].astype(np.float64), rest[:, 1].astype(np.float64)
    heart = 0.9 * (y - 70 - 16 * ((x + 42) / 54) ** 2) + np.maximum(0, x - 12)
    head = 0.93 * (y - 70 + 0.36 * (32 - x)) + np.maximum(0, -26 - x) + np.maximum(0, x - 32)
    life = 0.8 * (x - 4 - 28 * np.sqrt(np.clip((y - 6) / 64, 0, 1))) + np.maximum(0, 10 - y) + np.maximum(0, y - 70)
    return np.stack([heart, head, life], axis=1).astype(np.float32)


class SkinLook(NamedTuple):
    """The skin of one picture, the same for both hands."""

    albedo: Floats
    """(V, 3) linear RGB per vertex of a hand."""
    low_noise: Floats
    """(V,) slow solid noise per vertex: blotches and veins."""
    colour: Floats
    """(3,) linear RGB of the back of the hand, for other skin in the picture."""
    strengths: dict[str, float | tuple[float, float]]
    """Keyword arguments of `shade.skin_vector`."""
    gloved: bool


def lab_to_linear(lab: npt.NDArray[np.floating]) -> Floats:
    """Convert CIELAB (D65) to linear sRGB, clipped to 0.005-0.95; any shape (..., 3).

    >>> lab_to_linear(np.array([50.0, 0.0, 0.0])).round(2).tolist()
    [0.18, 0.18, 0.18]
    """
    lightness = (lab[..., 0] + 16) / 116
    root = np.stack([lightness + lab[..., 1] / 500, lightness, lightness - lab[..., 2] / 200], axis=-1)
    xyz = np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29)) * np.array([0.95047, 1.0, 1.08883])
    rgb_from_xyz = np.array(
        [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    )
    return np.clip(xyz @ rgb_from_xyz.T, 0.005, 0.95).astype(np.float32)


def sample_skin(rng: np.random.Generator) -> SkinLook:
    """Draw the look of the hands of one picture."""
    paint = canvas()
    tone = (len(TONES) - 1) * rng.beta(1.05, 1.5)
    low = min(int(tone), len(TONES) - 2)
    back = TONES[low] + (tone - low) * (TONES[low + 1] - TONES[low]) + rng.normal(0, [1.5, 1.2, 1.5])
    palm = back + [0.42 * (69 - back[0]) + 1, rng.uniform(1.5, 5.5), rng.uniform(-2.5, 0.5)]
    flush = float(rng.uniform(0.0, 1.3))
    noise = noise_table()
    low_noise = _vertex_noise(noise, paint.rest * 0.045 + rng.uniform(0, 32, 3))
    gloved = bool(rng.random() < 0.02)
    if gloved:
        back_rgb = palm_rgb = lab_to_linear(np.array([rng.uniform(15, 90), *rng.normal(0, 8, 2)]))
        flush = 0.0
    else:
        back_rgb, palm_rgb = lab_to_linear(back), lab_to_linear(palm)
    mask = (paint.palm * np.clip(1.0 - 0.6 * paint.probabilities[:, 0], 0, 1))[:, None]
    albedo = back_rgb * (1 - mask) + palm_rgb * mask
    albedo = albedo * (1 + flush * paint.flush[:, None] * np.array([0.03, -0.12, -0.10]))
    strengths = _strengths(rng, gloved=gloved, polished=bool(rng.random() < 0.08))
    return SkinLook(albedo.astype(np.float32), low_noise, back_rgb, strengths, gloved)


def _strengths(rng: np.random.Generator, *, gloved: bool, polished: bool) -> dict[str, float | tuple[float, float]]:
    age = rng.beta(1.2, 2.2)
    vein = rng.uniform(0, 0.16) if rng.random() < 0.4 else 0.0
    return {
        "mottle": rng.uniform(0.03, 0.12),
        "bump": (0.04 + 0.12 * age) * rng.uniform(0.6, 1.3) * (3.0 if gloved else 1.0),
        "crease": 0.0 if gloved else 0.35 + 0.6 * age,
        "vein": 0.0 if gloved else vein,
        "wrap": rng.uniform(0.15, 0.35),
        "roughness": 0.8 if gloved else rng.uniform(0.38, 0.62),
        "specular": 0.4 if gloved else rng.uniform(0.7, 2.2),
        "offset": rng.uniform(0, 32),
        "nail": (0.0, 0.0) if gloved else (rng.uniform(-0.8, 0.3), 0.15) if polished else (rng.uniform(0.1, 0.4), 0.02),
    }


def _vertex_noise(table: Floats, points: npt.NDArray[np.floating]) -> Floats:
    """Trilinear value of the periodic noise at (V, 3) points, in cells."""
    floor = np.floor(points).astype(np.int64)
    fraction = points - floor
    total = np.zeros(len(points))
    for corner in range(8):
        offset = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        weight = np.where(offset, fraction, 1 - fraction).prod(axis=1)
        cell = (floor + offset) % table.shape[0]
        total += weight * table[cell[:, 0], cell[:, 1], cell[:, 2], 0]
    return total.astype(np.float32)
