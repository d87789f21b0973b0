"""The landmark network: its crop, the way back to the picture, the shipped file, and what it moves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from made_results import reading_of
from unclasp import geometry
from unclasp.arrays import Floats, Pixels, Singles
from unclasp.data.transforms import crop_image
from unclasp.engines.network import NetworkOutput
from unclasp.errors import CheckpointError
from unclasp.find import touch_up
from unclasp.find.boxes import snapped, snapped_rotation
from unclasp.find.crop_result import CropResult
from unclasp.find.landmarks import FEATURES, OUTPUTS, SIZE, LandmarkReading, Landmarks, crop_of, open_landmarks
from unclasp.find.touch_up import (
    MAX_CONFIDENCE_TO_FOLLOW,
    MAX_MOVE,
    MAX_READS,
    OWN_SHARE,
    SAME_HAND_DISTANCE,
    TouchUp,
)
from unclasp.hands import HAND_ORDERS, HAND_SLICES, SIDES, Side
from unclasp.predictor import Predictor
from unclasp.shipped import WEIGHTS

PICTURE = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)


def upright_hand() -> Floats:
    """(21, 2) px in InterHand2.6M's order: a flat hand that points up, its wrist at (150, 180)."""
    joints = np.zeros((21, 2))
    for finger, x in enumerate((-40.0, -20.0, 0.0, 20.0, 40.0)):
        for from_tip in range(4):
            joints[4 * finger + from_tip] = x, -120 + 20 * from_tip
    return joints + np.array([150.0, 180.0])


def turned(joints: Floats, degrees: float) -> Floats:
    """Turn clockwise in the picture, y being down."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return joints @ np.array([[cos, sin], [-sin, cos]])


def in_crop(joints: Floats) -> Floats:
    square, rotation = crop_of(joints)
    return geometry.apply_affine(geometry.crop_matrix(square, SIZE, rotation), joints)


class Told:
    """Answers with fixed joints (21, 2) in crop px, MediaPipe's order; depths and features count up."""

    def __init__(self, joints: Floats, hand: float = 1.0, right: float = 1.0) -> None:
        self.joints, self.hand, self.right = joints, hand, right
        self.seen: list[Pixels] = []

    def __call__(self, image: Pixels, /) -> list[Singles]:
        self.seen.append(image)
        joints = np.column_stack([self.joints, np.arange(21)])
        numbers = (joints, np.array([self.hand]), np.array([self.right]), np.arange(FEATURES))
        return [np.asarray(each, np.float32)[None] for each in numbers]


@pytest.mark.parametrize("degrees", [0.0, 45.0, -120.0, 180.0])
@pytest.mark.parametrize("size", [0.2, 3.0])
def test_the_crop_turns_and_grows_with_the_hand(degrees: float, size: float) -> None:
    moved = size * turned(upright_hand(), degrees) + [7, -3]
    np.testing.assert_allclose(in_crop(moved), in_crop(upright_hand()), atol=1e-6)
    assert crop_of(moved)[1] % 360 == pytest.approx(degrees % 360)


def test_the_crop_shows_the_whole_hand_pointing_up() -> None:
    joints = in_crop(turned(upright_hand(), 70))
    assert joints.min() > 0 and joints.max() < SIZE
    assert joints[20, 1] > joints[:20, 1].max(), "the wrist is the lowest"


def test_joints_on_one_point_have_a_crop() -> None:
    square, _ = crop_of(np.full((21, 2), 5.0))
    assert square[2] > square[0] and np.isfinite(square).all()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("degrees", [0.0, 100.0])
def test_a_reading_returns_to_the_picture_and_its_order(degrees: float, side: Side) -> None:
    hand = 0.8 * turned(upright_hand() - 150, degrees) + [140, 90]
    rough = hand + np.random.default_rng(0).normal(0, 2, hand.shape)
    mirror = geometry.flip_matrix(PICTURE.shape[1]) if side == "left" else np.eye(3)
    shown = PICTURE if side == "right" else np.ascontiguousarray(PICTURE[:, ::-1])
    square, rotation = crop_of(geometry.apply_affine(mirror, rough))
    square, rotation = snapped(square, PICTURE, SIZE), snapped_rotation(rotation)
    crop = crop_image(shown, geometry.turned_box(square, SIZE, rotation), SIZE, rotation=rotation)
    seen = geometry.apply_affine(crop.crop_from_image @ mirror, hand)
    network = Told(seen[HAND_ORDERS["mediapipe"]], hand=0.75, right=0.25)
    reading = Landmarks(network)(PICTURE, rough, side)
    np.testing.assert_allclose(reading.joints_2d, hand, atol=1e-3)
    assert (reading.hand_score, reading.side_score) == (0.75, 0.25)
    np.testing.assert_allclose(geometry.apply_affine(reading.crop_from_image, hand), reading.joints[:, :2], atol=1e-3)
    np.testing.assert_array_equal(reading.joints[HAND_ORDERS["mediapipe"], 2], np.arange(21))
    np.testing.assert_array_equal(reading.features, np.arange(FEATURES))
    np.testing.assert_allclose(network.seen[0].astype(int), crop.image.astype(int), atol=1)  # rounding


