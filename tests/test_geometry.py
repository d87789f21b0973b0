"""Cameras, 2.5D poses, boxes and crops: round trips, worked examples, and numbers of the published data loaders."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from unclasp import geometry
from unclasp.hands import ROOTS

GOLDEN = Path(__file__).parent / "data" / "golden"
FOCAL, PRINCPT = np.array([1300.0, 1280.0]), np.array([170.0, 250.0])


def random_joints(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 80, (42, 3)) + np.array([20.0, -30.0, 900.0])


def test_world_to_camera_takes_the_position_of_the_camera() -> None:
    quarter_turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    point, position = np.array([[11.0, 2.0, 3.0]]), np.array([1.0, 0.0, -2.0])
    np.testing.assert_allclose(geometry.camera_from_world(point, quarter_turn, position), [[2.0, -10.0, 5.0]])


def test_project_by_hand() -> None:
    pixels = geometry.project(np.array([[100.0, -50.0, 500.0], [0.0, 0.0, 7.0]]), FOCAL, PRINCPT)
    np.testing.assert_allclose(pixels, [[430.0, 122.0], [170.0, 250.0]])


def test_project_and_unproject_undo_each_other() -> None:
    joints = random_joints()
    back = geometry.unproject(geometry.project(joints, FOCAL, PRINCPT), joints[:, 2], FOCAL, PRINCPT)
    np.testing.assert_allclose(back, joints, atol=1e-9)


@pytest.mark.parametrize("rotation", [0.0, 37.0, -120.0])
def test_camera_to_2p5d_and_back(rotation: float) -> None:
    joints = random_joints(3)
    matrix = geometry.crop_matrix(np.array([40.0, 60.0, 300.0, 320.0]), 256, rotation)
    pose = geometry.pose_2p5d_from_cam(joints, FOCAL, PRINCPT, matrix)
    back = geometry.cam_from_pose_2p5d(
        pose, joints[list(ROOTS), 2], focal=FOCAL, princpt=PRINCPT, image_from_crop=np.linalg.inv(matrix)
    )
    np.testing.assert_allclose(back, joints, atol=1e-9)


SIGHT = geometry.sight_through(np.array([900.0, -300.0]), FOCAL, PRINCPT)


def test_depths_along_a_line_of_sight_lead_back_to_the_camera() -> None:
    joints = random_joints(3)
    matrix = geometry.crop_matrix(np.array([40.0, 60.0, 300.0, 320.0]), 256, 20)
    pose = geometry.pose_2p5d_from_cam(joints, FOCAL, PRINCPT, matrix, SIGHT)
    options = {"focal": FOCAL, "princpt": PRINCPT, "image_from_crop": np.linalg.inv(matrix)}
    back = geometry.cam_from_pose_2p5d(pose, joints[list(ROOTS), 2], sights=SIGHT, **options)
    np.testing.assert_allclose(back, joints, atol=1e-9)
    along_camera = geometry.cam_from_pose_2p5d(pose, joints[list(ROOTS), 2], **options)
    assert np.abs(along_camera - joints).max() > 10, "the line of sight matters"


def test_each_hand_may_have_its_own_line_of_sight() -> None:
    joints = random_joints(5)
    sights = np.stack([SIGHT, np.array(geometry.CAMERA_AXIS)])
    poses = [geometry.pose_2p5d_from_cam(joints, FOCAL, PRINCPT, np.eye(3), sight) for sight in sights]
    mixed = np.concatenate([poses[0][:21], poses[1][21:]])
    back = geometry.cam_from_pose_2p5d(
        mixed, joints[list(ROOTS), 2], focal=FOCAL, princpt=PRINCPT, image_from_crop=np.eye(3), sights=sights
    )
    np.testing.assert_allclose(back, joints, atol=1e-9)


def test_a_camera_that_turns_sees_the_same_depths_along_a_line_of_sight() -> None:
    """A crop's content does not change if the camera rotates about its centre and the crop follows."""
    joints = random_joints(6)
    turn = cv2.Rodrigues(np.array([0.3, -0.5, 0.1]))[0]
    here = geometry.pose_2p5d_from_cam(joints, FOCAL, PRINCPT, np.eye(3), SIGHT)
    there = geometry.pose_2p5d_from_cam(joints @ turn.T, FOCAL, PRINCPT, np.eye(3), turn @ SIGHT)
    np.testing.assert_allclose(there[:, 2], here[:, 2], atol=1e-9)
    assert geometry.root_depth(joints @ turn.T, turn @ SIGHT) == pytest.approx(geometry.root_depth(joints, SIGHT))
    assert np.abs(geometry.pose_2p5d_from_cam(joints @ turn.T, FOCAL, PRINCPT, np.eye(3))[:, 2] - here[:, 2]).max() > 10


