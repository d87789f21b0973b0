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
from unclasp.find.crop_result import LIKELY_PRESENCE, CropResult
from unclasp.find.fusion import Fusion, can_fuse
from unclasp.find.landmarks import LandmarkReading, Landmarks
from unclasp.hands import HAND_SLICES, SIDES, Side

Floats = npt.NDArray[np.floating]

MIN_HAND_SCORE: Final = 0.5
"""How likely the landmark network has to find a hand, and one of the same side, to be followed or to count by the rule.

The fusion network has learned what to make of the others."""

SAME_HAND_DISTANCE: Final = 0.2
"""Mean distance of its joints from ours, as a share of the hand's extent, from which on it may see the other hand."""

DOUBTFUL_CONFIDENCE: Final = 0.3
"""A hand whose joints have a lower mean confidence than this may be elsewhere: the landmark network, whose crop moves
to what it sees, is followed there."""

MAX_READS: Final = 3
"""The landmark network reads such a hand at most so many times more."""

CONVERGED_DISTANCE: Final = 0.1
"""Mean distance of the joints of two readings, as a share of the hand's extent, below which it has arrived."""

MAX_MOVE: Final = 0.8
"""Mean distance from our joints, as a share of the hand's extent, up to which it may be that hand."""

OWN_SHARE: Final = 0.8
"""This share of a joint's place is the look's own where that is sure of it, less by as much as it is less sure."""

OWN_SHARE_NO_CONFIDENCE: Final = 0.5
"""The same where the network tells no confidence."""


def touch_up(view: CropResult, image: ByteArray, landmarks: Landmarks, *, fusion: Fusion | None = None) -> CropResult:
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


class TwoTouchUps(NamedTuple):
    """What was seen in a frame of a video, touched up in two ways."""

    tracked: CropResult
    """By the rule: for the tracker, whose thresholds were chosen with it."""
    reported: CropResult
    """As the fusion network says, where it can: for the result. Otherwise the same look."""

    def map(self, change: Callable[[CropResult], CropResult]) -> "TwoTouchUps":
        """Return both changed; it is done once where they are the same."""
        followed = change(self.tracked)
        return TwoTouchUps(followed, followed if self.reported is self.tracked else change(self.reported))


def touch_up_for_video(
    view: CropResult, image: ByteArray, landmarks: Landmarks, *, fusion: Fusion | None
) -> TwoTouchUps:
    """Touch up in both ways from one reading of each hand.

    None is looked for farther off: they would jump, and other frames tell more.
    """
    readings = _readings(view, image, landmarks)
    followed = _mended(view, readings, {}, None)
    fuses = fusion is not None and can_fuse(view)
    return TwoTouchUps(followed, _mended(view, readings, {}, fusion) if fuses else followed)


def _readings(view: CropResult, image: ByteArray, landmarks: Landmarks) -> dict[int, LandmarkReading]:
    """Read the hands that may be there."""
    slots = np.flatnonzero(view.output.presence[0] >= LIKELY_PRESENCE).tolist()
    return {slot: landmarks(image, view.joints_2d[HAND_SLICES[slot]], SIDES[slot]) for slot in slots}


def _mended(
    view: CropResult, readings: dict[int, LandmarkReading], found: dict[int, LandmarkReading], fusion: Fusion | None
) -> CropResult:
    """Return the look with the hands of `readings` mended, but those of `found`, which go as a whole to what is there.

    Without a fusion network that knows the look's network, by the rule.
    """
    moved: dict[int, Floats] = {}
    depths: dict[int, Floats] = {}
    confidence = view.output.confidence
    fuses = fusion if fusion is not None and can_fuse(view) else None
    for slot, reading in readings.items():
        own = HAND_SLICES[slot]
        joints = view.joints_2d[own]
        if slot in found:
            share = OWN_SHARE * view.confidence(slot)  # one for all joints: a hand that goes far must not be torn apart
            moved[slot] = share * joints + (1 - share) * found[slot].joints_2d
        elif fuses is not None and reading.finite:
            moved[slot], depths[slot] = fuses(view, slot, reading)
        elif _agrees(reading, joints):
            kept = OWN_SHARE_NO_CONFIDENCE if confidence is None else OWN_SHARE * confidence[0, own, None]
            moved[slot] = kept * joints + (1 - kept) * reading.joints_2d
    hands = readings | found
    seen = np.array([hands[slot].hand_score * hands[slot].side_score if slot in hands else 0.0 for slot in (0, 1)])
    return view.with_joints_2d(moved).with_depths(depths)._replace(hand_scores=seen)


def _found_elsewhere(
    view: CropResult, readings: dict[int, LandmarkReading], image: ByteArray, landmarks: Landmarks
) -> dict[int, LandmarkReading]:
    """Return what the landmark network sees of the hands in doubt farther off, where that can be them."""
    found = {}
    for slot, reading in readings.items():
        joints = view.joints_2d[HAND_SLICES[slot]]
        doubted = view.output.confidence is not None and view.confidence(slot) < DOUBTFUL_CONFIDENCE
        if not doubted or _agrees(reading, joints):
            continue
        seen = _followed(reading, image, SIDES[slot], landmarks)
        taken = view.joints_2d[HAND_SLICES[1 - slot]] if 1 - slot in readings else None
        if seen is not None and _may_be(seen.joints_2d, joints, taken):
            found[slot] = seen
    return found


def _agrees(reading: LandmarkReading, joints_2d: Floats) -> bool:
    near = geometry.mean_distance(reading.joints_2d, joints_2d) < SAME_HAND_DISTANCE * geometry.extent(joints_2d)
    return _sees(reading) and near


def _followed(reading: LandmarkReading, image: ByteArray, side: Side, landmarks: Landmarks) -> LandmarkReading | None:
    """Read around what was read, until that stays; None where no hand of the side is seen there."""
    for _ in range(MAX_READS):
        if not reading.hand_score > MIN_HAND_SCORE:
            return None
        before, reading = reading.joints_2d, landmarks(image, reading.joints_2d, side)
        if geometry.mean_distance(reading.joints_2d, before) < CONVERGED_DISTANCE * geometry.extent(before):
            return reading if _sees(reading) else None
    return None


def _may_be(seen: Floats, joints_2d: Floats, taken: Floats | None) -> bool:
    """Tell whether what is seen elsewhere can be that hand, and not the one whose joints are at `taken`."""
    far = geometry.mean_distance(seen, joints_2d)
    return far < MAX_MOVE * geometry.extent(joints_2d) and (taken is None or far < geometry.mean_distance(seen, taken))


def _sees(reading: LandmarkReading) -> bool:
    return reading.hand_score > MIN_HAND_SCORE and reading.side_score > MIN_HAND_SCORE
