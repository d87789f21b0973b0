import subprocess
import sys

import numpy as np
import pytest
from exact import penetration_and_gap
from scenes import digest, faces_of, scene

from unclasp.synth.contact import Surface, settle
from unclasp.synth.hand import HandModel
from unclasp.synth.placement import MIRRORS, TOUCHES, draw_hand
from unclasp.synth.scene import draw_body

ALL_VIEWS = ("frontal", "lowered", "selfie", "reaching", "egocentric", "above", "any")


def pixels(item, hand):
    return hand.joints[:, :2] / hand.joints[:, 2:] * item.focal + item.princpt


def test_fists_are_as_frequent_as_asked_though_many_run_into_themselves():
    rng = np.random.default_rng(0)
    bodies = [draw_body(rng) for _ in range(4)]
    hands = [draw_hand(rng, bodies[i % 4], left=False, names=("fist", "flat")) for i in range(400)]
    middles = np.rad2deg([hand.pose[[7, 11, 15, 19]].mean() for hand in hands if hand is not None])
    assert (middles > 50).mean() == pytest.approx(0.5, abs=0.08)


def test_a_scene_is_a_function_of_its_seed_in_any_process():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from scenes import digest, scene;"
        "print(' '.join(digest(scene(seed)) for seed in range(6)))"
    )
    folder = __file__.rsplit("/", 1)[0]
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    ours = [digest(scene(seed)) for seed in range(6)]
    assert done.stdout.split() == ours
    assert len(set(ours)) == 6


def test_kinds_and_views_follow_the_mix():
    scenes = [scene(seed, kinds=("apart", "right"), views=("above", "frontal")) for seed in range(120)]
    assert 40 < sum(item.kind == "apart" for item in scenes) < 80
    assert {item.kind for item in scenes} == {"apart", "right"}
    assert {item.view for item in scenes} == {"above", "frontal"}
    for item in scenes:
        assert [hand.side for hand in item.hands] == (["right", "left"] if item.kind == "apart" else ["right"])


@pytest.mark.parametrize("kind", ["contact", "interlaced"])
def test_hands_in_contact_touch_and_do_not_pass_through_each_other(kind):
    """By winding numbers and closest points on the meshes themselves, forearms included."""
    for seed in range(5):
        right, left = scene([7, seed], kinds=(kind,)).hands
        depth, gap = penetration_and_gap(
            right.vertices.astype(float), faces_of(right), left.vertices.astype(float), faces_of(left)
        )
        assert depth < 5.0, f"{kind} {seed}: {depth:.1f} mm"
        assert depth > 0 or gap < 3.0, f"{kind} {seed}: {gap:.1f} mm apart"


def test_hands_apart_do_not_touch():
    for seed in range(2):
        right, left = scene([8, seed], kinds=("apart",)).hands
        depth, gap = penetration_and_gap(
            right.vertices.astype(float), faces_of(right), left.vertices.astype(float), faces_of(left)
        )
        assert depth == 0 and gap > 3.0


def test_hands_apart_are_side_by_side_far_apart_or_one_above_or_behind_the_other():
    offsets = []
    for seed in range(120):
        right, left = scene([14, seed], kinds=("apart",), views=("frontal",)).hands
        offsets.append(np.abs(right.joints.mean(axis=0) - left.joints.mean(axis=0)))
    across, up, deep = np.array(offsets).T
    far, stacked, behind = across > 265, (up > 75) & (across < up), (deep > 75) & (np.hypot(across, up) < 90)
    assert 0.07 < far.mean() < 0.4 and 0.1 < stacked.mean() < 0.4 and 0.03 < behind.mean() < 0.2
    assert not (far & (stacked | behind)).any() and (~far & ~stacked & ~behind).mean() > 0.25


def test_the_measure_itself_finds_a_planted_penetration():
    right, left = scene([8, 0], kinds=("apart",)).hands
    moved = left.vertices + right.joints[11] - left.joints[11]
    depth, _ = penetration_and_gap(right.vertices.astype(float), faces_of(right), moved.astype(float), faces_of(left))
    assert depth > 5.0


def test_interlaced_fingers_lie_between_each_other():
    for seed in range(6):
        right, left = scene([9, seed], kinds=("interlaced",)).hands
        across = right.joints[7] - right.joints[19]
        across /= np.linalg.norm(across)
        order = np.concatenate([right.joints[[4, 8, 12, 16]] @ across, left.joints[[4, 8, 12, 16]] @ across])
        owner = (np.argsort(order) >= 4).astype(int)
        assert np.abs(np.diff(owner)).sum() >= 2, "sorted along the knuckles, the tips alternate at least twice"


@pytest.mark.parametrize("view", ALL_VIEWS)
def test_all_joints_are_in_the_picture_and_fill_it_as_told(view):
    for seed in range(8):
        item = scene([10, seed], views=(view,))
        points = np.concatenate([pixels(item, hand) for hand in item.hands])
        assert (points > 0).all() and (points < 255).all()
        side = (points.max(axis=0) - points.min(axis=0)).max() / 256
        assert 0.499 < side < 0.741
        assert item.focal[0] == item.focal[1] > 100
        assert min(hand.joints[:, 2].min() for hand in item.hands) > 60


def forearms(view, side, count=60):
    """Return directions in the picture from wrist to elbow of single hands."""
    directions = []
    for seed in range(count):
        item = scene([11, seed], kinds=(side,), views=(view,))
        hand = item.hands[0]
        elbow = hand.vertices[-24:].mean(axis=0)
        directions.append((elbow - hand.joints[20])[:2])
    directions = np.array(directions)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_forearms_come_from_below_and_from_their_own_side():
    facing_right, facing_left = forearms("frontal", "right"), forearms("frontal", "left")
    own_right = forearms("egocentric", "right")
    for directions in (facing_right, facing_left, own_right):
        assert (directions[:, 1] > 0).mean() > 0.8
    assert facing_right[:, 0].mean() < -0.1 < 0.1 < facing_left[:, 0].mean()
    assert own_right[:, 0].mean() > 0.1


