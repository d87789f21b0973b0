"""Smoothing of video files with past and future frames: no lag, and no averaging across changes and gaps."""

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from motion import RATE, acceleration, filtered, lag, moving_hands, stack
from poses import pose_of
from unclasp.errors import VideoError
from unclasp.find.versions import Versions
from unclasp.follow import smoothing
from unclasp.follow.frame_result import FrameResult, PredictFrame, exchanged
from unclasp.follow.smoothing import MIN_WEIGHT, SIGMA_SECONDS, smoothed
from unclasp.pose import HandPose
from unclasp.streaming import StreamOptions, frame_poses
from unclasp.video import Frame

BOTH, RIGHT_ALONE = np.array([True, True]), np.array([True, False])


def film(motion: np.ndarray, *, rate: float = RATE, noise: float = 0.0, **fields: object) -> list[HandPose]:
    rng = np.random.default_rng(1)
    return [
        pose_of(joints, noise=rng.normal(0, noise, (42, 2)), **{"time": number / rate, **fields})
        for number, joints in enumerate(motion)
    ]


def smooth_file(poses: list[HandPose], changes: list[int] | None = None) -> list[HandPose]:
    return list(smoothed(zip(poses, changes or [0] * len(poses), strict=True)))


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_a_third_of_the_acceleration_and_no_lag(speed: float) -> None:
    """Also for hands so fast that the filter for live streams has a larger error than the noise."""
    true = moving_hands(speed=speed)
    noisy, clean = film(true, noise=3.0), film(true)
    smooth = smooth_file(noisy)
    for name in ("joints_2d", "joints_cam", "joints_3d"):
        true_acceleration = 1.15 * acceleration(stack(clean, name))
        assert acceleration(stack(smooth, name)) <= max(acceleration(stack(noisy, name)) / 3, true_acceleration), name
    assert abs(lag(stack(clean, "joints_2d"), stack(smooth, "joints_2d"))) < 0.1
    error, live_error, noise = (
        np.sqrt(np.square(stack(poses, "joints_2d") - stack(clean, "joints_2d")).mean())
        for poses in (smooth, filtered(noisy), noisy)
    )
    assert error < 0.8 * noise or speed > 1
    assert error < live_error or speed < 1


def test_all_frames_come_once_in_order_and_as_soon_as_the_next_ones_are_known() -> None:
    poses, read = film(moving_hands(20)), 0

    def source() -> Iterator[tuple[HandPose, int]]:
        nonlocal read
        for read, pose in enumerate(poses):  # noqa: B007  `read` is used outside
            yield pose, 0

    ahead = []
    for number, pose in enumerate(smoothed(source())):
        assert pose.time == poses[number].time
        ahead.append(read - number)
    assert ahead == [4] * 16 + [3, 2, 1, 0]


def test_by_hand() -> None:
    """Three frames at rest, the middle one 10 px off: the remaining offset is the share of its weight."""
    joints = moving_hands(1)[0]
    poses = [pose_of(joints, noise=off, time=time) for off, time in ((0.0, 0.0), (10.0, 0.04), (0.0, 0.08))]
    side = np.exp(-((0.04 / SIGMA_SECONDS) ** 2) / 2)
    moved = (smooth_file(poses)[1].joints_2d - poses[0].joints_2d)[:, 0]
    np.testing.assert_allclose(moved, 10 / (1 + 2 * side), rtol=1e-6)


def test_motion_at_constant_velocity_is_unchanged_up_to_both_ends() -> None:
    joints = pose_of(moving_hands(1)[0])
    poses = [
        replace(joints, joints_2d=joints.joints_2d + np.array([4.0, -1.0]) * number, time=number / RATE)
        for number in range(9)
    ]
    for before, after in zip(poses, smooth_file(poses), strict=True):
        np.testing.assert_allclose(after.joints_2d, before.joints_2d, atol=1e-3)


