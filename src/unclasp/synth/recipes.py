"""Recipes for two hands in contact, as data: their poses, and the regions that meet or the plane between them."""

from dataclasses import dataclass
from typing import Final, Literal

from unclasp.synth.pose import TEMPLATES


@dataclass(frozen=True)
class Touch:
    """A region of the acting hand meets a region of the still one, with opposite normals and a random twist."""

    weight: float
    poses: tuple[tuple[str, ...], tuple[str, ...]]
    regions: tuple[str, str]
    twist: tuple[float, float] = (-180.0, 180.0)
    """Range of the twist in degrees about the common normal; at 0, the fingers point the same way."""
    tilt: float = 12.0
    """Standard deviation in degrees of the normals from being opposite."""
    closes: Literal["acting", "still"] | None = None
    """The hand that closes around the other, if any."""


@dataclass(frozen=True)
class Mirrored:
    """Both hands have nearly the same pose, on either side of a plane, and approach each other until they touch."""

    weight: float
    poses: tuple[str, ...]
    plane: tuple[float, float, float]
    """Normal of the plane in the right hand's frame: z out of the palm, y along the fingers, x towards the thumb."""
    tilt: float
    """Standard deviation of the normal's components."""
    slip: float = 6.0
    """Standard deviation in mm of the offset of the hands within the plane."""
    tips: tuple[int, ...] = ()
    """Joints that meet their counterparts: the plane is fitted to them, and `plane` is its preferred normal."""
    noise: float = 0.6
    """Factor on the noise of the poses."""
    bent: float = 0.0
    """Mean extension of the wrists in degrees if the hands push against each other; 0 leaves the wrists as drawn."""


_OPEN, _HOLD = ("flat", "relaxed", "cup", "flat_thumb_out"), ("grip", "cup", "half_closed", "relaxed")
_REACH = ("flat_thumb_out", "relaxed", "cup", "tent")
_FIST, _POINT = ("fist", "thumb_up", "half_closed"), ("point", "point_thumb_up", "relaxed")
_ALL = tuple(TEMPLATES)

TOUCHES: Final = {
    "palms": Touch(1.0, (_OPEN, _OPEN), ("palm", "palm"), (-110, 110), 10),
    "clasped_palms": Touch(1.0, (_REACH, _OPEN), ("palm", "palm"), (35, 120), 8, closes="acting"),
    "fist_in_palm": Touch(1.3, (_FIST, _REACH), ("knuckles", "palm"), tilt=18, closes="still"),
    "hand_on_back": Touch(1.0, (_OPEN, (*_OPEN, *_HOLD)), ("palm", "back"), (-120, 120), 12),
    "hand_around_back": Touch(0.9, (_REACH, (*_OPEN, *_FIST)), ("palm", "back"), (35, 125), 12, closes="acting"),
    "holding_hand": Touch(1.2, (_REACH, (*_OPEN, *_HOLD)), ("palm", "edge"), (30, 140), 15, closes="acting"),
    "holding_wrist": Touch(0.9, (_REACH, _ALL), ("palm", "wrist"), (50, 130), 12, closes="acting"),
    "holding_fingers": Touch(1.1, (_REACH, _OPEN), ("palm", "fingers"), (45, 135), 15, closes="acting"),
    "holding_thumb": Touch(
        0.5, (_REACH, ("thumb_up", "flat_thumb_out", "call")), ("palm", "thumb"), tilt=20, closes="acting"
    ),
    "holding_fist": Touch(0.9, (_REACH, _FIST), ("palm", "finger_backs"), (-120, 120), 15, closes="acting"),
    "crossed_wrists": Touch(0.5, (_ALL, _ALL), ("wrist", "wrist"), (40, 120), 15),
    "pointing_at_palm": Touch(1.0, (_POINT, _OPEN), ("index_tip", "palm"), tilt=25),
    "counting": Touch(1.2, (_POINT, _OPEN), ("index_tip", "pads"), tilt=30),
    "thumb_on_palm": Touch(0.5, (("cup", "thumb_up", "relaxed"), _OPEN), ("thumb_tip", "palm"), tilt=25),
    "tips_meet": Touch(
        0.8, (("pinch", "claw", "tent", "ok"), ("pinch", "claw", "tent", "ok")), ("pads", "pads"), tilt=30
    ),
    "any": Touch(3.0, (_ALL, _ALL), ("any", "any"), tilt=20),
}

_TIPS = (0, 4, 8, 12, 16)
MIRRORS: Final = {
    "prayer": Mirrored(2.5, ("flat", "relaxed", "flat_thumb_out"), (0, 0, 1), 0.06, noise=0.35, bent=45),
    "steeple": Mirrored(1.2, ("tent", "cup", "claw"), (0, 0.25, 1), 0.04, 1.5, _TIPS, 0.3, bent=35),
    "clap": Mirrored(1.0, ("flat", "cup", "relaxed"), (0, 0, 1), 0.3, 14.0),
    "tips_first": Mirrored(0.8, ("flat", "relaxed", "cup", "tent"), (0, 1, 0.4), 0.1, 4.0, _TIPS[1:]),
    "heart": Mirrored(1.0, ("heart",), (0, 0.2, 1), 0.03, 1.0, (0, 4), 0.35),
    "frame": Mirrored(0.5, ("flat_thumb_out", "point_thumb_up"), (0.3, 1, 0.2), 0.1, 4.0, (0, 4), 0.4),
    "side_by_side": Mirrored(0.8, _OPEN, (1, 0.1, 0), 0.25),
    "little_fingers": Mirrored(0.6, (*_OPEN, "fist"), (-1, 0, 0.1), 0.2),
    "fists": Mirrored(0.7, ("fist", "thumb_up", "point", "half_closed"), (0, 0.8, 0.5), 0.5, 10.0),
    "any": Mirrored(1.2, _ALL, (0, 0.2, 0.8), 0.6, 12.0),
}
