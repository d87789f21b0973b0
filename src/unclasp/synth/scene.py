"""Samples scenes of hands and camera from a prior that resembles real use.

A scene is drawn in three steps: the hands relative to each other (`placement`), their orientation relative to the
camera (the direction of the forearms depends on who holds the camera), and distance, field of view and crop.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

import numpy as np

from unclasp import geometry
from unclasp.arrays import Doubles, Floats, Singles
from unclasp.hands import HAND_JOINT_NAMES, WRIST
from unclasp.synth.contact import overlap, rest_spheres
from unclasp.synth.hand import HandModel
from unclasp.synth.placement import Body, Pair, Posed, draw_hand, in_contact
from unclasp.synth.rotations import degrees_about, rotation_about, rotation_between

Kind = Literal["contact", "interlaced", "apart", "right", "left"]
View = Literal["frontal", "lowered", "selfie", "reaching", "egocentric", "above", "any"]
_Name = TypeVar("_Name", bound=str)
_INDEX_BASE, _PINKY_BASE = HAND_JOINT_NAMES.index("index1"), HAND_JOINT_NAMES.index("pinky1")


@dataclass(frozen=True)
class SceneMix:
    """The weights of the kinds of scenes and of the views; neither need to sum to one."""

    kinds: dict[Kind, float] = field(
        default_factory=lambda: {"contact": 0.36, "interlaced": 0.12, "apart": 0.20, "right": 0.16, "left": 0.16}
    )
    """Two hands touching, with fingers interlaced, apart; one hand."""
    views: dict[View, float] = field(
        default_factory=lambda: {
            "frontal": 0.30, "lowered": 0.10, "selfie": 0.06, "reaching": 0.08, "egocentric": 0.16, "above": 0.12,
            "any": 0.18,
        }
    )  # fmt: skip
    """A person facing the camera, with raised or hanging arms, at arm's length, or reaching towards the camera; one's
    own hands; hands on a table, from above; any direction."""
    other_side: float = 0.0
    """Share of non-touching hands whose forearm comes from the other hand's side, so that the shape and not the forearm
    shows which hand it is."""


@dataclass(frozen=True)
class PosedHand:
    """One hand in front of the camera."""

    side: Literal["right", "left"]
    vertices: Singles
    """(V, 3) mm, camera frame."""
    normals: Singles
    """(V, 3) unit, camera frame."""
    joints: Singles
    """(21, 3) mm, camera frame."""

    @property
    def wrist(self) -> Singles:
        """(3,) mm."""
        return np.asarray(self.joints[WRIST])

    @property
    def arm_axis(self) -> Singles:
        """(3,) unit direction from the wrist to the elbow."""
        direction = self.vertices[-len(HandModel.load().loop) :].mean(axis=0) - self.wrist
        return np.asarray(direction / np.linalg.norm(direction), dtype=np.float32)

    @property
    def dorsal(self) -> Singles:
        """(3,) unit direction out of the back of the hand, by the wrist and the bases of index and pinky."""
        index, pinky = self.joints[_INDEX_BASE] - self.wrist, self.joints[_PINKY_BASE] - self.wrist
        normal = np.cross(index, pinky)
        normal = normal / (np.linalg.norm(normal) + 1e-9)
        return np.asarray(normal if self.side == "right" else -normal, dtype=np.float32)


@dataclass(frozen=True)
class Scene:
    """The hands in front of the camera, and the camera."""

    kind: Kind
    hands: tuple[PosedHand, ...]
    """The present hands, the right one first."""
    focal: Doubles
    """(2,) px."""
    princpt: Doubles
    """(2,) px; may be far from the middle, because the picture is a crop of a larger one."""
    size: tuple[int, int]
    """Width and height in px."""
    view: View

    @property
    def joints(self) -> Doubles:
        """(J, 3) mm, the joints of all hands."""
        return np.concatenate([hand.joints for hand in self.hands]).astype(np.float64)

    @property
    def scale(self) -> float:
        """Scale in px per mm at the mean depth of the hands."""
        return float(self.focal[0]) / float(self.joints[:, 2].mean())

    def project(self, points: Floats) -> Doubles:
        """Project (..., 3) mm of the camera frame to (..., 2) px."""
        return np.asarray(geometry.project(points.astype(np.float64), self.focal, self.princpt), dtype=np.float64)


@dataclass(frozen=True)
class _ViewPrior:
    """The prior of forearm directions, distance and field of view for one kind of view."""

    forearm: tuple[float, float, float]
    """Mean direction from wrist to elbow in the camera frame, of both forearms together."""
    spread: tuple[float, float, float]
    """Standard deviations of that direction."""
    right_side: float
    """Side of the right elbow in the picture: -1 left, if the person faces the camera; 1 right, for one's own hands."""
    distance: tuple[float, float]
    """Range in mm."""
    field: tuple[float, float]
    """Range of the whole picture's horizontal field of view in degrees."""


