"""Poses over time without jitter: of a video from the frames around each one, of a camera from those before it.

Where the next frames are known, a joint is where the line that is fitted to it over a few frames says (`steadied`), as
Savitzky and Golay have it, with weights by time and by confidence. Nothing is late then. Where they are not, there is
a One-Euro filter with a trend, on each hand's place and on its shape (`PoseFilter`).

The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) is a low pass whose cutoff grows with speed: what rests is
calm, what moves is not held back. Ours has two additions. It predicts with its own estimate of the speed before it
averages, so that steady motion is not delayed at all. And the middle of a hand and the joints around it are filtered
apart, because a whole hand moves fast where its shape does not.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.hands import HAND_SLICES, NUM_JOINTS
from unclasp.pose import HandPose

Floats = npt.NDArray[np.floating]

MAX_GAP: Final = 0.5
"""Seconds between two frames after which every hand starts anew."""

WINDOW: Final = 0.11
"""Seconds before and after a frame whose frames have a say in it, where the next ones are known."""

SIGMA: Final = 0.04
"""Standard deviation, in seconds, of the weights of these frames."""

MIN_WEIGHT: Final = 0.05
"""A hand's weight is its mean confidence and this; hands that are kept where they were have no confidence."""

_FRAME_SECONDS: Final = 1 / 30
_TINY: Final = 1e-9


class OneEuro:
    """A filter of points (N, D) that belong together: one speed, their mean, decides for all of them.

    Args:
        cutoff: Hz, at rest: lower is calmer.
        per_speed: Hz of cutoff added per unit of speed: higher follows faster.
        speed_cutoff: Hz, of the estimate of the speed.
    """

    def __init__(self, *, cutoff: float, per_speed: float, speed_cutoff: float) -> None:
        self.cutoff, self.per_speed, self.speed_cutoff = cutoff, per_speed, speed_cutoff
        self._value: Floats | None = None

    def __call__(self, points: Floats, seconds: float, *, unit: Floats | float = 1.0) -> Floats:
        """Return the filtered points, `seconds` after the last ones; speeds are in `unit`s (broadcast) per second."""
        if self._value is None:
            self._value, self._given, self._speed = points, points, np.zeros_like(points)
            return points
        speed = (points - self._given) / seconds
        self._speed = self._speed + _share(self.speed_cutoff, seconds) * (speed - self._speed)
        moving = float(np.linalg.norm(self._speed / unit, axis=-1).mean())
        expected = self._value + self._speed * seconds
        share = _share(self.cutoff + self.per_speed * moving, seconds)
        self._given, self._value = points, expected + share * (points - expected)
        return self._value


def _share(cutoff: float, seconds: float) -> float:
    """Return how much of the new value a first-order low pass takes."""
    angle = 2 * math.pi * cutoff * seconds
    return angle / (angle + 1)


class _HandFilter:
    """The filters of one hand: u, v in px and depth in mm, with speeds in spreads of the hand per second.

    Their cutoffs (Hz) were chosen on synthetic motion (tests/test_smoothing.py: a lag below one frame) and on one video
    (docs/decisions.md); a third of the frames' acceleration remains.
    """

    def __init__(self) -> None:
        self._middle = OneEuro(cutoff=1.0, per_speed=0.22, speed_cutoff=1.3)
        # How far a hand is follows from its size alone, which is far less certain than where it is in the picture.
        self._distance = OneEuro(cutoff=0.4, per_speed=0.1, speed_cutoff=0.6)
        self._shape = OneEuro(cutoff=0.6, per_speed=0.1, speed_cutoff=1.0)

    def __call__(self, points: Floats, seconds: float, *, unit: Floats) -> Floats:
        middle = points.mean(axis=0, keepdims=True)
        around = self._shape(points - middle, seconds, unit=unit)
        place = self._middle(middle[:, :2], seconds, unit=unit[:2])
        return np.hstack([place, self._distance(middle[:, 2:], seconds, unit=unit[2:])]) + around


class PoseFilter:
    """Smooths the poses of successive frames; a hand that comes, or comes back, starts anew."""

    def __init__(self) -> None:
        self._filters: list[_HandFilter | None] = [None, None]

    def exchange(self) -> None:
        """Let the hands change sides."""
        self._filters.reverse()

    def forget(self) -> None:
        """Let both hands start anew."""
        self._filters = [None, None]

    def __call__(self, pose: HandPose, seconds: float) -> HandPose:
        """Return the pose with both hands smoothed, `seconds` after the last one; all its 3D agrees with its 2D.

        Filtered are u, v and the depth from the camera; the rest follows from the camera.
        """
        joints_2d, depth = pose.joints_2d.copy(), pose.joints_cam[:, 2].copy()
        for slot, (joints, there) in enumerate(zip(HAND_SLICES, pose.present, strict=True)):
            if not there:
                self._filters[slot] = None
                continue
            known = self._filters[slot] if seconds <= MAX_GAP else None
            self._filters[slot] = known = known or _HandFilter()
            points = np.column_stack([joints_2d[joints], depth[joints]])
            smooth = known(points, seconds, unit=_spread(points[:, :2], pose.joints_3d[joints, :2]))
            joints_2d[joints], depth[joints] = smooth[:, :2], smooth[:, 2]
        return moved(pose, joints_2d, depth)