def test_the_wrists_offset_along_a_line_of_sight_gives_the_left_one_from_the_right_one() -> None:
    joints = random_joints(7)
    right, left = joints[list(ROOTS)]
    wrists = geometry.project(joints[list(ROOTS)], FOCAL, PRINCPT)
    scale, shift = geometry.offset_along(wrists, geometry.root_depth(joints, SIGHT), FOCAL, PRINCPT, SIGHT)
    assert scale * right[2] + shift == pytest.approx(left[2])
    assert geometry.offset_along(wrists, 40.0, FOCAL, PRINCPT) == (1.0, 40.0)


def test_joints_far_from_the_line_of_sight_have_a_place_nevertheless() -> None:
    """At a right angle to the line of sight, a depth does not determine a joint's position on its ray."""
    joints = geometry.cam_from_pose_2p5d(
        np.full((42, 3), 50.0), np.array([500.0, 500.0]), focal=FOCAL, princpt=PRINCPT, image_from_crop=np.eye(3),
        sights=[1.0, 0.0, 0.0],
    )  # fmt: skip
    assert np.isfinite(joints).all() and (joints[:, 2] <= 500 + 50 / 0.1).all()


def test_depth_of_a_2p5d_pose_is_relative_to_the_own_wrist() -> None:
    joints = random_joints(4)
    pose = geometry.pose_2p5d_from_cam(joints, FOCAL, PRINCPT, np.eye(3))
    assert pose[20, 2] == pose[41, 2] == 0
    assert pose[3, 2] == joints[3, 2] - joints[20, 2]
    assert pose[24, 2] == joints[24, 2] - joints[41, 2]
    np.testing.assert_allclose(pose[:, :2], geometry.project(joints, FOCAL, PRINCPT))


def test_root_depths_go_to_their_own_hands() -> None:
    pose = np.zeros((42, 3))
    pose[5, 2], pose[30, 2] = 7.0, -4.0
    back = geometry.cam_from_pose_2p5d(
        pose, np.array([500.0, 800.0]), focal=FOCAL, princpt=PRINCPT, image_from_crop=np.eye(3)
    )
    assert (back[0, 2], back[5, 2], back[21, 2], back[30, 2]) == (500, 507, 800, 796)


def test_relative_to_roots_is_a_loop_over_hands() -> None:
    joints = random_joints(5)[None] + np.arange(3)[:, None, None]
    expected = joints.copy()
    for sample in range(3):
        for joint in range(42):
            expected[sample, joint] -= joints[sample, 20 if joint < 21 else 41]
    np.testing.assert_array_equal(geometry.relative_to_roots(joints), expected)


def published_crop_matrix(box: np.ndarray, size: int, rotation: float) -> np.ndarray:
    """Return the matrix by the rule of the InterHand2.6M line: three points of the rotated box, solved by OpenCV."""
    x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
    angle = np.pi * rotation / 180

    def turned(point: tuple[float, float]) -> np.ndarray:
        return np.array([
            point[0] * np.cos(angle) - point[1] * np.sin(angle), point[0] * np.sin(angle) + point[1] * np.cos(angle)
        ])  # fmt: skip

    centre = np.array([x + 0.5 * width, y + 0.5 * height])
    source = [centre, centre + turned((0, height * 0.5)), centre + turned((width * 0.5, 0))]
    target = [[size * 0.5, size * 0.5], [size * 0.5, size], [size, size * 0.5]]
    return cv2.getAffineTransform(np.array(source, np.float32), np.array(target, np.float32))


@pytest.mark.parametrize("rotation", [0.0, 12.5, 45.0, -90.0, 200.0])
@pytest.mark.parametrize("box", [[10.0, 20.0, 210.0, 220.0], [-31.5, 12.25, 33.5, 77.25]])
@pytest.mark.parametrize("size", [256, 64])
def test_crop_matrix_is_the_published_three_point_rule(box: list[float], size: int, rotation: float) -> None:
    square = np.array(box)
    expected = published_crop_matrix(square, size, rotation)
    actual = geometry.crop_matrix(square, size, rotation)
    corners = np.array([[box[0], box[1]], [box[2], box[1]], [box[0], box[3]], [box[2], box[3]]])
    np.testing.assert_allclose(
        geometry.apply_affine(actual, corners), corners @ expected[:, :2].T + expected[:, 2], atol=1e-3
    )
    np.testing.assert_array_equal(actual[2], [0, 0, 1])


