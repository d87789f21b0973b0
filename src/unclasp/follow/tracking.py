"""Tracks hands over video frames: where the next crop is, which hand is which, and whether each is still present."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.arrays import Bools, Floats, Pixels
from unclasp.find.boxes import box_around_hands, inside
from unclasp.find.credibility import MIN_SCORE_GAIN
from unclasp.find.crop_result import SAME_PLACE
from unclasp.find.versions import Versions
from unclasp.follow.frame_result import FrameResult, PredictFrame, exchanged
from unclasp.follow.smoothing import PoseFilter, seconds_between
from unclasp.follow.track import MIN_PRESENCE_TO_STAY, SIDE_CHANGE_FRAMES, Track
from unclasp.hands import HAND_SLICES, NUM_JOINTS
from unclasp.pose import HandPose

SEARCH_EVERY_DOUBTFUL: Final = 15
"""Frames between two searches of the whole frame while one of two hands is doubtful."""
SEARCH_EVERY_ONE_HAND: Final = 8
"""The same while one hand is tracked, because the other one may have appeared."""
SEARCH_EVERY_NO_HAND: Final = 3
"""The same while no hand is tracked, or after `MAX_VAIN_SEARCHES` searches without success: a search takes as long as
ten predictions on a crop."""
MAX_VAIN_SEARCHES: Final = 4
"""Searches in a row without success after which the next one waits (`SEARCH_EVERY_NO_HAND`), unless the hands have left
the crop, where only a search can find them again."""
MAX_FRAMES_NOT_CREDIBLE: Final = 10
"""Tracked hands are dropped after this many frames in a row that, as photos, would not count as showing hands."""
DOUBTFUL_CONFIDENCE: Final = 0.1
"""Mean confidence of a hand's joints below which the crop may be misplaced."""
CONFIDENCE_PER_SIZE_MOVED: Final = 0.4
"""Mean confidence that a hand needs per hand size that it has moved within one frame."""
MAX_HELD_FRAMES: Final = 8
"""Frames for which a hand whose new position is rejected is held at its last one."""
_NEW_HAND_DISTANCE: Final = 1.5
"""Upper limit of a hand's move in hand sizes; also the move assumed for a hand that was not present before."""
_MIN_SIDE_MARGIN: Final = 0.15
"""Hand sizes by which the swapped assignment must be nearer to the last frame to be preferred."""
_CLEAR_SIDE_MARGIN: Final = 0.5
"""The same, either way, for the network's sides to count as agreement or disagreement."""


