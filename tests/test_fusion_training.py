"""The training of the fusion network: its evidence, the fit, and the fit of its confidence."""

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dots import MakeSample
from fusion_parts import a_look, a_net, changed, in_numpy, made_up_evidence, read_around, with_output
from unclasp import geometry
from unclasp.arrays import Floats, Pixels
from unclasp.cli import main
from unclasp.config import DepthAxis
from unclasp.errors import DataError, UnclaspError
from unclasp.find.crop_result import CropResult
from unclasp.find.fusion import (
    NUMBERS,
    UNIT_MM,
    confidence_inputs,
    in_crop,
    open_fusion,
    shapes_of,
)
from unclasp.find.landmarks import FEATURES, SIZE, LandmarkReading
from unclasp.hands import HAND_SLICES, SIDES, Side
from unclasp.training import fusion_calibrate, fusion_evidence, fusion_net, fusion_train
from unclasp.training.fusion_calibrate import calibrate_fusion
from unclasp.training.fusion_evidence import EVIDENCE_FORMAT, Evidence
from unclasp.training.fusion_net import FusionNet


def test_training_learns_whom_to_trust(tmp_path: Path) -> None:
    evidence = made_up_evidence(tmp_path / "l.npz", 1200)
    epochs: list[tuple[int, int]] = []
    fusion_train.train_fusion(
        [evidence], tmp_path / "f.npz", epochs=60, progress=lambda done, total: epochs.append((done, total))
    )
    fusion, numbers = open_fusion(tmp_path / "f.npz"), made_up_evidence(tmp_path / "m.npz", 40)
    others = np.load(numbers)["numbers"].astype(np.float64)
    shares, deeper = (np.stack(parts) for parts in zip(*map(fusion.forward, others), strict=True))
    read = others[:, 0] > 0
    assert shares[read].mean() < 0.3 and shares[~read].mean() > 0.7
    assert np.abs(deeper[:, :-1] - 0.3).mean() < 0.1
    assert epochs == [(epoch + 1, 60) for epoch in range(60)]


def test_training_is_the_same_twice(tmp_path: Path) -> None:
    evidence = made_up_evidence(tmp_path / "l.npz")
    for name in "ab":
        fusion_train.train_fusion([evidence], tmp_path / f"{name}.npz", epochs=2, seed=3)
    fusion_train.train_fusion([evidence], tmp_path / "c.npz", epochs=2, seed=4)
    a, b, c = (np.load(tmp_path / f"{name}.npz") for name in "abc")
    assert {name: tensor.shape for name, tensor in a.items()} == {"format": (), **shapes_of(512)}
    assert all((a[name] == b[name]).all() for name in a) and any((a[name] != c[name]).any() for name in a)


