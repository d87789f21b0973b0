"""Places two hands in contact with each other, by the recipes of `recipes` or with interlaced fingers.

Everything is in the right hand's frame: the right hand stays fixed, and the left one, already mirrored in x, is rotated
and translated.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Doubles
from unclasp.hands import WRIST
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
from unclasp.synth.grasp import close_fingers
from unclasp.synth.hand import HandModel, RestHand
from unclasp.synth.interlace import fingers_between, weave
from unclasp.synth.pose import TEMPLATES, bend_wrist, choose_templates, draw_pose, jitter, pose_bones, skin
from unclasp.synth.recipes import MIRRORS, TOUCHES, Mirrored
from unclasp.synth.rotations import degrees_about, rotation_about, rotation_between

MIRROR: Final = np.array([-1.0, 1.0, 1.0])
_TRIES: Final = 40
"""After this many failures, probably due to the shape of the hands, another person is drawn."""
_MAX_DEPTH_MM: Final = 2.6
"""Maximum penetration of touching surfaces."""
_MAX_INTERLACED_DEPTH_MM: Final = 3.4  # wedged fingers press into each other


@dataclass(frozen=True)
class Body:
    """A person's hands, (right, left), both as right hands in rest pose; they differ slightly."""

    rest: tuple[RestHand, RestHand]
    spheres: tuple[Spheres, Spheres]


@dataclass(frozen=True)
class Posed:
    """One posed hand in its own frame, a left hand already mirrored; mm."""

    body: Body
    left: bool
    pose: Doubles
    """(26,) radians, see `pose`."""
    vertices: Doubles
    joints: Doubles
    spheres: Spheres
    surface: Surface
    normals: Doubles

    @property
    def forearm(self) -> Doubles:
        """Unit vector from the wrist to the elbow."""
        direction = self.spheres.centres[-1] - self.joints[WRIST]
        return np.asarray(direction / np.linalg.norm(direction))


def pose_hand(body: Body, pose: Doubles, *, left: bool) -> Posed | None:
    """Pose a hand, or return None if it would penetrate itself."""
    model = HandModel.load()
    rest = body.rest[left]
    transforms, joints = pose_bones(rest, pose)
    spheres = pose_spheres(body.spheres[left], transforms)
    if self_collides(spheres):
        return None
    vertices = skin(model, rest, transforms)
    if left:
        vertices, joints, spheres = vertices * MIRROR, joints * MIRROR, Spheres(spheres.centres * MIRROR, spheres.radii)
    outer, normals = surface(model, vertices, mirrored=left)
    return Posed(body, left, pose, vertices, joints, spheres, outer, normals)


def draw_hand(
    rng: np.random.Generator, body: Body, *, left: bool, names: tuple[str, ...] = tuple(TEMPLATES), noise: float = 1.0
) -> Posed | None:
    """Draw poses until one does not penetrate itself, or return None; `names` and `noise` as in `pose`."""
    # Chosen once: every other fist penetrates itself, so otherwise closed hands would be half as frequent.
    templates = choose_templates(rng, names)
    for _ in range(_TRIES):
        hand = pose_hand(body, draw_pose(rng, templates, noise=noise), left=left)
        if hand is not None:
            return hand
    return None