class Reads:
    """A landmark network that reads each hand a shift away."""

    def __init__(self, shift: Floats, *, hand: float = 1.0, of_side: float = 1.0) -> None:
        self.shift, self.hand, self.of_side = shift, hand, of_side
        self.asked: list[Side] = []

    def __call__(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
        self.asked.append(side)
        return reading_of(joints_2d + self.shift, self.hand, self.of_side)


def seen_hands(presence: tuple[float, float] = (1.0, 1.0), sure: float | None = 0.5) -> CropResult:
    pose = np.zeros((1, 42, 3))
    hand = 0.5 * (upright_hand() - 150)
    pose[0, HAND_SLICES[0], :2], pose[0, HAND_SLICES[1], :2] = hand + np.array([40, 60]), hand + np.array([110, 60])
    pose[0, :, 2] = np.arange(42)
    confidence = None if sure is None else np.full((1, 42), sure)
    answer = NetworkOutput(pose, np.array([presence]), np.array([30.0]), np.zeros((1, 4, 4)), confidence)
    image_from_crop = np.array([[2.0, 0, 10], [0, 2.0, 5], [0, 0, 1]])
    return CropResult(answer, image_from_crop, np.array([0.0, 0.0, 200.0, 200.0]), 100)


@pytest.mark.parametrize("sure", [0.5, 0.9, None])
def test_joints_move_more_the_lower_their_confidence_and_nothing_else_changes(sure: float | None) -> None:
    before = seen_hands(sure=sure)
    reads: Any = Reads(np.array([6.0, -4.0]))
    after = TouchUp(reads)(before, PICTURE)
    share = 0.5 if sure is None else 1 - OWN_SHARE * sure
    moved = after.joints_2d - before.joints_2d
    np.testing.assert_allclose(moved, np.tile([6.0 * share, -4.0 * share], (42, 1)), atol=1e-9)
    np.testing.assert_array_equal(after.output.pose_2p5d[..., 2], before.output.pose_2p5d[..., 2])
    np.testing.assert_array_equal(after.output.presence, before.output.presence)
    assert before.output.pose_2p5d[0, 20, 0] == seen_hands().output.pose_2p5d[0, 20, 0], "the first result is unchanged"


@pytest.mark.parametrize(
    "reads",
    [
        Reads(np.array([6.0, -4.0]), hand=0.4),
        Reads(np.array([60.0, 0.0])),
        Reads(np.array([6.0, -4.0]), of_side=0.3),
    ],
    ids=["no hand", "elsewhere", "of the other side"],
)
def test_a_hand_stays_where_it_is_unless_both_agree(reads: Any) -> None:
    before = seen_hands()
    after = TouchUp(reads)(before, PICTURE)
    np.testing.assert_array_equal(after.joints_2d, before.joints_2d)


class Finds:
    """A landmark network that goes a share of the way to one place, whatever the crop."""

    def __init__(self, place: Floats, *, share: float = 1.0, hand: float = 1.0, of_side: float = 1.0) -> None:
        self.place, self.share, self.hand, self.of_side = place, share, hand, of_side
        self.calls = 0

    def __call__(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
        self.calls += 1
        return reading_of(joints_2d + self.share * (self.place - joints_2d), self.hand, self.of_side)


def right_hand_farther(share: float) -> Floats:
    """The right hand of `hand_detector`, a share of its extent farther left: away from the left one."""
    joints = seen_hands().joints_2d[HAND_SLICES[0]]
    return joints - [share * np.ptp(joints, axis=0).max(), 0]


def test_a_doubtful_hand_is_followed_to_its_reading() -> None:
    before, place = seen_hands((1.0, 0.0), sure=0.1), right_hand_farther(0.5)
    reads: Any = Finds(place, share=0.7)
    joints = TouchUp(reads)(before, PICTURE).joints_2d[HAND_SLICES[0]]
    steps = [np.abs(joints - each).max() for each in (place, before.joints_2d[HAND_SLICES[0]])]
    assert reads.calls == 3 and steps[0] < 0.15 * steps[1], "a second reading nearby ends it"


@pytest.mark.parametrize(
    ("sure", "finds"),
    [
        (MAX_CONFIDENCE_TO_FOLLOW + 0.01, Finds(right_hand_farther(0.5))),
        (0.1, Finds(right_hand_farther(0.5), of_side=0.3)),
        (0.1, Finds(right_hand_farther(0.5), hand=0.4)),
        (0.1, Finds(right_hand_farther(1.05 * MAX_MOVE))),
        (0.1, Reads(np.array([-30.0, 0.0]))),
        (None, Finds(right_hand_farther(0.5))),
    ],
    ids=["not in doubt", "of the other side", "no hand", "far off", "still on its way", "doubt untold"],
)
def test_a_hand_is_followed_only_for_good_reasons(sure: float | None, finds: Any) -> None:
    before = seen_hands((1.0, 0.0), sure=sure)
    np.testing.assert_array_equal(TouchUp(finds)(before, PICTURE).joints_2d, before.joints_2d)
    calls = len(finds.asked) if isinstance(finds, Reads) else finds.calls
    assert calls <= 1 + MAX_READS


def test_without_the_landmark_network_results_stay_as_they_are() -> None:
    before, touch_up = seen_hands(), TouchUp()
    assert touch_up(before, PICTURE) is before
    assert all(each is before for each in touch_up.for_video(before, PICTURE))


def test_in_videos_no_hand_is_followed() -> None:
    before = seen_hands((1.0, 0.0), sure=0.1)
    reads: Any = Finds(right_hand_farther(0.5))
    frame, _ = TouchUp(reads).for_video(before, PICTURE)
    np.testing.assert_array_equal(frame.joints_2d, before.joints_2d)
    assert reads.calls == 1


def test_a_hand_that_is_followed_stays_in_one_piece() -> None:
    """Joints with a high confidence do not stay behind."""
    before, place = seen_hands((1.0, 0.0)), right_hand_farther(0.5)
    confidence = np.tile(np.where(np.arange(42) % 4, 0.05, 0.9), (1, 1))
    before = before._replace(output=before.output._replace(confidence=confidence))
    assert 0.2 < before.confidence(0) < MAX_CONFIDENCE_TO_FOLLOW
    reads: Any = Finds(place)
    moved = (TouchUp(reads)(before, PICTURE).joints_2d - before.joints_2d)[HAND_SLICES[0]]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-9)
    assert abs(moved[0, 0]) > 0


@pytest.mark.parametrize(("presence", "moves"), [((1.0, 1.0), False), ((1.0, 0.0), True)])
def test_a_hand_is_not_followed_to_the_other_one(presence: tuple[float, float], moves: bool) -> None:
    """The place is nearer to the left hand than to the right one, whether or not there is one."""
    before = seen_hands(presence, sure=0.1)
    right, left = (before.joints_2d[joints] for joints in HAND_SLICES)
    reads: Any = Finds(0.45 * right + 0.55 * left)
    extent = np.ptp(right, axis=0).max()
    assert SAME_HAND_DISTANCE * extent < np.linalg.norm(reads.place - right, axis=1).mean() < MAX_MOVE * extent
    moved = TouchUp(reads)(before, PICTURE).joints_2d - before.joints_2d
    assert bool(moved[HAND_SLICES[0]].any()) == moves


def test_hands_that_a_single_picture_doubts_are_read_too() -> None:
    """A video may keep them."""
    before = seen_hands((1.0, 0.4))
    reads: Any = Reads(np.array([6.0, -4.0]))
    moved = TouchUp(reads)(before, PICTURE).joints_2d - before.joints_2d
    assert moved[HAND_SLICES[1]].all()


@pytest.mark.parametrize(("share", "moves"), [(0.95, True), (1.05, False)])
def test_how_near_is_near(share: float, moves: bool) -> None:
    before = seen_hands()
    extent = np.ptp(before.joints_2d[HAND_SLICES[0]], axis=0).max()
    reads: Any = Reads(np.array([share * SAME_HAND_DISTANCE * extent, 0.0]))
    assert bool((TouchUp(reads)(before, PICTURE).joints_2d != before.joints_2d).any()) == moves


@pytest.mark.parametrize("unknown", [{"hand": np.nan}, {"of_side": np.nan}, {"shift": np.array([np.nan, 0.0])}])
def test_what_is_not_finite_moves_nothing(unknown: dict[str, Any]) -> None:
    before = seen_hands()
    reads: Any = Reads(**({"shift": np.array([6.0, -4.0])} | unknown))
    np.testing.assert_array_equal(TouchUp(reads)(before, PICTURE).joints_2d, before.joints_2d)


def test_joints_that_are_not_finite_are_not_followed() -> None:
    nowhere = Landmarks(Told(np.full((21, 2), np.nan), hand=0.9, right=0.9))
    reading = nowhere(PICTURE, upright_hand(), "right")
    assert reading.hand_score > 0.8 and touch_up.follow(reading, PICTURE, "right", nowhere) is None


@pytest.mark.parametrize("place", [np.array([-4000.0, 90.0]), None])
def test_hands_outside_of_the_picture_or_on_one_point_stay(place: Floats | None) -> None:
    before = seen_hands()
    pose = before.output.pose_2p5d.copy()
    pose[0, :, :2] = 50.0 if place is None else pose[0, :, :2] + place
    before = before._replace(output=before.output._replace(pose_2p5d=pose))
    np.testing.assert_array_equal(TouchUp(open_landmarks())(before, PICTURE).joints_2d, before.joints_2d)


@pytest.mark.parametrize("slot", [0, 1])
def test_only_hands_that_are_there_are_read(slot: int) -> None:
    reads: Any = Reads(np.array([6.0, -4.0]))
    before = seen_hands((1.0, 0.1) if slot == 0 else (0.1, 1.0))
    moved = TouchUp(reads)(before, PICTURE).joints_2d - before.joints_2d
    assert reads.asked == [SIDES[slot]]
    assert moved[HAND_SLICES[slot]].any() and not moved[HAND_SLICES[1 - slot]].any()


def test_rendered_hands_are_read_at_their_joints() -> None:
    """The shipped network, whose training we do not have, on hands of which we know the joints."""
    pytest.importorskip("numba", reason="rendering is an extra")
    from unclasp.data import open_dataset

    landmarks, rng = open_landmarks(), np.random.default_rng(0)
    dataset = open_dataset("synthetic:val")
    errors, sides, shown = [], [], []
    for index in range(60):
        sample = dataset[index]
        if sample.interacting:
            continue
        slot = int(sample.hand_type.argmax())
        joints = geometry.project(
            np.where(sample.valid[:, None], sample.joints_cam, 1.0), sample.focal, sample.princpt
        )[HAND_SLICES[slot]]
        extent = np.ptp(joints, axis=0).max()
        reading = landmarks(sample.image, joints + rng.normal(0, 0.05 * extent, (21, 2)), SIDES[slot])
        errors.append(np.linalg.norm(reading.joints_2d - joints, axis=1).mean() / extent)
        sides.append(reading.side_score > 0.5)
        shown.append(reading.hand_score)
    assert len(errors) > 8
    assert np.median(errors) < 0.1 and np.mean(sides) > 0.8 and np.median(shown) > 0.9


def test_noise_is_no_hand() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3)).astype(np.uint8)
    assert open_landmarks()(noise, upright_hand(), "right").hand_score < 0.1


