"""The orders of other libraries against rendered pictures, where it is known which finger each pixel shows."""

import numpy as np
import pytest

from unclasp import geometry
from unclasp.hands import FINGERS, HAND_PART_NAMES, PARTS_PER_HAND, SIDES, Order
from unclasp.pose import Camera, HandPose

pytest.importorskip("numba", reason="rendering needs numba")
from unclasp.data.synthetic import sample_from_generated
from unclasp.synth.generate import Generated, generate

# As each library documents its own order: the finger and the step from its base (1) to its tip (4).
FIVE_BY_FOUR = [("wrist", 0), *((finger, step) for finger in FINGERS for step in (1, 2, 3, 4))]
MANO = [
    ("wrist", 0),
    *((finger, step) for finger in ("index", "middle", "pinky", "ring", "thumb") for step in (1, 2, 3)),
    *((finger, 4) for finger in ("thumb", "index", "middle", "ring", "pinky")),
]
ORDERS: dict[Order, list[tuple[str, int]]] = {
    "mediapipe": FIVE_BY_FOUR, "openpose": FIVE_BY_FOUR, "freihand": FIVE_BY_FOUR, "mano": MANO,
}  # fmt: skip


@pytest.fixture(scope="module")
def scenes() -> list[tuple[HandPose, Generated]]:
    """True poses of rendered pictures, with what is known of their pixels."""
    found = []
    for index in range(12):
        generated = generate(5, index)
        sample = sample_from_generated(generated, str(index))
        with np.errstate(invalid="ignore"):  # absent hands are at 0, 0, 0
            joints_2d = geometry.project(sample.joints_cam, sample.focal, sample.princpt)
        pose = HandPose(
            joints_2d=joints_2d, joints_3d=geometry.relative_to_roots(sample.joints_cam), joints_cam=sample.joints_cam,
            presence=sample.hand_type.astype(float), box=sample.box, depth_assumed=None, model="truth",
            camera=Camera(focal=tuple(sample.focal), princpt=tuple(sample.princpt), assumed=None),
            image_size=sample.image.shape[1::-1],
        )  # fmt: skip
        found.append((pose, generated))
    return found


def finger_at(generated: Generated, pixel: np.ndarray, depth: float) -> tuple[str, str] | None:
    """Return the side and the finger (or palm) that is seen at a pixel.

    None outside of the picture or of hands, and where what is seen is over 14 mm, a finger, in front of `depth`.
    """
    parts = generated.parts
    u, v = np.round(pixel).astype(int)
    if not (0 <= u < parts.shape[1] and 0 <= v < parts.shape[0]) or parts[v, u] == 0:
        return None
    if depth - generated.depth[v, u] > 14:
        return None
    side, part = divmod(int(parts[v, u]) - 1, PARTS_PER_HAND)
    return SIDES[side], HAND_PART_NAMES[part].split("_")[0]


def agreement(scenes: list[tuple[HandPose, Generated]], order: Order, names: list[tuple[str, int]]) -> float:
    """Return the share of the finger joints seen, beyond the base, that lie on the finger they are said to be of."""
    hits = []
    for pose, generated in scenes:
        for side, hand in pose.to(order).items():
            for (finger, step), pixel, place in zip(names, hand.joints_2d, hand.joints_cam, strict=True):
                at = finger_at(generated, pixel, place[2]) if step >= 2 else None
                if at is not None and at[0] == side:  # where the other hand is in front, nothing can be told
                    hits.append(at[1] == finger)
    assert len(hits) > 100
    return float(np.mean(hits))


@pytest.mark.parametrize("order", list(ORDERS))
def test_each_joint_lies_on_the_finger_that_the_library_says(
    scenes: list[tuple[HandPose, Generated]], order: Order
) -> None:
    """Nearly all do, but for those at the edge of a finger. A wrong order is far below, as the next test shows."""
    assert agreement(scenes, order, ORDERS[order]) > 0.9


def test_a_wrong_order_is_noticed(scenes: list[tuple[HandPose, Generated]]) -> None:
    assert agreement(scenes, "mano", FIVE_BY_FOUR) < 0.5
    assert agreement(scenes, "mediapipe", MANO) < 0.5
    exchanged = [(f, s) if f not in ("ring", "pinky") else ("pinky" if f == "ring" else "ring", s) for f, s in MANO]
    assert agreement(scenes, "mano", exchanged) < agreement(scenes, "mano", MANO) - 0.2


def test_tips_are_at_the_end(scenes: list[tuple[HandPose, Generated]]) -> None:
    """Along a finger every step is one bone on: the distance between neighbours is that of a bone, for every order."""
    for order, names in ORDERS.items():
        for pose, _ in scenes:
            for hand in pose.to(order).values():
                at = dict(zip(names, hand.joints_3d, strict=True))
                np.testing.assert_allclose(at["wrist", 0], 0, atol=1e-4)
                for finger in FINGERS:
                    steps = [np.linalg.norm(at[finger, n + 1] - at[finger, n]) for n in (1, 2, 3)]
                    assert min(steps) > 8 and max(steps) < 65
