import subprocess
import sys

import numpy as np
import pytest

from unclasp.synth.contact import Spheres, overlap, pose_spheres, rest_spheres, self_collides
from unclasp.synth.grasp import close_fingers
from unclasp.synth.interlace import fingers_between, weave
from unclasp.synth.placement import in_contact
from unclasp.synth.pose import draw_pose, pose_bones
from unclasp.synth.scene import draw_body


@pytest.fixture(scope="module")
def body():
    return draw_body(np.random.default_rng(3))


def comb(shift, *, down=False):
    """Return joints of a hand with parallel fingers 20 mm apart, in a plane or, if `down`, perpendicular to it."""
    joints = np.zeros((21, 3))
    for finger in range(1, 5):
        for k in range(4):
            along = 25.0 * (3 - k)
            joints[4 * finger + k] = (
                [20.0 * finger + shift, 40.0, along - 40] if down else [20.0 * finger + shift, along, 0]
            )
    return joints


@pytest.mark.parametrize(("shift", "expected"), [(10.0, 3), (-10.0, 3), (30.0, 2), (200.0, 0)])
def test_fingers_between_counts_those_in_a_gap(shift, expected):
    assert fingers_between(comb(0.0), comb(shift, down=True)) == expected
    assert fingers_between(comb(0.0), comb(shift)) == 0, "side by side in one plane"


def test_woven_fingers_alternate_and_leave_each_other_room(body):
    rng, woven = np.random.default_rng(0), []
    while len(woven) < 4:
        found = weave(rng, body.rest[0], body.spheres[0])
        if found is not None:
            woven.append(found)
    for item in woven:
        (right_bones, _), (left_bones, _) = (pose_bones(body.rest[0], pose) for pose in (item.right, item.left))
        right, left = (pose_spheres(body.spheres[0], bones) for bones in (right_bones, left_bones))
        hand = np.arange(84)  # without the forearms
        right, left = (Spheres(s.centres[hand], s.radii[hand]) for s in (right, left))
        left = Spheres(left.centres * [-1, 1, 1], left.radii).moved(item.rotation, item.translation)
        assert overlap(right, left) < 2.5
        np.testing.assert_allclose(item.rotation @ item.rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(item.rotation) == pytest.approx(1)


def test_two_fingers_of_each_hand_at_least_are_interlaced(body):
    rng, count = np.random.default_rng(1), 0
    while count < 4:
        pair = in_contact(rng, body, interlaced=True)
        if pair is None:
            continue
        left = pair.left.joints @ pair.rotation.T + pair.translation
        assert fingers_between(pair.right.joints, left) >= 2
        assert fingers_between(left, pair.right.joints) >= 2
        count += 1


def test_a_hand_closes_around_a_bar_and_stops_at_it(body):
    rest, spheres = body.rest[0], rest_spheres(body.rest[0])
    pose = draw_pose(np.random.default_rng(0), ("flat", "flat"), noise=0.0)
    bones, joints = pose_bones(rest, pose)
    bar = np.linspace(-60, 60, 25)[:, None] * [1.0, 0, 0] + joints[[7, 11, 15, 19]].mean(axis=0) + [0, 12, 32]
    others = Spheres(bar, np.full(25, 13.0))
    closed = close_fingers(rest, spheres, pose, others)
    around = pose_spheres(spheres, pose_bones(rest, closed)[0])
    assert overlap(pose_spheres(spheres, bones), others) < 0
    assert -4.0 < overlap(around, others) < 1.0, "touches, and does not squeeze"
    assert not self_collides(around)
    assert (closed[7:21:4] - pose[7:21:4] > np.deg2rad(15)).all(), "every finger bends"
    far = Spheres(bar + np.array([0, 500, 0]), others.radii)
    np.testing.assert_array_equal(close_fingers(rest, spheres, pose, far), pose)


def test_scenes_need_no_scipy():
    """Numba's matrix product needs SciPy, which `unclasp[synth]` does not install."""
    code = """
import sys
sys.modules["scipy"] = None
import numpy as np
from unclasp.synth.scene import SceneMix, sample_scene
for kind in ("contact", "interlaced", "right"):
    assert sample_scene(np.random.default_rng(0), SceneMix(kinds={kind: 1.0}), size=64).kind == kind
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
