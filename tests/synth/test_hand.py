import numpy as np
import pytest

from unclasp.hands import HAND_PARENTS
from unclasp.synth.contact import pose_spheres, rest_spheres, self_collides
from unclasp.synth.hand import HandModel, vertex_normals
from unclasp.synth.pose import (
    ANGLES,
    TEMPLATES,
    WRIST_RANGE,
    bend_wrist,
    choose_templates,
    draw_pose,
    jitter,
    pose_bones,
    skin,
)

TIPS, WRIST = [0, 4, 8, 12, 16], 20


@pytest.fixture(scope="module")
def model():
    return HandModel.load()


@pytest.fixture(scope="module")
def rest(model):
    return model.rest(np.zeros(12), 185.0)


def shaped(model, seed):
    shape = np.random.default_rng(seed).normal(0, 0.8, 12)
    return model.rest(shape, 170.0)


def bone_lengths(joints):
    return np.array([np.linalg.norm(joints[j] - joints[p]) for j, p in enumerate(HAND_PARENTS) if p >= 0])


def test_faces_look_outward_and_the_mesh_is_open_only_at_the_elbow(model, rest):
    a, b, c = (rest.vertices[model.faces[:, k]] for k in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 > 3e5, "the volume of a hand and a forearm in cubic mm"
    edges = {(int(f[i]), int(f[(i + 1) % 3])) for f in model.faces for i in range(3)}
    open_edges = [edge for edge in edges if edge[::-1] not in edges]
    assert {vertex for edge in open_edges for vertex in edge} == set(range(len(rest.vertices) - 24, len(rest.vertices)))


def test_weights_and_parts_are_distributions(model):
    np.testing.assert_allclose(model.weights.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(model.part_probabilities.sum(axis=1), 1, atol=1e-5)
    assert set(model.part_probabilities.argmax(axis=1)) == set(range(17))


def test_length_is_that_along_the_middle_finger(model):
    for seed, length in ((0, 150.0), (1, 210.0)):
        rest = model.rest(np.random.default_rng(seed).normal(0, 0.8, 12), length)
        chain = [rest.heads[model.bone(name)] for name in ("wrist", "finger3-1", "finger3-2", "finger3-3")]
        chain.append(rest.tails[model.bone("finger3-3")])
        assert np.linalg.norm(np.diff(chain, axis=0), axis=1).sum() == pytest.approx(length)


def some_pose(rng):
    return draw_pose(rng, choose_templates(rng))


@pytest.mark.parametrize("seed", range(4))
def test_bones_keep_their_lengths_whatever_the_pose(model, seed):
    rest, rng = shaped(model, seed), np.random.default_rng(seed)
    reference = bone_lengths(pose_bones(rest, np.zeros(ANGLES))[1])
    # Those from the wrist change a little where the palm arches.
    fixed = [i for i in range(20) if i % 4 != 3]
    for _ in range(20):
        lengths = bone_lengths(pose_bones(rest, some_pose(rng))[1])
        np.testing.assert_allclose(lengths[fixed], reference[fixed], atol=1e-9)
        np.testing.assert_allclose(lengths, reference, rtol=0.03)


def test_zero_angles_are_a_straight_hand(rest):
    joints = pose_bones(rest, np.zeros(ANGLES))[1]
    for finger in range(1, 5):
        chain = np.diff(joints[4 * finger : 4 * finger + 4], axis=0)
        directions = chain / np.linalg.norm(chain, axis=1, keepdims=True)
        np.testing.assert_allclose(directions, np.tile([0, -1, 0], (3, 1)), atol=1e-9)


@pytest.mark.parametrize(("angle", "finger"), [(6, 1), (7, 1), (10, 2), (19, 4)])
def test_flexion_bends_towards_the_palm(rest, angle, finger):
    pose = np.zeros(ANGLES)
    pose[angle] = np.deg2rad(60)
    straight, bent = (pose_bones(rest, p)[1] for p in (np.zeros(ANGLES), pose))
    assert bent[4 * finger, 2] > straight[4 * finger, 2] + 15, "the palm faces z"
    others = [tip for tip in TIPS if tip != 4 * finger]
    np.testing.assert_allclose(bent[others], straight[others])


def test_spreading_moves_the_fingers_apart(rest):
    pose = np.zeros(ANGLES)
    pose[[5, 9, 13, 17]] = np.deg2rad(10)
    straight, spread = (pose_bones(rest, p)[1] for p in (np.zeros(ANGLES), pose))
    assert np.linalg.norm(spread[4] - spread[16]) > np.linalg.norm(straight[4] - straight[16]) + 20


@pytest.mark.parametrize("seed", range(3))
def test_finger_tips_lie_on_the_skin(model, seed):
    rest = shaped(model, seed)
    transforms, joints = pose_bones(rest, some_pose(np.random.default_rng(seed)))
    vertices = skin(model, rest, transforms)
    for tip in TIPS:
        assert np.linalg.norm(vertices - joints[tip], axis=1).min() < 5.0


def test_skinning_without_motion_is_the_rest_shape(model, rest):
    identity = np.tile(np.eye(3, 4), (len(model.bone_names), 1, 1))
    np.testing.assert_allclose(skin(model, rest, identity), rest.vertices, atol=1e-9)


def test_drawn_poses_keep_to_the_ranges_and_differ():
    poses = np.rad2deg([some_pose(np.random.default_rng(seed)) for seed in range(500)])
    base, middle, last = poses[:, 6:21:4], poses[:, 7:21:4], poses[:, 8:21:4]
    assert base.min() >= -20 and base.max() <= 90
    assert middle.min() >= 0 and middle.max() <= 110
    assert last.min() >= 0 and last.max() <= 80
    wrist = poses[:, 23]
    assert wrist.min() >= WRIST_RANGE[0] - 1e-9 and wrist.max() <= WRIST_RANGE[1] + 1e-9
    assert 0.06 < (wrist < -40).mean() < 0.16
    assert middle.std() > 25 and base.std() > 20


def test_hands_that_push_against_each_other_have_their_wrists_bent():
    pose = some_pose(np.random.default_rng(0))
    bent = np.array([bend_wrist(np.random.default_rng(seed), pose, 45.0) for seed in range(200)])
    np.testing.assert_array_equal(np.delete(bent, 23, axis=1), np.tile(np.delete(pose, 23), (200, 1)))
    assert np.rad2deg(bent[:, 23].mean()) == pytest.approx(-45, abs=4) and np.rad2deg(bent[:, 23].min()) > -70.001


def test_jitter_moves_fingers_and_leaves_the_wrist():
    pose = some_pose(np.random.default_rng(0))
    other = jitter(np.random.default_rng(1), pose, 4.0)
    assert 1 < np.rad2deg(np.abs(other - pose)[:21]).mean() < 8
    np.testing.assert_array_equal(other[21:], pose[21:])


def test_every_template_can_be_held_without_running_into_oneself(rest):
    spheres = rest_spheres(rest)
    for name in TEMPLATES:
        rng = np.random.default_rng(0)
        free = [
            not self_collides(pose_spheres(spheres, pose_bones(rest, draw_pose(rng, (name, name), noise=0.3))[0]))
            for _ in range(20)
        ]
        assert np.mean(free) > 0.3, name


def test_a_hand_folded_through_itself_is_refused(rest):
    pose = draw_pose(np.random.default_rng(0), ("flat", "flat"), noise=0.0)
    pose[[5, 9]] = np.deg2rad([-15, 15])  # the index and the middle finger pass through each other
    assert self_collides(pose_spheres(rest_spheres(rest), pose_bones(rest, pose)[0]))


def test_normals_are_those_of_a_cube():
    corners = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d), (b, c, d), (b, d, a))], dtype=np.int32)
    np.testing.assert_allclose(vertex_normals(corners, faces), corners / np.sqrt(3), atol=1e-9)