class Made:
    """A data set of some samples."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples
        self.name = "made"

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


class Sees:
    """A pose network that sees two hands where they are, as the truth has them, and a landmark network beside it."""

    def __init__(self, *, presence: tuple[float, float] = (1.0, 1.0)) -> None:
        self.presence = presence
        self.landmarks: Any = self.read
        self.network: Any = SimpleNamespace(name="small")
        self.crop_predictor: Any = SimpleNamespace(hands_in=self.look)
        self.pictures: list[Pixels] = []
        self.squares: list[Floats] = []

    def look(self, image: Pixels, square: Floats) -> CropResult:
        self.squares.append(square)
        self.pictures.append(image)
        result = a_look(presence=self.presence)
        pose = np.zeros((1, 42, 3))
        pose[0, :, :2] = np.random.default_rng(0).uniform(10, 60, (42, 2))
        return result._replace(output=result.output._replace(pose_2p5d=pose), square=square)

    def read(self, image: Pixels, joints_2d: Floats, side: Side) -> LandmarkReading:
        result = self.look(image, np.zeros(4))
        return read_around(result, SIDES.index(side), picture_width=image.shape[1])


def test_evidence_tells_where_the_joints_are(make_sample: MakeSample, tmp_path: Path) -> None:
    sample, network = make_sample(), Sees()
    predictor: Any = network
    assert fusion_evidence.collect_evidence(predictor, Made([sample]), tmp_path / "l.npz") == 2  # type: ignore[arg-type]
    pixels = geometry.project(sample.joints_cam, sample.focal, sample.princpt)
    truth = np.load(tmp_path / "l.npz")["truth"]
    square = network.squares[0]
    middle = (square[:2] + square[2:] - (square[2] - square[0]) / 200) / 2
    for slot, joints in enumerate(HAND_SLICES):
        reading = network.read(sample.image, np.zeros((21, 2)), SIDES[slot])
        np.testing.assert_allclose(
            geometry.apply_affine(reading.crop_from_image, pixels[joints]) / SIZE - 0.5, truth[slot, :, :2], atol=1e-4
        )
        relative = (sample.joints_cam[joints] - sample.joints_cam[joints][-1]).astype(np.float64)
        sight = geometry.sight_through(middle, sample.focal, sample.princpt)
        np.testing.assert_allclose(relative @ sight / UNIT_MM, truth[slot, :, 2], atol=0.02)
    box = geometry.square_box(sample.box)
    assert 0 < np.abs(square - box).max() < 0.3 * (box[2] - box[0]), "beside the box, but not far"


def test_hands_that_are_not_seen_or_not_whole_are_left_out(make_sample: MakeSample, tmp_path: Path) -> None:
    def hands(sample: Any, presence: tuple[float, float] = (1.0, 1.0)) -> int:
        predictor: Any = Sees(presence=presence)
        return fusion_evidence.collect_evidence(predictor, Made([sample]), tmp_path / "l.npz")  # type: ignore[arg-type]

    sample = make_sample()
    assert hands(sample) == 2
    assert hands(sample, (1.0, 0.1)) == 1
    assert hands(replace(sample, hand_type=np.array([False, True]))) == 1
    assert hands(replace(sample, valid=np.arange(42) != 30)) == 1
    with pytest.raises(DataError, match="there is no hand with all its joints"):
        hands(sample, (0.1, 0.1))


def test_evidence_is_of_the_picture_or_its_mirror_image_and_as_the_seed_says(
    make_sample: MakeSample, tmp_path: Path
) -> None:
    def looked(**options: Any) -> tuple[Pixels, Floats, str]:
        network = Sees()
        predictor: Any = network
        fusion_evidence.collect_evidence(predictor, Made([sample]), tmp_path / "l.npz", **options)  # type: ignore[arg-type]
        return network.pictures[0], network.squares[0], str(np.load(tmp_path / "l.npz")["network"])

    sample = make_sample()
    (plain, square, name), (mirrored, *_) = looked(), looked(mirrored=True)
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    assert (looked()[1] == square).all() and (looked(seed=1)[1] != square).all() and name == "small"


@pytest.mark.parametrize("unknown", [{"confidence": None}, {"depth_axis": DepthAxis.CAMERA}], ids=["unsure", "axis"])
def test_networks_that_cannot_be_fused_are_told(
    make_sample: MakeSample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: dict[str, Any]
) -> None:
    look = Sees.look
    monkeypatch.setattr(Sees, "look", lambda *given: with_output(look(*given), **unknown))
    predictor: Any = Sees()
    with pytest.raises(UnclaspError, match="small cannot be fused: it tells no confidence"):
        fusion_evidence.collect_evidence(predictor, Made([make_sample()]), tmp_path / "l.npz")  # type: ignore[arg-type]
    assert not (tmp_path / "l.npz").exists()


def test_a_mirrored_sample_is_the_sample_of_the_mirror_image(make_sample: MakeSample) -> None:
    sample = make_sample()
    mirror_image = fusion_evidence.mirror_image(sample)
    last = sample.image.shape[1] - 1
    np.testing.assert_array_equal(mirror_image.image, sample.image[:, ::-1])
    pixels, mirrored = (geometry.project(each.joints_cam, each.focal, each.princpt) for each in (sample, mirror_image))
    for slot, joints in enumerate(HAND_SLICES):
        there = mirrored[HAND_SLICES[1 - slot]]
        np.testing.assert_allclose(there, pixels[joints] * [-1, 1] + [last, 0], atol=1e-3)
    back = fusion_evidence.mirror_image(mirror_image)
    np.testing.assert_allclose(back.joints_cam, sample.joints_cam, atol=1e-4)
    np.testing.assert_allclose(back.box, sample.box, atol=1e-4)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(words)
    return int(stop.value.code or 0)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("numba", reason="rendering is an extra")
    evidence, out = tmp_path / "l.npz", tmp_path / "f.npz"
    assert run("fusion", "collect", "synthetic:val", "--out", str(evidence), "--limit", "2", "--mirrored") == 0
    hands = int(capsys.readouterr().out.split(" hands of val: ")[0])
    assert 1 <= hands <= 4 and np.load(evidence)["numbers"].shape == (hands, NUMBERS + FEATURES)
    assert run("fusion", "train", str(evidence), "--out", str(out)) == 2
    assert f"expected at least 256 hands to train on, got {hands}" in capsys.readouterr().err
    assert run("fusion", "train", str(made_up_evidence(tmp_path / "m.npz")), "--out", str(out), "--epochs", "1") == 0
    assert "loss " in capsys.readouterr().out
    open_fusion(out)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"format": np.array("fusion 9")},
            "expected a file of unclasp fusion collect, format 'fusion evidence 2', got 'fusion 9'",
        ),
        ({"more": np.zeros(2)}, "expected a file of unclasp fusion collect, format"),
        ({"numbers": np.zeros((300, 5))}, rf"numbers is not finite or not of shape \(hands, {NUMBERS + FEATURES}\)"),
        ({"truth": np.full((300, 21, 3), np.nan)}, r"truth is not finite or not of shape \(hands, 21, 3\)"),
        ({"read": np.zeros((7, 21, 2))}, "read is not finite or not of shape"),
    ],
)
def test_evidence_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    evidence = made_up_evidence(tmp_path / "l.npz", **change)
    with pytest.raises(DataError, match=rf"l\.npz: {told}"):
        fusion_train.train_fusion([evidence], tmp_path / "f.npz")
    assert not (tmp_path / "f.npz").exists()


def test_evidence_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.npz").write_bytes(made_up_evidence(tmp_path / "l.npz").read_bytes()[:2000])
    for name, wrong in (("torn", ": expected a file of unclasp fusion collect"), ("none", "; make it with unclasp f")):
        with pytest.raises(DataError, match=rf"{name}\.npz{wrong}"):
            fusion_train.train_fusion([tmp_path / f"{name}.npz"], tmp_path / "f.npz")


def test_networks_of_one_name_are_told_apart_by_their_weights(tmp_path: Path) -> None:
    """All trainings call their file weights.safetensors."""
    digests = []
    for run in ("first", "second"):
        (tmp_path / run).write_bytes(run.encode())
        digests.append(fusion_evidence.digest_of(tmp_path / run))
    evidence = [made_up_evidence(tmp_path / f"{digest}.npz", digest=np.array(digest)) for digest in digests]
    with pytest.raises(DataError, match=r"has evidence of small, .* of another file of small: use one network's"):
        fusion_train.train_fusion(evidence, tmp_path / "f.npz")
    assert fusion_evidence.digest_of(None) == ""


def test_evidence_tells_the_file_of_its_network(make_sample: MakeSample, tmp_path: Path) -> None:
    network = Sees()
    network.network.source = tmp_path / "a.onnx"
    network.network.source.write_bytes(b"weights")
    predictor: Any = network
    fusion_evidence.collect_evidence(predictor, Made([make_sample()]), tmp_path / "l.npz")
    assert np.load(tmp_path / "l.npz")["digest"] == hashlib.sha256(b"weights").hexdigest()


def test_evidence_of_two_networks_is_named(tmp_path: Path) -> None:
    evidence = [made_up_evidence(tmp_path / f"{name}.npz", network=np.array(name)) for name in ("small", "mine")]
    with pytest.raises(DataError, match=r"mine\.npz has evidence of mine, .*small\.npz of small: use one network's"):
        fusion_train.train_fusion(evidence, tmp_path / "f.npz")


def test_a_loss_that_is_not_finite_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_train, "_loss", lambda share, *others: share.sum() * float("nan"))
    with pytest.raises(UnclaspError, match="the loss is not finite in epoch 1; nothing was written"):
        fusion_train.train_fusion([made_up_evidence(tmp_path / "l.npz")], tmp_path / "f.npz")
    assert not (tmp_path / "f.npz").exists()


def calibrated_evidence(path: Path, weights: Floats, hands: int = 4000) -> Path:
    """Hands whose joints are right where logistic regression with these weights says so, and 80 mm off elsewhere.

    The shares of a network with the answer 0 are a half and its corrections 0, so that the errors are known.
    """
    rng = np.random.default_rng(0)
    numbers = rng.normal(0, 1, (hands, NUMBERS + FEATURES))
    numbers[:, 63:84] = rng.uniform(0.05, 0.95, (hands, 21))
    numbers[:, 190:192] = rng.normal(1, 2, (hands, 2))
    numbers = numbers.astype(np.float16)
    is_right = rng.uniform(size=(hands, 21)) < 1 / (1 + np.exp(-confidence_inputs(numbers) @ weights))
    own = rng.normal(0, 0.2, (hands, 21, 3))
    own[:, -1, 2] = 0  # depths are relative to the wrist
    truth = own.copy()
    truth[..., 0] += np.where(is_right, 0, 80 / 250)
    truth[:, -1] = own[:, -1]
    arrays = {"own": own, "read": own[..., :2], "truth": truth, "side_mm": np.full(hands, 250.0)}
    np.savez(
        path, format=np.array(EVIDENCE_FORMAT), network=np.array("small"), digest=np.array(""), numbers=numbers,
        **{name: array.astype(np.float32) for name, array in arrays.items()},
    )  # fmt: skip
    return path


def untrained(tmp_path: Path) -> Path:
    return changed(
        tmp_path,
        lambda tensors: tensors.update(
            {name: np.zeros_like(tensors[name]) for name in ("answer.weight", "answer.bias")}
        ),
    )


def test_calibration_finds_the_weights(tmp_path: Path) -> None:
    weights = np.array([1.1, 0.3, -0.2, 0.6])
    evidence, steps = calibrated_evidence(tmp_path / "e.npz", weights), list[tuple[int, int]]()
    before = np.load(untrained(tmp_path))
    calibration = calibrate_fusion(
        [evidence], tmp_path / "c.npz", weights=tmp_path / "f.npz",
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    after = np.load(tmp_path / "c.npz")
    np.testing.assert_allclose(after["confidence"], weights, atol=0.05)
    assert all((before[name] == after[name]).all() for name in before if name != "confidence")
    assert calibration.hands == 1000 and calibration.after < 0.02 and calibration.before > 0.08
    assert steps[0] == (1, 4000) and steps[-1] == (4000, 4000)
    open_fusion(tmp_path / "c.npz")


def test_calibration_needs_some_hands(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected at least 100 hands to fit a confidence to, got 40"):
        calibrate_fusion([made_up_evidence(tmp_path / "e.npz", 40)], tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()


def test_the_stored_side_is_that_of_the_crop_at_the_wrist(make_sample: MakeSample, tmp_path: Path) -> None:
    """So that the distance between two true joints in one plane is the same in mm."""
    sample, network = make_sample(), Sees()
    predictor: Any = network
    fusion_evidence.collect_evidence(predictor, Made([sample]), tmp_path / "e.npz")  # type: ignore[arg-type]
    evidence = np.load(tmp_path / "e.npz")
    for slot, joints in enumerate(HAND_SLICES):
        wrist = sample.joints_cam[joints][-1]
        beside = wrist + np.array([[0, 0, 0], [10, 0, 0]])
        reading = network.read(sample.image, np.zeros((21, 2)), SIDES[slot])
        inside = in_crop(reading, geometry.project(beside, sample.focal, sample.princpt))
        assert evidence["side_mm"][slot] * np.linalg.norm(inside[1] - inside[0]) == pytest.approx(10, rel=0.02)


def test_an_untrained_network_trusts_the_pose_network_by_four_fifths_and_corrects_no_depth() -> None:
    shares, deeper = FusionNet(8).eval()(torch.randn(3, NUMBERS + FEATURES))
    torch.testing.assert_close(shares, torch.full((3, 21), 0.8), rtol=0, atol=0.01)
    assert not deeper.any()


@pytest.mark.parametrize("kept", ["_FEATURE_DROPOUT", "_BLOCK_DROPOUT"])
def test_features_and_blocks_drop_out_in_training_alone(monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    monkeypatch.setattr(fusion_net, kept, 0.0)
    net, numbers = a_net(), torch.randn(4, NUMBERS + FEATURES)
    assert torch.equal(net(numbers)[0], net(numbers)[0])
    net.train()
    assert not torch.equal(net(numbers)[0], net(numbers)[0])


def test_the_loss_adds_distances_and_coordinates_in_units_of_50_mm() -> None:
    """One joint is 25 mm off in the plane, a tenth of the crop's 250 mm, and 40 mm in depth; the others are right."""
    share, deeper = torch.full((1, 21), 0.75), torch.zeros(1, 21)
    own, read, truth = torch.zeros(1, 21, 3), torch.zeros(1, 21, 2), torch.zeros(1, 21, 3)
    own[0, 5], read[0, 5], truth[0, 5, 2], deeper[0, 5] = (
        torch.tensor([0.3, 0.0, 0.2]),
        torch.tensor([-0.5, 0]),
        0.1,
        0.3,
    )
    expected = ((0.5**2 + 0.8**2) ** 0.5 + 0.3 * (0.5 + 0.8) + 20 * 0.01) / 21  # 0.01 keeps the root's gradient finite
    assert float(fusion_train._loss(share, deeper, own, read, truth)) == pytest.approx(expected, abs=1e-4)


