"""Joints of a look, mended by what the landmark network sees: the last step of a prediction.

The pose network tells two hands that touch apart, which is which, and how deep, and has learned that from rendered
hands; the landmark network has seen real ones, but knows of one hand at a time.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.find.fusion import Fusion, can_fuse
from unclasp.find.landmarks import Landmarks, Reading
from unclasp.find.looks import LIKELY, Look
from unclasp.hands import HAND_SLICES, SIDES, Side

Floats = npt.NDArray[np.floating]

SEEN: Final = 0.5
"""How likely the landmark network has to find a hand, and one of the same side, to be followed or to count by the rule.

The fusion network has learned what to make of the others."""

NEAR: Final = 0.2
"""Mean distance of its joints from ours, as a share of the hand's extent, from which on it may see the other hand."""

DOUBTED: Final = 0.3
"""A hand whose joints have a lower mean confidence than this may be elsewhere: the landmark network, whose crop moves
to what it sees, is followed there."""

ROUNDS: Final = 3
"""The landmark network reads such a hand at most so many times more."""

STEADY: Final = 0.1
"""Mean distance of the joints of two readings, as a share of the hand's extent, below which it has arrived."""

FAR: Final = 0.8
"""Mean distance from our joints, as a share of the hand's extent, up to which it may be that hand."""

KEPT: Final = 0.8
"""This share of a joint's place is the look's own where that is sure of it, less by as much as it is less sure."""

KEPT_UNTOLD: Final = 0.5
"""The same where the network tells no confidence."""


def touched_up(view: Look, image: ByteArray, landmarks: Landmarks, *, fusion: Fusion | None = None) -> Look:
    """Put the joints of each hand between where the look and where the landmark network has them.

    How near to which, and what the depths lack, the fusion network tells. Without it, and for pose networks that it
    does not know (`fusion.can_fuse`): the less the look is sure of a joint, the nearer it goes to the landmark
    network's; hands that that one does not see, sees elsewhere, or takes for one of the other side stay as they are, as
    do all depths, since the landmark network's are worse. Where the look is not sure of a hand at all, it may be seen
    farther off.

    Args:
        view: What the pose network saw.
        image: (H, W, 3) RGB.
        landmarks: The landmark network.
        fusion: The fusion network.
    """
    readings = _readings(view, image, landmarks)
    return _mended(view, readings, _found_elsewhere(view, readings, image, landmarks), fusion)


class Twice(NamedTuple):
    """What was seen in a frame of a video, touched up in two ways."""

    followed: Look
    """By the rule: for the tracker, whose thresholds were chosen with it."""
    told: Look
    """As the fusion network says, where it can: for the result. Otherwise the same look."""

    def each(self, change: Callable[[Look], Look]) -> "Twice":
        """Return both changed; it is done once where they are the same."""
        followed = change(self.followed)
        return Twice(followed, followed if self.told is self.followed else change(self.told))


def touched_up_twice(view: Look, image: ByteArray, landmarks: Landmarks, *, fusion: Fusion | None) -> Twice:
    """Touch up in both ways from one reading of each hand.

    None is looked for farther off: they would jump, and other frames tell more.
    """
    readings = _readings(view, image, landmarks)
    followed = _mended(view, readings, {}, None)
    fuses = fusion is not None and can_fuse(view)
    return Twice(followed, _mended(view, readings, {}, fusion) if fuses else followed)


def _readings(view: Look, image: ByteArray, landmarks: Landmarks) -> dict[int, Reading]:
    """Read the hands that may be there."""
    slots = np.flatnonzero(view.answer.presence[0] >= LIKELY).tolist()
    return {slot: landmarks(image, view.joints_2d[HAND_SLICES[slot]], SIDES[slot]) for slot in slots}


def _mended(view: Look, readings: dict[int, Reading], found: dict[int, Reading], fusion: Fusion | None) -> Look:
    """Return the look with the hands of `readings` mended, but those of `found`, which go as a whole to what is there.

    Without a fusion network that knows the look's network, by the rule.
    """
    moved: dict[int, Floats] = {}
    depths: dict[int, Floats] = {}
    confidence = view.answer.confidence
    fuses = fusion if fusion is not None and can_fuse(view) else None
    for slot, reading in readings.items():
        own = HAND_SLICES[slot]
        joints = view.joints_2d[own]
        if slot in found:
            share = KEPT * view.confidence(slot)  # one for all joints: a hand that goes far must not be torn apart
            moved[slot] = share * joints + (1 - share) * found[slot].joints_2d
        elif fuses is not None and reading.finite:
            moved[slot], depths[slot] = fuses(view, slot, reading)
        elif _agrees(reading, joints):
            kept = KEPT_UNTOLD if confidence is None else KEPT * confidence[0, own, None]
            moved[slot] = kept * joints + (1 - kept) * reading.joints_2d
    hands = readings | found
    seen = np.array([hands[slot].hand * hands[slot].of_side if slot in hands else 0.0 for slot in (0, 1)])
    return view.with_joints_2d(moved).with_depths(depths)._replace(seen=seen)


def _found_elsewhere(
    view: Look, readings: dict[int, Reading], image: ByteArray, landmarks: Landmarks
) -> dict[int, Reading]:
    """Return what the landmark network sees of the hands in doubt farther off, where that can be them."""
    found = {}
    for slot, reading in readings.items():
        joints = view.joints_2d[HAND_SLICES[slot]]
        doubted = view.answer.confidence is not None and view.confidence(slot) < DOUBTED
        if not doubted or _agrees(reading, joints):
            continue
        seen = _followed(reading, image, SIDES[slot], landmarks)
        taken = view.joints_2d[HAND_SLICES[1 - slot]] if 1 - slot in readings else None
        if seen is not None and _may_be(seen.joints_2d, joints, taken):
            found[slot] = seen
    return found


def _agrees(reading: Reading, joints_2d: Floats) -> bool:
    near = geometry.mean_distance(reading.joints_2d, joints_2d) < NEAR * geometry.extent(joints_2d)
    return _sees(reading) and near


def _followed(reading: Reading, image: ByteArray, side: Side, landmarks: Landmarks) -> Reading | None:
    """Read around what was read, until that stays; None where no hand of the side is seen there."""
    for _ in range(ROUNDS):
        if not reading.hand > SEEN:
            return None
        before, reading = reading.joints_2d, landmarks(image, reading.joints_2d, side)
        if geometry.mean_distance(reading.joints_2d, before) < STEADY * geometry.extent(before):
            return reading if _sees(reading) else None
    return None


def _may_be(seen: Floats, joints_2d: Floats, taken: Floats | None) -> bool:
    """Tell whether what is seen elsewhere can be that hand, and not the one whose joints are at `taken`."""
    far = geometry.mean_distance(seen, joints_2d)
    return far < FAR * geometry.extent(joints_2d) and (taken is None or far < geometry.mean_distance(seen, taken))


def _sees(reading: Reading) -> bool:
    return reading.hand > SEEN and reading.of_side > SEEN
