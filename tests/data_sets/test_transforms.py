import copy
import os
import signal
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from unclasp import geometry
from unclasp.config import AugmentConfig, DepthAxis
from unclasp.data.collate import collate, start_worker
from unclasp.data.transforms import View, crop_image, make_example, plain_view, random_view
from unclasp.hands import FLIPPED_JOINTS, FLIPPED_PARTS
from unclasp.presets import paper

BOX = np.array([12.0, 8.0, 76.0, 72.0])


def reference_crop_matrix(box, size, rotation):
    """The published rule, by three points, with OpenCV's solver."""
    centre, half, angle = (box[:2] + box[2:]) / 2, (box[2] - box[0]) / 2, np.deg2rad(rotation)
    down = np.array([-np.sin(angle), np.cos(angle)]) * half
    right = np.array([np.cos(angle), np.sin(angle)]) * half
    source = np.float32([centre, centre + down, centre + right])
    target = np.float32([[size / 2, size / 2], [size / 2, size], [size, size / 2]])
    return cv2.getAffineTransform(source, target)


@pytest.mark.parametrize("rotation", [0.0, 30.0, -77.0])
def test_crop_matrix_is_the_published_one(rotation):
    ours = geometry.crop_matrix(BOX, 128, rotation)
    np.testing.assert_allclose(ours[:2], reference_crop_matrix(BOX, 128, rotation), atol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 40.0])
def test_a_bright_dot_lands_where_the_matrix_says(flip, rotation):
    image = np.zeros((96, 96, 3), np.uint8)
    cv2.circle(image, (40, 52), 3, (255, 255, 255), -1)
    crop = crop_image(image, BOX, 256, rotation=rotation, flip=flip)
    expected = geometry.apply_affine(crop.crop_from_image, np.array([40.0, 52.0]))
    ys, xs = np.nonzero(crop.image[..., 0] > 127)
    np.testing.assert_allclose([xs.mean(), ys.mean()], expected, atol=0.3)
    np.testing.assert_allclose(crop.image_from_crop @ crop.crop_from_image, np.eye(3), atol=1e-9)


def test_cropping_the_mirrored_picture_is_the_mirrored_view(make_sample):
    sample = make_sample(1)
    mirrored = sample.image[:, ::-1].copy()
    box = np.array([95 - BOX[2], BOX[1], 95 - BOX[0], BOX[3]])
    flipped = crop_image(sample.image, BOX, 64, flip=True).image.astype(int)
    difference = np.abs(flipped - crop_image(mirrored, box, 64).image)
    assert difference.max() <= 1


@pytest.mark.parametrize("depth_axis", DepthAxis)
def test_flipping_swaps_everything_that_has_a_side(make_sample, depth_axis):
    sample = make_sample(2)
    square = geometry.square_box(sample.box)
    plain = make_example(sample, View(square), 64, depth_axis=depth_axis)
    flipped = make_example(sample, View(square, flip=True), 64, depth_axis=depth_axis)
    # The crop rule puts the box's centre on size / 2, so a mirrored crop is mirrored about that line.
    np.testing.assert_allclose(flipped.pose_2p5d[:, 0], 64 - plain.pose_2p5d[FLIPPED_JOINTS, 0], atol=1e-3)
    # So their middles, which lines of sight go through, are one crop pixel apart.
    far = 1e-3 if depth_axis is DepthAxis.CAMERA else 0.6
    np.testing.assert_allclose(flipped.pose_2p5d[:, 1], plain.pose_2p5d[FLIPPED_JOINTS, 1], atol=1e-3)
    np.testing.assert_allclose(flipped.pose_2p5d[:, 2], plain.pose_2p5d[FLIPPED_JOINTS, 2], atol=far)
    assert flipped.root_depth == pytest.approx(-plain.root_depth, abs=3 * far)  # of wrists far apart
    assert plain.root_depth != 0
    counts, expected = (np.bincount(x.ravel(), minlength=33) for x in (flipped.parts, FLIPPED_PARTS[plain.parts]))
    assert np.abs(counts - expected).sum() <= 0.3 * (expected[1:].sum())


