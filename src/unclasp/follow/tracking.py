"""Hands over frames: where to look next, which hand is which, and whether it is still there."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.find.crop_result import MIN_SCORE_GAIN, SAME_PLACE
from unclasp.find.regions import box_around
from unclasp.follow.frame_result import FrameResult, PredictFrame, exchanged
from unclasp.follow.smoothing import PoseFilter, seconds_between
from unclasp.hands import HAND_SLICES, NUM_JOINTS
from unclasp.pose import HandPose, present_hands

Floats = npt.NDArray[np.floating]

MIN_PRESENCE_TO_STAY: Final = 0.25
"""A hand that is present stays so until its probability, averaged over frames, falls below this."""
PRESENCE_DECAY: Final = 0.5
"""Share of the last frames' average in the average of probabilities."""
SEARCH_EVERY_DOUBTFUL: Final = 15
"""Frames after which the whole picture is searched again where one of two hands is doubtful."""
SEARCH_EVERY_ONE_HAND: Final = 8
"""The same where one hand is known: the other one may be there, too."""
SEARCH_EVERY_NO_HAND: Final = 3
"""The same where none is known, or `IN_VAIN` searches brought nothing: a search takes as long as ten looks."""
MAX_VAIN_SEARCHES: Final = 4
"""Searches in a row whose answers did not count, after which there is some time before the next one: not where the
hands have left the crop, which only a search can mend."""
MAX_FRAMES_NOT_CREDIBLE: Final = 10
"""Hands that would not have been told in a photo for so many frames in a row are lost."""
EVIDENCE_DECAY: Final = 0.9
"""Share of the last frames' average in that of what speaks for a hand (`Look.evidence`)."""
FIRST_EVIDENCE: Final = 0.5
"""What is taken to speak for a hand of which no frame has told yet."""
GHOST_EVIDENCE: Final = (0.15, 0.3)
"""A second hand for which less than the first of these speaks goes; it comes back with more than the second."""
MIN_EVIDENCE_BESIDE: Final = 0.5
"""A hand can be such a ghost only beside one for which at least this much speaks."""
CERTAIN_EVIDENCE: Final = 0.9
"""A hand for which so much speaks in one frame is there at once."""
DOUBTFUL_CONFIDENCE: Final = 0.1
"""Mean confidence of a hand's joints below which the crop may be off."""
CONFIDENCE_PER_SIZE_MOVED: Final = 0.4
"""The mean confidence that the joints of a hand need for each hand size that it moved within one frame."""
MAX_HELD_FRAMES: Final = 8
"""Frames for which a hand that is not believed is taken to be where it was."""
SIDE_CHANGE_FRAMES: Final = 120
"""The network has to insist for this many frames before hands that had their sides for long change them."""
FIRST_SIDE_CHANGE_FRAMES: Final = 10
"""The same where the sides are new: the first frames may have been wrong."""
_NEW_HAND_DISTANCE: Final = 1.5
"""Hand sizes that a hand is taken to have moved at most; one that was not there is taken to have moved as far."""
_MIN_SIDE_MARGIN: Final = 0.15
"""Hands that are nearer to where they were by this many hand sizes are those that were there."""
_CLEAR_SIDE_MARGIN: Final = 0.5
"""The same for the network's sides to count as agreement or as disagreement."""


