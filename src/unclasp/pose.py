"""The result for one picture, and its JSON form (documented in docs/json-schema.md)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp.errors import UnclaspError, check_choice
from unclasp.files import write_text
from unclasp.hands import HAND_JOINT_NAMES, HAND_ORDERS, HAND_SLICES, NUM_JOINTS, ROOTS, SIDES, Order, Side

if TYPE_CHECKING:
    from unclasp.visualize import HandView

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

SCHEMA: Final = 1
"""Version of the JSON form; it changes when a key changes its meaning or goes away."""
MIN_PRESENCE: Final = 0.5
"""The likelier of the hands counts as present from this probability on that there is any."""
MIN_PRESENCE_SECOND: Final = 0.7
"""The less likely of two hands counts from here on: a lone hand is taken for two more easily than two for one."""
MIN_CONFIDENCE: Final = 0.2
"""Hands whose joints have a lower mean confidence than this are in doubt."""
_SHAPES: Final = {
    "joints_2d": (NUM_JOINTS, 2), "joints_3d": (NUM_JOINTS, 3), "joints_cam": (NUM_JOINTS, 3), "presence": (2,),
    "confidence": (NUM_JOINTS,), "box": (4,), "present": (2,),
}  # fmt: skip


def present_hands(presence: Floats) -> Bools:
    """Return (2,) which hands count as present.

    The likelier one does where there probably is a hand, whichever it is; the other from `SECOND` on. Of equals
    both do, so that mirror images have mirrored answers.

    Args:
        presence: (2,) probability that the right and the left hand are in the picture.

    >>> present_hands(np.array([0.6, 0.9])).tolist(), present_hands(np.array([0.3, 0.49])).tolist()
    ([False, True], [False, True])
    >>> present_hands(np.array([0.6, 0.6])).tolist()
    [True, True]
    """
    any_there = bool(1 - np.prod(1 - presence) >= MIN_PRESENCE)
    return np.asarray(((presence == presence.max()) & any_there) | (presence >= MIN_PRESENCE_SECOND))


_PALE: Final = 0.6
"""How visible the hands of other people are."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The pinhole that 3D coordinates refer to."""

    focal: tuple[float, float]
    """px of the picture."""
    princpt: tuple[float, float]
    """px of the picture; also of a mirrored one."""
    assumed: str | None
    """What was assumed about it, or None if the caller gave it."""