def test_a_held_hand_follows_from_its_neighbouring_frames() -> None:
    """Held hands have zero confidence."""
    confident = np.full(42, 0.9)
    poses = film(moving_hands(9), confidence=confident)
    held = np.where(np.arange(42) < 21, 0.0, confident)
    off = poses[4].joints_2d + np.where(np.arange(42) < 21, 50.0, 0.0)[:, None]
    outlier = replace(poses[4], joints_2d=off)
    errors = []
    for confidence in (confident, held):
        frames = [*poses[:4], replace(outlier, confidence=confidence), *poses[5:]]
        errors.append(np.abs(smooth_file(frames)[4].joints_2d - smooth_file(poses)[4].joints_2d)[:21].mean())
    assert errors[1] < 0.12 * errors[0]
    assert MIN_WEIGHT > 0, "frames without any confidence are still averaged"


@pytest.mark.parametrize("break_", ["side", "absence"])
def test_nothing_is_averaged_over_a_change_of_sides_or_an_absence(break_: str) -> None:
    poses = film(moving_hands(12), present=BOTH)
    far = [replace(pose, joints_2d=pose.joints_2d + 200.0) for pose in poses]
    if break_ == "side":
        after = smooth_file(poses[:6] + far[6:], [0] * 6 + [1] * 6)
        expected = smooth_file(poses[:6]) + smooth_file(far[6:])
        hands = slice(0, 42)
    else:
        gone = replace(far[6], present=RIGHT_ALONE)
        after = smooth_file([*poses[:6], gone, *far[7:]])
        expected = [*smooth_file(poses[:6]), gone, *smooth_file(far[7:])]
        hands = slice(21, 42)
    for one, other in zip(after, expected, strict=True):
        np.testing.assert_allclose(one.joints_2d[hands], other.joints_2d[hands], atol=1e-6)


def test_hands_far_apart_in_time_stay_as_they_are() -> None:
    poses = film(moving_hands(6), rate=5)
    for before, after in zip(poses, smooth_file(poses), strict=True):
        np.testing.assert_allclose(after.joints_2d, before.joints_2d, atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_short_videos_come_whole(count: int) -> None:
    poses = film(moving_hands(3)[:count])
    for before, after in zip(poses, smooth_file(poses), strict=True):
        np.testing.assert_allclose(after.joints_2d, before.joints_2d, atol=1e-3)


def test_frames_without_usable_times_are_taken_to_be_even() -> None:
    timed, untimed = film(moving_hands(12), noise=2.0), film(moving_hands(12), noise=2.0, time=None)
    np.testing.assert_allclose(
        stack(smooth_file(untimed), "joints_2d"), stack(smooth_file(timed), "joints_2d"), atol=1e-9
    )


@pytest.mark.parametrize("error", [VideoError("it ends early"), KeyboardInterrupt()], ids=["a failure", "Ctrl-C"])
def test_pending_frames_are_yielded_before_an_error(error: BaseException) -> None:
    poses = film(moving_hands(8))

    def source() -> Iterator[tuple[HandPose, int]]:
        yield from ((pose, 0) for pose in poses)
        raise error

    times = []
    with pytest.raises(type(error)):
        times.extend(pose.time for pose in smoothed(source()))
    assert times == [pose.time for pose in poses]


def test_only_pictures_of_pending_frames_are_held() -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def source() -> Iterator[tuple[HandPose, int]]:
        for pose in film(moving_hands(40)):
            image = np.zeros((2, 2, 3), np.uint8)
            alive.append(weakref.ref(image))
            yield replace(pose, image=image), 0

    most = 0
    for pose in smoothed(source()):
        assert pose.image is not None
        del pose
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
    assert most <= 6


def test_old_frames_are_released() -> None:
    held: list[int] = []
    poses = film(moving_hands(60))
    with pytest.MonkeyPatch.context() as patch:
        real = smoothing._smooth_frame
        patch.setattr(smoothing, "_smooth_frame", lambda frames, index: held.append(len(frames)) or real(frames, index))
        assert len(smooth_file(poses)) == 60
    assert max(held) <= 9


def test_nothing_is_averaged_over_the_trackers_changes_of_sides() -> None:
    """With a whole video, by the tracker's count of changes."""
    true = film(moving_hands(40), box=np.array([0.0, 0.0, 640.0, 480.0]))
    wrong = [exchanged(true[0]), *true[1:]]
    smooth = list(frame_poses(shows(wrong), Frames(40), StreamOptions(), live=False))
    clean = list(frame_poses(shows(wrong), Frames(40), StreamOptions(smooth=False), live=False))
    errors = [np.abs(one.joints_2d - other.joints_2d).max() for one, other in zip(smooth, clean, strict=True)]
    changed = [n for n in range(1, 40) if np.abs(clean[n].joints_2d - clean[n - 1].joints_2d).max() > 100]
    assert len(changed) == 1 and max(errors) < 25


def test_poses_of_a_camera_come_at_once_and_smoothed() -> None:
    noisy, true = film(moving_hands(40), noise=3.0, box=np.array([0.0, 0.0, 640.0, 480.0])), film(moving_hands(40))
    frames = Frames(40)
    smooth = []
    for number, pose in enumerate(frame_poses(shows(noisy, report=elsewhere), frames, StreamOptions(), live=True)):
        assert frames.read == number + 1
        smooth.append(pose)
    assert acceleration(stack(smooth, "joints_2d")) < 0.6 * acceleration(stack(noisy, "joints_2d"))
    shift = (stack(smooth, "joints_2d") - stack(true, "joints_2d")).mean(axis=(0, 1))
    np.testing.assert_allclose(shift, [50, 0], atol=5)


class Frames:
    """Stands in for an open video with `count` frames."""

    def __init__(self, count: int) -> None:
        self.count, self.read = count, 0

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.count):
            self.read += 1
            yield Frame(np.zeros((480, 640, 3), np.uint8), number, number / RATE)


