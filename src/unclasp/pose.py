"""`HandPose`, the result for one picture, and its JSON form (documented in docs/json-schema.md)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from unclasp.arrays import Array, Bools, Floats, Pixels, rounded
from unclasp.contact import Contact, contact_between
from unclasp.errors import ImageError, UnclaspError, check_choice
from unclasp.files import save_text
from unclasp.hands import HAND_JOINT_NAMES, HAND_ORDERS, HAND_SLICES, NUM_JOINTS, ROOTS, SIDES, Order, Side
from unclasp.version import installed_version

if TYPE_CHECKING:
    from unclasp.skeletons import HandView


SCHEMA: Final = 1
"""Version of the JSON form; increased when a key changes its meaning or is removed."""
MIN_PRESENCE: Final = 0.5
"""If the probability that at least one hand is visible reaches this value, the likelier hand counts as present."""
MIN_PRESENCE_SECOND: Final = 0.7
"""Presence from which the less likely hand also counts: one hand is mistaken for two more easily than two for one."""
DOUBTED_BELOW: Final = 0.3
"""Hands whose joints have a mean confidence below this are in doubt (`HandPose.doubted`)."""
UNDECIDED: Final[Bools] = np.zeros(0, dtype=bool)
"""As `HandPose.present`: which hands are present follows from `presence`."""
_SHAPES: Final = {
    "joints_2d": (NUM_JOINTS, 2), "joints_3d": (NUM_JOINTS, 3), "joints_cam": (NUM_JOINTS, 3), "presence": (2,),
    "confidence": (NUM_JOINTS,), "box": (4,), "present": (2,),
}  # fmt: skip


def present_hands(presence: Floats) -> Bools:
    """Return which hands count as present: (2,), right and left.

    The likelier hand does if the probability that any hand is visible reaches `MIN_PRESENCE`; the other hand from a
    probability of `MIN_PRESENCE_SECOND` on. Hands with equal probabilities count as the likelier one, both of them, so
    that mirror images get mirrored results.

    Args:
        presence: (2,) probability that the right and the left hand are in the picture.

    Examples:
        >>> present_hands(np.array([0.6, 0.9])).tolist(), present_hands(np.array([0.3, 0.49])).tolist()
        ([False, True], [False, True])
        >>> present_hands(np.array([0.6, 0.6])).tolist()
        [True, True]
    """
    any_there = bool(1 - np.prod(1 - presence) >= MIN_PRESENCE)
    return np.asarray(((presence == presence.max()) & any_there) | (presence >= MIN_PRESENCE_SECOND))


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The pinhole camera that the 3D coordinates refer to."""

    focal: tuple[float, float]
    """Focal lengths fx, fy in px of the picture."""
    princpt: tuple[float, float]
    """Principal point in px of the picture as given, also where that is mirrored."""
    assumed: str | None
    """What was assumed about the camera, or None if the caller gave all of it."""