class Tracker:
    """Poses of successive frames as those of the same hands.

    The crop of a frame is around the joints of the last one. The whole picture is searched at first, when all hands are
    lost or one of two is, where both are put on one place, and now and then while there is only one or one is doubtful:
    joints that are off lead the next crop astray. Hands that would not be told in a photo are lost after a while, and a
    second hand that nothing speaks for is not told. A hand keeps its slot: what is where the right hand was is the
    right hand, until the network says otherwise for more frames than it agreed, at most `PATIENCE`.

    Args:
        see: Frame and box to what is seen there.
        box: (4,) x1, y1, x2, y2 px around the hands in every frame: nothing is searched or followed then.
        smooth: Filter the joints over time.
        live: There are no later frames to smooth what is told by. Where there are, `smoothing.steadied` does that, and
            `smooth` is about what is followed alone.
    """

    def __init__(
        self, see: PredictFrame, *, box: npt.ArrayLike | None = None, smooth: bool = True, live: bool = True
    ) -> None:
        self._see, self._box = see, box
        self._filter = PoseFilter() if smooth else None
        self._filter_of_told = PoseFilter() if smooth and live else None
        self.changes = 0
        """How often the hands have changed sides, or others may have taken their place."""
        self._last: FrameResult | None = None
        self._presence: Floats = np.zeros(2)
        self._evidence: Floats = np.full(2, FIRST_EVIDENCE)
        self._unsearched = 0
        self._in_vain = 0
        self._held = np.zeros(2, int)
        self._unknown = 0
        self._agreed = FIRST_SIDE_CHANGE_FRAMES

    def __call__(self, image: ByteArray, time: float | None = None) -> HandPose:
        """Return the pose of the next frame, `time` seconds from the start."""
        if self._unknown >= MAX_FRAMES_NOT_CREDIBLE:
            self._forget()
        seen = self._find(image)
        self._unknown = 0 if seen.is_known else self._unknown + 1
        if self._last is not None:
            seen = self._with_last_sides(seen, self._last)
            seen = self._with_held_hands(seen, self._last)  # the sides of the last frame may have been exchanged
        present = self._presence_now(seen)
        if not present.any():
            self._unknown = 0
        seen = seen.map(lambda pose: replace(pose, present=present, time=time))
        self._last = self._smoothed(seen)
        return self._last.reported

    def _forget(self) -> None:
        """Take what is seen next for other hands."""
        self.changes += 1
        for smooth in self._filters:
            smooth.forget()
        self._last = None
        self._presence, self._evidence, self._held = np.zeros(2), np.full(2, FIRST_EVIDENCE), np.zeros(2, int)
        self._unknown, self._in_vain, self._agreed = 0, 0, FIRST_SIDE_CHANGE_FRAMES

    def _smoothed(self, seen: FrameResult) -> FrameResult:
        followed, told = seen.tracked, seen.reported
        seconds = seconds_between(None if self._last is None else self._last.tracked, followed)
        if self._filter is not None:
            followed = self._filter(followed, seconds)
        if self._filter_of_told is not None:
            told = self._filter_of_told(told, seconds)
        return seen._replace(tracked=followed, reported=told)

    def _find(self, image: ByteArray) -> FrameResult:
        if self._box is not None:
            return self._see(image, self._box, fresh=False)
        self._unsearched += 1
        if self._last is None:
            return self._search(image, fresh=True)
        last = self._last.tracked
        box = box_around(last.joints_2d, last.present, image)
        if box is not None:
            return self._follow(image, last, box)
        if self._unsearched >= SEARCH_EVERY_NO_HAND:
            return self._search(image, fresh=True)
        return self._see(image, geometry.expand_box(last.box, 1 / geometry.CROP_EXPANSION), fresh=True)

    def _follow(self, image: ByteArray, last: HandPose, box: Floats) -> FrameResult:
        """Look where the hands of the last frame were, and all over the picture if that is in doubt."""
        seen, expected = self._see(image, box, fresh=False), int(last.present.sum())
        pose, are_two = seen.tracked, expected > 1
        if _outside_crop(pose):
            return self._search(image, fresh=not are_two)
        if self._in_vain >= MAX_VAIN_SEARCHES and self._unsearched < SEARCH_EVERY_NO_HAND:
            return seen
        are_lost = int((_likely(pose) >= MIN_PRESENCE_TO_STAY).sum()) < expected
        doubted = are_two and _least_confidence(pose) < DOUBTFUL_CONFIDENCE
        is_due = (doubted and self._unsearched >= SEARCH_EVERY_DOUBTFUL) or (
            not are_two and self._unsearched >= SEARCH_EVERY_ONE_HAND
        )
        if not (are_lost or is_due or (are_two and _on_one_place(pose))):
            self._in_vain = 0
            return seen
        found = self._search(image, fresh=not are_two)
        counts = _shows_more(found, seen) if are_two else _is_better(found, seen)
        self._in_vain = 0 if counts else self._in_vain + 1
        if counts and not are_two and _is_elsewhere(found.tracked, last):
            self._forget()
        return found if counts else seen

    def _search(self, image: ByteArray, *, fresh: bool = False) -> FrameResult:
        self._unsearched = 0
        return self._see(image, None, fresh=fresh)

    def _with_last_sides(self, seen: FrameResult, last: FrameResult) -> FrameResult:
        swapped = exchanged(seen.tracked)
        trust = 1 - self._held / MAX_HELD_FRAMES  # where a hand was held, it may not have been for long
        before = last.tracked
        nearer = _distance_to_track(seen.tracked, before, trust) - _distance_to_track(swapped, before, trust)
        if abs(nearer) > _CLEAR_SIDE_MARGIN:
            self._agreed = min(self._agreed + (1 if nearer < 0 else -1), SIDE_CHANGE_FRAMES)
        if nearer <= _MIN_SIDE_MARGIN:
            return seen
        if self._agreed >= 0:
            return seen.exchanged()
        self._exchange_slots(last)
        return seen

    @property
    def _filters(self) -> list[PoseFilter]:
        return [smooth for smooth in (self._filter, self._filter_of_told) if smooth is not None]

    def _exchange_slots(self, last: FrameResult) -> None:
        """Take the network's word for it that the sides were wrong: all that is known of a hand changes its slot."""
        self._agreed, self._last = FIRST_SIDE_CHANGE_FRAMES, last.exchanged()
        self._presence, self._held = self._presence[::-1], self._held[::-1]
        self._evidence = self._evidence[::-1]
        self.changes += 1
        for smooth in self._filters:
            smooth.exchange()

    def _with_held_hands(self, seen: FrameResult, last: FrameResult) -> FrameResult:
        """Return what is seen with hands that are not to be believed as they were, for `HELD` frames at most."""
        away = last.tracked.present & _is_disbelieved(seen.tracked)
        held = (_jumped(seen.tracked, last.tracked) | away) & (self._held < MAX_HELD_FRAMES)
        self._held = np.where(held, self._held + 1, 0)
        for slot in np.flatnonzero(held).tolist():
            seen = seen._replace(
                tracked=_with_hand(seen.tracked, last.tracked, slot),
                reported=_with_hand(seen.reported, last.reported, slot),
            )
        return seen

    def _presence_now(self, seen: FrameResult) -> npt.NDArray[np.bool_]:
        """Return (2,) which hands are there, by the average of their probabilities over frames."""
        likely = _likely(seen.tracked)
        if self._last is None:
            self._presence, self._evidence = likely, np.full(2, FIRST_EVIDENCE)
            return seen.tracked.present
        self._presence = PRESENCE_DECAY * self._presence + (1 - PRESENCE_DECAY) * likely
        before, (least, enough) = self._last.tracked.present, GHOST_EVIDENCE
        if not before.any():
            self._evidence = np.full(2, FIRST_EVIDENCE)
        certain = np.zeros(2, dtype=np.bool_)
        if seen.hand_evidence is not None:
            self._evidence = EVIDENCE_DECAY * self._evidence + (1 - EVIDENCE_DECAY) * seen.hand_evidence
            certain = present_hands(likely) & (seen.hand_evidence >= CERTAIN_EVIDENCE)
        may_be_ghost = (present_hands(self._presence) & (self._evidence >= MIN_EVIDENCE_BESIDE))[::-1]
        stays = (self._presence >= MIN_PRESENCE_TO_STAY) & ~(may_be_ghost & (self._evidence < least))
        comes = certain | (present_hands(self._presence) & ~(may_be_ghost & (self._evidence < enough)))
        self._evidence = np.where(certain & ~before, FIRST_EVIDENCE, self._evidence)
        return np.where(before, stays, comes)


