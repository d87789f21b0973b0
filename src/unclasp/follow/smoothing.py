"""Smooths poses over time: in video files with past and future frames, in live streams with past frames only.

In video files (`smoothed`), a local line is fitted to each joint over a few frames around the current one, as in
Savitzky-Golay filtering, with weights by time and by confidence; this causes no lag. In live streams, a One-Euro filter
with a trend is applied to each hand's position and to its shape (`PoseFilter`).

The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) is a low-pass filter whose cutoff grows with speed: it smooths
a hand at rest strongly, and does not hold back a moving one. This implementation differs in two ways. It extrapolates
with its own estimate of the speed before it averages, so that motion at constant speed has no lag. And it filters the
middle of a hand separately from the joints around it, because a hand may move fast while its shape hardly changes.

Confidences are smoothed as well, since smoothed joints come from several frames. Otherwise hands would be in doubt in
one frame and certain in the next.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats
from unclasp.hands import HAND_SLICES, NUM_JOINTS
from unclasp.pose import HandPose

MAX_GAP_SECONDS: Final = 0.5
"""Seconds between two frames beyond which the filter of each hand is reset."""

WINDOW_SECONDS: Final = 0.11
"""Video files: seconds before and after a frame within which other frames contribute to it."""

SIGMA_SECONDS: Final = 0.04
"""Standard deviation, in seconds, of the Gaussian weights of these frames."""

MIN_WEIGHT: Final = 0.05
"""Added to a hand's mean confidence to give its weight: hands that the tracker holds in place have zero confidence."""

CONFIDENCE_CUTOFF: Final = 2.0
"""Live streams: cutoff of the low-pass filter of the confidences, in Hz."""

_FRAME_SECONDS: Final = 1 / 30
_TINY: Final = 1e-9


class OneEuro:
    """A One-Euro filter for a group of points (N, D), which share one cutoff, by their mean speed.

    Args:
        cutoff: Cutoff at rest in Hz; lower values smooth more.
        per_speed: Hz added to the cutoff per unit of speed; higher values follow motion faster.
        speed_cutoff: Cutoff of the speed estimate in Hz.
    """

    def __init__(self, *, cutoff: float, per_speed: float, speed_cutoff: float) -> None:
        self.cutoff, self.per_speed, self.speed_cutoff = cutoff, per_speed, speed_cutoff
        self._value: Floats | None = None

    def __call__(self, points: Floats, seconds: float, *, unit: Floats | float = 1.0) -> Floats:
        """Filter points that come `seconds` after the last ones; speeds are in `unit`s (broadcast) per second."""
        if self._value is None:
            self._value, self._last_points, self._speed = points, points, np.zeros_like(points)
            return points
        speed = (points - self._last_points) / seconds
        self._speed = self._speed + _share(self.speed_cutoff, seconds) * (speed - self._speed)
        mean_speed = float(np.linalg.norm(self._speed / unit, axis=-1).mean())
        expected = self._value + self._speed * seconds
        share = _share(self.cutoff + self.per_speed * mean_speed, seconds)
        self._last_points, self._value = points, expected + share * (points - expected)
        return self._value


def _share(cutoff: float, seconds: float) -> float:
    """Return the weight that a first-order low-pass filter gives the new value."""
    angle = 2 * math.pi * cutoff * seconds
    return angle / (angle + 1)


