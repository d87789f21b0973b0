"""How two hands are held to each other: recipes for contact, interlaced fingers, and the touch itself.

Everything happens in the right hand's frame: the right hand stays, and the left one, already mirrored in x, is
rotated and moved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.synth.contact import (
    Spheres,
    Surface,
    overlap,
    pose_spheres,
    push_apart,
    self_collides,
    settle,
    slide_in,
    surface,
)
from unclasp.synth.hand import Floats, HandModel, RestHand
from unclasp.synth.pose import TEMPLATES, draw_pose, jitter, pose_bones, skin

MIRROR: Final = np.array([-1.0, 1.0, 1.0])
_TRIES: Final = 40
"""After so many failures the shape of the hands is to blame, and another person is drawn."""


@dataclass(frozen=True)
class Body:
    """What a person's two hands have in common."""

    rest: RestHand
    spheres: Spheres


@dataclass(frozen=True)
class Posed:
    """One posed hand in its own frame, a left hand already mirrored; mm."""

    body: Body
    left: bool
    vertices: Floats
    joints: Floats
    spheres: Spheres
    surface: Surface
    normals: Floats

    @property
    def forearm(self) -> Floats:
        """Unit vector from the wrist to the elbow."""
        direction = self.spheres.centres[-1] - self.joints[20]
        return np.asarray(direction / np.linalg.norm(direction))


def pose_hand(body: Body, pose: Floats, *, left: bool) -> Posed | None:
    """Pose a hand, or return None where it would run into itself."""
    model = HandModel.load()
    transforms, joints = pose_bones(body.rest, pose)
    spheres = pose_spheres(body.spheres, transforms)
    if self_collides(spheres):
        return None
    vertices = skin(model, body.rest, transforms)
    if left:
        vertices, joints, spheres = vertices * MIRROR, joints * MIRROR, Spheres(spheres.centres * MIRROR, spheres.radii)
    outer, normals = surface(model, vertices, mirrored=left)
    return Posed(body, left, vertices, joints, spheres, outer, normals)


def draw_hand(rng: np.random.Generator, body: Body, *, left: bool, **options: object) -> Posed | None:
    """Draw poses until one does not run into itself, or return None; `options` are those of `draw_pose`."""
    for _ in range(_TRIES):
        hand = pose_hand(body, draw_pose(rng, **options), left=left)  # type: ignore[arg-type]
        if hand is not None:
            return hand
    return None