def _is_disbelieved(pose: HandPose) -> bool:
    """Tell whether a frame has no hands although the network points at some (`CropResult.is_credible`)."""
    return bool(present_hands(pose.presence).any()) and not pose.present.any()


def _likely(pose: HandPose) -> Floats:
    """Return (2,) how likely each hand is there: not at all where the network is not believed."""
    return np.zeros(2) if _is_disbelieved(pose) else pose.presence


def _jumped(pose: HandPose, last: HandPose) -> npt.NDArray[np.bool_]:
    """Tell for each hand whether it is suddenly somewhere without being sure, or where the other one is: (2,)."""
    far, sizes = _moved(pose, last)
    moved = far / np.maximum(sizes, 1.0)
    astray = np.array([_confidence(pose, slot) for slot in (0, 1)]) < CONFIDENCE_PER_SIZE_MOVED * moved
    if _on_one_place(pose) and last.present.all() and not _on_one_place(last):
        astray |= moved > max(SAME_PLACE / 2, moved.min())
    return np.asarray(astray & pose.present & last.present)


def _with_hand(pose: HandPose, other: HandPose, slot: int) -> HandPose:
    """Return the pose with the hand in `slot` as another pose has it, and no confidence in its joints."""
    theirs = np.zeros(NUM_JOINTS, dtype=np.bool_)
    theirs[HAND_SLICES[slot]] = True
    return replace(
        pose,
        joints_2d=np.where(theirs[:, None], other.joints_2d, pose.joints_2d),
        joints_3d=np.where(theirs[:, None], other.joints_3d, pose.joints_3d),
        joints_cam=np.where(theirs[:, None], other.joints_cam, pose.joints_cam),
        confidence=None if pose.confidence is None else np.where(theirs, 0.0, pose.confidence),
    )