class _HandFilter:
    """The filters of one hand: u, v in px and depth in mm, with speeds in hand spreads (`_spread`) per second.

    The cutoffs (Hz) were tuned on synthetic motion (tests/test_smoothing.py: the lag is below one frame) and on one
    video (docs/decisions.md). About a third of the raw frame-to-frame acceleration remains.
    """

    def __init__(self) -> None:
        self._middle = OneEuro(cutoff=1.0, per_speed=0.22, speed_cutoff=1.3)
        # The distance is estimated from the hand's size alone, far less accurately than its position in the picture.
        self._distance = OneEuro(cutoff=0.4, per_speed=0.1, speed_cutoff=0.6)
        self._shape = OneEuro(cutoff=0.6, per_speed=0.1, speed_cutoff=1.0)
        self._confidence: Floats | None = None

    def __call__(self, points: Floats, seconds: float, *, unit: Floats) -> Floats:
        middle = points.mean(axis=0, keepdims=True)
        around = self._shape(points - middle, seconds, unit=unit)
        place = self._middle(middle[:, :2], seconds, unit=unit[:2])
        return np.hstack([place, self._distance(middle[:, 2:], seconds, unit=unit[2:])]) + around

    def confidence(self, confidence: Floats, seconds: float) -> Floats:
        """Filter the confidences (21,) of the joints."""
        last = confidence if self._confidence is None else self._confidence
        self._confidence = last + _share(CONFIDENCE_CUTOFF, seconds) * (confidence - last)
        return self._confidence


class PoseFilter:
    """Smooths the poses of successive frames; a hand that appears or reappears starts with a fresh filter."""

    def __init__(self) -> None:
        self._filters: list[_HandFilter | None] = [None, None]

    def exchange(self) -> None:
        """Swap the filters of both hands, when the hands swap sides."""
        self._filters.reverse()

    def forget(self) -> None:
        """Reset the filters of both hands."""
        self._filters = [None, None]

    def __call__(self, pose: HandPose, seconds: float) -> HandPose:
        """Smooth the hands of a pose that comes `seconds` after the last one.

        u, v and the depth from the camera are filtered. The 3D joints are recomputed from them, so 2D and 3D agree.
        """
        joints_2d, depth = pose.joints_2d.copy(), pose.joints_cam[:, 2].copy()
        confidence = None if pose.confidence is None else pose.confidence.copy()
        for slot, (joints, is_present) in enumerate(zip(HAND_SLICES, pose.present, strict=True)):
            if not is_present:
                self._filters[slot] = None
                continue
            hand_filter = self._filters[slot] if seconds <= MAX_GAP_SECONDS else None
            self._filters[slot] = hand_filter = hand_filter or _HandFilter()
            points = np.column_stack([joints_2d[joints], depth[joints]])
            smooth = hand_filter(points, seconds, unit=_spread(points[:, :2], pose.joints_3d[joints, :2]))
            joints_2d[joints], depth[joints] = smooth[:, :2], smooth[:, 2]
            if confidence is not None:
                confidence[joints] = hand_filter.confidence(confidence[joints], seconds)
        return _moved(pose, joints_2d, depth, confidence)


def _spread(pixels: Floats, millimetres: Floats) -> Floats:
    """Return the joints' root-mean-square distance from their middle: (3,) in px, px and mm."""
    px, mm = (max(float(np.linalg.norm(np.std(points, axis=0))), 1e-6) for points in (pixels, millimetres))
    return np.array([px, px, mm])


def _moved(pose: HandPose, joints_2d: Floats, depth: Floats, confidence: Floats | None) -> HandPose:
    """Return the pose with its joints moved to pixels (42, 2) and depths (42,) mm, in 2D and 3D, and confidences."""
    focal, princpt = np.array(pose.camera.focal), np.array(pose.camera.princpt)
    joints_cam = geometry.unproject(joints_2d, depth, focal * (-1.0 if pose.mirrored else 1.0, 1.0), princpt)
    joints_3d = geometry.relative_to_roots(joints_cam)
    return replace(pose, joints_2d=joints_2d, joints_cam=joints_cam, joints_3d=joints_3d, confidence=confidence)


def seconds_between(last: HandPose | None, pose: HandPose) -> float:
    """Return the seconds since the last frame; without usable times, 30 frames per second are assumed."""
    if last is None or last.time is None or pose.time is None or pose.time <= last.time:
        return _FRAME_SECONDS
    return pose.time - last.time


class _Frame(NamedTuple):
    """The pose of one frame with what the line fits need."""

    pose: HandPose
    changes: int
    """How often the hands have changed sides or places up to this frame."""
    seconds: float
    """Time since the first frame."""
    points: Floats
    """(42, 3) u, v in px and depth in mm."""
    confidence: Floats
    """(42,) ones if the network predicts none."""
    weights: Floats
    """(2,) weight of each hand."""