def test_every_epoch_takes_all_hands_in_another_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[float] = []

    def record(share: torch.Tensor, deeper: torch.Tensor, own: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        orders.extend(own[:, 0, 0].tolist())
        return share.sum() * 0 + 2

    evidence = made_up_evidence(tmp_path / "l.npz", 512)
    monkeypatch.setattr(fusion_train, "_loss", record)
    assert fusion_train.train_fusion([evidence], tmp_path / "f.npz", epochs=2) == 2, "the mean over the batches"
    first, second, stored = orders[:512], orders[512:], np.load(evidence)["own"][:, 0, 0].tolist()
    assert sorted(first) == sorted(second) == sorted(stored)
    assert first != second and stored not in (first, second)


def test_inputs_are_standardised_even_those_that_never_change(tmp_path: Path) -> None:
    numbers = np.load(made_up_evidence(tmp_path / "l.npz", 256))["numbers"]
    numbers[:, 7] = 0.5
    evidence = made_up_evidence(tmp_path / "l.npz", 256, numbers=numbers)
    fusion_train.train_fusion([evidence], tmp_path / "f.npz", epochs=1)
    net = np.load(tmp_path / "f.npz")
    np.testing.assert_allclose(net["mean"], numbers.astype(np.float64).mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(net["deviation"], numbers.astype(np.float64).std(axis=0), atol=2e-3)
    assert 0 < net["deviation"][7] < 2e-3
    assert {name: net[name].dtype.name for name in ("mean", "deviation", "enter.bias", "enter.weight")} == {
        "mean": "float32", "deviation": "float32", "enter.bias": "float32", "enter.weight": "float16",
    }  # fmt: skip


def test_errors_of_fused_joints_are_in_mm_and_relative_to_the_wrist() -> None:
    """All joints are beside the truth, by the same, but for two: one 100 mm to the side, one 150 mm deeper."""
    own = np.random.default_rng(0).normal(0, 0.2, (21, 3))
    own[-1, 2] = 0
    truth = own + np.array([0.1, -0.2, 0.0])
    truth[3, :2] += [0.3, 0.4]
    truth[5, 2] += 1.5
    fusion = in_numpy(FusionNet(8).eval())
    hand = Evidence(np.zeros(NUMBERS + FEATURES), own, own[:, :2], truth, np.array(200.0))
    errors = fusion_calibrate._errors(fusion, hand)
    expected = np.zeros(21)
    expected[[3, 5]] = 100, 150
    np.testing.assert_allclose(errors, expected, atol=1e-9)


def test_hands_that_are_held_out_do_not_shape_the_confidence(tmp_path: Path) -> None:
    evidence, network, fitted = calibrated_evidence(tmp_path / "e.npz", np.ones(4), 120), untrained(tmp_path), []
    arrays = dict(np.load(evidence))
    for shift in (0.0, 9.0):
        arrays["truth"][::4, :-1, 0] += shift
        np.savez(evidence, **arrays)
        calibrate_fusion([evidence], tmp_path / "c.npz", weights=network)
        fitted.append(np.load(tmp_path / "c.npz")["confidence"])
    np.testing.assert_array_equal(*fitted)


def test_crops_of_evidence_are_moved_and_scaled_both_ways(make_sample: MakeSample, tmp_path: Path) -> None:
    sample, network = make_sample(), Sees()
    predictor: Any = network
    done: list[tuple[int, int]] = []
    fusion_evidence.collect_evidence(
        predictor, Made([sample] * 40), tmp_path / "l.npz", limit=99, progress=lambda *step: done.append(step)
    )
    assert done == [(number + 1, 40) for number in range(40)]
    box = geometry.square_box(sample.box)
    squares = np.stack([square for square in network.squares if square.any()])
    side = box[2] - box[0]
    shifts = ((squares[:, :2] + squares[:, 2:]) - (box[:2] + box[2:])) / 2 / side
    scales = np.log((squares[:, 2] - squares[:, 0]) / side)
    assert len(np.unique(squares, axis=0)) == 40
    assert (shifts.min(axis=0) < -0.03).all() and (shifts.max(axis=0) > 0.03).all() and np.abs(shifts).max() < 0.07
    assert -0.16 < scales.min() < -0.08 and 0.06 < scales.max() < 0.13


def test_the_mirror_image_of_a_sample_has_crops_of_its_own(make_sample: MakeSample, tmp_path: Path) -> None:
    sample, network = make_sample(), Sees()
    predictor: Any = network
    for mirrored in (False, True):
        fusion_evidence.collect_evidence(predictor, Made([sample]), tmp_path / "l.npz", mirrored=mirrored)  # type: ignore[arg-type]
    boxes = [geometry.square_box(each.box) for each in (sample, fusion_evidence.mirror_image(sample))]
    plain, other = (
        square - box for square, box in zip((each for each in network.squares if each.any()), boxes, strict=True)
    )
    assert np.abs(plain - other).max() > 0.1, "offsets from the box of the joints"


def test_readings_that_are_not_finite_are_left_out(make_sample: MakeSample, tmp_path: Path) -> None:
    network = Sees()
    network.landmarks = lambda *given: network.read(*given)._replace(features=np.full(FEATURES, np.nan))
    predictor: Any = network
    with pytest.raises(DataError, match="there is no hand with all its joints"):
        fusion_evidence.collect_evidence(predictor, Made([make_sample()]), tmp_path / "l.npz")  # type: ignore[arg-type]


def test_depths_of_the_truth_are_along_the_sight_of_the_hands_own_crop(
    make_sample: MakeSample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, middles, look = make_sample(), np.array([[10.0, 40.0], [80.0, 50.0]]), Sees.look
    monkeypatch.setattr(Sees, "look", lambda *given: look(*given)._replace(middles=middles))
    predictor: Any = Sees()
    fusion_evidence.collect_evidence(predictor, Made([sample]), tmp_path / "l.npz")  # type: ignore[arg-type]
    for slot, joints in enumerate(HAND_SLICES):
        relative = (sample.joints_cam[joints] - sample.joints_cam[joints][-1]).astype(np.float64)
        sight = geometry.sight_through(middles[slot], sample.focal, sample.princpt)
        truth = np.load(tmp_path / "l.npz")["truth"][slot, :, 2]
        np.testing.assert_allclose(truth, relative @ sight / UNIT_MM, atol=1e-4)


def test_all_that_belongs_to_a_hand_changes_sides_in_the_mirror(make_sample: MakeSample) -> None:
    sample = make_sample(hands="right")
    sample = replace(sample, valid=sample.valid & (np.arange(42) != 7))
    mirror_image = fusion_evidence.mirror_image(sample)
    assert mirror_image.hand_type.tolist() == [False, True]
    assert np.flatnonzero(mirror_image.valid).tolist() == [21 + joint for joint in range(21) if joint != 7]
    pixels = geometry.project(mirror_image.joints_cam[mirror_image.valid], sample.focal, mirror_image.princpt)
    x1, y1, x2, y2 = mirror_image.box
    assert ((pixels >= [x1, y1]) & (pixels <= [x2, y2])).all()
    assert x1 > sample.box[0] + 5, "on the other side of the picture"


def test_a_network_of_openvino_is_known_by_its_weights_which_are_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_text("the same outline")
    digests = []
    for weights in (b"one", b"another"):
        (tmp_path / "net.bin").write_bytes(weights)
        digests.append(fusion_evidence.digest_of(tmp_path / "net.xml"))
    assert digests[0] != digests[1]