@cache
def _regions() -> dict[str, npt.NDArray[np.int64]]:
    """Return the vertices of named regions of the hand, selected by part and by facing direction in rest pose."""
    model = HandModel.load()
    rest = model.mean_hand()
    part = model.part_probabilities.argmax(axis=1)
    facing = surface(model, rest.vertices, mirrored=False)[1][:, 2]
    y = rest.vertices[:, 1]
    tips, fingers = np.isin(part, [4, 7, 10, 13, 16]), part >= 5
    masks = {
        "palm": (part == 1) & (facing > 0.7) & (y > 25),
        "back": (part == 1) & (facing < -0.7) & (y > 25),
        "edge": (part == 1) & (np.abs(facing) < 0.4) & (y > 20),
        "wrist": (np.abs(y) < 25) & (part <= 1),
        "pads": tips & (facing > 0.2) & (model.nail < 0.3),
        "index_tip": part == 7,
        "thumb_tip": part == 4,
        "fingers": fingers & (facing > 0.3),
        "finger_backs": fingers & (facing < -0.3),
        "knuckles": np.isin(part, [5, 8, 11, 14]) & (facing < -0.5),
        "thumb": np.isin(part, [2, 3, 4]),
        "any": part > 0,
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def _pick(rng: np.random.Generator, weights: list[float]) -> int:
    return int(rng.choice(len(weights), p=np.array(weights) / sum(weights)))


@dataclass(frozen=True)
class Pair:
    """Two hands, and the left one's transform into the right hand's frame: `rotation @ x + translation`."""

    right: Posed
    left: Posed
    rotation: Doubles
    translation: Doubles

    def left_spheres(self) -> Spheres:
        """Return the left hand's spheres in the right hand's frame."""
        return self.left.spheres.moved(self.rotation, self.translation)

    def spheres_for_left(self) -> Spheres:
        """Return the right hand's spheres in the left hand's own frame before mirroring."""
        spheres = self.right.spheres
        return Spheres(((spheres.centres - self.translation) @ self.rotation) * MIRROR, spheres.radii)

    def left_surface(self) -> Surface:
        """Return the left hand's surface in the right hand's frame."""
        outer = self.left.surface
        return Surface(outer.points @ self.rotation.T + self.translation, outer.normals @ self.rotation.T)

    def moved(self, translation: Doubles) -> "Pair":
        """Return the pair with the left hand translated."""
        return Pair(self.right, self.left, self.rotation, self.translation + translation)


def _touching(rng: np.random.Generator, body: Body) -> Pair | None:
    """Place the hands by one of the recipes `TOUCHES`."""
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
    straight = degrees_about(normal, along, np.array([0.0, 1.0, 0.0]))
    twist = rotation_about(normal, straight + rng.uniform(*recipe.twist))
    tilt = rotation_about(rng.standard_normal(3), abs(rng.normal(0, recipe.tilt)))
    rotation = tilt @ twist @ facing
    translation = right.vertices[at_right] - rotation @ left.vertices[at_left]
    pair = Pair(right, left, rotation, translation)
    push = push_apart(right.spheres, pair.left_spheres())
    if push is None:
        return None
    pair = pair.moved(push)
    if recipe.closes is None or rng.random() < 0.1:
        return pair
    return _closed(pair, left=acting_left if recipe.closes == "acting" else not acting_left)


def _closed(pair: Pair, *, left: bool) -> Pair | None:
    """Close one of the hands around the other."""
    hand, others = (pair.left, pair.spheres_for_left()) if left else (pair.right, pair.left_spheres())
    pose = close_fingers(hand.body.rest[left], hand.body.spheres[left], hand.pose, others)
    closed = pose_hand(hand.body, pose, left=left)
    if closed is None:
        return None
    return replace(pair, left=closed) if left else replace(pair, right=closed)


def _twins(rng: np.random.Generator, body: Body, recipe: Mirrored) -> tuple[Posed, Posed] | None:
    """Draw a right and a left hand of nearly the same pose."""
    spread = rng.normal(4, 4)
    pose = draw_pose(rng, choose_templates(rng, recipe.poses), spread=spread, noise=recipe.noise)
    poses = [pose, jitter(rng, pose, 3.0 if recipe.tips else 4.0)]
    if recipe.bent > 0:
        poses = [bend_wrist(rng, hand_pose, recipe.bent) for hand_pose in poses]
    right, left = (pose_hand(body, hand_pose, left=bool(k)) for k, hand_pose in enumerate(poses))
    return None if right is None or left is None else (right, left)


def _reflection(normal: Doubles) -> Doubles:
    """Return the rotation that turns a left hand (mirrored in x) into the right hand's reflection in a plane.

    `normal` is the plane's unit normal.
    """
    return np.asarray((np.eye(3) - 2 * np.outer(normal, normal)) @ np.diag(MIRROR))


def _mirrored(rng: np.random.Generator, body: Body) -> Pair | None:
    """Place the hands by one of the recipes `MIRRORS`."""
    recipe = list(MIRRORS.values())[_pick(rng, [mirror.weight for mirror in MIRRORS.values()])]
    twins = _twins(rng, body, recipe)
    if twins is None:
        return None
    right, left = twins
    plane = np.array(recipe.plane)
    if recipe.tips:
        plane = _plane_through(right.joints[list(recipe.tips)], plane / np.linalg.norm(plane))
    plane = plane + rng.normal(0, recipe.tilt, 3)
    slip = rng.normal(0, recipe.slip, 3)
    direction = plane / np.linalg.norm(plane)
    rotation = rotation_about(rng.standard_normal(3), abs(rng.normal(0, 6))) @ _reflection(direction)
    slip = slip - (slip @ direction) * direction
    distance = slide_in(right.spheres, left.spheres.moved(rotation, slip), direction)
    return None if distance is None else Pair(right, left, rotation, slip + distance * direction)


def _plane_through(points: Doubles, facing: Doubles) -> Doubles:
    """Return the normal of the plane that fits the points best; `facing` decides where the points do not."""
    offsets = points - points.mean(axis=0)
    spread = offsets.T @ offsets / len(points) + 4.0 * (np.eye(3) - np.outer(facing, facing))
    normal = np.linalg.eigh(spread)[1][:, 0]
    return np.asarray(normal * np.sign(normal @ facing))


def _interlaced(rng: np.random.Generator, body: Body) -> Pair | None:
    woven = weave(rng, body.rest[0], body.spheres[0])
    if woven is None:
        return None
    right, left = pose_hand(body, woven.right, left=False), pose_hand(body, woven.left, left=True)
    return None if right is None or left is None else Pair(right, left, woven.rotation, woven.translation)


def _interleaved(pair: Pair) -> bool:
    """Return whether at least two fingers of each hand pass between those of the other."""
    left = pair.left.joints @ pair.rotation.T + pair.translation
    return bool(min(fingers_between(pair.right.joints, left), fingers_between(left, pair.right.joints)) >= 2)


def _plausible(pair: Pair) -> bool:
    """Return whether one person could hold the hands like this: palms close, elbows apart, forearms not opposed."""
    right_palm = pair.right.joints[:WRIST].mean(axis=0)
    left_palm = pair.rotation @ pair.left.joints[:WRIST].mean(axis=0) + pair.translation
    right_elbow, left_elbow = pair.right.spheres.centres[-1], pair.left_spheres().centres[-1]
    opposed = pair.right.forearm @ (pair.rotation @ pair.left.forearm)
    return bool(
        np.linalg.norm(right_palm - left_palm) < 160
        and np.linalg.norm(right_elbow - left_elbow) > 130
        and opposed > -0.8
    )


def in_contact(rng: np.random.Generator, body: Body, *, interlaced: bool) -> Pair | None:
    """Draw two hands in contact, with at most a few millimetres of penetration, or return None."""
    for _ in range(_TRIES):
        draw: Callable[[np.random.Generator, Body], Pair | None]
        draw = _interlaced if interlaced else _touching if rng.random() < 0.6 else _mirrored
        pair = draw(rng, body)
        if pair is None or not _plausible(pair):
            continue
        depth = _MAX_INTERLACED_DEPTH_MM if interlaced else _MAX_DEPTH_MM
        moved = settle(pair.right.surface, pair.left_surface(), depth=depth)
        if moved is None or np.linalg.norm(moved) > 40:
            continue
        pair = pair.moved(moved)
        if interlaced and not _interleaved(pair):
            continue
        if overlap(pair.right.spheres, pair.left_spheres()) < 12.0:
            return pair
    return None
