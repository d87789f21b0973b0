"""The fusion network: what it sees, what it may do, its file, and what the shipped one is worth."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import predict_here
from fusion_parts import a_look, a_net, changed, in_numpy, made_up_evidence, read_around, with_output
from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.config import DepthAxis
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.find.crop_result import CropResult
from unclasp.find.fusion import (
    DEPTH_CORRECTION_SHARE,
    NUMBERS,
    UNIT_MM,
    Fusion,
    can_fuse,
    fusion_input,
    open_fusion,
)
from unclasp.find.landmarks import FEATURES, SIZE, LandmarkReading, open_landmarks
from unclasp.find.touch_up import TouchUp
from unclasp.hands import HAND_SLICES, SIDES, Side
from unclasp.lifting import BONE_LENGTHS_MM
from unclasp.predictor import Predictor
from unclasp.shipped import WEIGHTS
from unclasp.video_writer import VideoWriter

PICTURE = np.zeros((200, 300, 3), np.uint8)
SHIPPED = WEIGHTS / "fusion.npz"


def test_numpy_and_torch_agree() -> None:
    net = a_net()
    numbers = np.random.default_rng(0).normal(0, 3, NUMBERS + FEATURES)
    with torch.inference_mode():
        expected = [answer[0].numpy() for answer in net(torch.from_numpy(numbers[None]).float())]
    share, deeper = in_numpy(net).forward(numbers)
    np.testing.assert_allclose(share, expected[0], atol=1e-5)
    np.testing.assert_allclose(deeper[:-1], expected[1][:-1], atol=1e-5)
    assert share.std() > 0.01 and deeper[:-1].std() > 0.01


def test_the_input_does_not_depend_on_the_hand_s_place_size_and_rotation() -> None:
    result = a_look()
    angle = np.deg2rad(70)
    moved_from_image = np.array([
        [1.7 * np.cos(angle), -1.7 * np.sin(angle), 300.0], [1.7 * np.sin(angle), 1.7 * np.cos(angle), 20.0], [0, 0, 1],
    ])  # fmt: skip
    moved = result._replace(image_from_crop=moved_from_image)
    for slot in (0, 1):
        pair = [fusion_input(each, slot, read_around(each, slot, picture_width=300)) for each in (result, moved)]
        np.testing.assert_allclose(pair[0].numbers, pair[1].numbers, atol=1e-6)
        assert pair[0].numbers.shape == (NUMBERS + FEATURES,)


def test_a_left_hand_is_the_right_one_of_the_mirror_image() -> None:
    result = a_look()
    mirrored = result.mapped(geometry.flip_matrix(300))
    fusion = in_numpy(a_net())
    for slot in (0, 1):
        here, there = (read_around(each, at, picture_width=300) for each, at in ((result, slot), (mirrored, 1 - slot)))
        np.testing.assert_allclose(
            fusion_input(result, slot, here).numbers, fusion_input(mirrored, 1 - slot, there).numbers, atol=1e-5
        )
        places, depths, confidence = fusion(result, slot, here)
        mirror_places, mirror_depths, mirror_confidence = fusion(mirrored, 1 - slot, there)
        np.testing.assert_allclose(geometry.apply_affine(geometry.flip_matrix(300), mirror_places), places, atol=1e-3)
        np.testing.assert_allclose(mirror_depths, depths, atol=1e-3)
        np.testing.assert_allclose(mirror_confidence, confidence, atol=1e-6)


def test_the_other_hand_is_an_input_only_if_it_may_be_present() -> None:
    numbers = []
    for presence in ((0.9, 0.8), (0.9, 0.1)):
        result = a_look(presence=presence)
        numbers.append(fusion_input(result, 0, read_around(result, 0, picture_width=300)).numbers)
    other = slice(NUMBERS - 85, NUMBERS)
    assert np.abs(numbers[0][other]).min() > 0 and not numbers[1][other].any()
    np.testing.assert_array_equal(np.delete(numbers[0], np.r_[other]), np.delete(numbers[1], np.r_[other]))


def test_depths_of_the_other_hand_are_relative_to_this_one_s_wrist() -> None:
    """40 mm further away is the left wrist than the right one."""
    result = a_look()
    depths = slice(NUMBERS - 43, NUMBERS - 22)
    for slot, behind in ((0, 40.0), (1, -40.0)):
        numbers = fusion_input(result, slot, read_around(result, slot, picture_width=300)).numbers
        expected = (result.output.pose_2p5d[0, HAND_SLICES[1 - slot], 2] + behind) / UNIT_MM
        np.testing.assert_allclose(numbers[depths], expected, atol=1e-9)


@pytest.mark.parametrize("slot", [0, 1])
def test_the_input_has_its_values_in_the_order_that_networks_are_trained_on(slot: int) -> None:
    """The other hand is too far away in the picture and in depth, and both networks are certain."""
    result, hand, other = a_look(presence=(0.9, 0.8)), HAND_SLICES[slot], HAND_SLICES[1 - slot]
    pose = result.output.pose_2p5d.copy()
    pose[0, other] += [5000.0, -5000.0, 1000.0]
    result = with_output(result, pose_2p5d=pose, root_depth=np.array([0.0]))
    reading = read_around(result, slot, picture_width=300)._replace(hand_score=1.0, side_score=0.0)
    crop, depths, sure = reading.crop_from_image, pose[0, :, 2], result.output.confidence
    assert sure is not None
    own = geometry.apply_affine(crop, pose[0, hand, :2]) / 224 - 0.5
    read = reading.joints / 224 - [0.5, 0.5, 0.0]
    inputs = fusion_input(result, slot, reading)
    expected = [
        own, depths[hand] / 100, sure[0, hand], result.output.presence[0, slot], read, read[:, :2] - own, [8.0, -8.0],
    ]  # fmt: skip
    front = np.concatenate([np.ravel(values) for values in expected])
    np.testing.assert_allclose(inputs.numbers[: len(front)], front, atol=1e-9)
    rest = inputs.numbers[len(front) + 1 :]
    assert (np.abs(rest[:42]) == 3).all() and (rest[42:63] == 4).all()
    np.testing.assert_array_equal(rest[63:], [*sure[0, other], 1.0, *np.log1p(reading.features)])
    np.testing.assert_allclose(inputs.own, np.column_stack([own, depths[hand] / 100]), atol=1e-9)
    np.testing.assert_allclose(inputs.read, read[:, :2], atol=1e-9)


def test_the_scale_is_that_of_the_mean_hand() -> None:
    """A hand without any depth, whose bones have their lengths at 2 px a mm: the crop's side in px is twice its mm."""
    result = a_look()
    pose = result.output.pose_2p5d.copy()
    for finger in range(5):
        lengths = np.array(BONE_LENGTHS_MM[4 * finger : 4 * finger + 4])
        for from_tip in range(4):
            pose[0, 4 * finger + from_tip] = [20.0 * finger, 0, 0]
            pose[0, 4 * finger + from_tip, 1] = -2 * lengths[from_tip:].sum()
    pose[0, HAND_SLICES[0], :2][:, 0] = 0  # fingers on one another, so that all bones lie along one line
    pose[0, 20] = 0
    result = result._replace(output=result.output._replace(pose_2p5d=pose))
    reading = read_around(result, 0, picture_width=300)
    side = SIZE / np.sqrt(np.linalg.det(reading.crop_from_image[:2, :2]))
    numbers = fusion_input(result, 0, reading).numbers
    assert numbers[NUMBERS - 86] == pytest.approx(np.log(side / 2 / UNIT_MM), abs=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_is_that_of_the_pose_network(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    result, fusion = a_look(), in_numpy(a_net())
    monkeypatch.setattr(fusion, "forward", lambda numbers: (np.full(21, share), np.full(21, 0.5)))
    inputs = fusion_input(result, 0, read_around(result, 0, picture_width=300))
    joints = fusion.joints(inputs)
    np.testing.assert_allclose(joints[:, :2], share * inputs.own[:, :2] + (1 - share) * inputs.read)
    np.testing.assert_allclose(joints[:-1, 2], inputs.own[:-1, 2] + 0.5 * DEPTH_CORRECTION_SHARE)


def test_places_lie_between_and_the_wrist_stays_the_origin() -> None:
    result, fusion = a_look(), in_numpy(a_net())
    for slot, joints in enumerate(HAND_SLICES):
        reading = read_around(result, slot, picture_width=300)
        places, depths, _ = fusion(result, slot, reading)
        own, read = result.joints_2d[joints], reading.joints_2d
        along = ((places - read) * (own - read)).sum(axis=1) / np.square(own - read).sum(axis=1)
        assert (along > 0).all() and (along < 1).all() and along.std() > 0.01
        np.testing.assert_allclose(places, along[:, None] * own + (1 - along[:, None]) * read, atol=1e-6)
        assert depths[-1] == 0
        _, lacking = fusion.forward(fusion_input(result, slot, reading).numbers)
        expected = result.output.pose_2p5d[0, joints, 2] + DEPTH_CORRECTION_SHARE * UNIT_MM * lacking
        np.testing.assert_allclose(depths[:-1], expected[:-1], atol=1e-9)
        assert np.abs(depths - result.output.pose_2p5d[0, joints, 2])[:-1].max() > 0.1


class Reads:
    """A landmark network that reads as `read_around`."""

    def __init__(self, result: CropResult, **changed: Any) -> None:
        self.result, self.changed, self.asked = result, changed, list[Side]()

    def __call__(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
        self.asked.append(side)
        reading = read_around(self.result, SIDES.index(side), picture_width=image.shape[1])
        return reading._replace(**self.changed)


def test_both_hands_are_fused_from_the_result_before_either() -> None:
    result, fusion = a_look(), in_numpy(a_net())
    reads: Any = Reads(result)
    after = TouchUp(reads, fusion)(result, PICTURE)
    for slot, joints in enumerate(HAND_SLICES):
        places, depths, confidence = fusion(result, slot, read_around(result, slot, picture_width=300))
        assert after.reported_confidence is not None
        np.testing.assert_allclose(after.reported_confidence[joints], confidence)
        np.testing.assert_allclose(after.joints_2d[joints], places, atol=1e-9)
        np.testing.assert_allclose(after.output.pose_2p5d[0, joints, 2], depths, atol=1e-9)
    assert after.output.confidence is result.output.confidence


@pytest.mark.parametrize(
    "unknown",
    [{"confidence": None}, {"root_depth": None}, {"depth_axis": DepthAxis.CAMERA}],
    ids=["confidence", "offset", "axis"],
)
def test_results_of_other_networks_are_touched_up_by_the_rule(unknown: dict[str, Any]) -> None:
    result = with_output(a_look(), **unknown)
    reads: Any = Reads(result)
    ruled, after = (TouchUp(reads, each)(result, PICTURE) for each in (None, in_numpy(a_net())))
    assert not can_fuse(result)
    np.testing.assert_array_equal(ruled.output.pose_2p5d, after.output.pose_2p5d)


@pytest.mark.parametrize(
    "unknown",
    [{"features": np.full(FEATURES, np.nan)}, {"joints": np.full((21, 3), np.inf)}],
    ids=["features", "joints"],
)
def test_readings_that_are_not_finite_are_not_fused(unknown: dict[str, Any]) -> None:
    result = a_look()
    reads: Any = Reads(result, **unknown)
    after = TouchUp(reads, in_numpy(a_net()))(result, PICTURE)
    ruled = TouchUp(reads)(result, PICTURE)
    np.testing.assert_array_equal(after.output.pose_2p5d, ruled.output.pose_2p5d)


@pytest.mark.parametrize(
    ("sure", "off", "frame", "followed"),
    [(0.1, 60.0, False, True), (0.1, 60.0, True, False), (0.5, 60.0, False, False), (0.1, 0.0, False, False)],
    ids=["in doubt, seen farther off", "in a video", "not in doubt", "both agree"],
)
def test_hands_in_doubt_are_followed_the_others_fused(sure: float, off: float, frame: bool, followed: bool) -> None:
    result = with_output(a_look(presence=(0.9, 0.0)), confidence=np.full((1, 42), sure))
    reads: Any = lambda image, joints_2d, side: read_around(result, 0, picture_width=300)._replace(  # noqa: E731
        joints_2d=result.joints_2d[HAND_SLICES[0]] + [-off, 0.0]
    )
    fusion = in_numpy(a_net())
    told = TouchUp(reads, fusion).for_video(result, PICTURE).reported
    after = told if frame else TouchUp(reads, fusion)(result, PICTURE)
    moved, deeper = (np.abs(after.output.pose_2p5d - result.output.pose_2p5d)[0, HAND_SLICES[0], at] for at in (0, 2))
    assert (deeper[:-1].max() == 0) == followed
    assert (np.ptp(moved) > 1e-9) == (not followed), "one that is followed moves in one piece"


def test_frames_of_videos_are_tracked_by_the_rule_and_reported_fused(tmp_path: Path) -> None:
    """As the tracker's thresholds were chosen with the joints of the rule."""
    pytest.importorskip("numba", reason="rendering is an extra")
    from unclasp.data import open_dataset

    image = open_dataset("synthetic:val")[0].image
    with VideoWriter(tmp_path / "clip.mp4", rate=30) as video:
        for _ in range(2):
            video.write(image)
    fused = Predictor.load(detector="none")
    ruled = Predictor(fused.network, search=fused.search, landmarks=fused.landmarks)
    clips = [list(each.stream(tmp_path / "clip.mp4")) for each in (fused, ruled)]
    for with_fusion, without in zip(*clips, strict=True):
        np.testing.assert_array_equal(with_fusion.box, without.box)
        assert np.abs(with_fusion.joints_3d - without.joints_3d).max() > 1


def test_both_ways_come_from_one_reading_of_each_hand() -> None:
    result, fusion = a_look(), in_numpy(a_net())
    reads: Any = Reads(result)
    ruled, fused = TouchUp(reads, fusion).for_video(result, PICTURE)
    assert len(reads.asked) == len(result.present_slots)
    for twice, once in ((ruled, None), (fused, fusion)):
        alone = TouchUp(reads, once)(result, PICTURE)
        np.testing.assert_array_equal(twice.output.pose_2p5d, alone.output.pose_2p5d)
    ruled, alike = TouchUp(reads).for_video(result, PICTURE)
    assert alike is ruled


def test_the_confidence_is_the_logistic_regression_of_four_values() -> None:
    """The pose network's confidence, up to a limit either way, the hand score, the side score, and 1."""
    result = a_look()
    assert result.output.confidence is not None
    result.output.confidence[0, [21, 22]] = 1 - 1e-4, 1e-4
    reading = read_around(result, 1, picture_width=300)
    weights = np.array([0.9, 0.3, -0.2, 0.5])
    tensors = {name: tensor.numpy() for name, tensor in a_net().state_dict().items()} | {"confidence": weights}
    told = Fusion(tensors)(result, 1, reading).confidence
    for joint, own in enumerate(result.output.confidence[0, HAND_SLICES[1]]):
        logits = [np.log(share / (1 - share)) for share in (own, reading.hand_score, reading.side_score)]
        expected = 1 / (1 + np.exp(-weights @ [*np.clip(logits, -6, 6), 1]))
        assert told[joint] == pytest.approx(expected, abs=1e-6)


def test_an_uncalibrated_network_keeps_the_pose_networks_confidence() -> None:
    result = a_look()
    told = in_numpy(a_net())(result, 0, read_around(result, 0, picture_width=300)).confidence
    assert result.output.confidence is not None
    np.testing.assert_allclose(told, result.output.confidence[0, HAND_SLICES[0]], atol=1e-5)


def test_rules_see_the_pose_networks_confidence_and_users_the_fused_one() -> None:
    result = a_look(presence=(0.9, 0.1))
    reads: Any = Reads(result)
    tensors = {name: tensor.numpy() for name, tensor in a_net().state_dict().items()}
    fusion = Fusion(tensors | {"confidence": np.array([1.0, 0, 0, 2.0])})
    after = TouchUp(reads, fusion)(result, PICTURE)
    assert after.confidence(0) == result.confidence(0)
    reported, own = after.reported_confidence, result.reported_confidence
    assert reported is not None and own is not None and (reported[:21] > own[:21] + 0.01).all()
    np.testing.assert_array_equal(reported[21:], own[21:])  # absent, so not fused
    mirrored = after.mapped(geometry.flip_matrix(300)).reported_confidence
    assert mirrored is not None
    np.testing.assert_array_equal(mirrored, np.roll(reported, 21))
    denied = after.without_confidence_in(0)
    assert denied.reported_confidence is not None and not denied.reported_confidence[:21].any()
    np.testing.assert_array_equal(denied.reported_confidence[21:], own[21:])


def test_hands_with_low_hand_scores_are_fused_too() -> None:
    result, fusion = a_look(), in_numpy(a_net())
    reads: Any = Reads(result, hand_score=0.1)
    after = TouchUp(reads, fusion)(result, PICTURE)
    assert (after.output.pose_2p5d != result.output.pose_2p5d)[0, :20].any(axis=0).all()


@pytest.mark.parametrize("place", [np.array([-4000.0, 90.0]), None])
def test_hands_outside_of_the_picture_or_on_one_point_stay_finite(place: Floats | None) -> None:
    result = a_look()
    pose = result.output.pose_2p5d.copy()
    pose[0, :, :2] = 50.0 if place is None else pose[0, :, :2] + place
    result = result._replace(output=result.output._replace(pose_2p5d=pose))
    after = TouchUp(open_landmarks(), open_fusion())(result, PICTURE)
    assert np.isfinite(after.output.pose_2p5d).all()


def test_a_file_comes_back(tmp_path: Path) -> None:
    net = a_net()
    path = changed(
        tmp_path, lambda tensors: tensors.update({key: each.numpy() for key, each in net.state_dict().items()})
    )
    numbers = np.random.default_rng(0).normal(0, 1, NUMBERS + FEATURES)
    for mine, kept in zip(in_numpy(net).forward(numbers), open_fusion(path).forward(numbers), strict=True):
        np.testing.assert_allclose(mine, kept, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("mean"),
        lambda tensors: tensors.pop("enter.bias"),
        lambda tensors: tensors.update(more=np.zeros(1, np.float32)),
        lambda tensors: tensors.update(mean=np.full(NUMBERS + FEATURES, np.nan, np.float32)),
        lambda tensors: tensors.update({"answer.bias": np.zeros(3, np.float32)}),
        lambda tensors: tensors.update({"answer.bias": np.full(42, "text")}),
    ],
    ids=["without one", "without its width", "one more", "not finite", "another shape", "text"],
)
def test_another_file_is_told(tmp_path: Path, change: Any) -> None:
    with pytest.raises(CheckpointError, match=r"f\.npz is damaged: tensors of a fusion network"):
        open_fusion(changed(tmp_path, change))


def test_files_of_other_formats_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a fusion network of format 'fusion 2', got 'fusion 9'"):
        open_fusion(changed(tmp_path, lambda tensors: tensors.update(format=np.array("fusion 9"))))
    with pytest.raises(CheckpointError, match="got 'fusion evidence 2'"):
        open_fusion(made_up_evidence(tmp_path / "l.npz"))
    np.save(tmp_path / "bare.npy", np.zeros(3))
    with pytest.raises(CheckpointError, match=r"cannot be read as npz \(it is a bare array\)"):
        open_fusion(tmp_path / "bare.npy")
    with pytest.raises(CheckpointError, match=r"no fusion network .*none\.npz; unclasp fusion train writes one"):
        open_fusion(tmp_path / "none.npz")
    for name in ("torn", "empty"):
        (tmp_path / f"{name}.npz").write_bytes(SHIPPED.read_bytes()[: 1000 * (name == "torn")])
        with pytest.raises(CheckpointError, match=rf"{name}\.npz cannot be read as npz"):
            open_fusion(tmp_path / f"{name}.npz")
    with zipfile.ZipFile(tmp_path / "bytes.npz", "w") as archive:
        archive.writestr("mean", b"x")
    with pytest.raises(CheckpointError, match=r"bytes\.npz cannot be read as npz \(mean is no array\)"):
        open_fusion(tmp_path / "bytes.npz")
    with pytest.raises(CheckpointError, match=r"small\.safetensors cannot be read as npz"):
        open_fusion(SHIPPED.with_name("small.safetensors"))


def test_the_file_can_be_chosen(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda tensors: None)
    numbers = np.random.default_rng(0).normal(0, 1, NUMBERS + FEATURES)
    given, shipped = (Predictor.load(detector="none", fusion=each).fusion for each in (path, None))
    assert given is not None and shipped is not None
    np.testing.assert_array_equal(given.forward(numbers)[1], open_fusion(path).forward(numbers)[1])
    np.testing.assert_array_equal(shipped.forward(numbers)[1], open_fusion(SHIPPED).forward(numbers)[1])
    assert Predictor.load(detector="none", landmarks=False).fusion is None
    with pytest.raises(UnclaspError, match="a fusion network needs the landmark network"):
        Predictor.load(detector="none", landmarks=False, fusion=path)


def test_commands_take_another_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One whose share is all, and that adds 30 mm to depths, of which 0.7 are believed."""

    def trusting(tensors: dict[str, Any]) -> None:
        tensors["answer.weight"] = np.zeros_like(tensors["answer.weight"])
        tensors["answer.bias"] = np.tile(np.float32([50.0, 0.3]), 21)

    picture = Path(__file__).parents[1] / "examples" / "two_hands.jpg"
    poses = []
    for name, more in (("plain", ["--no-landmarks"]), ("other", ["--fusion", str(changed(tmp_path, trusting))])):
        words = (picture, "--weights", "small", "--detector", "none", "--no-second-opinions")
        assert predict_here(capsys, *words, "--out", tmp_path / name, *more)[0] == 0
        told = json.loads((tmp_path / name / "two_hands.json").read_text())
        poses.append({hand["side"]: hand for hand in told["hands"]})
    for side, hand in poses[0].items():
        other = poses[1][side]
        np.testing.assert_allclose(hand["joints_2d"], other["joints_2d"], atol=0.02)
        deeper = np.subtract(other["joints_3d"], hand["joints_3d"])[:-1, 2]
        assert np.median(deeper) == pytest.approx(0.7 * 30, abs=3), "along a line of sight beside the camera's axis"


def test_the_shipped_one_brings_rendered_hands_nearer_to_where_they_are() -> None:
    """In the picture and in depth, beside the rule without it."""
    pytest.importorskip("numba", reason="rendering is an extra")
    from unclasp.data import open_dataset
    from unclasp.evaluate import predictions_of, score_predictions

    dataset, fused = open_dataset("synthetic:val"), Predictor.load(detector="none")
    ruled = Predictor(fused.network, landmarks=fused.landmarks)
    mine, theirs = (
        score_predictions(predictions_of(each, dataset, limit=60), dataset, limit=60).figures for each in (fused, ruled)
    )
    assert mine["mpjpe_all_mm"] < 0.93 * theirs["mpjpe_all_mm"]
    assert mine["plane_all_px"] < theirs["plane_all_px"]