def test_elbows_are_out_now_and_then():
    across = forearms("frontal", "right")[:, 0]
    assert 0.08 < (across < -0.75).mean() < 0.4


def test_lowered_arms_hang_from_above():
    right, left = forearms("lowered", "right"), forearms("lowered", "left")
    for directions in (right, left):
        assert (directions[:, 1] < 0).mean() > 0.8
    assert right[:, 0].mean() < -0.1 < 0.1 < left[:, 0].mean()


def test_hands_held_out_are_nearer_than_their_elbows():
    """The forearm is behind the hand then, and no longer tells left from right."""
    for side in ("right", "left"):
        deep = []
        for seed in range(60):
            hand = scene([15, seed], kinds=(side,), views=("reaching",)).hands[0]
            forearm = hand.vertices[-24:].mean(axis=0) - hand.joints[20]
            deep.append(forearm[2] / np.linalg.norm(forearm))
        assert np.mean(deep) > 0.6 and np.mean(np.array(deep) > 0.3) > 0.85


def test_the_tail_covers_the_sphere():
    directions = forearms("any", "right")
    assert (directions[:, 1] < 0).mean() > 0.3


def test_whose_hands_they_are_can_be_told_from_where_the_elbows_are():
    for view, expected in (("frontal", -1), ("reaching", -1), ("egocentric", 1)):
        signs = []
        for seed in range(20):
            right, left = scene([12, seed], kinds=("contact",), views=(view,)).hands
            signs.append(np.sign((right.vertices[-24:].mean(axis=0) - left.vertices[-24:].mean(axis=0))[0]))
        assert np.mean(np.array(signs) == expected) > 0.8


def test_a_left_hand_is_a_mirrored_right_one():
    for seed in range(5):
        right = scene([13, seed], kinds=("right",)).hands[0]
        left = scene([13, seed], kinds=("left",)).hands[0]
        for hand, sign in ((right, 1), (left, -1)):
            wrist, index, pinky, thumb = (hand.joints[j].astype(float) for j in (20, 7, 19, 3))
            palm = np.cross(index - wrist, pinky - wrist) * sign
            assert palm @ (thumb - wrist) > -0.35 * np.linalg.norm(palm) * np.linalg.norm(thumb - wrist)
            a, b, c = (hand.vertices[faces_of(hand)[:, k]].astype(float) for k in range(3))
            centre = hand.vertices.mean(axis=0)
            assert np.einsum("ij,ij->", a - centre, np.cross(b - centre, c - centre)) > 0, "faces look outward"


def test_both_hands_of_a_person_are_alike_and_people_differ():
    lengths = []
    for seed in range(40):
        rest = draw_body(np.random.default_rng(seed)).rest[0]
        lengths.append(np.linalg.norm(rest.heads[HandModel.load().bone("finger3-1")]))
    assert np.std(lengths) > 4


def test_every_recipe_can_be_carried_out(monkeypatch):
    from unclasp.synth import placement

    rng = np.random.default_rng(0)
    body = draw_body(rng)
    for recipes, draw in ((TOUCHES, placement._touching), (MIRRORS, placement._mirrored)):
        for name, recipe in recipes.items():
            monkeypatch.setattr(placement, "TOUCHES" if recipes is TOUCHES else "MIRRORS", {name: recipe})
            pairs = [draw(rng, body) for _ in range(30)]
            assert any(pair is not None for pair in pairs), name


def square(z):
    x, y = np.meshgrid(np.arange(-30.0, 31, 3), np.arange(-30.0, 31, 3))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1)
    return points


def test_settling_closes_gaps_and_resolves_overlap():
    up, down = np.tile([0.0, 0, 1], (441, 1)), np.tile([0.0, 0, -1], (441, 1))
    floor = Surface(square(0.0), up)
    for height in (12.0, -8.0):
        moved = settle(floor, Surface(square(height), down), depth=2.6)
        assert moved is not None
        assert -2.7 < height + moved[2] < 1.6
    resting = settle(floor, Surface(square(1.0), down), depth=2.6)
    np.testing.assert_array_equal(resting, 0)


def test_praying_hands_push_against_each_other(monkeypatch):
    """The forearms are further apart than the hands, whose wrists are bent."""
    from unclasp.synth import placement

    monkeypatch.setattr(placement, "MIRRORS", {"prayer": MIRRORS["prayer"]})
    rng = np.random.default_rng(17)
    body, bends = draw_body(rng), []
    while len(bends) < 60:
        pair = placement._mirrored(rng, body)
        if pair is not None:
            bends += [np.rad2deg(-hand.pose[23]) for hand in (pair.right, pair.left)]
    assert np.mean(bends) == pytest.approx(45, abs=8)


def test_forearms_come_from_the_other_side_as_often_as_asked():
    """One hand of somebody who faces the camera: the right elbow is at the left, unless it is asked for otherwise."""

    def share(other_side):
        options = {"kinds": ("right",), "views": ("frontal",), "other_side": other_side}
        hands = [scene(seed, **options).hands[0] for seed in range(60)]
        loop = len(HandModel.load().loop)
        return np.mean([hand.vertices[-loop:, 0].mean() > hand.joints[20, 0] for hand in hands])

    assert share(0.0) < 0.35 and share(1.0) > 0.65