def test_what_is_no_landmark_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"there is no landmark network .*none\.onnx; leave it out",
    ):
        open_landmarks(tmp_path / "none.onnx")
    (tmp_path / "torn.onnx").write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match=r"is no .* that .* can read"):
        open_landmarks(tmp_path / "torn.onnx")
    finder = WEIGHTS / "finder.onnx"
    with pytest.raises(CheckpointError, match="is no landmark network"):
        open_landmarks(finder)


def test_predictions_can_do_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("unclasp.engines.onnx_engine.WEIGHTS", tmp_path)
    with pytest.raises(CheckpointError, match="there is no landmark network"):
        Predictor.load(detector="none")
    assert Predictor.load(detector="none", landmarks=False).landmarks is None


def test_the_command_moves_joints_a_little(tmp_path: Path) -> None:
    picture = Path(__file__).parents[1] / "examples" / "two_hands.jpg"
    poses = []
    for flag in ("--landmarks", "--no-landmarks"):
        out = tmp_path / flag
        words = [sys.executable, "-m", "unclasp", "predict", str(picture), "--out", str(out), flag]
        subprocess.run(words, check=True, capture_output=True)
        poses.append(json.loads((out / "two_hands.json").read_text()))
    moved, plain = (np.array([hand["joints_2d"] for hand in pose["hands"]]) for pose in poses)
    depths = [np.array([hand["joints_3d"] for hand in pose["hands"]])[..., 2] for pose in poses]
    assert 0.5 < np.abs(np.subtract(*depths)).mean() < 15
    assert poses[0]["presence"] == poses[1]["presence"]
    extent = np.ptp(plain.reshape(-1, 2), axis=0).max()
    assert 0 < np.linalg.norm(moved - plain, axis=-1).mean() < 0.1 * extent