def _spread(pixels: Floats, millimetres: Floats) -> Floats:
    """Return (3,) the joints' root-mean-square distance from their middle, in px, px and mm."""
    px, mm = (max(float(np.linalg.norm(np.std(points, axis=0))), 1e-6) for points in (pixels, millimetres))
    return np.array([px, px, mm])


def moved(pose: HandPose, joints_2d: Floats, depth: Floats) -> HandPose:
    """Return the pose with joints at other pixels (42, 2) and depths (42,) mm."""
    focal, princpt = np.array(pose.camera.focal), np.array(pose.camera.princpt)
    joints_cam = geometry.unproject(joints_2d, depth, focal * (-1.0 if pose.mirrored else 1.0, 1.0), princpt)
    joints_3d = geometry.relative_to_roots(joints_cam)
    return replace(pose, joints_2d=joints_2d, joints_cam=joints_cam, joints_3d=joints_3d)


def seconds_between(last: HandPose | None, pose: HandPose) -> float:
    """Return the seconds since the last frame; files without usable times are taken to have 30 frames a second."""
    if last is None or last.time is None or pose.time is None or pose.time <= last.time:
        return _FRAME_SECONDS
    return pose.time - last.time


class _Moment(NamedTuple):
    """A frame among others."""

    pose: HandPose
    change: int
    seconds: float
    """Since the first frame."""
    points: Floats
    """(42, 3) u, v in px and depth in mm."""
    say: Floats
    """(2,) weight of each hand."""


def smoothed(poses: Iterable[tuple[HandPose, int]]) -> Iterator[HandPose]:
    """Yield poses smoothed by the frames before and after them, each when those `WINDOW` seconds later have come.

    A frame's hand is told by those frames in which it was there without a break. Filtered are u, v and the depth from
    the camera; the rest follows from the camera.

    Args:
        poses: Those of successive frames, and how often the hands have changed sides or place until then: nothing is
            averaged over such a change. If this fails or is interrupted, the frames before are yielded first.
    """
    moments: deque[_Moment] = deque()
    due = 0
    try:
        for pose, change in poses:
            moments.append(_moment(pose, change, moments[-1] if moments else None))
            while moments[-1].seconds - moments[due].seconds >= WINDOW:
                yield _steady(moments, due)
                moments[due] = _without_image(moments[due])
                due += 1
                while moments[due].seconds - moments[0].seconds > WINDOW:
                    moments.popleft()
                    due -= 1
    except (Exception, KeyboardInterrupt):
        yield from (_steady(moments, index) for index in range(due, len(moments)))
        raise
    yield from (_steady(moments, index) for index in range(due, len(moments)))


def _without_image(moment: _Moment) -> _Moment:
    """Let go of a picture that was told: what comes after it needs its joints alone."""
    return moment._replace(pose=replace(moment.pose, image=None))


def _moment(pose: HandPose, change: int, last: _Moment | None) -> _Moment:
    seconds = 0.0 if last is None else last.seconds + seconds_between(last.pose, pose)
    confidence = np.ones(NUM_JOINTS) if pose.confidence is None else pose.confidence
    say = MIN_WEIGHT + np.array([confidence[joints].mean() for joints in HAND_SLICES])
    return _Moment(pose, change, seconds, np.column_stack([pose.joints_2d, pose.joints_cam[:, 2]]), say)


def _steady(moments: Sequence[_Moment], index: int) -> HandPose:
    now = moments[index]
    points = now.points.copy()
    for slot, joints in enumerate(HAND_SLICES):
        if now.pose.present[slot]:
            run = [moments[each] for each in _unbroken(moments, index, slot)]
            times = np.array([each.seconds - now.seconds for each in run])
            weights = np.exp(-((times / SIGMA) ** 2) / 2) * [each.say[slot] for each in run]
            points[joints] = _fit_line(times, weights, np.stack([each.points[joints] for each in run]))
    return moved(now.pose, points[:, :2], points[:, 2])


def _unbroken(moments: Sequence[_Moment], index: int, slot: int) -> Iterator[int]:
    """Yield the frames around one in which its hand was there and on the same side all the time."""
    now = moments[index]
    for step in (-1, 1):
        at = index if step > 0 else index - 1
        while 0 <= at < len(moments):
            then = moments[at]
            if abs(then.seconds - now.seconds) > WINDOW or then.change != now.change or not then.pose.present[slot]:
                break
            yield at
            at += step


def _fit_line(times: Floats, weights: Floats, points: Floats) -> Floats:
    """Return where the line through points (T, N, D) at `times` (T,), fitted by their weights, is at time 0."""
    weights = weights / weights.sum()
    middle, mean = weights @ times, np.tensordot(weights, points, 1)
    away = times - middle
    speed = np.tensordot(weights * away, points - mean, 1) / (weights @ away**2 + _TINY)
    return np.asarray(mean - speed * middle)
