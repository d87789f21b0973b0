"""The One-Euro filter: smooth at rest, no lag in motion, independent of scale, with consistent 2D and 3D."""

from dataclasses import replace

import numpy as np
import pytest

from motion import RATE, acceleration, filtered, lag, moving_hands, stack
from poses import CAMERA, FOCAL, WIDTH, pose_of
from unclasp import geometry
from unclasp.follow.frame_result import exchanged
from unclasp.follow.smoothing import CONFIDENCE_CUTOFF, OneEuro, PoseFilter, seconds_between

# ---- noise and lag


@pytest.mark.parametrize(("speed", "shared"), [(0.5, 0.0), (1.0, 0.0), (1.0, 1.5)])
def test_a_third_of_the_acceleration_and_a_lag_below_one_frame(speed: float, shared: float) -> None:
    """With noise of 3 px per joint, and of `shared` px on whole hands, as a jumping crop causes it."""
    rng = np.random.default_rng(1)
    true = moving_hands(speed=speed)
    noise = rng.normal(0, 3, (len(true), 42, 2)) + np.repeat(rng.normal(0, shared, (len(true), 2, 2)), 21, axis=1)
    noisy = [pose_of(joints, noise=of_frame) for joints, of_frame in zip(true, noise, strict=True)]
    clean = [pose_of(joints) for joints in true]
    smooth = filtered(noisy)
    for name in ("joints_2d", "joints_cam", "joints_3d"):
        assert acceleration(stack(smooth, name)) <= acceleration(stack(noisy, name)) / 3, name
    late = lag(stack(clean, "joints_2d"), stack(smooth, "joints_2d"))
    assert abs(late) < 1, f"{late} frames late"
    error = np.sqrt(np.square(stack(smooth, "joints_2d") - stack(clean, "joints_2d")).mean())
    step = np.linalg.norm(np.diff(stack(clean, "joints_2d"), axis=0), axis=-1).mean()
    assert error < step, f"{error} px, but the hands move {step} px from frame to frame"


def test_the_measure_of_lag_can_tell_frames_apart() -> None:
    true = moving_hands(120)
    assert lag(true[1:], true[:-1]) == pytest.approx(1, abs=0.05)
    assert lag(true, true) == pytest.approx(0, abs=0.02)


def test_constant_velocity_has_no_lag() -> None:
    points = np.arange(200.0)[:, None, None] * np.array([[3.0, -1.0]])
    smooth = OneEuro(cutoff=1.0, per_speed=0.0, speed_cutoff=1.0)
    np.testing.assert_allclose([smooth(frame, 1 / 30) for frame in points][-1], points[-1], atol=1e-6)


def test_at_rest_noise_is_averaged_away() -> None:
    rng = np.random.default_rng(2)
    still = np.repeat(moving_hands(1), 200, axis=0)
    noise = rng.normal(0, 3, (200, 42, 2))
    smooth = filtered([pose_of(joints, noise=of_frame) for joints, of_frame in zip(still, noise, strict=True)])
    error = stack(smooth, "joints_2d")[30:] - pose_of(still[0]).joints_2d
    assert np.sqrt(np.square(error).mean()) < 1.5  # the noise is 3 px


# ---- the filter, by hand


def test_one_step_by_hand() -> None:
    """At 1 / (2 pi) Hz and a step of 1 s the weight of the new value is 1/2, for the speed and for the value."""
    smooth = OneEuro(cutoff=1 / (2 * np.pi), per_speed=0.0, speed_cutoff=1 / (2 * np.pi))
    assert smooth(np.array([[0.0]]), 1.0) == 0
    assert smooth(np.array([[4.0]]), 1.0) == 3  # speed 4 / 2 = 2; expected 2; halfway from there to 4
    assert smooth(np.array([[4.0]]), 1.0) == 4  # speed 1; expected 4


def test_speed_raises_the_cutoff_in_its_own_unit() -> None:
    def second(unit: float) -> float:
        smooth = OneEuro(cutoff=0.1, per_speed=1.0, speed_cutoff=1.0)
        smooth(np.array([[0.0]]), 0.1)
        smooth(np.array([[10.0]]), 0.1, unit=unit)
        return float(smooth(np.array([[0.0]]), 0.1, unit=unit)[0, 0])

    assert second(0.1) < 1 < second(1000.0)  # in small units the motion is fast, so the last value has more weight


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_smoothing_does_not_depend_on_the_picture_size(scale: float) -> None:
    """Speeds are measured in hand sizes, not in pixels."""
    rng = np.random.default_rng(3)
    true, noise = moving_hands(60), rng.normal(0, 2, (60, 42, 2))
    poses = [pose_of(joints, noise=of_frame) for joints, of_frame in zip(true, noise, strict=True)]
    camera = replace(CAMERA, focal=(FOCAL * scale,) * 2, princpt=tuple(np.array(CAMERA.princpt) * scale))
    larger = [replace(pose, joints_2d=pose.joints_2d * scale, camera=camera) for pose in poses]
    np.testing.assert_allclose(
        stack(filtered(larger), "joints_2d"), stack(filtered(poses), "joints_2d") * scale, rtol=1e-9
    )
    np.testing.assert_allclose(stack(filtered(larger), "joints_cam"), stack(filtered(poses), "joints_cam"), rtol=1e-9)