def smoothed(poses: Iterable[tuple[HandPose, int]]) -> Iterator[HandPose]:
    """Yield poses smoothed with the frames before and after them, each `WINDOW_SECONDS` after its frame has come.

    A hand is smoothed over the surrounding frames in which it is present without a gap. u, v and the depth from the
    camera are smoothed; the 3D joints are recomputed from them.

    Args:
        poses: Poses of successive frames, each with the number of times that the hands have changed sides or places so
            far; nothing is averaged across such a change. If the iterable raises or is interrupted, the pending frames
            are yielded first.
    """
    frames: deque[_Frame] = deque()
    due = 0
    try:
        for pose, changes in poses:
            frames.append(_frame(pose, changes, frames[-1] if frames else None))
            while frames[-1].seconds - frames[due].seconds >= WINDOW_SECONDS:
                yield _smooth_frame(frames, due)
                frames[due] = _without_image(frames[due])
                due += 1
                while frames[due].seconds - frames[0].seconds > WINDOW_SECONDS:
                    frames.popleft()
                    due -= 1
    except (Exception, KeyboardInterrupt):
        yield from (_smooth_frame(frames, index) for index in range(due, len(frames)))
        raise
    yield from (_smooth_frame(frames, index) for index in range(due, len(frames)))


def _without_image(frame: _Frame) -> _Frame:
    """Release the picture of a frame that was yielded: later frames need only its joints."""
    return frame._replace(pose=replace(frame.pose, image=None))


def _frame(pose: HandPose, changes: int, last: _Frame | None) -> _Frame:
    seconds = 0.0 if last is None else last.seconds + seconds_between(last.pose, pose)
    confidence = np.ones(NUM_JOINTS) if pose.confidence is None else pose.confidence
    weights = MIN_WEIGHT + np.array([confidence[joints].mean() for joints in HAND_SLICES])
    points = np.column_stack([pose.joints_2d, pose.joints_cam[:, 2]])
    return _Frame(pose, changes, seconds, points, confidence, weights)


def _smooth_frame(frames: Sequence[_Frame], index: int) -> HandPose:
    current = frames[index]
    points, confidence = current.points.copy(), current.confidence.copy()
    for slot, joints in enumerate(HAND_SLICES):
        if current.pose.present[slot]:
            run = list(_unbroken(frames, index, slot))
            times = np.array([frame.seconds - current.seconds for frame in run])
            near = np.exp(-((times / SIGMA_SECONDS) ** 2) / 2)
            weights = near * [frame.weights[slot] for frame in run]
            points[joints] = _fit_line(times, weights, np.stack([frame.points[joints] for frame in run]))
            confidence[joints] = near @ [frame.confidence[joints] for frame in run] / near.sum()
    has_confidence = current.pose.confidence is not None
    return _moved(current.pose, points[:, :2], points[:, 2], confidence if has_confidence else None)


def _unbroken(frames: Sequence[_Frame], index: int, slot: int) -> Iterator[_Frame]:
    """Yield a frame and its neighbours within `WINDOW_SECONDS` over which a hand is present and keeps its side."""
    current = frames[index]
    for step in (-1, 1):
        at = index if step > 0 else index - 1
        while 0 <= at < len(frames):
            other = frames[at]
            is_near = abs(other.seconds - current.seconds) <= WINDOW_SECONDS
            if not (is_near and other.changes == current.changes and other.pose.present[slot]):
                break
            yield other
            at += step


def _fit_line(times: Floats, weights: Floats, points: Floats) -> Floats:
    """Fit a line to points (T, N, D) at `times` (T,) by weighted least squares, and return its value at time 0."""
    weights = weights / weights.sum()
    mean_time, mean = weights @ times, np.tensordot(weights, points, 1)
    centred = times - mean_time
    speed = np.tensordot(weights * centred, points - mean, 1) / (weights @ centred**2 + _TINY)
    return np.asarray(mean - speed * mean_time)
