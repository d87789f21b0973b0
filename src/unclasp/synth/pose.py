"""Articulation of a hand: joint angles, sampling of natural poses, and forward kinematics.

A pose is an array of 26 angles in radians, `ANGLES`:

    0-4    thumb: base in the palm's plane, base out of it, twist, flexion of the middle and of the last joint;
           relative to rest
    5-20   index, middle, ring, pinky: abduction, flexion of base, middle and last joint; absolute
    21-22  arch: flexion of the ring's and the pinky's metacarpals
    23-25  wrist: flexion, deviation, twist of the forearm

Ranges are clinical (AAOS): base of the fingers -20 to 90 degrees, middle 0 to 110, last 0 to 80. The wrist has -70
(extended) to 45; clinically it is 80, but linearly skinned wrists collapse beyond 45.
"""

from typing import Final

import numpy as np

from unclasp.arrays import Doubles
from unclasp.synth.compiled import compiled
from unclasp.synth.hand import HandModel, RestHand
from unclasp.synth.rotations import product, rotation_matrix

ANGLES: Final = 26
BONES: Final = 22

Fingers = tuple[tuple[float, ...], ...]


def _same(angles: tuple[float, float, float], thumb: tuple[float, ...]) -> Fingers:
    return (thumb, angles, angles, angles, angles)


_STRAIGHT, _CURLED = (3.0, 5.0, 3.0), (82.0, 97.0, 58.0)
_ACROSS, _OUT = (40.0, -10.0, 22.0, 40.0, 45.0), (-12.0, -15.0, 0.0, 2.0, 0.0)

TEMPLATES: Final[dict[str, Fingers]] = {
    "flat": _same((0, 5, 3), (0, -10, 0, 5, 5)),
    "flat_thumb_out": _same((0, 4, 3), _OUT),
    "relaxed": ((5, -5, 5, 15, 15), (20, 25, 15), (25, 32, 18), (30, 36, 20), (32, 36, 20)),
    "half_closed": ((12, -2, 8, 20, 20), (38, 45, 25), (45, 52, 30), (50, 56, 32), (52, 56, 32)),
    "fist": (_ACROSS, *(_CURLED,) * 4),
    "thumb_in_fist": ((44, 2, 15, 45, 55), *((72.0, 85.0, 46.0),) * 4),
    "claw": _same((5, 70, 50), (5, 5, 10, 15, 20)),
    "point": (_ACROSS, (5, 5, 3), (80, 95, 55), _CURLED, _CURLED),
    "point_thumb_up": (_OUT, (3, 5, 3), (80, 95, 55), _CURLED, _CURLED),
    "pinch": ((12, 5, 25, 25, 25), (55, 48, 22), (30, 30, 15), (22, 25, 12), (15, 20, 10)),
    "ok": ((18, 6, 25, 22, 30), (58, 55, 28), (15, 15, 8), (8, 10, 6), (5, 8, 5)),
    "thumb_to_middle": ((25, 8, 28, 25, 28), (20, 22, 12), (60, 52, 26), (35, 35, 18), (25, 28, 15)),
    "thumb_to_ring": ((34, 10, 30, 28, 30), (12, 15, 8), (35, 35, 18), (66, 55, 28), (40, 40, 22)),
    "thumb_to_pinky": ((44, 12, 34, 30, 32), (8, 10, 6), (18, 20, 12), (42, 42, 22), (70, 58, 28)),
    "hook": _same((15, 85, 55), (10, -20, 10, 20, 20)),
    "two": (_ACROSS, (0, 3, 3), (0, 3, 3), (80, 95, 55), _CURLED),
    "three": (_ACROSS, _STRAIGHT, _STRAIGHT, _STRAIGHT, _CURLED),
    "four": ((42, -12, 24, 35, 35), *(_STRAIGHT,) * 4),
    "thumb_up": (_OUT, *(_CURLED,) * 4),
    "call": (_OUT, _CURLED, _CURLED, _CURLED, _STRAIGHT),
    "horns": ((40, -20, 20, 40, 40), _STRAIGHT, _CURLED, _CURLED, _STRAIGHT),
    "cup": ((15, 15, 25, 15, 15), (35, 30, 18), (35, 32, 18), (38, 32, 18), (40, 32, 18)),
    "grip": ((22, 18, 28, 20, 25), (50, 50, 30), (52, 54, 32), (55, 56, 32), (58, 56, 32)),
    "bent_at_base": _same((75, 8, 5), (20, 0, 15, 15, 15)),
    "heart": ((0, 15, 5, 5, 8), (48, 46, 24), (50, 50, 26), (54, 54, 28), (58, 56, 30)),
    "tent": ((10, 12, 15, 12, 12), *((30.0, 22.0, 12.0),) * 4),
}
"""Degrees: the thumb's five angles, then base, middle and last joint of each finger. Abduction is drawn separately."""