def elsewhere(pose: HandPose) -> HandPose:
    return replace(pose, joints_2d=pose.joints_2d + np.array([50.0, 0.0]))


def shows(poses: list[HandPose], *, report: Callable[[HandPose], HandPose] = lambda pose: pose) -> PredictFrame:
    """Return a predictor that returns the poses one after the other; `report` maps tracked to reported poses."""
    remaining = iter(poses)

    def predict_frame(image: np.ndarray, box: npt.ArrayLike | None, fresh: bool) -> FrameResult:
        pose = next(remaining)
        return FrameResult(Versions(pose, report(pose)))

    return predict_frame


def test_confidences_are_averaged_over_the_frames_around() -> None:
    """Three frames, the left hand held in the middle one, so that its confidence there is that of the others' share."""
    joints, held = moving_hands(1)[0], np.repeat([0.6, 0.0], 21)
    given = [np.full(42, 0.6), held, np.full(42, 0.6)]
    poses = [pose_of(joints, confidence=each, time=0.04 * number) for number, each in enumerate(given)]
    side = np.exp(-((0.04 / SIGMA_SECONDS) ** 2) / 2)
    smooth = smooth_file(poses)[1].confidence
    np.testing.assert_allclose(smooth, np.repeat([0.6, 0.6 * 2 * side / (1 + 2 * side)], 21))
    without = replace(poses[0], confidence=None)
    assert smooth_file([without])[0].confidence is None


def test_a_hand_is_in_doubt_for_a_while_not_for_single_frames() -> None:
    """The mean confidence is above the threshold before the middle of the film, and below it after, but for noise."""
    rng = np.random.default_rng(7)
    means = np.clip(np.repeat([0.36, 0.24], 30) + rng.normal(0, 0.08, 60), 0, 1)
    poses = [
        replace(pose, confidence=np.repeat([0.9, mean], 21))
        for pose, mean in zip(film(np.repeat(moving_hands(1), 60, axis=0)), means, strict=True)
    ]

    def changes(poses: list[HandPose]) -> int:
        return int(np.abs(np.diff([bool(pose.doubted) for pose in poses])).sum())

    assert changes(poses) > 20
    assert changes(smooth_file(poses)) < changes(poses) / 3
    assert changes(filtered(poses)) < changes(poses) / 3
