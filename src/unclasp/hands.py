"""Definitions for hands: joints, bones, sides, part classes, joint orders of other libraries, and colours.

Joints are in InterHand2.6M's order (skeleton.txt of the data set): right hand 0-20, left hand 21-41. Within a hand the
order is thumb, index, middle, ring, pinky, each from the tip to the base, then the wrist. *Right* and *left* are the
person's own. Wherever there is one value per side, the right one comes first.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Pixels

Side = Literal["right", "left"]

SIDES: Final[tuple[Side, Side]] = ("right", "left")
FINGERS: Final = ("thumb", "index", "middle", "ring", "pinky")

JOINTS_PER_HAND: Final = 21
NUM_JOINTS: Final = 2 * JOINTS_PER_HAND
WRIST: Final = 20
"""Index of the wrist among one hand's 21 joints."""
ROOTS: Final = (WRIST, JOINTS_PER_HAND + WRIST)
"""Indices of the right and the left wrist among the 42 joints."""
HAND_SLICES: Final = (slice(0, 21), slice(21, 42))

HAND_JOINT_NAMES: Final = (*(f"{finger}{number}" for finger in FINGERS for number in (4, 3, 2, 1)), "wrist")
"""Names of one hand's 21 joints; the suffix 4 is the fingertip, 1 the joint next to the palm."""
JOINT_NAMES: Final = tuple(f"{side[0]}_{name}" for side in SIDES for name in HAND_JOINT_NAMES)

HAND_PARENTS: Final = tuple(
    -1 if joint == WRIST else WRIST if joint % 4 == 3 else joint + 1 for joint in range(JOINTS_PER_HAND)
)
"""Parent of each of a hand's 21 joints; -1 for the wrist."""
PARENTS: Final = (*HAND_PARENTS, *(parent + 21 if parent >= 0 else -1 for parent in HAND_PARENTS))
BONES: Final = tuple((joint, parent) for joint, parent in enumerate(PARENTS) if parent >= 0)
"""The 40 (joint, parent) pairs of both hands."""

ROOT_OF_JOINT: Final[npt.NDArray[np.int64]] = np.repeat(np.array(ROOTS, dtype=np.int64), JOINTS_PER_HAND)
"""For each of the 42 joints, the wrist of its own hand."""
FLIPPED_JOINTS: Final[npt.NDArray[np.int64]] = np.r_[21:42, 0:21].astype(np.int64)
"""Permutation that swaps the hands, for mirrored pictures: joint j becomes the same joint of the other hand."""

PARTS_PER_HAND: Final = 16
NUM_PARTS: Final = 1 + 2 * PARTS_PER_HAND
HAND_PART_NAMES: Final = (
    "palm",
    *(f"{finger}_{bone}" for finger in FINGERS for bone in ("proximal", "middle", "distal")),
)
"""Names of one hand's 16 parts. The thumb's three are its metacarpal, proximal and distal bones."""
PART_NAMES: Final = ("background", *(f"{side[0]}_{name}" for side in SIDES for name in HAND_PART_NAMES))
FLIPPED_PARTS: Final[Pixels] = np.r_[0, 17:33, 1:17].astype(np.uint8)
"""Lookup table that swaps the hands' part classes, for mirrored pictures: `FLIPPED_PARTS[parts]`."""


def parts_at_joint(joint: int) -> tuple[int, ...]:
    """Return the part classes that meet at a joint (0-41); the pixel of a visible joint shows one of them.

    Examples:
        >>> parts_at_joint(4), parts_at_joint(5), parts_at_joint(7), parts_at_joint(41)
        ((7,), (6, 7), (1, 5), (17, 0))
    """
    hand, local = divmod(joint, JOINTS_PER_HAND)
    if local == WRIST:
        return (1 + PARTS_PER_HAND * hand, 0)
    finger, from_tip = divmod(local, 4)
    proximal = 2 + 3 * finger
    local_parts = ((proximal + 2,), (proximal + 1, proximal + 2), (proximal, proximal + 1), (1, proximal))[from_tip]
    return tuple(part + PARTS_PER_HAND * hand for part in local_parts)


Order = Literal["interhand", "mediapipe", "openpose", "mano", "freihand"]

_BASE_TO_TIP = [WRIST, *(4 * finger + step for finger in range(5) for step in (3, 2, 1, 0))]
_MANO = [WRIST, 7, 6, 5, 11, 10, 9, 19, 18, 17, 15, 14, 13, 3, 2, 1, 0, 4, 8, 12, 16]
HAND_ORDERS: Final[dict[Order, npt.NDArray[np.int64]]] = {
    "interhand": np.arange(JOINTS_PER_HAND),
    "mediapipe": np.array(_BASE_TO_TIP),
    "openpose": np.array(_BASE_TO_TIP),
    "freihand": np.array(_BASE_TO_TIP),
    "mano": np.array(_MANO),
}
"""`joints[..., HAND_ORDERS[name], :]` reorders one hand's 21 joints into another library's order.

MediaPipe, OpenPose and FreiHAND: wrist, then thumb, index, middle, ring, pinky from base to tip. MANO: wrist,
then index, middle, pinky, ring, thumb from base to the last knuckle, then the five tips from thumb to pinky.
"""

FINGER_COLOURS: Final[Pixels] = np.array(
    [[[255, 99, 92], [255, 170, 64], [250, 222, 90], [236, 120, 190], [196, 110, 255]],
     [[72, 190, 255], [64, 224, 208], [120, 230, 120], [90, 140, 255], [160, 190, 210]]],
    dtype=np.uint8,
)  # fmt: skip
"""(2 sides, 5 fingers, RGB): warm colours for the right hand, cool colours for the left."""


def _part_colours() -> Pixels:
    colours = np.zeros((NUM_PARTS, 3), dtype=np.uint8)
    for side in range(2):
        base = 1 + PARTS_PER_HAND * side
        colours[base] = FINGER_COLOURS[side].mean(axis=0)
        shades = np.array([0.55, 0.78, 1.0])[None, :, None] * FINGER_COLOURS[side][:, None, :]
        colours[base + 1 : base + PARTS_PER_HAND] = shades.reshape(15, 3)
    return colours


PART_COLOURS: Final = _part_colours()
"""(33, RGB): colour of each part class; the background is black."""
WRIST_COLOURS: Final[Pixels] = PART_COLOURS[[1, 1 + PARTS_PER_HAND]]
"""(2 sides, RGB): colours of the palms, in which drawings show the wrists."""