_COMMON: Final = {"flat", "flat_thumb_out", "relaxed", "half_closed", "fist", "point", "thumb_up", "two"}
"""Common poses, which are drawn two and a half times as often as the others."""
_PURE_PROBABILITY: Final = 0.3
"""Probability that a pose is based on a single template instead of a blend of two."""

_THUMB_LOW, _THUMB_HIGH = np.array([-20.0, -38, -15, -10, -15]), np.array([52.0, 22, 40, 60, 80])
_ABDUCTION_GAIN, _ABDUCTION_LIMIT = np.array([1.0, 0.1, 0.7, 1.4]), np.array([20.0, 6, 14, 25])
WRIST_RANGE: Final = (-70.0, 45.0)
"""Degrees of wrist flexion; extension is negative."""
_PUSHING_PROBABILITY: Final = 0.12
"""Probability of a strongly extended wrist, as when pushing against something or signalling stop."""


def choose_templates(rng: np.random.Generator, names: tuple[str, ...] = tuple(TEMPLATES)) -> tuple[str, str]:
    """Draw the two templates that a pose blends: sometimes twice the same one, and common ones more often."""
    weights = np.array([2.5 if name in _COMMON else 1.0 for name in names])
    first, second = (names[i] for i in rng.choice(len(names), size=2, p=weights / weights.sum()))
    return first, first if rng.random() < _PURE_PROBABILITY else second


def draw_pose(
    rng: np.random.Generator, templates: tuple[str, str], *, spread: float = 4.0, noise: float = 1.0
) -> Doubles:
    """Draw a pose: a blend of two templates plus noise, within the joints' ranges.

    Args:
        rng: Random generator.
        templates: Names of the two templates, see `choose_templates`.
        spread: Mean abduction in degrees.
        noise: Factor on the noise; below 0.5, fingers are not curled independently.
    """
    first, second = (TEMPLATES[name] for name in templates)
    weight = rng.beta(0.35, 0.35)
    thumb = np.array(first[0]) * (1 - weight) + np.array(second[0]) * weight
    fingers = np.array(first[1:]) * (1 - weight) + np.array(second[1:]) * weight
    curl = rng.beta(0.6, 0.6, 4)[:, None] * np.array([80.0, 95.0, 58.0])
    if rng.random() < 0.3 * (noise >= 0.5):
        fingers = 0.3 * fingers + 0.7 * curl
    thumb = np.clip(thumb + noise * rng.normal(0, [8, 8, 6, 8, 11]), _THUMB_LOW, _THUMB_HIGH)
    fingers = fingers + noise * rng.normal(0, [8, 9, 5], (4, 3))
    base, middle = np.clip(fingers[:, 0], -20, 90), np.clip(fingers[:, 1], 0, 110)
    # The last joint is coupled to a flexed middle joint, because a tendon pulls both (the 2/3 rule).
    last = np.where(middle > 15, 0.5 * fingers[:, 2] + middle / 3, fingers[:, 2]).clip(0, 80)
    splay = spread * _ABDUCTION_GAIN + rng.normal(0, 5 * noise) * _ABDUCTION_GAIN + noise * rng.normal(0, 2.5, 4)
    abduction = np.clip(splay, -4, _ABDUCTION_LIMIT) * np.clip(1 - base / 90, 0.15, 1)
    arch = np.clip(base[2:].mean() / 90, 0, 1) * np.array([5.0, 10.0])
    flexion = rng.normal(-45, 15) if rng.random() < _PUSHING_PROBABILITY else rng.normal(-8, 16)
    wrist = [np.clip(flexion, *WRIST_RANGE), np.clip(rng.normal(3, 8), -15, 25), rng.uniform(-45, 45)]
    rows = np.stack([abduction, base, middle, last], axis=1).ravel()
    return np.asarray(np.deg2rad(np.concatenate([thumb, rows, arch, wrist])))