class Tracker:
    """Tracks two hands over successive frames.

    Each frame is cropped around the joints of the last one. The whole frame is searched at the start, when a tracked
    hand is lost, when both hands are predicted in the same place, when a hand lies outside the crop, and regularly
    while fewer than two hands are present or one is doubtful, because wrong joints lead to a wrong next crop. Hands
    that would not count in a photo are dropped after a while, and so is a second hand without evidence. Each hand keeps
    its slot: the hand nearest to where the right hand was is the right hand, until the network has disagreed in more
    frames than it has agreed, counted up to `SIDE_CHANGE_FRAMES`.

    Args:
        predict_frame: Predicts the hands of a frame.
        box: (4,) x1, y1, x2, y2 px around the hands in every frame; frames are then neither searched nor cropped
            around the last joints.
        smooth: Smooth the joints, and their confidences, over time.
        live: There are no later frames, so the reported poses are smoothed here. Otherwise `smoothing.smoothed` does
            that, and `smooth` applies only to the poses that are tracked.
    """

    def __init__(
        self, predict_frame: PredictFrame, *, box: npt.ArrayLike | None = None, smooth: bool = True, live: bool = True
    ) -> None:
        self._predict_frame, self._box = predict_frame, box
        self._filters = Versions(PoseFilter() if smooth else None, PoseFilter() if smooth and live else None)
        self.changes = 0
        """How often the hands have swapped sides, or may have been replaced by other hands."""
        self._track = Track()
        self._frames_since_search = 0
        self._shape: tuple[int, ...] = ()

    def __call__(self, image: Pixels, time: float | None = None) -> HandPose:
        """Return the pose of the next frame, which is `time` seconds from the start."""
        before, self._shape = self._shape, image.shape
        if before not in ((), image.shape) or self._track.frames_not_credible >= MAX_FRAMES_NOT_CREDIBLE:
            self._forget()
        result = self._predict(image)
        self._track.frames_not_credible = 0 if result.is_known else self._track.frames_not_credible + 1
        if self._track.last is not None:
            result = self._assign_sides(result, self._track.last)
            result = self._hold_hands(result, self._track.last)  # _assign_sides may have replaced it
        present = self._track.update_presence(result)
        if not present.any():
            self._track.frames_not_credible = 0
        result = result._replace(poses=result.poses.map(lambda pose: replace(pose, present=present, time=time)))
        self._track.last = self._smoothed(result)
        return self._track.last.poses.reported

    def _forget(self) -> None:
        """Reset everything known about the hands, so that the next ones count as other hands."""
        self._track = Track()
        self.changes += 1
        for pose_filter in filter(None, self._filters):
            pose_filter.forget()

    def _smoothed(self, result: FrameResult) -> FrameResult:
        seconds = seconds_between(None if self._track.last is None else self._track.last.tracked, result.tracked)
        tracked, reported = (
            pose if pose_filter is None else pose_filter(pose, seconds)
            for pose, pose_filter in zip(result.poses, self._filters, strict=True)
        )
        return result._replace(poses=Versions(tracked, reported))

    def _predict(self, image: Pixels) -> FrameResult:
        """Predict the hands in the given box, near their last position, or in the whole frame."""
        if self._box is not None:
            return self._predict_frame(image, self._box, fresh=False)
        self._frames_since_search += 1
        if self._track.last is None:
            return self._search(image, fresh=True)
        last = self._track.last.tracked
        box = box_around_hands(last.joints_2d, last.present, image)
        if box is not None:
            return self._follow(image, last, box)
        if self._frames_since_search >= SEARCH_EVERY_NO_HAND:
            return self._search(image, fresh=True)
        return self._predict_frame(image, geometry.expand_box(last.box, 1 / geometry.CROP_EXPANSION), fresh=True)

    def _follow(self, image: Pixels, last: HandPose, box: Floats) -> FrameResult:
        """Predict in the box around the hands of the last frame, or in the whole frame if the result is doubtful."""
        result, expected = self._predict_frame(image, box, fresh=False), int(last.present.sum())
        pose, are_two = result.tracked, expected > 1
        if _outside_crop(pose):
            return self._search(image, fresh=not are_two)
        if self._track.vain_searches >= MAX_VAIN_SEARCHES and self._frames_since_search < SEARCH_EVERY_NO_HAND:
            return result
        are_lost = int((result.credible_presence >= MIN_PRESENCE_TO_STAY).sum()) < expected
        is_doubtful = are_two and _min_confidence(pose) < DOUBTFUL_CONFIDENCE
        is_due = (is_doubtful and self._frames_since_search >= SEARCH_EVERY_DOUBTFUL) or (
            not are_two and self._frames_since_search >= SEARCH_EVERY_ONE_HAND
        )
        if not (are_lost or is_due or (are_two and _in_same_place(pose))):
            self._track.vain_searches = 0
            return result
        found = self._search(image, fresh=not are_two)
        is_accepted = _shows_more(found, result) if are_two else _is_better(found, result)
        self._track.vain_searches = 0 if is_accepted else self._track.vain_searches + 1
        if is_accepted and not are_two and _is_elsewhere(found.tracked, last):
            self._forget()
        return found if is_accepted else result

    def _search(self, image: Pixels, *, fresh: bool) -> FrameResult:
        self._frames_since_search = 0
        return self._predict_frame(image, None, fresh=fresh)

    def _assign_sides(self, result: FrameResult, last: FrameResult) -> FrameResult:
        """Return the hands in the slots of the tracked ones.

        If the network has disagreed for long, the tracked ones change their slots instead (`_exchange_slots`).
        """
        track, before, swapped = self._track, last.tracked, exchanged(result.tracked)
        trust = 1 - track.held / MAX_HELD_FRAMES  # a hand that has been held may have moved on
        margin = _distance_to_track(result.tracked, before, trust) - _distance_to_track(swapped, before, trust)
        if abs(margin) > _CLEAR_SIDE_MARGIN:
            track.side_agreement = min(track.side_agreement + (1 if margin < 0 else -1), SIDE_CHANGE_FRAMES)
        if margin <= _MIN_SIDE_MARGIN:
            return result
        if track.side_agreement >= 0:
            return result.exchanged()
        self._exchange_slots()
        return result

    def _exchange_slots(self) -> None:
        """Accept the network's sides: swap all tracking state between the slots."""
        self._track = self._track.exchanged()
        self.changes += 1
        for pose_filter in filter(None, self._filters):
            pose_filter.exchange()

    def _hold_hands(self, result: FrameResult, last: FrameResult) -> FrameResult:
        """Hold implausible hands at their last position, for up to `MAX_HELD_FRAMES` frames."""
        rejected = last.tracked.present & result.is_rejected
        held = (_jumped(result.tracked, last.tracked) | rejected) & (self._track.held < MAX_HELD_FRAMES)
        self._track.held = np.where(held, self._track.held + 1, 0)
        for slot in np.flatnonzero(held).tolist():
            pairs = zip(result.poses, last.poses, strict=True)
            result = result._replace(poses=Versions(*(_with_hand(pose, before, slot) for pose, before in pairs)))
        return result


