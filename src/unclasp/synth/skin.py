"""Samples the look of one picture's hands, painted on the rest pose: skin tone, palm, nails, flush, creases.

The masks that do not depend on the picture are computed once from the mean hand (`canvas`). Colours are sampled in
CIELAB along measured tones of human skin from very light to very dark, which excludes green or grey hands.
"""

from functools import cache
from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Floats, Ints, Pixels, Singles
from unclasp.synth.colour import linear_from_lab
from unclasp.synth.hand import HandModel, RestHand, vertex_normals
from unclasp.synth.material import SkinStrengths, noise_table, sample_noise

TONES: Final[Singles] = np.array(
    [[74, 8, 13], [69, 10, 15], [63, 11, 17], [56, 12, 17.5], [48, 12, 17], [39, 11, 14], [30, 9, 10.5]],
    dtype=np.float32,
)  # fmt: skip
"""CIELAB (D65) of the back of the hand, from very light to very dark skin."""

_FAR_MM: Final = 60.0
"""Distance assigned beyond the ends of the palm's lines, so that no crease is drawn there."""
_STRENGTHS: Final = ((0.03, 0.12), (0.02, 0.16), (0.15, 0.35), (0.38, 0.62))
"""Ranges of mottle, vein, wrap and roughness."""


class Canvas(NamedTuple):
    """Masks and coordinates on the mean hand. V vertices, F faces of one hand."""

    rest: Singles
    """(V, 3) mm, mean rest pose: the coordinates of solid textures."""
    palm: Singles
    """(V,) 1 on the palmar side of the hand, 0 on its back."""
    flush: Singles
    """(V,) redness of the skin, up to 1, at fingertips and knuckles."""
    nail: Singles
    """(V,)."""
    arc: Singles
    """(V,) mm along the finger, from its base joint."""
    palm_lines: Singles
    """(V, 3) signed distance in mm to heart, head and life line."""
    finger_joints: Singles
    """(5, 3) arc of the finger's base, middle and end joint."""
    face_finger: Ints
    """(F,) finger 0-4, -1 for palm and forearm."""
    probabilities: Singles
    """(V, 17)."""
    dominant: Pixels
    """(V,) argmax of the probabilities."""


@cache
def canvas() -> Canvas:
    """Return the masks on the mean hand; computed once per process."""
    model = HandModel.load()
    mean = model.mean_hand()
    vertices = np.asarray(mean.vertices, dtype=np.float32)
    probabilities = np.ascontiguousarray(model.part_probabilities, dtype=np.float32)
    dominant = probabilities.argmax(axis=1).astype(np.uint8)
    normals = vertex_normals(mean.vertices, model.faces).astype(np.float32)
    palm = _smooth(np.clip((normals[:, 2] + 0.3) / 0.9, 0, 1), model.faces)
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