def _distance_to_track(pose: HandPose, last: HandPose, trust: Floats) -> float:
    """Return how far the hands that are present are from where the last frame had them, in sizes of the larger one.

    `trust` (2,) in the last frame's hands, from 0 to 1, is what they weigh.
    """
    moved, sizes = _moved(pose, last)
    far = moved / max(float(sizes[pose.present].max(initial=0.0)), 1.0)
    known = np.where(last.present, trust * np.minimum(far, _NEW_HAND_DISTANCE), _NEW_HAND_DISTANCE)
    return float(known[pose.present].sum())


def _moved(pose: HandPose, last: HandPose) -> tuple[Floats, Floats]:
    """Return how far the hands' middles are from where the last frame had them, and the hands' sizes: (2,) px each."""
    return np.linalg.norm(_middles(pose) - _middles(last), axis=1), _sizes(pose)


def _middles(pose: HandPose) -> Floats:
    return np.asarray(pose.joints_2d.reshape(2, -1, 2).mean(axis=1))


def _sizes(pose: HandPose) -> Floats:
    return np.asarray(np.ptp(pose.joints_2d.reshape(2, -1, 2), axis=1).max(axis=1))


def _outside_crop(pose: HandPose) -> bool:
    """Tell whether a hand's middle lies outside of the crop: the network points at what it does not see."""
    middles = _middles(pose)[pose.present]
    return bool(((middles < pose.box[:2]) | (middles > pose.box[2:])).any())


def _on_one_place(pose: HandPose) -> bool:
    right, left = (pose.joints_2d[joints] for joints in HAND_SLICES)
    return bool(pose.present.all()) and geometry.on_one_place(right, left, SAME_PLACE)


def _hands(pose: HandPose) -> tuple[int, bool, float, float]:
    return int(pose.present.sum()), not _on_one_place(pose), _least_confidence(pose), float(pose.presence.sum())


def _is_elsewhere(pose: HandPose, last: HandPose) -> bool:
    """Tell whether no hand of those that are there is where one was."""
    between = _middles(last)[last.present][:, None] - _middles(pose)[pose.present]
    return bool((np.linalg.norm(between, axis=2) > _sizes(last).max()).all())


def _shows_more(found: FrameResult, seen: FrameResult) -> bool:
    return _hands(found.tracked) > _hands(seen.tracked)


def _is_better(found: FrameResult, seen: FrameResult) -> bool:
    """Tell whether there are hands with more that speaks for them, or more hands and not less that does."""
    more = found.detection_score - seen.detection_score
    if not found.tracked.present.any():
        return False
    return more > MIN_SCORE_GAIN or (more > -MIN_SCORE_GAIN and _shows_more(found, seen))


def _least_confidence(pose: HandPose) -> float:
    """Return the mean confidence of the less certain hand's joints; 1 where the network tells none."""
    return min((_confidence(pose, int(slot)) for slot in np.flatnonzero(pose.present)), default=1.0)


def _confidence(pose: HandPose, slot: int) -> float:
    """Return the mean confidence of a hand's joints; 1 where the network tells none: no hand is ever doubted then."""
    return 1.0 if pose.confidence is None else float(pose.confidence[HAND_SLICES[slot]].mean())