# ---- poses


@pytest.mark.parametrize("mirrored", [False, True])
def test_2d_and_3d_agree_afterwards(mirrored: bool) -> None:
    rng = np.random.default_rng(4)
    poses = [pose_of(joints, noise=rng.normal(0, 3, (42, 2))) for joints in moving_hands(20)]
    if mirrored:
        poses = [
            replace(pose, mirrored=True, joints_2d=pose.joints_2d * [-1, 1] + [WIDTH - 1, 0]) for pose in poses
        ]  # the principal point is in the middle
    for pose in filtered(poses):
        sign = [-1 if mirrored else 1, 1]
        projected = geometry.project(pose.joints_cam, np.array(CAMERA.focal) * sign, np.array(CAMERA.princpt))
        np.testing.assert_allclose(pose.joints_2d, projected, atol=1e-9)
        np.testing.assert_allclose(pose.joints_3d, geometry.relative_to_roots(pose.joints_cam), atol=1e-9)
    for plain, other in zip(filtered(poses), poses, strict=True):
        assert np.abs(plain.joints_cam - other.joints_cam).max() < 60  # not mirrored by mistake


def test_a_hand_that_reappears_gets_a_fresh_filter_and_an_absent_one_is_unchanged() -> None:
    joints = moving_hands(3)
    away = joints[1] + np.array([150.0, 0, 0])
    smooth = PoseFilter()
    smooth(pose_of(joints[0]), 1 / RATE)
    gone = pose_of(away, present=np.array([True, False]))
    filtered_pose = smooth(gone, 1 / RATE)
    np.testing.assert_allclose(filtered_pose.joints_2d[21:], gone.joints_2d[21:])
    assert np.abs(filtered_pose.joints_2d[:21] - gone.joints_2d[:21]).max() > 20
    back = smooth(pose_of(away), 1 / RATE)
    np.testing.assert_allclose(back.joints_2d[21:], gone.joints_2d[21:])


def test_filters_go_along_with_hands_that_change_sides() -> None:
    first, second = (pose_of(joints) for joints in moving_hands(2, speed=3.0))
    plain, exchanging = PoseFilter(), PoseFilter()
    plain(first, 1 / RATE)
    exchanging(first, 1 / RATE)
    exchanging.exchange()
    smooth = exchanged(exchanging(exchanged(second), 1 / RATE))
    np.testing.assert_array_equal(smooth.joints_2d, plain(second, 1 / RATE).joints_2d)


def test_the_distance_follows_more_slowly_than_the_place() -> None:
    joints = moving_hands(1)[0]
    smooth = PoseFilter()
    smooth(pose_of(joints), 1 / RATE)
    moved = smooth(
        replace(pose_of(joints + np.array([0, 0, 20.0])), joints_2d=pose_of(joints).joints_2d + 20.0), 1 / RATE
    )
    place = (moved.joints_2d - pose_of(joints).joints_2d).mean() / 20
    distance = (moved.joints_cam - joints)[:, 2].mean() / 20
    assert 0 < distance < 0.6 * place < 0.6


def test_seconds_between_frames_without_usable_times_are_those_of_30_frames_per_second() -> None:
    at = {time: pose_of(moving_hands(1)[0], time=time) for time in (None, 1.0, 1.5)}
    assert seconds_between(at[1.0], at[1.5]) == 0.5
    pairs = [(None, at[1.0]), (at[None], at[1.0]), (at[1.0], at[None]), (at[1.0], at[1.0]), (at[1.5], at[1.0])]
    assert [seconds_between(last, pose) for last, pose in pairs] == [1 / RATE] * 5


def test_a_gap_resets_the_filters() -> None:
    joints = moving_hands(1)[0]
    smooth = PoseFilter()
    smooth(pose_of(joints), 1 / RATE)
    moved = pose_of(joints + np.array([150.0, 0, 0]))
    np.testing.assert_allclose(smooth(moved, 0.6).joints_2d, moved.joints_2d)


def test_confidences_by_hand() -> None:
    """At 2 Hz and a step of 1 / (4 pi) s the weight of the new value is 1/2."""
    joints, seconds = moving_hands(1)[0], 1 / (2 * np.pi * CONFIDENCE_CUTOFF)
    smooth = PoseFilter()
    given = [pose_of(joints, confidence=np.full(42, value)) for value in (0.8, 0.4, 0.4)]
    means = [smooth(pose, seconds).confidence.mean() for pose in given]
    np.testing.assert_allclose(means, [0.8, 0.6, 0.5])
    assert given[1].confidence.mean() == pytest.approx(0.4)  # nothing is changed in place
    assert PoseFilter()(pose_of(joints), seconds).confidence is None
