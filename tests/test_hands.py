"""The tables of hands.py, checked against facts from other sources."""

from itertools import pairwise

import numpy as np
import pytest

from unclasp import hands


def names_in(order: hands.Order) -> list[str]:
    return [hands.HAND_JOINT_NAMES[joint] for joint in hands.HAND_ORDERS[order]]


def test_joints_are_in_the_order_of_skeleton_txt() -> None:
    from pathlib import Path

    path = Path(__file__).parent / "data" / "golden" / "interhand_mini" / "annotations" / "skeleton.txt"
    rows = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert len(rows) == hands.NUM_JOINTS
    assert [int(index) for _, index, _ in rows] == list(range(42))
    assert [int(parent) for _, _, parent in rows] == list(hands.PARENTS)
    assert [name.replace("_null", "4") for name, _, _ in rows] == list(hands.JOINT_NAMES)


def test_known_joints() -> None:
    assert hands.JOINT_NAMES[0] == "r_thumb4"
    assert hands.JOINT_NAMES[11] == "r_middle1"
    assert hands.JOINT_NAMES[20] == "r_wrist"
    assert hands.JOINT_NAMES[32] == "l_middle1"
    assert hands.JOINT_NAMES[41] == "l_wrist"
    assert len(set(hands.JOINT_NAMES)) == 42


def test_every_joint_reaches_its_own_wrist_by_its_parents() -> None:
    for joint in range(42):
        path = [joint]
        while hands.PARENTS[path[-1]] >= 0:
            path.append(hands.PARENTS[path[-1]])
            assert len(path) <= 5
        assert path[-1] == hands.ROOT_OF_JOINT[joint] == (20 if joint < 21 else 41)
    assert [hands.PARENTS[root] for root in hands.ROOTS] == [-1, -1]
    assert len(hands.BONES) == 40
    assert {joint for joint, _ in hands.BONES} == set(range(42)) - set(hands.ROOTS)


@pytest.mark.parametrize("order", list(hands.HAND_ORDERS))
def test_orders_are_permutations(order: hands.Order) -> None:
    assert sorted(hands.HAND_ORDERS[order]) == list(range(21))


def test_orders_of_other_libraries() -> None:
    mediapipe = names_in("mediapipe")
    assert mediapipe[:5] == ["wrist", "thumb1", "thumb2", "thumb3", "thumb4"]
    assert mediapipe[8] == "index4"
    assert mediapipe[9] == "middle1"
    assert mediapipe[20] == "pinky4"
    assert names_in("openpose") == names_in("freihand") == mediapipe
    mano = names_in("mano")
    knuckles = [f"{finger}{step}" for finger in ("index", "middle", "pinky", "ring", "thumb") for step in (1, 2, 3)]
    assert mano == ["wrist", *knuckles, "thumb4", "index4", "middle4", "ring4", "pinky4"]
    assert names_in("interhand") == list(hands.HAND_JOINT_NAMES)


def test_flips_swap_sides_and_undo_themselves() -> None:
    joints = hands.FLIPPED_JOINTS
    assert (joints[joints] == np.arange(42)).all()
    for joint, name in enumerate(hands.JOINT_NAMES):
        other = hands.JOINT_NAMES[joints[joint]]
        assert name[0] != other[0]
        assert name[1:] == other[1:]
    parts = hands.FLIPPED_PARTS
    assert (parts[parts] == np.arange(33)).all()
    assert parts[0] == 0
    for part in range(1, 33):
        name, other = hands.PART_NAMES[part], hands.PART_NAMES[parts[part]]
        assert name[0] != other[0]
        assert name[1:] == other[1:]


def test_part_classes() -> None:
    assert len(hands.PART_NAMES) == len(set(hands.PART_NAMES)) == hands.NUM_PARTS == 33
    assert hands.PART_NAMES[1] == "r_palm"
    assert hands.PART_NAMES[7] == "r_index_distal"
    assert hands.PART_NAMES[17] == "l_palm"
    assert hands.PART_NAMES[32] == "l_pinky_distal"


@pytest.mark.parametrize("joint", range(42))
def test_parts_at_a_joint_belong_to_its_hand_and_finger(joint: int) -> None:
    name = hands.JOINT_NAMES[joint]
    finger = name[2:].rstrip("1234")
    for part in hands.parts_at_joint(joint):
        part_name = hands.PART_NAMES[part]
        if part:
            assert part_name[0] == name[0]
        assert finger in part_name or part_name[2:] == "palm" or (finger == "wrist" and part == 0)


def test_neighbouring_joints_share_the_part_between_them() -> None:
    for finger in range(5):
        tip_to_base = [4 * finger + step for step in range(4)]
        for outer, inner in pairwise(tip_to_base):
            assert len(set(hands.parts_at_joint(outer)) & set(hands.parts_at_joint(inner))) == 1
        assert hands.parts_at_joint(tip_to_base[-1])[0] == 1


def test_colours_tell_all_parts_apart() -> None:
    assert hands.FINGER_COLOURS.shape == (2, 5, 3)
    assert hands.PART_COLOURS.shape == (33, 3)
    assert len({tuple(colour) for colour in hands.PART_COLOURS}) == 33
    assert (hands.PART_COLOURS[0] == 0).all()