def test_a_single_right_hand_becomes_a_left_one(make_sample):
    sample = make_sample(3, hands="right")
    flipped = make_example(sample, View(geometry.square_box(sample.box), flip=True), 64)
    assert flipped.hand_type.tolist() == [False, True]
    assert not flipped.valid[:21].any() and flipped.valid[21:].all()
    assert not flipped.root_depth_valid
    assert set(np.unique(flipped.parts)) <= {0, *range(17, 33)}


def test_depths_are_along_the_line_of_sight_of_the_crop(make_sample):
    """Of this crop, wherever its box is, and however it is turned."""
    sample, box = make_sample(2), np.array([30.0, 10.0, 90.0, 70.0])
    matrix = geometry.crop_matrix(box, 64, 25)
    middle = geometry.apply_affine(np.linalg.inv(matrix), np.full(2, 31.5))
    sight = geometry.sight_through(middle, sample.focal, sample.princpt)
    example = make_example(sample, View(box, rotation=25), 64, depth_axis=DepthAxis.CROP)
    depths = geometry.relative_to_roots(sample.joints_cam) @ sight
    np.testing.assert_allclose(example.pose_2p5d[sample.valid, 2], depths[sample.valid], atol=1e-3)
    assert example.root_depth == pytest.approx(geometry.root_depth(sample.joints_cam, sight), abs=1e-3)
    camera = make_example(sample, View(box, rotation=25), 64)
    assert np.abs(camera.pose_2p5d[:, 2] - example.pose_2p5d[:, 2]).max() > 0.5


def test_rotation_turns_pixels_and_leaves_depth(make_sample):
    sample = make_sample(4)
    square = geometry.square_box(sample.box)
    plain, turned = (make_example(sample, View(square, rotation=r), 64) for r in (0.0, 90.0))
    # The box turns clockwise, so its contents turn anticlockwise: (x, y) about the centre becomes (y, -x).
    relative = plain.pose_2p5d[:, :2] - 32
    np.testing.assert_allclose(turned.pose_2p5d[:, :2] - 32, np.stack([relative[:, 1], -relative[:, 0]], 1), atol=1e-3)
    np.testing.assert_array_equal(turned.pose_2p5d[:, 2], plain.pose_2p5d[:, 2])


def test_parts_lie_under_their_joints(make_sample):
    sample = make_sample(5)
    example = make_example(sample, plain_view(sample.box), 128)
    u, v = ((example.pose_2p5d[:, :2] + 0.5) / 4 - 0.5).round().astype(int).T
    assert (example.parts[v, u] > 0).mean() > 0.95


def test_joints_outside_of_the_crop_are_not_trained_on(make_sample):
    sample = make_sample(6)
    x1, y1, x2, y2 = geometry.square_box(sample.box)
    shifted = make_example(sample, View(np.array([x1 + 40, y1, x2 + 40, y2])), 64)
    assert 0 < shifted.valid.sum() < 42
    inside = (shifted.pose_2p5d[:, 0] >= 0) & (shifted.pose_2p5d[:, 0] < 64)
    assert not shifted.valid[~inside].any()


def at(sample, joints_cam, **changes):
    """The sample with other joints (42, 3) mm, of a camera whose px at 512 mm are mm from the corner."""
    focal, princpt = np.full(2, 512, np.float32), np.zeros(2, np.float32)
    return replace(sample, joints_cam=joints_cam.astype(np.float32), focal=focal, princpt=princpt, **changes)