_VIEWS: Final[dict[View, _ViewPrior]] = {
    "frontal": _ViewPrior((0, 1, 0.4), (0.4, 0.35, 0.5), -1, (450, 1100), (28, 65)),
    "lowered": _ViewPrior((0, -1, 0.15), (0.4, 0.35, 0.35), -1, (500, 1300), (28, 65)),
    "selfie": _ViewPrior((0, 1, 0.35), (0.4, 0.3, 0.4), -1, (300, 600), (60, 85)),
    "reaching": _ViewPrior((0, 0.3, 1.2), (0.3, 0.3, 0.25), -1, (230, 700), (45, 85)),
    "egocentric": _ViewPrior((0, 1, -0.55), (0.35, 0.25, 0.3), 1, (270, 600), (50, 85)),
    "above": _ViewPrior((0, 1, 0), (0.8, 0.6, 0.25), 1, (350, 900), (30, 75)),
    "any": _ViewPrior((0, 0, 0), (1, 1, 1), 1, (350, 1100), (25, 80)),
}
_FILL = (0.50, 0.74)
"""Range of the hands' larger extent as a share of the picture's side."""
_MIN_DEPTH_MM = 60.0
_CAMERA_TRIES = 4
_MAX_APART_OVERLAP_MM = -6.0
"""Separate hands must have a gap of at least 6 mm."""
_UPRIGHT_DEG, _CROSSING_DEG, _CROSSING_PROBABILITY = 28.0, 75.0, 0.15
"""Standard deviation of the tilt of the line between the elbows: normally, and with crossing arms; probability of
crossing arms."""
_FAR_APART, _STACKED, _BEHIND = 0.3, 0.2, 0.15
"""Shares of separate hands that are far apart, one above the other, and one behind the other and partly hidden by it.
"""
_ELBOWS_OUT_PROBABILITY = 0.25
"""Probability that forearms come more from the side than from below."""


@dataclass(frozen=True)
class _Placed:
    """A hand with its transform to the camera's orientation, before the scene is moved in front of the camera."""

    hand: Posed
    rotation: Doubles
    translation: Doubles

    @property
    def joints(self) -> Doubles:
        return np.asarray(self.hand.joints @ self.rotation.T + self.translation)


def sample_scene(rng: np.random.Generator, mix: SceneMix, *, size: int) -> Scene:
    """Draw a scene; it depends only on the generator's state and the arguments.

    Args:
        rng: Random generator.
        mix: Weights of the kinds and views.
        size: Side of the square picture in px.
    """
    kind, view = _choose(rng, mix.kinds), _choose(rng, mix.views)
    while True:
        placed = _arrange(rng, kind, _VIEWS[view], mix.other_side)
        if placed is None:
            continue
        for _ in range(_CAMERA_TRIES):
            scene = _in_front_of_camera(rng, placed, kind, view, size)
            if scene is not None:
                return scene


def _choose(rng: np.random.Generator, weights: dict[_Name, float]) -> _Name:
    names = list(weights)
    total = np.array([weights[name] for name in names], dtype=np.float64)
    return names[int(rng.choice(len(names), p=total / total.sum()))]


def draw_body(rng: np.random.Generator) -> Body:
    """Draw the shape and size of a person's hands; one in ten is a child. Left and right differ slightly."""
    model = HandModel.load()
    shape = rng.normal(0, 0.8, model.shape_components)
    shape[0] = 0.0
    length = rng.uniform(115, 155) if rng.random() < 0.1 else float(np.clip(rng.normal(185, 13), 150, 215))
    other = shape + np.append(0.0, rng.normal(0, 0.08, len(shape) - 1))
    right, left = model.rest(shape, length), model.rest(other, length * rng.normal(1, 0.01))
    return Body((right, left), (rest_spheres(right), rest_spheres(left)))


def _arrange(rng: np.random.Generator, kind: Kind, prior: _ViewPrior, other_side: float) -> list[_Placed] | None:
    """Draw a person, the hands' arrangement and their orientation to the camera, or return None if that fails."""
    body = draw_body(rng)
    if kind in ("contact", "interlaced"):
        pair = in_contact(rng, body, interlaced=kind == "interlaced")
        return None if pair is None else _turn_pair(rng, pair, prior)
    lateral = 1.6 if rng.random() < _ELBOWS_OUT_PROBABILITY else 0.0
    if kind == "apart":
        return _apart(rng, body, prior, lateral, other_side)
    hand = draw_hand(rng, body, left=kind == "left")
    if hand is None:
        return None
    return [_Placed(hand, _turn_single(rng, hand, prior, lateral, other_side), np.zeros(3))]


def _forearm_direction(rng: np.random.Generator, prior: _ViewPrior) -> Doubles:
    direction = np.array(prior.forearm) + rng.normal(0, prior.spread)
    return np.asarray(direction / np.linalg.norm(direction))