@pytest.mark.parametrize("rotation", [0.0, 50.0])
def test_the_middle_of_a_crop_is_half_a_pixel_beside_that_of_its_box(rotation: float) -> None:
    matrix = geometry.crop_matrix(np.array([10.0, 20.0, 110.0, 120.0]), 64, rotation)
    np.testing.assert_allclose(geometry.apply_affine(matrix, np.array([60.0, 70.0])), geometry.crop_middle(64) + 0.5)


def test_crop_matrix_by_hand() -> None:
    matrix = geometry.crop_matrix(np.array([100.0, 50.0, 300.0, 250.0]), 100)
    points = np.array([[100.0, 50.0], [200.0, 150.0], [300.0, 250.0], [202.0, 150.0]])
    np.testing.assert_allclose(geometry.apply_affine(matrix, points), [[0, 0], [50, 50], [100, 100], [51, 50]])
    # After a clockwise rotation by 90 degrees, the box's right edge is at the bottom.
    turned = geometry.crop_matrix(np.array([100.0, 50.0, 300.0, 250.0]), 100, 90.0)
    np.testing.assert_allclose(geometry.apply_affine(turned, np.array([[200.0, 250.0]])), [[100.0, 50.0]], atol=1e-12)


@pytest.mark.parametrize("rotation", [0.0, 30.0, -110.0, 180.0])
def test_a_turned_box_keeps_the_middle_and_mirrors_exactly(rotation: float) -> None:
    box, size, width = np.array([40.0, 60.0, 300.0, 320.0]), 64, 500
    matrix = geometry.crop_matrix(geometry.turned_box(box, size, rotation), size, rotation)
    middle = np.full((1, 2), (size - 1) / 2)
    before = geometry.apply_affine(np.linalg.inv(geometry.crop_matrix(box, size)), middle)
    np.testing.assert_allclose(geometry.apply_affine(np.linalg.inv(matrix), middle), before)
    pixel = (box[2] - box[0]) / size
    mirrored = np.array([width - 1 - box[2] + pixel, box[1], width - 1 - box[0] + pixel, box[3]])
    other = geometry.crop_matrix(geometry.turned_box(mirrored, size, -rotation), size, -rotation)
    expected = geometry.flip_matrix(size) @ matrix @ geometry.flip_matrix(width)
    np.testing.assert_allclose(other, expected, atol=1e-9)


def test_crop_and_its_inverse_undo_each_other() -> None:
    points = np.random.default_rng(0).uniform(-100, 600, (50, 2))
    matrix = geometry.crop_matrix(np.array([12.0, 30.0, 190.0, 208.0]), 128, 33.0)
    back = geometry.apply_affine(np.linalg.inv(matrix), geometry.apply_affine(matrix, points))
    np.testing.assert_allclose(back, points, atol=1e-9)


def test_flips() -> None:
    matrix = geometry.flip_matrix(8)
    np.testing.assert_array_equal(matrix @ matrix, np.eye(3))
    np.testing.assert_array_equal(geometry.apply_affine(matrix, np.array([[0.0, 5.0], [7.0, 1.0]])), [[7, 5], [0, 1]])


def test_mask_without_root() -> None:
    valid = np.ones((2, 42), dtype=np.bool_)
    valid[0, 20] = valid[1, 41] = valid[1, 2] = False
    masked = geometry.mask_without_root(valid)
    assert masked[0].tolist() == [False] * 21 + [True] * 21
    assert masked[1].tolist() == [True, True, False, *[True] * 18, *[False] * 21]
    assert valid[0, 0], "the input was changed"


def test_boxes_by_hand() -> None:
    points = np.array([[3.0, 9.0], [-1.0, 4.0], [500.0, 500.0]])
    box = geometry.tight_box(points, np.array([True, True, False]))
    assert box.tolist() == [-1, 4, 3, 9]
    assert geometry.square_box(box).tolist() == [1 - 3.125, 6.5 - 3.125, 1 + 3.125, 6.5 + 3.125]
    assert geometry.square_box(box, 1.0).tolist() == [-1.5, 4, 3.5, 9]
    with pytest.raises(ValueError, match="at least one valid joint"):
        geometry.tight_box(points, np.zeros(3, dtype=np.bool_))


def test_the_crop_is_one_and_a_half_times_the_longer_tight_side() -> None:
    tight = np.array([0.0, 0.0, 100.0, 60.0])
    crop = geometry.square_box(geometry.expand_box(tight, geometry.TIGHT_TO_ANNOTATED))
    np.testing.assert_allclose(crop, [-25.0, -45.0, 125.0, 105.0])