def _jumped(pose: HandPose, last: HandPose) -> Bools:
    """Tell which hands have moved implausibly: (2,).

    A hand has if its confidence is too low for the distance, or if it has moved onto the other hand.
    """
    moved = _moves(pose, last) / np.maximum(_sizes(pose), 1.0)
    jumped = np.array([_confidence(pose, slot) for slot in (0, 1)]) < CONFIDENCE_PER_SIZE_MOVED * moved
    if _in_same_place(pose) and last.present.all() and not _in_same_place(last):
        jumped |= moved > max(SAME_PLACE / 2, moved.min())
    return np.asarray(jumped & pose.present & last.present)


def _with_hand(pose: HandPose, other: HandPose, slot: int) -> HandPose:
    """Return the pose with one hand's joints taken from another pose, with zero confidence."""
    is_replaced = np.zeros(NUM_JOINTS, dtype=np.bool_)
    is_replaced[HAND_SLICES[slot]] = True
    return replace(
        pose,
        joints_2d=np.where(is_replaced[:, None], other.joints_2d, pose.joints_2d),
        joints_3d=np.where(is_replaced[:, None], other.joints_3d, pose.joints_3d),
        joints_cam=np.where(is_replaced[:, None], other.joints_cam, pose.joints_cam),
        confidence=None if pose.confidence is None else np.where(is_replaced, 0.0, pose.confidence),
    )


def _distance_to_track(pose: HandPose, last: HandPose, trust: Floats) -> float:
    """Return the summed distances of the present hands from their last positions, in sizes of the larger hand.

    Args:
        pose: The new pose.
        last: The last frame's pose.
        trust: (2,) weight of each of the last frame's hands, 0 to 1.
    """
    relative = _moves(pose, last) / max(float(_sizes(pose)[pose.present].max(initial=0.0)), 1.0)
    distances = np.where(last.present, trust * np.minimum(relative, _NEW_HAND_DISTANCE), _NEW_HAND_DISTANCE)
    return float(distances[pose.present].sum())


def _moves(pose: HandPose, last: HandPose) -> Floats:
    """Return the distance (2,) px of each hand's middle from its last position."""
    return np.asarray(np.linalg.norm(_middles(pose) - _middles(last), axis=1))


def _middles(pose: HandPose) -> Floats:
    """Return the middle of each hand's joints: (2, 2) px."""
    return np.asarray(pose.joints_2d.reshape(2, -1, 2).mean(axis=1))


def _sizes(pose: HandPose) -> Floats:
    """Return the longer side (2,) px of the box around each hand's joints."""
    return np.asarray(np.ptp(pose.joints_2d.reshape(2, -1, 2), axis=1).max(axis=1))


def _outside_crop(pose: HandPose) -> bool:
    """Tell whether a present hand's middle lies outside the crop, where the network cannot see it."""
    return not inside(_middles(pose)[pose.present], pose.box).all()


def _in_same_place(pose: HandPose) -> bool:
    right, left = (pose.joints_2d[joints] for joints in HAND_SLICES)
    return bool(pose.present.all()) and geometry.on_one_place(right, left, SAME_PLACE)


def _rank(pose: HandPose) -> tuple[int, bool, float, float]:
    """Return what poses of one frame are compared by, the most important criterion first."""
    return int(pose.present.sum()), not _in_same_place(pose), _min_confidence(pose), float(pose.presence.sum())


def _is_elsewhere(pose: HandPose, last: HandPose) -> bool:
    """Tell whether all present hands are far from all hands of the last frame."""
    between = _middles(last)[last.present][:, None] - _middles(pose)[pose.present]
    return bool((np.linalg.norm(between, axis=2) > _sizes(last).max()).all())


def _shows_more(found: FrameResult, other: FrameResult) -> bool:
    return _rank(found.tracked) > _rank(other.tracked)


def _is_better(found: FrameResult, other: FrameResult) -> bool:
    """Tell whether the found hands have a clearly higher detection score, or a similar one and the higher rank."""
    gain = found.detection_score - other.detection_score
    if not found.tracked.present.any():
        return False
    return gain > MIN_SCORE_GAIN or (gain > -MIN_SCORE_GAIN and _shows_more(found, other))


def _min_confidence(pose: HandPose) -> float:
    """Return the mean confidence of the less confident present hand; 1 without hands or predicted confidence."""
    return min((_confidence(pose, int(slot)) for slot in np.flatnonzero(pose.present)), default=1.0)


def _confidence(pose: HandPose, slot: int) -> float:
    """Return the mean confidence of a hand's joints; 1 if the network predicts none: no hand is doubtful then."""
    return 1.0 if pose.confidence is None else float(pose.confidence[HAND_SLICES[slot]].mean())