@cache
def _regions() -> dict[str, npt.NDArray[np.int64]]:
    """Vertices of named regions of the hand, by part and by which way they face in rest."""
    model = HandModel.load()
    rest = model.rest(np.zeros(0), 185.0)
    part = model.part_probabilities.argmax(axis=1)
    facing = surface(model, rest.vertices, mirrored=False)[1][:, 2]
    y = rest.vertices[:, 1]
    tips, fingers = np.isin(part, [4, 7, 10, 13, 16]), part >= 5
    thumb_side = np.isin(part, [2, 3, 4])
    masks = {
        "palm": (part == 1) & (facing > 0.7) & (y > 25),
        "back": (part == 1) & (facing < -0.7) & (y > 25),
        "edge": (part == 1) & (np.abs(facing) < 0.4) & (y > 20),
        "wrist": (np.abs(y) < 25) & (part <= 1),
        "pads": tips & (facing > 0.2) & (model.nail < 0.3),
        "tips": tips,
        "index_tip": part == 7,
        "thumb_tip": part == 4,
        "fingers": fingers & (facing > 0.3),
        "finger_backs": fingers & (facing < -0.3),
        "knuckles": np.isin(part, [5, 8, 11, 14]) & (facing < -0.5),
        "thumb": thumb_side,
        "any": part > 0,
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


@dataclass(frozen=True)
class Touch:
    """A recipe: a region of one hand meets a region of the other, opposite to each other, at a twist."""

    weight: float
    poses: tuple[tuple[str, ...], tuple[str, ...]]
    regions: tuple[str, str]
    twist: tuple[float, float] = (-180.0, 180.0)
    """Degrees about the common normal, from fingers pointing the same way."""
    tilt: float = 12.0
    """Standard deviation in degrees of how far the normals are from opposite."""


_OPEN, _HOLD = ("flat", "relaxed", "cup", "flat_thumb_out"), ("grip", "cup", "half_closed", "relaxed")
_FIST, _POINT = ("fist", "thumb_up", "half_closed"), ("point", "point_thumb_up", "relaxed")
_ALL = tuple(TEMPLATES)

TOUCHES: Final = {
    "palms": Touch(1.0, (_OPEN, _OPEN), ("palm", "palm"), (-110, 110), 10),
    "fist_in_palm": Touch(1.2, (_FIST, _HOLD), ("knuckles", "palm"), tilt=18),
    "hand_on_back": Touch(1.2, (_OPEN, (*_OPEN, *_HOLD)), ("palm", "back"), (-120, 120), 12),
    "holding_hand": Touch(1.2, (_HOLD, _HOLD), ("palm", "edge"), (-140, 140), 18),
    "holding_wrist": Touch(0.8, (_HOLD, _ALL), ("palm", "wrist"), (40, 140), 15),
    "holding_fingers": Touch(1.0, (_HOLD, _OPEN), ("palm", "fingers"), (40, 140), 20),
    "pointing_at_palm": Touch(1.0, (_POINT, _OPEN), ("index_tip", "palm"), tilt=25),
    "counting": Touch(1.2, (_POINT, _OPEN), ("index_tip", "pads"), tilt=30),
    "thumb_on_palm": Touch(0.5, (("cup", "thumb_up", "relaxed"), _OPEN), ("thumb_tip", "palm"), tilt=25),
    "tips_meet": Touch(
        0.8, (("pinch", "claw", "tent", "ok"), ("pinch", "claw", "tent", "ok")), ("pads", "pads"), tilt=30
    ),
    "on_finger_backs": Touch(0.8, (_OPEN, (*_FIST, *_HOLD)), ("palm", "finger_backs"), (-120, 120), 15),
    "any": Touch(3.0, (_ALL, _ALL), ("any", "any"), tilt=20),
}


@dataclass(frozen=True)
class Mirrored:
    """A recipe: both hands do the same, on either side of a plane, and come together until they touch."""

    weight: float
    poses: tuple[str, ...]
    plane: tuple[float, float, float]
    """Normal of the plane in the right hand's frame: z out of the palm, y along the fingers, x towards the thumb."""
    tilt: float
    """Standard deviation of the normal's components."""
    slip: float = 6.0
    """Standard deviation in mm of how far the hands are out of line."""


MIRRORS: Final = {
    "prayer": Mirrored(2.0, ("flat", "relaxed", "flat_thumb_out"), (0, 0, 1), 0.12),
    "steeple": Mirrored(1.2, ("tent", "cup", "claw"), (0, 0.25, 1), 0.15, 3.0),
    "clap": Mirrored(1.0, ("flat", "cup", "relaxed"), (0, 0, 1), 0.3, 14.0),
    "tips_first": Mirrored(0.8, ("flat", "relaxed", "cup", "tent"), (0, 1, 0.4), 0.3),
    "heart": Mirrored(0.8, ("cup", "grip", "tent", "pinch"), (0.5, 0.8, 0), 0.2),
    "side_by_side": Mirrored(0.8, _OPEN, (1, 0.1, 0), 0.25),
    "little_fingers": Mirrored(0.6, (*_OPEN, "fist"), (-1, 0, 0.1), 0.2),
    "fists": Mirrored(0.7, ("fist", "thumb_up", "point", "half_closed"), (0, 0.8, 0.5), 0.5, 10.0),
    "any": Mirrored(1.2, _ALL, (0, 0.2, 0.8), 0.6, 12.0),
}


def _pick(rng: np.random.Generator, weights: list[float]) -> int:
    return int(rng.choice(len(weights), p=np.array(weights) / sum(weights)))


def rotation_about(axis: Floats, degrees: float) -> Floats:
    """Return the 3x3 rotation about an axis of any length."""
    x, y, z = axis / (np.linalg.norm(axis) + 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def rotation_between(a: Floats, b: Floats) -> Floats:
    """Return the smallest rotation that takes the direction a to the direction b."""
    axis = np.cross(a, b)
    sine, cosine = float(np.linalg.norm(axis)), float(a @ b)
    if sine < 1e-8:
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    return rotation_about(axis, float(np.rad2deg(np.arctan2(sine, cosine))))


@dataclass(frozen=True)
class Pair:
    """Two hands, and where the left one is: `rotation @ x + translation` in the right hand's frame."""

    right: Posed
    left: Posed
    rotation: Floats
    translation: Floats

    @property
    def left_spheres(self) -> Spheres:
        """The left hand's spheres in the right hand's frame."""
        return self.left.spheres.moved(self.rotation, self.translation)

    def left_surface(self) -> Surface:
        """Return the left hand's surface in the right hand's frame."""
        outer = self.left.surface
        return Surface(outer.points @ self.rotation.T + self.translation, outer.normals @ self.rotation.T)

    def moved(self, translation: Floats) -> "Pair":
        """Return the pair with the left hand moved."""
        return Pair(self.right, self.left, self.rotation, self.translation + translation)


def _touching(rng: np.random.Generator, body: Body) -> Pair | None:
    recipe = list(TOUCHES.values())[_pick(rng, [touch.weight for touch in TOUCHES.values()])]
    acting_left = bool(rng.random() < 0.5)
    acting, still = (
        draw_hand(rng, body, left=left, names=names, noise=0.7)
        for left, names in ((acting_left, recipe.poses[0]), (not acting_left, recipe.poses[1]))
    )
    if acting is None or still is None:
        return None
    regions = _regions()
    i, j = (int(rng.choice(regions[name])) for name in recipe.regions)
    right, left = (still, acting) if acting_left else (acting, still)
    at_right, at_left = (j, i) if acting_left else (i, j)
    normal = right.normals[at_right]
    facing = rotation_between(left.normals[at_left], -normal)
    along = facing @ np.array([0.0, 1.0, 0.0])
    straight = _angle_about(normal, along, np.array([0.0, 1.0, 0.0]))
    twist = rotation_about(normal, straight + rng.uniform(*recipe.twist))
    tilt = rotation_about(rng.standard_normal(3), abs(rng.normal(0, recipe.tilt)))
    rotation = tilt @ twist @ facing
    translation = right.vertices[at_right] - rotation @ left.vertices[at_left]
    return _until_free(Pair(right, left, rotation, translation))


def _angle_about(axis: Floats, a: Floats, b: Floats) -> float:
    a, b = a - (a @ axis) * axis, b - (b @ axis) * axis
    return float(np.rad2deg(np.arctan2(np.cross(a, b) @ axis, a @ b)))


def _until_free(pair: Pair) -> Pair | None:
    push = push_apart(pair.right.spheres, pair.left_spheres, tolerance=2.0)
    return None if push is None else pair.moved(push)


def _twins(
    rng: np.random.Generator, body: Body, names: tuple[str, ...], *, spread: float, noise: float, differ: float
) -> tuple[Posed, Posed] | None:
    pose = draw_pose(rng, names=names, spread=spread, noise=noise)
    right, left = pose_hand(body, pose, left=False), pose_hand(body, jitter(rng, pose, differ), left=True)
    return None if right is None or left is None else (right, left)


def _reflection(plane: Floats) -> Floats:
    """Return the rotation of a left hand (mirrored in x) that makes it the right hand's reflection in a plane."""
    normal = plane / np.linalg.norm(plane)
    return np.asarray((np.eye(3) - 2 * np.outer(normal, normal)) @ np.diag(MIRROR))


def _mirrored(rng: np.random.Generator, body: Body) -> Pair | None:
    recipe = list(MIRRORS.values())[_pick(rng, [mirror.weight for mirror in MIRRORS.values()])]
    twins = _twins(rng, body, recipe.poses, spread=rng.normal(4, 4), noise=0.6, differ=4.0)
    if twins is None:
        return None
    plane = np.array(recipe.plane) + rng.normal(0, recipe.tilt, 3)
    return _slid(rng, twins, plane, slip=rng.normal(0, recipe.slip, 3))


def _slid(rng: np.random.Generator, hands: tuple[Posed, Posed], plane: Floats, *, slip: Floats) -> Pair | None:
    right, left = hands
    direction = plane / np.linalg.norm(plane)
    turned = rotation_about(rng.standard_normal(3), abs(rng.normal(0, 6))) @ _reflection(plane)
    slip = slip - (slip @ direction) * direction
    distance = slide_in(right.spheres, left.spheres.moved(turned, slip), direction)
    return None if distance is None else Pair(right, left, turned, slip + distance * direction)


def _interlaced(rng: np.random.Generator, body: Body) -> Pair | None:
    """Fingers between fingers: spread, half a finger's spacing out of line, and pushed together until they wedge."""
    names = ("flat", "relaxed", "tent", "half_closed")
    twins = _twins(rng, body, names, spread=rng.uniform(14, 24), noise=0.25, differ=2.0)
    if twins is None:
        return None
    knuckles = twins[0].joints[[7, 19]]
    spacing = (knuckles[0] - knuckles[1]) / 3
    plane = np.array([rng.normal(0, 0.05), 1.0, rng.uniform(0.0, 1.4)])
    side = rng.choice([-0.5, 0.5]) + rng.normal(0, 0.05)
    pair = _slid(rng, twins, plane, slip=spacing * side + rng.normal(0, 2, 3) * np.array([0, 1, 1]))
    if pair is None or not _interleaved(pair):
        return None
    return pair


def _interleaved(pair: Pair) -> bool:
    """Tell whether fingertips of each hand have passed between those of the other."""
    direction = pair.right.joints[11] - pair.right.joints[20]
    direction = direction / np.linalg.norm(direction)
    tips = [4, 8, 12, 16]
    right = pair.right.joints[tips] @ direction
    left = (pair.left.joints @ pair.rotation.T + pair.translation)[tips]
    between = np.sort(pair.right.joints[tips] @ np.array([1.0, 0, 0]))
    inside = ((left[:, 0] > between[0]) & (left[:, 0] < between[-1])).sum()
    return bool(np.median(right) - np.median(left @ direction) > 12.0 and inside >= 2)


def _plausible(pair: Pair) -> bool:
    """Tell whether one body could hold its hands so: palms close, elbows apart, forearms not end to end."""
    right_palm = pair.right.joints[:20].mean(axis=0)
    left_palm = pair.rotation @ pair.left.joints[:20].mean(axis=0) + pair.translation
    right_elbow, left_elbow = pair.right.spheres.centres[-1], pair.left_spheres.centres[-1]
    opposed = pair.right.forearm @ (pair.rotation @ pair.left.forearm)
    return bool(
        np.linalg.norm(right_palm - left_palm) < 160
        and np.linalg.norm(right_elbow - left_elbow) > 130
        and opposed > -0.8
    )


def in_contact(rng: np.random.Generator, body: Body, *, interlaced: bool) -> Pair | None:
    """Draw two hands that touch without penetrating by more than a few millimetres of skin, or return None."""
    for _ in range(_TRIES):
        draw: Callable[[np.random.Generator, Body], Pair | None]
        draw = _interlaced if interlaced else _touching if rng.random() < 0.6 else _mirrored
        pair = draw(rng, body)
        if pair is None or not _plausible(pair):
            continue
        moved = settle(pair.right.surface, pair.left_surface(), touch=True)
        if moved is None or np.linalg.norm(moved) > 40:
            continue
        pair = pair.moved(moved)
        if overlap(pair.right.spheres, pair.left_spheres) < 12.0:
            return pair
    return None