class HandJoints(NamedTuple):
    """The 21 joints of one hand, in the order of some library."""

    joints_2d: Floats
    """(21, 2) px of the picture."""
    joints_3d: Floats
    """(21, 3) mm relative to the wrist."""
    joints_cam: Floats
    """(21, 3) mm in the camera's frame."""
    confidence: Floats | None
    """(21,) 0 to 1, or None where the network does not say."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandPose:
    """Two hands in one picture; arrays are read-only, and the slots of absent hands hold what means nothing.

    42 joints in InterHand2.6M's order, right hand first; sides are the person's own.
    """

    joints_2d: Floats
    """(42, 2) px of the picture, pixel centres at integers."""
    joints_3d: Floats
    """(42, 3) mm relative to the wrist of the joint's own hand; x right, y down, z away from the camera. A hand beside
    the middle of the picture is turned by as much as `camera` is wrong about the direction that it lies in."""
    joints_cam: Floats
    """(42, 3) mm in the camera's frame; as exact as `camera` is known, and as what `depth_assumed` says."""
    presence: Floats
    """(2,) how likely the right and the left hand are in the picture: what the pose network says, more where hands were
    spotted by other means, and less where they were decided against. `present` says which count."""
    confidence: Floats | None = None
    """(42,) how far each joint can be trusted, 0 to 1, or None where the network does not say."""
    present: Bools = None  # type: ignore[assignment]  # never None once made
    """(2,) which hands count as present. If not given, as `present_hands` tells; what `dataclasses.replace` keeps of it
    when `presence` is replaced is as it was, unless it gets `present=None`, too."""
    box: Floats
    """(4,) x1, y1, x2, y2 px: the square that the network saw."""
    other_regions: Floats | None = None
    """(N, 4) x1, y1, x2, y2 px: where else hands were seen, for calls of their own with that `box`; the most
    promising first; none of them where the finder was not asked. None where nothing was looked for: with a box, in
    frames of a video in which hands are followed, and for the further people of `Predictor.everyone`."""
    camera: Camera
    """Focal length and principal point."""
    depth_assumed: str | None
    """What the distance from the camera rests on, or None if it is known."""
    image_size: tuple[int, int]
    """Width and height in px."""
    mirrored: bool = False
    """The picture is a mirror image, such as a selfie. Sides, `joints_3d` and `joints_cam` are those of the real hands;
    `joints_2d` and `box` are pixels of the picture as given, so that u = cx - fx X / Z."""
    model: str
    """Name of the weights."""
    source: str | None = None
    """The picture's or video's file, where there is one."""
    frame: int | None = None
    """Number of the frame in a video, from 0."""
    time: float | None = None
    """Seconds from the start of the video."""
    image: npt.NDArray[np.uint8] | None = None
    """(H, W, 3) RGB as predicted on: the caller's own memory, for `plot`. `dataclasses.replace(pose, image=None)` lets
    go of it."""

    def __post_init__(self) -> None:
        for name in (*_SHAPES, "other_regions"):
            given = getattr(self, name)
            if given is None and name == "present":
                given = present_hands(self.presence)
            if given is not None or name not in ("confidence", "other_regions"):
                self._freeze(name, np.array(given, dtype=bool if name == "present" else np.float64))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in (*_SHAPES, "other_regions"):  # copies, also those of `pickle`, can be written to
            if state.get(name) is not None:
                state[name].setflags(write=False)

    def _freeze(self, name: str, array: npt.NDArray[Any]) -> None:
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
        return tuple(side for side, there in zip(SIDES, self.present, strict=True) if there)

    @cached_property
    def doubted(self) -> tuple[Side, ...]:
        """The hands that are present but in doubt (`MIN_CONFIDENCE`): they are wrong far more often than others."""
        means = {side: self._mean_confidence(side) for side in self.sides}
        return tuple(side for side, mean in means.items() if mean is not None and mean < MIN_CONFIDENCE)

    def _mean_confidence(self, side: Side) -> float | None:
        return None if self.confidence is None else float(self.confidence[HAND_SLICES[SIDES.index(side)]].mean())

    def hand(self, side: Side, *, order: Order = "interhand") -> tuple[Floats, Floats]:
        """Return one hand's 21 joints, (21, 2) px and (21, 3) mm relative to its wrist, in the order of a library.

        Raises:
            UnclaspError: No such side or order.
        """
        joints = self._joints(side, order)
        return joints.joints_2d, joints.joints_3d

    def to(self, order: Order) -> dict[Side, HandJoints]:
        """Return the hands that are present with their joints in the order of a library.

        Only the order changes: px stay px, mm stay mm, and the wrist stays the origin.

        Args:
            order: mediapipe, openpose, mano, freihand or interhand.

        Raises:
            UnclaspError: No such order.
        """
        check_choice("order", order, HAND_ORDERS)
        return {side: self._joints(side, order) for side in self.sides}

    def _joints(self, side: Side, order: Order) -> HandJoints:
        check_choice("side", side, SIDES)
        check_choice("order", order, HAND_ORDERS)
        which = np.arange(NUM_JOINTS)[HAND_SLICES[SIDES.index(side)]][HAND_ORDERS[order]]
        confidence = None if self.confidence is None else self.confidence[which]
        return HandJoints(self.joints_2d[which], self.joints_3d[which], self.joints_cam[which], confidence)

    def __repr__(self) -> str:
        hands = ", ".join(f"{side} in doubt" if side in self.doubted else side for side in self.sides) or "no hand"
        width, height = self.image_size
        of_frame = "" if self.frame is None else f", frame {self.frame}"
        return f"HandPose({hands}; {self.source or 'an array'}{of_frame}, {width}x{height})"

    def to_numpy(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name, as the caller's own; confidence is NaN where the network does not say.

        Frames stack: `np.stack([pose.to_numpy()["joints_cam"] for pose in poses])`.
        """
        arrays = {name: np.array(getattr(self, name)) for name in _SHAPES if name != "confidence"}
        return arrays | {
            "confidence": np.full(NUM_JOINTS, np.nan) if self.confidence is None else self.confidence.copy()
        }

    @property
    def root_offset(self) -> Floats | None:
        """(3,) mm from the right wrist to the left one, or None unless both hands are present."""
        right, left = ROOTS
        return self.joints_cam[left] - self.joints_cam[right] if len(self.sides) == 2 else None

    def to_dict(self, *, others: "Sequence[HandPose] | None" = None) -> dict[str, Any]:
        """Return the JSON form as plain values, with the hands of other people in the same picture if given."""
        told = {} if others is None else {"others": [other._of_person() for other in others]}
        return {
            "schema": SCHEMA,
            "unclasp": metadata.version("unclasp"),
            "model": self.model,
            "image": {
                "source": self.source, "frame": self.frame, "time": None if self.time is None else round(self.time, 4),
                "width": self.image_size[0], "height": self.image_size[1], "mirrored": self.mirrored,
            },
            "box": _rounded(self.box),
            "other_regions": None if self.other_regions is None else _rounded(self.other_regions),
            "camera": {
                "focal": list(self.camera.focal), "princpt": list(self.camera.princpt), "assumed": self.camera.assumed,
            },
            "depth_assumed": self.depth_assumed,
            "presence": {side: round(float(p), 4) for side, p in zip(SIDES, self.presence, strict=True)},
            "joint_names": list(HAND_JOINT_NAMES),
            "hands": [self._hand_to_dict(side) for side in self.sides],
        } | told  # fmt: skip

    def _of_person(self) -> dict[str, Any]:
        """Return of the JSON form what differs from person to person."""
        whole = self.to_dict()
        return {key: whole[key] for key in ("box", "presence", "hands")}

    def _hand_to_dict(self, side: Side) -> dict[str, Any]:
        joints = HAND_SLICES[SIDES.index(side)]
        return {
            "side": side,
            "presence": round(float(self.presence[SIDES.index(side)]), 4),
            "doubted": side in self.doubted,
            "joints_2d": _rounded(self.joints_2d[joints]),
            "joints_3d": _rounded(self.joints_3d[joints]),
            "joints_cam": _rounded(self.joints_cam[joints]),
            "confidence": None if self.confidence is None else _rounded(self.confidence[joints], 4),
        }

    def to_json(self, *, indent: int | None = 1, others: "Sequence[HandPose] | None" = None) -> str:
        """Return the JSON form as text, `others` as of `to_dict`; without an indent it is one line."""
        return json.dumps(self.to_dict(others=others), indent=indent, allow_nan=False)

    def save_json(self, path: Path | str, *, others: "Sequence[HandPose] | None" = None) -> None:
        """Write the JSON form whole, `others` as of `to_dict`."""
        write_text(path, self.to_json(others=others))

    def save_html(self, path: Path | str) -> None:
        """Write a page that shows the hands in 3D, to turn and to zoom; it needs nothing but a browser."""
        from unclasp.view3d import page

        write_text(path, page(self.to_dict()))

    def plot(
        self, image: npt.NDArray[np.uint8] | None = None, *, others: "Sequence[HandPose]" = ()
    ) -> npt.NDArray[np.uint8]:
        """Draw both hands over the picture, and in 3D beside it: (H', W', 3) uint8 RGB.

        Args:
            image: (H, W, 3) uint8 RGB; the one that was predicted on if not given.
            others: Of other people in the same picture, whose hands are drawn over it alone, and paler.

        Raises:
            UnclaspError: No picture is given, and the pose has let go of its own.
        """
        from unclasp.visualize import draw_faint, draw_pose

        image = self.image if image is None else image
        if image is None:
            raise UnclaspError("this pose does not hold its picture; give it: pose.plot(image)")
        for other in others:
            views, root_offset = other.views()
            image = draw_faint(image, views, _PALE, root_offset=root_offset)
        views, root_offset = self.views()
        return draw_pose(image, views, root_offset=root_offset)

    def views(self) -> "tuple[list[HandView], Floats | None]":
        """Return what `visualize` draws of the hands that are present, and `root_offset`, as the picture shows them."""
        from unclasp.visualize import HandView

        seen = np.array([-1.0 if self.mirrored else 1.0, 1.0, 1.0])  # the 3D views match the picture beside them
        probability = dict(zip(SIDES, map(float, self.presence), strict=True))
        views = []
        for side in self.sides:
            in_plane, in_space = self.hand(side)
            doubted, sure = side in self.doubted, self._mean_confidence(side)
            hand = HandView(in_plane, in_space * seen, side, score=probability[side], confidence=sure, doubted=doubted)
            views.append(hand)
        return views, None if self.root_offset is None else self.root_offset * seen


def _rounded(array: Floats, digits: int = 2) -> list[Any]:
    rounded: list[Any] = np.round(array, digits).tolist()
    return rounded