def test_outputs_are_named_as_the_export_names_them() -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    import onnx

    path = WEIGHTS / "landmarks.onnx"
    model = onnx.load(path)
    assert tuple(each.name for each in model.graph.output) == OUTPUTS
    large = [each for each in model.graph.initializer if np.prod(each.dims) > 100]
    assert large and all(each.data_type == onnx.TensorProto.FLOAT16 for each in large)


def test_mirror_images_are_read_alike() -> None:
    picture = cv2.GaussianBlur(PICTURE, (9, 9), 0)
    hand = 0.8 * turned(upright_hand() - 150, 40) + [140, 90]
    mirror = geometry.flip_matrix(picture.shape[1])
    landmarks = open_landmarks()
    right = landmarks(picture, hand, "right")
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    left = landmarks(mirrored, geometry.apply_affine(mirror, hand), "left")
    np.testing.assert_allclose(geometry.apply_affine(mirror, left.joints_2d), right.joints_2d, atol=2e-2)
    assert (left.hand_score, left.side_score) == pytest.approx((right.hand_score, right.side_score), abs=1e-4)


@pytest.mark.parametrize(("joints", "told"), [(20, "expected finite outputs"), (21, None)])
def test_answers_of_another_shape_are_no_landmark_network_s(tmp_path: Path, joints: int, told: str | None) -> None:
    onnx = pytest.importorskip("onnx", reason="exporting is an extra")
    make, array, single = onnx.helper, onnx.numpy_helper.from_array, onnx.TensorProto.FLOAT
    nodes = [make.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0)]
    held, answers = [], []
    for name, shape in zip(OUTPUTS, ((1, joints, 3), (1, 1), (1, 1), (1, FEATURES)), strict=True):
        weight, extents, flat = (f"{name}_{what}" for what in ("weight", "extents", "flat"))
        held += [array(np.zeros((3, np.prod(shape)), np.float32), weight), array(np.array(shape), extents)]
        nodes += [
            make.make_node("MatMul", ["mean", weight], [flat]),
            make.make_node("Reshape", [flat, extents], [name]),
        ]
        answers.append(make.make_tensor_value_info(name, single, shape))
    asked = make.make_tensor_value_info("image", single, (1, 3, SIZE, SIZE))
    graph = make.make_graph(nodes, "small", [asked], answers, held)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "small.onnx")
    if told is None:
        assert open_landmarks(tmp_path / "small.onnx")(PICTURE, upright_hand(), "right").hand_score == 0
        return
    with pytest.raises(CheckpointError, match=rf"small\.onnx is no landmark network: {told}"):
        open_landmarks(tmp_path / "small.onnx")