def jitter(rng: np.random.Generator, pose: Doubles, degrees: float) -> Doubles:
    """Return the pose with noise on the angles of thumb and fingers; arch and wrist stay."""
    noise = np.deg2rad(rng.normal(0, degrees, ANGLES))
    noise[21:] = 0
    return np.asarray(pose + noise)


def bend_wrist(rng: np.random.Generator, pose: Doubles, extension: float) -> Doubles:
    """Return the pose with the wrist extended by about `extension` degrees, as when pushing against something."""
    bent = pose.copy()
    bent[23] = np.deg2rad(np.clip(rng.normal(-extension, 18), *WRIST_RANGE))
    return bent


@compiled
def _rotate(a: Doubles, vector: Doubles) -> Doubles:
    """Return a 3x3 matrix times a vector."""
    x, y, z = vector[0], vector[1], vector[2]
    return np.array([
        a[0, 0] * x + a[0, 1] * y + a[0, 2] * z, a[1, 0] * x + a[1, 1] * y + a[1, 2] * z,
        a[2, 0] * x + a[2, 1] * y + a[2, 2] * z,
    ])  # fmt: skip


@compiled
def _normalised(vector: Doubles) -> Doubles:
    unit: Doubles = vector / (np.sqrt((vector * vector).sum()) + 1e-12)
    return unit


@compiled
def _frame(direction: Doubles, axis: Doubles) -> Doubles:
    """Return the rotation with columns: the direction, the axis orthogonalised to it, and their cross product."""
    d = _normalised(direction)
    a = _normalised(axis - (axis * d).sum() * d)
    frame = np.empty((3, 3))
    frame[:, 0], frame[:, 1], frame[:, 2] = d, a, np.cross(d, a)
    return frame


@compiled
def _set(transforms: Doubles, bone: int, rotation: Doubles, head: Doubles, to: Doubles) -> None:
    transforms[bone, :, :3] = rotation
    transforms[bone, :, 3] = to - _rotate(rotation, head)


@compiled
def _finger(
    transforms: Doubles, joints: Doubles, heads: Doubles, tails: Doubles, axis: Doubles, finger: int, angles: Doubles,
    arch: float,
) -> None:  # fmt: skip
    """Pose finger 1-4 (index to pinky) by absolute angles, which are independent of the rest pose."""
    x, y, z = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0])
    metacarpal = 4 * finger
    first = metacarpal + 1
    root = rotation_matrix(x, arch)
    _set(transforms, metacarpal, root, heads[metacarpal], heads[metacarpal])
    sign = -1.0 if finger <= 2 else 1.0
    straight = _rotate(root, _rotate(rotation_matrix(z, sign * angles[0]), y))
    bone = _normalised(heads[first + 1] - heads[first])
    flat = _normalised(bone - bone[2] * z)
    turn = np.cross(flat, straight)
    sine = np.sqrt((turn * turn).sum())
    flexion = axis.copy()
    if sine > 1e-8:
        flexion = _rotate(rotation_matrix(turn / sine, np.arctan2(sine, (flat * straight).sum())), axis)
    flexion = _normalised(flexion - (flexion * straight).sum() * straight)
    at = _rotate(root, heads[first] - heads[metacarpal]) + heads[metacarpal]
    joints[4 * finger + 3] = at
    bend = 0.0
    for k in range(3):
        bend += angles[1 + k]
        end = tails[first + 2] if k == 2 else heads[first + k + 1]
        target = _frame(_rotate(rotation_matrix(flexion, bend), straight), flexion)
        rotation = product(target, _frame(end - heads[first + k], axis).T)
        _set(transforms, first + k, rotation, heads[first + k], at)
        at = at + _rotate(rotation, end - heads[first + k])
        joints[4 * finger + 2 - k] = at