class HandJoints(NamedTuple):
    """The 21 joints of one hand, in a chosen library's joint order."""

    joints_2d: Floats
    """(21, 2) px of the picture."""
    joints_3d: Floats
    """(21, 3) mm relative to the wrist."""
    joints_cam: Floats
    """(21, 3) mm in the camera frame."""
    confidence: Floats | None
    """(21,) 0 to 1, or None if the network does not predict it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandPose:
    """The pose of two hands in one picture.

    Holds 42 joints in InterHand2.6M's order, right hand first; sides are the person's own. Arrays are read-only. The
    values of a hand that is not present are meaningless.
    """

    joints_2d: Floats
    """(42, 2) px of the picture, pixel centres at integers."""
    joints_3d: Floats
    """(42, 3) mm relative to the wrist of the joint's own hand; x right, y down, z away from the camera. If `camera` is
    wrong about the direction of a hand's line of sight, the hand is rotated by that angle."""
    joints_cam: Floats
    """(42, 3) mm in the camera frame; accurate as far as `camera` and the assumption in `depth_assumed` are."""
    presence: Floats
    """(2,) probability that the right and the left hand are in the picture: the pose network's, raised where another
    detector found the hand, and lowered where it was rejected. `present` says which hands count."""
    confidence: Floats | None = None
    """(42,) how far each joint can be trusted, 0 to 1, or None if the network does not predict it."""
    present: Bools = field(default_factory=lambda: UNDECIDED)
    """(2,) which hands count as present; computed by `present_hands` if not given. `dataclasses.replace(pose,
    presence=...)` keeps the old value; pass `present=UNDECIDED` as well to recompute it."""
    box: Floats
    """(4,) x1, y1, x2, y2 px: the network's crop; a given box is made square and 1.25 times as large for it."""
    other_regions: Floats | None = None
    """(N, 4) x1, y1, x2, y2 px: other regions with hands, the most promising first, to be passed as `box` of further
    calls; empty if there are none, and usually without a search. None with a box, in video frames in which hands are
    tracked, and for the further people of `Predictor.everyone` and `touching`."""
    touching: tuple["HandPose", ...] = ()
    """Hands of other people that touch the only hand of this person, as in a handshake: a pose for each, without
    `image` and `source`. Searched for in whole photos, with the landmark network."""
    camera: Camera
    """Focal length and principal point."""
    depth_assumed: str | None
    """The assumption that the distance from the camera rests on, or None if the distance is known."""
    image_size: tuple[int, int]
    """Width and height in px."""
    mirrored: bool = False
    """The picture is a mirror image, such as a selfie. Sides, `joints_3d` and `joints_cam` are those of the real hands;
    `joints_2d` and `box` are pixels of the picture as given, so that u = cx - fx X / Z."""
    model: str
    """Name of the weights."""
    source: str | None = None
    """File of the picture or video, if there is one."""
    frame: int | None = None
    """Number of the frame in a video, from 0."""
    time: float | None = None
    """Seconds from the start of the video."""
    image: Pixels | None = None
    """(H, W, 3) RGB, the picture for `plot`; it shares memory with the caller's array.
    `dataclasses.replace(pose, image=None)` releases it."""

    def __post_init__(self) -> None:
        if not isinstance(self.touching, tuple) or not all(isinstance(other, HandPose) for other in self.touching):
            raise UnclaspError(f"touching must be a tuple of poses, got {self.touching!r:.80}")
        for name in (*_SHAPES, "other_regions"):
            value = getattr(self, name)
            if value is UNDECIDED:
                value = present_hands(self.presence)
            if value is not None or name not in ("confidence", "other_regions"):
                self._freeze(name, np.array(value, dtype=bool if name == "present" else np.float64))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in (*_SHAPES, "other_regions"):  # arrays come out of `copy` and `pickle` writable
            if state.get(name) is not None:
                state[name].setflags(write=False)

    def _freeze(self, name: str, array: Array) -> None:
        """Check the array's shape and store it read-only."""
        if name == "other_regions":
            array = array if array.size else array.reshape(0, 4)
            fits, expected = array.ndim == 2 and array.shape[1] == 4, "(N, 4)"
        else:
            fits, expected = array.shape == _SHAPES[name], str(_SHAPES[name])
        if not fits:
            raise UnclaspError(f"{name} of a pose must be {expected}, got {array.shape}")
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The hands that are present."""
        return tuple(side for side, is_present in zip(SIDES, self.present, strict=True) if is_present)

    @cached_property
    def doubted(self) -> tuple[Side, ...]:
        """The present hands with a mean confidence below `DOUBTED_BELOW`, which are wrong far more often."""
        means = {side: self._mean_confidence(side) for side in self.sides}
        return tuple(side for side, mean in means.items() if mean is not None and mean < DOUBTED_BELOW)

    def _mean_confidence(self, side: Side) -> float | None:
        confidence = self._joints(side).confidence
        return None if confidence is None else float(confidence.mean())

    def hand(self, side: Side, *, order: Order = "interhand") -> tuple[Floats, Floats]:
        """Return one hand's 21 joints in a library's order: (21, 2) px, and (21, 3) mm relative to its wrist.

        Raises:
            UnclaspError: The side or the order does not exist.
        """
        joints = self._joints(side, order)
        return joints.joints_2d, joints.joints_3d

    def to(self, order: Order) -> dict[Side, HandJoints]:
        """Return the present hands with their joints in a library's order.

        Only the order changes; units (px, mm) and the origin at the wrist stay the same.

        Args:
            order: mediapipe, openpose, mano, freihand or interhand.

        Raises:
            UnclaspError: The order does not exist.
        """
        check_choice("order", order, HAND_ORDERS)
        return {side: self._joints(side, order) for side in self.sides}

    def _joints(self, side: Side, order: Order = "interhand") -> HandJoints:
        check_choice("side", side, SIDES)
        check_choice("order", order, HAND_ORDERS)
        indices = np.arange(NUM_JOINTS)[HAND_SLICES[SIDES.index(side)]][HAND_ORDERS[order]]
        confidence = None if self.confidence is None else self.confidence[indices]
        return HandJoints(self.joints_2d[indices], self.joints_3d[indices], self.joints_cam[indices], confidence)

    def __repr__(self) -> str:
        hands = ", ".join(f"{side} in doubt" if side in self.doubted else side for side in self.sides) or "no hand"
        hands += "".join(f", touching {side}" for other in self.touching for side in other.sides)
        width, height = self.image_size
        frame = "" if self.frame is None else f", frame {self.frame}"
        return f"HandPose({hands}; {self.source or 'an array'}{frame}, {width}x{height})"

    def to_numpy(self) -> dict[str, Array]:
        """Return writable copies of the arrays by name; confidence is NaN if the network does not predict it.

        The shapes are fixed, so frames can be stacked: `np.stack([pose.to_numpy()["joints_cam"] for pose in poses])`.
        """
        arrays = {name: np.array(getattr(self, name)) for name in _SHAPES if name != "confidence"}
        confidence = np.full(NUM_JOINTS, np.nan) if self.confidence is None else self.confidence.copy()
        return arrays | {"confidence": confidence}

    @property
    def root_offset(self) -> Floats | None:
        """(3,) mm from the right wrist to the left one, or None unless both hands are present."""
        right, left = ROOTS
        return self.joints_cam[left] - self.joints_cam[right] if len(self.sides) == 2 else None

    @cached_property
    def contact(self) -> Contact | None:
        """How near the hands are to each other and whether they touch; None unless both are present."""
        if len(self.sides) < len(SIDES):
            return None
        return contact_between(self.joints_cam, self.confidence, doubted=bool(self.doubted))

    def to_dict(self, *, others: "Sequence[HandPose] | None" = None) -> dict[str, Any]:
        """Return the JSON form as a dict of plain Python values.

        Args:
            others: Poses of other people in the same picture, to be added under the key `others`; defaults to
                `touching`, if there are any.
        """
        others = (self.touching or None) if others is None else others
        # Names of files that are not UTF-8 hold lone surrogates, which are not valid in JSON.
        source = None if self.source is None else self.source.encode(errors="replace").decode()
        others_entry = {} if others is None else {"others": [other._person_to_dict() for other in others]}
        return {
            "schema": SCHEMA,
            "unclasp": installed_version(),
            "model": self.model,
            "image": {
                "source": source, "frame": self.frame, "time": None if self.time is None else round(self.time, 4),
                "width": self.image_size[0], "height": self.image_size[1], "mirrored": self.mirrored,
            },
            "box": rounded(self.box),
            "other_regions": None if self.other_regions is None else rounded(self.other_regions),
            "camera": {
                "focal": list(self.camera.focal), "princpt": list(self.camera.princpt), "assumed": self.camera.assumed,
            },
            "depth_assumed": self.depth_assumed,
            "presence": {side: round(float(p), 4) for side, p in zip(SIDES, self.presence, strict=True)},
            "joint_names": list(HAND_JOINT_NAMES),
            "hands": [self._hand_to_dict(side) for side in self.sides],
            "contact": None if self.contact is None else self.contact.to_dict(),
        } | others_entry  # fmt: skip

    def _person_to_dict(self) -> dict[str, Any]:
        """Return the keys of the JSON form that differ between the people in a picture."""
        result = self.to_dict()
        return {key: result[key] for key in ("box", "presence", "hands", "contact")}

    def _hand_to_dict(self, side: Side) -> dict[str, Any]:
        joints = self._joints(side)
        return {
            "side": side,
            "presence": round(float(self.presence[SIDES.index(side)]), 4),
            "doubted": side in self.doubted,
            "joints_2d": rounded(joints.joints_2d),
            "joints_3d": rounded(joints.joints_3d),
            "joints_cam": rounded(joints.joints_cam),
            "confidence": None if joints.confidence is None else rounded(joints.confidence, 4),
        }

    def to_json(self, *, indent: int | None = 1, others: "Sequence[HandPose] | None" = None) -> str:
        """Return the JSON form as text, on one line if `indent` is None; `others` as in `to_dict`."""
        return json.dumps(self.to_dict(others=others), indent=indent, allow_nan=False)

    def save_json(self, path: Path | str, *, others: "Sequence[HandPose] | None" = None) -> None:
        """Write the JSON form to a file atomically, or raise an UnclaspError; `others` as in `to_dict`."""
        save_text(path, self.to_json(others=others))

    def save_html(self, path: Path | str) -> None:
        """Write a self-contained HTML page with a 3D view of the hands to rotate and zoom, or raise an UnclaspError."""
        from unclasp.view3d import page

        save_text(path, page(self.to_dict()))

    def plot(self, image: Pixels | None = None, *, others: "Sequence[HandPose] | None" = None) -> Pixels:
        """Draw the hands over the picture, with 3D views beside it.

        Args:
            image: (H, W, 3) uint8 RGB, of the size of the pose's picture, which is the default.
            others: Poses of other people in the same picture; their hands are drawn in greys, and only in 2D. Defaults
                to `touching`.

        Returns:
            (H', W', 3) uint8 RGB.

        Raises:
            UnclaspError: No picture is given, and the pose does not hold one, or it is of another size.
        """
        from unclasp.picture import check_image
        from unclasp.visualize import draw_pose

        own = self.image if image is None else check_image(image)
        if own is None:
            raise UnclaspError("this pose does not hold its picture; give it: pose.plot(image)")
        if image is not None and own.shape[1::-1] != self.image_size:
            told = "expected the pose's picture, {} × {} px, got {} × {}; resize it, or predict in it"
            raise ImageError(told.format(*self.image_size, *own.shape[1::-1]))
        others = self.touching if others is None else others
        return draw_pose(own, self.views(), others=[other.views() for other in others])

    def _repr_png_(self) -> bytes | None:
        """Return `plot` as a PNG, which Jupyter shows; None if the pose does not hold its picture."""
        import cv2

        return None if self.image is None else cv2.imencode(".png", self.plot()[..., ::-1])[1].tobytes()

    def views(self) -> "list[HandView]":
        """Return the present hands to draw (`skeletons`), in one space: that of the right hand if there are two.

        For mirrored pictures the 3D joints are mirrored, too, as the picture shows them.
        """
        from unclasp.skeletons import HandView

        flip = np.array([-1.0 if self.mirrored else 1.0, 1.0, 1.0])  # the 3D views match the picture beside them
        views = []
        for side in self.sides:
            in_plane, in_space = self.hand(side)
            if side == "left" and self.root_offset is not None:
                in_space = in_space + self.root_offset
            views.append(HandView(
                in_plane, in_space * flip, side, score=float(self.presence[SIDES.index(side)]),
                confidence=self._mean_confidence(side), doubted=side in self.doubted,
            ))  # fmt: skip
        return views