def test_a_result_gets_the_hand_scores() -> None:
    """The likelihood of a hand of that side; of the place that a hand in doubt was followed to; 0 of unasked hands."""
    reads: Any = Reads(np.array([2.0, 0.0]), hand=0.8, of_side=0.5)
    np.testing.assert_allclose(TouchUp(reads)(seen_hands(), PICTURE).hand_scores, [0.4, 0.4])
    np.testing.assert_allclose(TouchUp(reads)(seen_hands(presence=(1.0, 0.1)), PICTURE).hand_scores, [0.4, 0])

    class Farther(Reads):
        def __call__(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
            self.shift = self.shift if len(self.asked) < 1 else np.zeros(2)
            self.likely = 0.6 if len(self.asked) < 1 else 0.9
            return super().__call__(image, joints_2d, side)._replace(hand_score=self.likely, side_score=1.0)

    result = seen_hands(presence=(1.0, 0.1), sure=0.5 * MAX_CONFIDENCE_TO_FOLLOW)
    far: Any = Farther(np.array([0.5 * geometry.extent(result.joints_2d[HAND_SLICES[0]]), 0.0]))
    after = TouchUp(far)(result, PICTURE)
    assert (after.joints_2d != result.joints_2d).any() and after.hand_scores is not None and after.hand_scores[0] == 0.9