def _turn_pair(rng: np.random.Generator, pair: Pair, prior: _ViewPrior) -> list[_Placed]:
    """Rotate two hands so that their forearms come from the view's direction, the right one on its side."""
    forearms = (pair.right.forearm, pair.rotation @ pair.left.forearm)
    mean = forearms[0] + forearms[1]
    elbows = pair.right.spheres.centres[-1] - pair.left_spheres().centres[-1]
    down = _forearm_direction(rng, prior)
    first = rotation_between(mean / (np.linalg.norm(mean) + 1e-9), down)
    if prior.forearm == (0, 0, 0):
        turn = rotation_about(down, rng.uniform(-180, 180)) @ first
    else:
        upright = degrees_about(down, first @ elbows, np.array([prior.right_side, 0.0, 0.0]))
        spread = _CROSSING_DEG if rng.random() < _CROSSING_PROBABILITY else _UPRIGHT_DEG
        turn = rotation_about(down, upright + rng.normal(0, spread)) @ first
    return [
        _Placed(pair.right, turn, np.zeros(3)),
        _Placed(pair.left, turn @ pair.rotation, turn @ pair.translation),
    ]


def _turn_single(
    rng: np.random.Generator, hand: Posed, prior: _ViewPrior, lateral: float, other_side: float
) -> Doubles:
    """Return a rotation of one hand so that its forearm comes from its side, by about `lateral`, at any roll angle."""
    lateral = (-1 if hand.left else 1) * prior.right_side * abs(rng.normal(lateral, 0.5))
    if other_side and rng.random() < other_side:
        lateral = -lateral
    down = _forearm_direction(rng, prior) + np.array([lateral, 0.0, 0.0])
    down = down / np.linalg.norm(down)
    return np.asarray(rotation_about(down, rng.uniform(-180, 180)) @ rotation_between(hand.forearm, down))


def _apart(
    rng: np.random.Generator, body: Body, prior: _ViewPrior, lateral: float, other_side: float
) -> list[_Placed] | None:
    """Place two separate hands side by side, one above or one behind the other, mostly each on its own side."""
    right, left = draw_hand(rng, body, left=False), draw_hand(rng, body, left=True)
    if right is None or left is None:
        return None
    hands = (right, left)
    turns = [_turn_single(rng, hand, prior, lateral, other_side) for hand in hands]
    own_side = prior.right_side * (1 if rng.random() < 0.92 else -1)
    layout = rng.random()
    if layout < _FAR_APART:
        across, up, deep = rng.uniform(270, 620), rng.normal(0, 130), 60
    elif layout < _FAR_APART + _STACKED:
        across, up, deep = rng.normal(0, 70), rng.choice([-1, 1]) * rng.uniform(80, 230), 90
    elif layout < _FAR_APART + _STACKED + _BEHIND:
        across, up, deep = rng.normal(0, 55), rng.normal(0, 45), 160
    else:
        across, up, deep = rng.uniform(90, 270), rng.normal(0, 55), 60
    offset = np.array([-own_side * across, up, rng.normal(0, deep)])
    centres = [turn @ hand.joints.mean(axis=0) for hand, turn in zip(hands, turns, strict=True)]
    shifts = [-centres[0], -centres[1] + offset]
    spheres = [hand.spheres.moved(turn, shift) for hand, turn, shift in zip(hands, turns, shifts, strict=True)]
    if overlap(*spheres) > _MAX_APART_OVERLAP_MM:
        return None
    return [_Placed(*parts) for parts in zip(hands, turns, shifts, strict=True)]


def _in_front_of_camera(
    rng: np.random.Generator, placed: list[_Placed], kind: Kind, view: View, size: int
) -> Scene | None:
    """Place the hands at a distance, off the optical axis, and crop a square picture around them."""
    prior = _VIEWS[view]
    joints = np.concatenate([item.joints for item in placed])
    distance = rng.uniform(*prior.distance)
    half_field = np.tan(np.deg2rad(rng.uniform(*prior.field) / 2))
    off_axis = rng.uniform(-0.75, 0.75, 2) * half_field * np.array([1.0, 0.7])
    centre = (joints.min(axis=0) + joints.max(axis=0)) / 2
    shift = distance * np.array([off_axis[0], off_axis[1], 1.0]) - centre
    rays = (joints + shift)[:, :2] / (joints + shift)[:, 2:]
    if (joints + shift)[:, 2].min() < _MIN_DEPTH_MM:
        return None
    low, high = rays.min(axis=0), rays.max(axis=0)
    focal = size * rng.uniform(*_FILL) / (high - low).max()
    if size > 2 * half_field * focal:
        return None  # the crop would be wider than the whole picture
    middle = (size - 1) / 2 + rng.uniform(-0.06, 0.06, 2) * size
    hands = tuple(_posed(item, shift) for item in placed)
    if min(hand.vertices[: -len(HandModel.load().loop), 2].min() for hand in hands) < _MIN_DEPTH_MM:
        return None
    return Scene(kind, hands, np.full(2, focal), middle - focal * (low + high) / 2, (size, size), view)


def _posed(item: _Placed, shift: Doubles) -> PosedHand:
    hand = item.hand
    return PosedHand(
        side="left" if hand.left else "right",
        vertices=(hand.vertices @ item.rotation.T + item.translation + shift).astype(np.float32),
        normals=(hand.normals @ item.rotation.T).astype(np.float32),
        joints=(item.joints + shift).astype(np.float32),
    )
