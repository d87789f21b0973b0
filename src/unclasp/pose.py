"""The result for one picture, and its JSON form (documented in docs/json-schema.md)."""

import json
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from unclasp.files import write_text
from unclasp.hands import HAND_JOINT_NAMES, HAND_ORDERS, HAND_SLICES, ROOTS, SIDES, Order, Side

Floats = npt.NDArray[np.floating]

SCHEMA: Final = 1
"""Version of the JSON form; it changes when a key changes its meaning or goes away."""
PRESENT: Final = 0.5
"""A hand counts as present from this probability on."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The pinhole that 3D coordinates refer to."""

    focal: tuple[float, float]
    """px of the picture."""
    princpt: tuple[float, float]
    """px of the picture."""
    assumed: str | None
    """What was assumed about it, or None if the caller gave it."""


@dataclass(frozen=True, kw_only=True)
class HandPose:
    """Two hands in one picture; arrays are read-only, and the slots of absent hands hold what means nothing.

    42 joints in InterHand2.6M's order, right hand first; sides are the person's own.
    """

    joints_2d: Floats
    """(42, 2) px of the picture, pixel centres at integers."""
    joints_3d: Floats
    """(42, 3) mm relative to the wrist of the joint's own hand; x right, y down, z away from the camera."""
    joints_cam: Floats
    """(42, 3) mm in the camera's frame; as right as `camera` and `depth_assumed` are."""
    presence: Floats
    """(2,) probability that the right and the left hand are in the picture."""
    box: Floats
    """(4,) x1, y1, x2, y2 px: the square that the network saw."""
    camera: Camera
    """Focal length and principal point."""
    depth_assumed: str | None
    """What the distance from the camera rests on, or None if it is known."""
    image_size: tuple[int, int]
    """Width and height in px."""
    model: str
    """Name of the weights."""
    source: str | None = None
    """The picture's file, where there is one."""

    def __post_init__(self) -> None:
        for name in ("joints_2d", "joints_3d", "joints_cam", "presence", "box"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The hands that are present."""
        return tuple(side for side, probability in zip(SIDES, self.presence, strict=True) if probability >= PRESENT)

    def hand(self, side: Side, *, order: Order = "interhand") -> tuple[Floats, Floats]:
        """Return one hand's 21 joints, (21, 2) px and (21, 3) mm relative to its wrist, in the order of a library.

        Raises:
            ValueError: No such side or order.
        """
        if side not in SIDES or order not in HAND_ORDERS:
            raise ValueError(
                f"side must be one of {SIDES} and order one of {tuple(HAND_ORDERS)}, got {side!r}, {order!r}"
            )
        joints, reorder = HAND_SLICES[SIDES.index(side)], HAND_ORDERS[order]
        return self.joints_2d[joints][reorder], self.joints_3d[joints][reorder]

    @property
    def root_offset(self) -> Floats | None:
        """(3,) mm from the right wrist to the left one, or None unless both hands are present."""
        right, left = ROOTS
        return self.joints_cam[left] - self.joints_cam[right] if len(self.sides) == 2 else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form as plain values."""
        return {
            "schema": SCHEMA,
            "unclasp": metadata.version("unclasp"),
            "model": self.model,
            "image": {"source": self.source, "width": self.image_size[0], "height": self.image_size[1]},
            "box": _rounded(self.box),
            "camera": {
                "focal": list(self.camera.focal), "princpt": list(self.camera.princpt), "assumed": self.camera.assumed,
            },
            "depth_assumed": self.depth_assumed,
            "presence": {side: round(float(p), 4) for side, p in zip(SIDES, self.presence, strict=True)},
            "joint_names": list(HAND_JOINT_NAMES),
            "hands": [self._hand_to_dict(side) for side in self.sides],
        }  # fmt: skip

    def _hand_to_dict(self, side: Side) -> dict[str, Any]:
        joints = HAND_SLICES[SIDES.index(side)]
        return {
            "side": side,
            "presence": round(float(self.presence[SIDES.index(side)]), 4),
            "joints_2d": _rounded(self.joints_2d[joints]),
            "joints_3d": _rounded(self.joints_3d[joints]),
            "joints_cam": _rounded(self.joints_cam[joints]),
        }

    def to_json(self) -> str:
        """Return the JSON form as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def save_json(self, path: Path | str) -> None:
        """Write the JSON form whole."""
        write_text(path, self.to_json())

    def plot(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Draw both hands over the picture, and in 3D beside it: (H', W', 3) uint8 RGB."""
        from unclasp.visualize import HandView, draw_pose

        views = [
            HandView(*self.hand(side), side=side, score=float(self.presence[SIDES.index(side)])) for side in self.sides
        ]
        return draw_pose(image, views, root_offset=self.root_offset)


def _rounded(array: Floats) -> list[Any]:
    rounded: list[Any] = np.round(array, 2).tolist()
    return rounded