def test_a_crop_begins_with_its_first_pixel_and_ends_before_its_size(make_sample):
    joints = np.tile([10.0, 10.0, 512.0], (42, 1))
    joints[:4, 0], joints[4:8, 1] = [0, -0.25, 63.75, 64], [0, -0.25, 63.75, 64]
    example = make_example(at(make_sample(0), joints), View(np.array([0.0, 0, 64, 64])), 64)
    np.testing.assert_array_equal(example.pose_2p5d[:8, :2], joints[:8, :2])
    assert example.valid.tolist() == [True, False, True, False] * 2 + [True] * 34


def test_joints_beyond_the_depth_range_are_not_trained_on(make_sample):
    joints = np.tile([10.0, 10.0, 512.0], (42, 1))
    joints[:4, 2] += [199, 201, -199, -201]
    example = make_example(at(make_sample(0), joints), View(np.array([0.0, 0, 64, 64])), 64)
    assert example.valid.tolist() == [True, False, True, False] + [True] * 38


@pytest.mark.parametrize("unknown", ["right wrist", "left wrist", "left hand"])
def test_the_depth_between_the_wrists_needs_both_hands_and_wrists(make_sample, unknown):
    sample = make_sample(2)
    if unknown == "left hand":
        sample = replace(sample, hand_type=np.array([True, False]))
    else:
        sample.valid[{"right wrist": 20, "left wrist": 41}[unknown]] = False
    example = make_example(sample, plain_view(sample.box), 64)
    assert not example.root_depth_valid and example.root_depth == 0


def test_a_pixel_of_the_map_has_the_part_in_the_middle_of_what_it_covers(make_sample):
    parts = np.tile(np.arange(96, dtype=np.uint8) % 4, (96, 1))
    for turned in (parts, parts.T.copy()):
        example = make_example(replace(make_sample(0), parts=turned), View(np.array([8.0, 8, 72, 72])), 64)
        assert np.isin(example.parts, (1, 2)).all()


def test_the_gain_multiplies_each_channel(make_sample):
    sample = make_sample(12)
    square, gain = geometry.square_box(sample.box), np.array([0.81, 1.19, 1.0], np.float32)
    plain, brighter = (make_example(sample, View(square, gain=g), 64).image for g in (None, gain))
    np.testing.assert_allclose(brighter, np.clip(plain * gain, 0, 255), atol=0.51)


def test_a_black_crop_trains_nothing(make_sample):
    sample = make_sample(0)
    view = plain_view(sample.box)
    seen = make_example(sample, view, 64)
    assert seen.valid.any() and seen.parts is not None and seen.hand_type_valid and seen.root_depth_valid
    sample.image[:] = 0
    black = make_example(sample, view, 64)
    assert not black.valid.any() and black.parts is None
    assert not black.hand_type_valid and not black.root_depth_valid
    config = AugmentConfig(photographic=1.0, texture=1.0)
    for seed in range(8):
        view = random_view(sample.box, config, np.random.default_rng(seed))
        assert not make_example(sample, view, 64).valid.any(), "noise on black is still black"


def test_nothing_is_changed_in_place_and_views_are_repeatable(make_sample):
    sample = make_sample(8)
    before = copy.deepcopy(sample)
    examples = [
        make_example(sample, random_view(sample.box, AugmentConfig(), np.random.default_rng(5)), 64) for _ in range(2)
    ]
    np.testing.assert_array_equal(examples[0].image, examples[1].image)
    for name in ("image", "joints_cam", "valid", "box", "parts", "hand_type"):
        np.testing.assert_array_equal(getattr(sample, name), getattr(before, name))


@pytest.fixture(scope="module")
def drawn():
    """Many views of one box as in the paper."""
    rng, config = np.random.default_rng(0), paper().augment
    return [random_view(BOX, config, rng) for _ in range(2000)]