def test_boxes_that_do_not_meet_have_nothing_in_common() -> None:
    """Side by side, and diagonally apart, where both extents of the overlap are negative."""
    box = np.array([0.0, 0.0, 1.0, 1.0])
    for away in ([2.0, 0.0, 2.0, 0.0], [2.0, 2.0, 2.0, 2.0]):
        assert geometry.box_iou(box, box + away) == 0


def test_a_similarity_enlarges_lengths_whether_it_mirrors_or_not() -> None:
    matrix = 3 * geometry.turn_matrix(np.zeros(2), 30)
    assert geometry.scale_of(matrix) == pytest.approx(3)
    assert geometry.scale_of(matrix @ geometry.flip_matrix(640)) == pytest.approx(3)


def test_a_picture_turns_clockwise_about_its_pivot() -> None:
    matrix = geometry.turn_matrix(np.array([10.0, 20.0]), 90)
    turned = geometry.apply_affine(matrix, np.array([[10.0, 20.0], [15.0, 20.0]]))  # what is on the right goes down
    np.testing.assert_allclose(turned, [[10, 20], [10, 25]], atol=1e-12)


def test_a_mean_distance_is_over_all_points() -> None:
    assert geometry.mean_distance(np.zeros((3, 2)), np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]])) == 2


def test_an_extent_is_the_longer_side_and_never_below_a_pixel() -> None:
    assert geometry.extent(np.array([[0.0, 0.0], [3.0, 7.0]])) == 7
    assert geometry.extent(np.zeros((21, 2))) == 1


def test_hands_are_on_one_place_by_the_size_of_the_larger_one() -> None:
    large, small = np.array([[-50.0, 0.0], [50.0, 0.0]]), np.array([[14.0, 0.0], [34.0, 0.0]])
    assert geometry.on_one_place(large, small, 0.25)
    assert geometry.on_one_place(small, large, 0.25)
    assert not geometry.on_one_place(small, large, 0.23)


def test_root_depth_is_left_minus_right() -> None:
    joints = np.zeros((42, 3))
    joints[20, 2], joints[41, 2] = 700.0, 730.0
    assert geometry.root_depth(joints) == 30.0


def read_mini() -> list[dict[str, Any]]:
    """Read the synthetic InterHand2.6M annotations with a few plain lines, independently of the package's reader."""
    folder = GOLDEN / "interhand_mini" / "annotations" / "test"
    data, cameras, frames = (
        json.loads((folder / f"InterHand2.6M_test_{kind}.json").read_text()) for kind in ("data", "camera", "joint_3d")
    )
    annotations = {annotation["image_id"]: annotation for annotation in data["annotations"]}
    return [
        {
            "name": image["file_name"],
            "box": np.array(annotations[image["id"]]["bbox"]),
            "valid": np.array(annotations[image["id"]]["joint_valid"]).reshape(42) > 0,
            "world": np.array(frames[str(image["capture"])][str(image["frame_idx"])]["world_coord"]),
            **{
                key: np.array(cameras[str(image["capture"])][key][image["camera"]])
                for key in ("campos", "camrot", "focal", "princpt")
            },
        }
        for image in data["images"]
    ]


@pytest.mark.parametrize(("evaluator", "size"), [("internet", 64), ("a2j", 256)])
def test_crops_and_targets_are_those_of_the_published_loaders(evaluator: str, size: int) -> None:
    targets = np.load(GOLDEN / "expected" / evaluator / "targets.npz")
    rows = {str(name): row for row, name in enumerate(targets["file_name"])}
    compared = 0
    for record in read_mini():
        row = rows[record["name"]]
        x, y, width, height = record["box"]
        crop_from_image = geometry.crop_matrix(geometry.square_box(np.array([x, y, x + width, y + height])), 256)
        corners = np.array([[0.0, 0.0], [255.0, 0.0], [0.0, 255.0]])
        published = targets["crop_to_image"][row]
        ours = geometry.apply_affine(np.linalg.inv(crop_from_image), corners)
        np.testing.assert_allclose(ours, corners @ published[:, :2].T + published[:, 2], atol=1e-2)
        joints = geometry.camera_from_world(record["world"], record["camrot"], record["campos"])
        pose = geometry.pose_2p5d_from_cam(joints, record["focal"], record["princpt"], crop_from_image)
        target = targets["joint_coord"][row].astype(np.float64)
        valid = targets["joint_valid"][row] > 0
        assert not (valid & ~geometry.mask_without_root(record["valid"])).any()
        np.testing.assert_allclose(pose[valid, :2], target[valid, :2] * (256 / size), atol=1e-2)
        np.testing.assert_allclose(pose[valid, 2], (target[valid, 2] / size - 0.5) * 400, atol=1e-2)
        compared += int(valid.sum())
    assert compared > 500