def _smooth(values: Floats, faces: Ints) -> Singles:
    """Average each vertex with its neighbours, twice."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    degree = 1 + np.bincount(edges.ravel(), minlength=len(values))
    for _ in range(2):
        total = values + np.bincount(edges[:, 0], values[edges[:, 1]], len(values))
        values = (total + np.bincount(edges[:, 1], values[edges[:, 0]], len(values))) / degree
    return values.astype(np.float32)


def _flush(probabilities: Singles, faces: Ints) -> Singles:
    """Return the mask of redder skin: fingertips, and vertices shared by two bones of a finger."""
    tips = probabilities[:, 4::3].sum(axis=1)
    shared = 1 - np.abs(2 * probabilities[:, 2:].max(axis=1) - 1)
    knuckles = np.clip(shared, 0, 1) * (probabilities[:, 2:].sum(axis=1) > 0.6)
    return _smooth(0.8 * tips + 0.6 * knuckles, faces)


def _arc(model: HandModel, mean: RestHand) -> tuple[Singles, Singles]:
    """Return the position (V,) along the finger, and the positions (5, 3) of its joints, in mm."""
    heads, tails, vertices = mean.heads, mean.tails, mean.vertices
    arc, total, joints = np.zeros(len(vertices)), np.full(len(vertices), 1e-6), np.zeros((5, 3))
    for finger in range(5):
        start = 0.0
        for bone in range(3):
            index = model.bone(f"finger{finger + 1}-{bone + 1}")
            axis = tails[index] - heads[index]
            length = float(np.linalg.norm(axis))
            weight = model.part_probabilities[:, 2 + 3 * finger + bone]
            arc += weight * (start + (vertices - heads[index]) @ axis / length)
            total += weight
            joints[finger, bone] = start
            start += length
    return (arc / total).astype(np.float32), joints.astype(np.float32)


def _palm_lines(rest: Singles) -> Singles:
    """Return signed distances to three palm lines, drawn for a hand of 185 mm (x to the thumb, y to the fingers)."""
    x, y = rest[:, 0].astype(np.float64), rest[:, 1].astype(np.float64)
    heart = 0.9 * (y - 70 - 16 * ((x + 42) / 54) ** 2)
    head = 0.93 * (y - 70 + 0.36 * (32 - x))
    life = 0.8 * (x - 4 - 28 * np.sqrt(np.clip((y - 6) / 64, 0, 1)))
    ended = np.stack([x > 13, (x < -26) | (x > 33), (y < 12) | (y > 71)], axis=1)
    return np.where(ended, _FAR_MM, np.stack([heart, head, life], axis=1)).astype(np.float32)


class SkinLook(NamedTuple):
    """The skin of one picture, the same for both hands."""

    albedo: Singles
    """(V, 3) linear RGB per vertex of a hand."""
    low_noise: Singles
    """(V,) low-frequency solid noise per vertex, for blotches and veins."""
    colour: Singles
    """(3,) linear RGB of the back of the hand, for other skin in the picture."""
    strengths: SkinStrengths
    gloved: bool
    thickness: Singles | None = None
    """(V,) thickness of gloves in mm; None for bare hands and for gloves that are only a colour."""


def sample_skin(rng: np.random.Generator) -> SkinLook:
    """Draw the look of the hands of one picture."""
    paint = canvas()
    tone = (len(TONES) - 1) * rng.beta(1.0, 1.3)
    low = min(int(tone), len(TONES) - 2)
    back = TONES[low] + (tone - low) * (TONES[low + 1] - TONES[low]) + rng.normal(0, [1.5, 1.2, 1.5])
    palm = back + np.array([0.42 * (69 - back[0]) + 1, rng.uniform(1.5, 5.5), rng.uniform(-2.5, 0.5)])
    flush = float(rng.uniform(0.0, 1.3))
    low_noise = sample_noise(noise_table(), paint.rest * 0.045 + rng.uniform(0, 32, 3))
    gloved = bool(rng.random() < 0.06)
    if gloved:
        back_rgb = palm_rgb = linear_from_lab(np.array([rng.uniform(8, 90), *rng.normal(0, 12, 2)]))
        if rng.random() < 0.5:
            palm_rgb = linear_from_lab(np.array([rng.uniform(8, 90), *rng.normal(0, 20, 2)]))
        flush = 0.0
    else:
        back_rgb, palm_rgb = linear_from_lab(back), linear_from_lab(palm)
    mask = (paint.palm * np.clip(1.0 - 0.6 * paint.probabilities[:, 0], 0, 1))[:, None]
    albedo = back_rgb * (1 - mask) + palm_rgb * mask
    albedo = albedo * (1 + flush * paint.flush[:, None] * np.array([0.03, -0.12, -0.10]))
    return SkinLook(albedo.astype(np.float32), low_noise, linear_from_lab(back), _strengths(rng, gloved=gloved), gloved)


def _strengths(rng: np.random.Generator, *, gloved: bool) -> SkinStrengths:
    age, veined, polished = rng.beta(1.2, 2.2), rng.random() < 0.4, rng.random() < 0.08
    mottle, vein, wrap, roughness = (float(rng.uniform(*bounds)) for bounds in _STRENGTHS)
    specular, bump = float(rng.uniform(0.8, 3.2)), float((0.04 + 0.12 * age) * rng.uniform(0.6, 1.3))
    offset, brighter, redder = float(rng.uniform(0, 32)), rng.uniform(0.95, 1.3), rng.uniform(0.9, 1.0)
    polish = linear_from_lab(np.array([rng.uniform(15, 85), rng.uniform(0, 65), rng.uniform(-15, 25)]))
    return SkinStrengths(
        mottle=mottle,
        bump=3 * bump if gloved else bump,
        crease=0.0 if gloved else float(0.2 + 0.5 * age),
        vein=vein if veined and not gloved else 0.0,
        wrap=wrap,
        roughness=0.8 if gloved else roughness,
        specular=0.4 if gloved else specular,
        offset=offset,
        nail_tint=(1.0, 1.0, 1.0) if gloved else (float(brighter), float(brighter * redder), float(brighter * redder)),
        nail_paint=0.85 if polished and not gloved else 0.0,
        nail_colour=(float(polish[0]), float(polish[1]), float(polish[2])),
    )
