"""The distance from the hand's size, checked on hands at known distances and against an exhaustive search."""

import numpy as np
import numpy.typing as npt
import pytest

from made_hands import two_hands
from unclasp.geometry import CAMERA_AXIS, joint_lines, offset_along, on_lines
from unclasp.hands import BONES, HAND_PARENTS, HAND_SLICES, ROOTS
from unclasp.lifting import (
    BONE_LENGTHS_MM,
    DEPTH_RANGE_MM,
    MIN_LATERAL_SHARE,
    assumed_focal,
    hand_sized,
    mm_per_px,
    shares_of_size,
    wrist_depths,
)

BOTH = np.array([True, True])


def observed(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rays (42, 2) and relative depths (42,) of camera joints (42, 3)."""
    return joints[:, :2] / joints[:, 2:], joints[:, 2] - np.repeat(joints[list(ROOTS), 2], 21)


def depths_of(
    rays: np.ndarray, relative: np.ndarray, present: np.ndarray, *, left_minus_right: float | None,
    sights: npt.ArrayLike = CAMERA_AXIS,
) -> np.ndarray:  # fmt: skip
    """Return the wrists' depths for rays (42, 2) and relative depths (42,) along the sights of the hands."""
    focal, princpt = np.ones(2), np.zeros(2)
    lines = joint_lines(rays, relative, focal, princpt, sights)
    known = left_minus_right is not None
    sight = np.broadcast_to(np.asarray(sights), (2, 3))[0]
    linked = offset_along(rays[list(ROOTS)], left_minus_right, focal, princpt, sight) if known else None
    return wrist_depths(lines, present, left_from_right=linked)


@pytest.mark.parametrize("depths", [(600.0, 600.0), (400.0, 460.0), (1500.0, 1380.0), (9000.0, 9050.0)])
@pytest.mark.parametrize("difference_known", [True, False])
def test_a_hand_of_average_size_is_put_where_it_is(depths: tuple[float, float], difference_known: bool) -> None:
    for seed in range(5):
        rays, relative = observed(two_hands(seed, depths))
        difference = depths[1] - depths[0] if difference_known else None
        np.testing.assert_allclose(depths_of(rays, relative, BOTH, left_minus_right=difference), depths, rtol=1e-9)


@pytest.mark.parametrize("difference_known", [True, False])
@pytest.mark.parametrize("sights", [[[0.6, 0.0, 0.8], [0.6, 0.0, 0.8]], [[-0.28, 0.0, 0.96], [0.0, 0.6, 0.8]]])
def test_depths_along_any_line_of_sight_lead_to_the_same_place(
    sights: list[list[float]], difference_known: bool
) -> None:
    joints = two_hands(0, (600.0, 640.0))
    rays = observed(joints)[0]
    relative = np.concatenate(
        [
            (joints[part] - joints[root]) @ np.array(sight)
            for part, root, sight in zip(HAND_SLICES, ROOTS, sights, strict=True)
        ]
    )
    difference = float((joints[ROOTS[1]] - joints[ROOTS[0]]) @ np.array(sights[0])) if difference_known else None
    depths = depths_of(rays, relative, BOTH, left_minus_right=difference, sights=sights)
    np.testing.assert_allclose(depths, (600.0, 640.0), rtol=1e-9)


def test_the_sum_of_squared_lengths_is_the_mean_hands() -> None:
    """The definition, bone by bone, for hands of other sizes."""
    rays, relative = observed(two_hands(0, (700.0, 500.0), scales=(1.1, 0.9)))
    depths = depths_of(rays, relative, BOTH, left_minus_right=None)
    z = relative + np.repeat(depths, 21)
    joints = np.concatenate([rays * z[:, None], z[:, None]], axis=1)
    for bones in (BONES[:20], BONES[20:]):
        total = sum(float(((joints[joint] - joints[parent]) ** 2).sum()) for joint, parent in bones)
        assert total == pytest.approx(sum(length**2 for length in BONE_LENGTHS_MM), rel=1e-9)
    assert depths[0] < 700 and depths[1] > 500  # a larger hand seems nearer, a smaller one farther away


@pytest.mark.parametrize("scale", [0.9, 0.95, 1.05, 1.1])
def test_a_larger_hand_seems_nearer_by_as_much(scale: float) -> None:
    rays, relative = observed(two_hands(6, (800.0, 800.0), scales=(scale, scale)))
    np.testing.assert_allclose(depths_of(rays, relative, BOTH, left_minus_right=0.0), 800 / scale, rtol=0.02)


def misfit(depth: float, rays: np.ndarray, relative: np.ndarray) -> float:
    """Return how far one hand's summed squared bone lengths are from the mean hand's, as a share."""
    z = depth + relative
    joints = np.column_stack([rays * z[:, None], z])
    total = sum(float(((joints[j] - joints[HAND_PARENTS[j]]) ** 2).sum()) for j in range(20))
    return abs(total / sum(length**2 for length in BONE_LENGTHS_MM) - 1)


@pytest.mark.parametrize("seed", range(4))
def test_the_depth_is_where_a_search_finds_the_best_one(seed: int) -> None:
    """The search tries all depths in steps of 1 mm; the joints' depths have errors of a few mm."""
    rng = np.random.default_rng(seed)
    rays, relative = observed(two_hands(seed, (500.0 + 90 * seed, 700.0), scales=(1.2, 0.85)))
    relative = relative + rng.normal(0, 4, 42) * (relative != 0)
    for hand_depth, joints in zip(
        depths_of(rays, relative, BOTH, left_minus_right=None), (slice(0, 21), slice(21, 42)), strict=True
    ):
        best = min(range(150, 1500), key=lambda depth: misfit(depth, rays[joints], relative[joints]))
        assert hand_depth == pytest.approx(best, abs=0.51)


@pytest.mark.parametrize("noise", [10.0, 100.0, 1e4, 1e8])
def test_the_depth_stays_in_its_range_for_any_network_output(noise: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rays, relative = rng.normal(0, 0.3, (42, 2)), rng.normal(0, noise, 42)
        for difference in (None, float(rng.normal(0, noise))):
            depths = depths_of(rays, relative, BOTH, left_minus_right=difference)
            assert np.isfinite(depths).all() and (np.clip(depths, *DEPTH_RANGE_MM) == depths).all()


def test_rendered_hands_are_put_where_they_are() -> None:
    """Synthetic hands: exactly if scaled to the average size, and on average with their sampled sizes."""
    pytest.importorskip("numba")
    from unclasp.synth.scene import SceneMix, sample_scene

    ratios = []
    for seed in range(60):
        for posed in sample_scene(np.random.default_rng(seed), SceneMix(), size=256).hands:
            joints = posed.joints.astype(np.float64)
            bones = np.array([joints[joint] - joints[HAND_PARENTS[joint]] for joint in range(20)])
            average = joints * np.sqrt(sum(length**2 for length in BONE_LENGTHS_MM) / (bones**2).sum())
            # For a near hand that points at the camera, two distances fit; skip it.
            if (bones[:, :2] ** 2).sum() > 4 * MIN_LATERAL_SHARE * (bones**2).sum():
                rays, relative = observed(np.tile(average, (2, 1)))
                depths = depths_of(rays, relative, BOTH, left_minus_right=0.0)
                np.testing.assert_allclose(depths, average[20, 2], rtol=1e-6)
            rays, relative = observed(np.tile(joints, (2, 1)))
            ratios.append(depths_of(rays, relative, BOTH, left_minus_right=None)[0] / joints[20, 2])
    assert 0.97 < np.median(ratios) < 1.03


def test_a_known_difference_in_depth_sizes_both_hands_together() -> None:
    rays, relative = observed(two_hands(1, (600.0, 640.0), scales=(1.05, 0.95)))
    apart = depths_of(rays, relative, BOTH, left_minus_right=None)
    together = depths_of(rays, relative, BOTH, left_minus_right=40.0)
    assert together[1] - together[0] == pytest.approx(40.0)
    assert apart[0] < together[0] < 610 and abs(together[0] - 600) < abs(apart[0] - 600)


@pytest.mark.parametrize("sight", [[0.0, 0.0, 1.0], [0.6, 0.0, 0.8]])
@pytest.mark.parametrize("present", [0, 1])
def test_an_absent_hand_is_ignored_and_placed_by_the_offset(present: int, sight: list[float]) -> None:
    joints = two_hands(2, (600.0, 650.0))
    rays = observed(joints)[0]
    hands = zip(HAND_SLICES, ROOTS, strict=True)
    relative = np.concatenate([(joints[part] - joints[root]) @ np.array(sight) for part, root in hands])
    offset = float((joints[ROOTS[1]] - joints[ROOTS[0]]) @ np.array(sight))
    fingers = slice(21, 41) if present == 0 else slice(0, 20)
    rays[fingers], relative[fingers] = 7.0, -900.0
    depths = depths_of(rays, relative, np.arange(2) == present, left_minus_right=offset, sights=sight)
    np.testing.assert_allclose(depths, (600.0, 650.0), rtol=1e-9)


def test_relative_depths_that_leave_no_length_across_the_view_keep_a_sane_distance() -> None:
    """If the depths are too large for any hand, its size in the picture still counts: half the size is twice as far."""
    rays, relative = observed(two_hands(3, (600.0, 600.0)))
    wild = relative + np.where(np.arange(42) % 2, 150.0, -150.0) * (relative != 0)
    near = depths_of(rays, wild, BOTH, left_minus_right=0.0)
    far = depths_of(rays / 2, wild, BOTH, left_minus_right=0.0)
    assert np.all(near > 600 * MIN_LATERAL_SHARE**0.5 * 0.8)
    assert far[0] == pytest.approx(2 * near[0], rel=0.3)


def test_impossible_depths_are_clipped() -> None:
    joints = np.zeros((42, 2))
    depths = depths_of(joints, np.zeros(42), BOTH, left_minus_right=None)  # all joints in one place
    np.testing.assert_array_equal(depths, [DEPTH_RANGE_MM[1]] * 2)
    rays, relative = observed(two_hands(4, (600.0, 600.0)))
    np.testing.assert_array_equal(depths_of(rays * 100, relative * 0, BOTH, left_minus_right=0.0), DEPTH_RANGE_MM[0])


def test_the_assumed_focal_length_spans_60_degrees() -> None:
    focal = assumed_focal(640, 480)
    assert np.degrees(2 * np.arctan(320 / focal)) == pytest.approx(60)
    assert assumed_focal(480, 640) == focal


def test_the_constants_are_the_synthetic_mean_hand() -> None:
    """185 mm from the wrist to the tip of the middle finger, the average of the synthetic hands."""
    assert sum(BONE_LENGTHS_MM[8:12]) == pytest.approx(185, abs=0.2)
    assert len(BONE_LENGTHS_MM) == 20


def test_certain_hands_have_all_of_their_size_and_uncertain_ones_a_share() -> None:
    confidence = np.concatenate([np.full(21, 1.0), np.linspace(0, 0.4, 21)])
    np.testing.assert_allclose(shares_of_size(confidence), [1.0, 0.6])
    np.testing.assert_array_equal(shares_of_size(None), [1, 1])


def test_bones_of_a_hand_with_a_share_of_its_size_add_up_to_that_share() -> None:
    rays, relative = observed(two_hands(0, (700.0, 500.0)))
    lines = joint_lines(rays, relative, np.ones(2), np.zeros(2))
    whole = wrist_depths(lines, BOTH, left_from_right=None)
    depths = wrist_depths(lines, BOTH, left_from_right=None, shares=(1.0, 0.6))
    joints = on_lines(lines, depths)
    total = sum(float(((joints[joint] - joints[parent]) ** 2).sum()) for joint, parent in BONES[20:])
    assert total == pytest.approx(0.6 * sum(length**2 for length in BONE_LENGTHS_MM), rel=1e-9)
    assert depths[0] == whole[0] and depths[1] < 0.95 * whole[1]


def test_far_hands_have_a_scale_without_a_camera() -> None:
    hand = hand_sized(two_hands(0, (700.0, 700.0))[:21])
    assert mm_per_px(4 * hand[:, :2], hand[:, 2]) == pytest.approx(0.25)
    children, parents = np.array(BONES[:20]).T
    across, along = (np.square(part[children] - part[parents]).sum() for part in (hand[:, :2], hand[:, 2]))
    assert across + along == pytest.approx(sum(length**2 for length in BONE_LENGTHS_MM))
    too_deep = mm_per_px(hand[:, :2], 100 * hand[:, 2])
    assert too_deep == pytest.approx(np.sqrt(MIN_LATERAL_SHARE * (across + along) / across))


@pytest.mark.parametrize("spread", [5.0, 15.0])
def test_a_mean_of_poses_that_differ_seems_too_far_away_unless_it_gets_a_share(spread: float) -> None:
    """Why uncertain hands get a share: the mean of poses has shorter bones than each of them."""
    rng, middle = np.random.default_rng(0), two_hands(0, (700.0, 700.0))
    poses = middle + rng.normal(0, spread, (500, 42, 3)) * (np.arange(42) % 21 != 20)[:, None]  # the wrists agree
    children, parents = np.array(BONES).T
    squared = (np.square(poses[:, children] - poses[:, parents]).sum(axis=2).mean(axis=0)).reshape(2, 20).sum(axis=1)
    sizes = np.sqrt(sum(length**2 for length in BONE_LENGTHS_MM) / squared)  # then each pose has the mean hand's
    wrists = np.repeat(middle[list(ROOTS)], 21, axis=0)
    mean = wrists + (poses.mean(axis=0) - wrists) * np.repeat(sizes, 21)[:, None]
    of_mean = np.square(mean[children] - mean[parents]).sum(axis=1).reshape(2, 20).sum(axis=1)
    share = of_mean / sum(length**2 for length in BONE_LENGTHS_MM)
    rays, relative = observed(mean)
    lines = joint_lines(rays, relative, np.ones(2), np.zeros(2))
    np.testing.assert_allclose(wrist_depths(lines, BOTH, left_from_right=None, shares=share), 700.0, rtol=1e-6)
    assert (wrist_depths(lines, BOTH, left_from_right=None) > 700.0 + spread / 2).all() and (share < 1).all()