def test_random_views_keep_to_the_published_ranges(drawn):
    sides = scales_of(drawn)
    assert (sides.min(), sides.max()) == pytest.approx((0.75, 1.25))
    rotations = np.array([view.rotation for view in drawn])
    assert (rotations.min(), rotations.max()) == (-90, 90)
    assert 0.55 < (rotations != 0).mean() < 0.65
    assert 0.45 < np.mean([view.flip for view in drawn]) < 0.55
    shifts = shifts_of(drawn)
    assert np.abs(shifts).max() <= 12
    assert (shifts.min(axis=0) < -11.8).all() and (shifts.max(axis=0) > 11.8).all()
    gains = np.array([view.gain for view in drawn])
    assert (gains >= np.float32(0.8)).all() and (gains <= np.float32(1.2)).all()
    assert (gains.min(axis=0) < 0.805).all() and (gains.max(axis=0) > 1.195).all()
    assert all(view.look is None for view in drawn)


def test_rotation_and_scaling_are_clipped_gaussians_and_the_rest_is_uniform(drawn):
    """A Gaussian has 38, 68, and 95 % within half a standard deviation, one, and two; the rest is at the limits."""
    rotations = np.array([view.rotation for view in drawn if view.rotation]) / 45
    for within, share in ((0.5, 0.383), (1.0, 0.683), (1.999, 0.954)):
        assert (np.abs(rotations) < within).mean() == pytest.approx(share, abs=0.03)
    scales = (scales_of(drawn) - 1) / 0.25
    for within, share in ((0.5, 0.383), (0.999, 0.683)):
        assert (np.abs(scales) < within).mean() == pytest.approx(share, abs=0.03)
    gains = np.array([view.gain for view in drawn]) - 1
    for values in (shifts_of(drawn) / 12, gains / 0.2):
        for within in (0.25, 0.5, 0.75):
            np.testing.assert_allclose((np.abs(values) < within).mean(axis=0), within, atol=0.03)


def scales_of(views):
    return np.array([view.box[2] - view.box[0] for view in views]) / 80


def shifts_of(views):
    return np.array([(view.box[:2] + view.box[2:]) / 2 for view in views]) - (BOX[:2] + BOX[2:]) / 2


@pytest.mark.parametrize(
    "field", ["translation", "scale", "rotation", "rotation_probability", "flip_probability", "colour"]
)
def test_every_field_of_the_augmentation_changes_the_views(field):
    changed = AugmentConfig(**{field: 0.0})
    draws = [[random_view(BOX, c, np.random.default_rng(i)) for i in range(20)] for c in (AugmentConfig(), changed)]
    told = [[(*v.box, v.rotation, v.flip, *v.gain) for v in views] for views in draws]
    assert not np.allclose(told[0], told[1])


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_probabilities_are_those_of_being_changed(probability):
    config = AugmentConfig(flip_probability=probability, rotation_probability=probability)
    views = [random_view(BOX, config, np.random.default_rng(i)) for i in range(20)]
    assert {view.flip for view in views} == {view.rotation != 0 for view in views} == {probability == 1}


def test_channels_have_gains_of_their_own(drawn):
    gains = np.array([view.gain for view in drawn])
    assert np.abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.1


def test_collate_masks_what_is_missing(make_sample):
    samples = [make_sample(9), make_sample(10, parts=False), make_sample(11, hands="left")]
    batch = collate([make_example(sample, plain_view(sample.box), 64) for sample in samples])
    assert batch.image.shape == (3, 3, 64, 64) and batch.image.dtype == torch.uint8
    assert batch.parts.shape == (3, 16, 16) and batch.parts_valid.tolist() == [True, False, True]
    assert batch.root_depth_valid.tolist() == [True, True, False]
    assert batch.names == ("made:9", "made:10", "made:11") and len(batch) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_loader_s_process_starts_although_its_parent_has_threads():
    """Setting OpenCV to one thread hangs after a fork, once the parent's threads are asleep."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    picture = np.zeros((1500, 1500, 3), np.uint8)
    for _ in range(3):
        cv2.warpAffine(picture, np.eye(2, 3), (1500, 1500))
    time.sleep(0.5)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        start_worker(0)
        cv2.warpAffine(picture, np.eye(2, 3), (1500, 1500))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    cv2.setNumThreads(threads)