@compiled
def _thumb(
    transforms: Doubles, joints: Doubles, heads: Doubles, tails: Doubles, axis: Doubles, angles: Doubles
) -> None:
    z = np.array([0, 0, 1.0])
    bones = np.empty((3, 3))
    bones[0], bones[1], bones[2] = heads[2] - heads[1], heads[3] - heads[2], tails[3] - heads[3]
    d0, d1, d2 = _normalised(bones[0]), _normalised(bones[1]), _normalised(bones[2])
    out_of_plane = _normalised(np.cross(d0, z))
    rotation = product(rotation_matrix(z, angles[0]), rotation_matrix(out_of_plane, angles[1]))
    rotation = product(rotation, rotation_matrix(d0, angles[2]))
    rest = np.array([
        0.0,
        np.arctan2((np.cross(d0, d1) * axis).sum(), (d0 * d1).sum()),
        np.arctan2((np.cross(d1, d2) * axis).sum(), (d1 * d2).sum()),
    ])  # fmt: skip
    at = heads[1].copy()
    joints[3] = at
    for k in range(3):
        if k > 0:
            rotation = product(rotation, rotation_matrix(axis, angles[2 + k] - rest[k]))
        _set(transforms, 1 + k, rotation, heads[1 + k], at)
        at = at + _rotate(rotation, bones[k])
        joints[2 - k] = at


@compiled
def bones_of(heads: Doubles, tails: Doubles, axes: Doubles, pose: Doubles) -> tuple[Doubles, Doubles]:
    """Compute the result of `pose_bones` for callers compiled by numba."""
    transforms = np.zeros((BONES, 3, 4))
    for bone in range(BONES):
        for k in range(3):
            transforms[bone, k, k] = 1.0
    joints = np.zeros((21, 3))
    _thumb(transforms, joints, heads, tails, axes[0], pose[0:5])
    for finger in range(1, 5):
        arch = pose[18 + finger] if finger >= 3 else 0.0
        start = 5 + 4 * (finger - 1)
        _finger(transforms, joints, heads, tails, axes[finger], finger, pose[start : start + 4], arch)
    joints[20] = heads[0]
    forearm = _normalised(heads[20] - heads[0])
    wrist = product(rotation_matrix(np.array([1.0, 0, 0]), -pose[23]), rotation_matrix(np.array([0, 0, 1.0]), pose[24]))
    for bone, share in ((20, 0.5), (21, 1.0)):
        _set(transforms, bone, product(wrist, rotation_matrix(forearm, pose[25] * share)), heads[0], heads[0])
    return transforms, joints


def pose_bones(rest: RestHand, pose: Doubles) -> tuple[Doubles, Doubles]:
    """Return the bone transforms (B, 3, 4), rest to posed, and the joints (21, 3) mm, in the hand's frame.

    The order of the bones is that of the asset: wrist, three of the thumb, a metacarpal and three bones per finger, two
    of the forearm.
    """
    transforms, joints = bones_of(rest.heads, rest.tails, rest.axes, pose)
    return transforms, joints


@compiled
def _skin(vertices: Doubles, weights: Doubles, transforms: Doubles) -> Doubles:
    posed = np.zeros(vertices.shape)
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        for bone in range(weights.shape[1]):
            weight = weights[i, bone]
            if weight > 0:
                for k in range(3):
                    row = transforms[bone, k]
                    posed[i, k] += weight * (row[0] * x + row[1] * y + row[2] * z + row[3])
    return posed


def skin(model: HandModel, rest: RestHand, transforms: Doubles) -> Doubles:
    """Return the posed vertices (V, 3) mm by linear blend skinning, in the hand's frame."""
    posed: Doubles = _skin(rest.vertices, model.weights, transforms)
    return posed
