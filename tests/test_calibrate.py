"""Confidence: its evidence, its fit, and that it then separates good joints from bad ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unclasp
from dots import make_sample_function
from unclasp.batch import Prediction
from unclasp.checkpoint import load_model, load_notes, save_weights
from unclasp.cli import main
from unclasp.config import Decoder, DepthAxis, with_model
from unclasp.data.transforms import make_example, plain_view
from unclasp.errors import UnclaspError
from unclasp.model import build
from unclasp.model.confidence import WITHIN, Confidence, evidence, evidence_size
from unclasp.presets import tiny
from unclasp.train import train
from unclasp.training.calibrate import Observed, _observe, calibrate, fit, quality
from unclasp.training.options import RunOptions
from unclasp.training.reliability import calibration_error


class Samples:
    def __init__(self, size: int) -> None:
        self.size, self.make = size, make_sample_function()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int):
        return self.make(index, hands=("interacting", "right", "left")[index % 3])


def answer(*, peak: tuple[int, int], joint: tuple[float, float], side: int = 8, sharp: float = 20.0):
    """Return the evidence of one relation with a peak at a cell, with all joints at one position."""
    logits = torch.zeros(1, 42, side * side)
    logits[:, :, peak[1] * side + peak[0]] = sharp
    pose = torch.tensor((*joint, 0.5)).expand(1, 42, 3)
    parts = torch.zeros(1, 33, side, side)
    return evidence(pose, [pose[..., :2] + 0.25], [logits], parts, torch.tensor([[3.0, -2.0]]))


def test_a_sharp_relation_at_the_joint_shows_no_doubt() -> None:
    spread, distance, step, *_ = answer(peak=(5, 2), joint=(5.5 / 8, 2.5 / 8))[0, 0].tolist()
    assert spread < 1e-3 and distance < 1e-3
    assert step == pytest.approx(0.25 * 2**0.5)


def test_a_flat_relation_spreads_like_the_map() -> None:
    spread, distance, *_ = answer(peak=(0, 0), joint=(0.5, 0.5), sharp=0.0)[0, 0].tolist()
    centres = (np.arange(8) + 0.5) / 8
    assert spread == pytest.approx((2 * centres.var()) ** 0.5, rel=1e-5) and distance < 1e-6


def test_a_sharp_relation_anywhere_on_a_map_of_odd_size_has_a_spread() -> None:
    for x in range(7):
        for y in range(7):
            assert answer(peak=(x, y), joint=(0.5, 0.5), side=7, sharp=20.0).isfinite().all()


def test_the_pixel_at_a_joint_tells_its_parts_and_the_background_is_of_no_hand() -> None:
    x, y = 1, 6
    logits = torch.full((1, 33, 8, 8), -30.0)
    logits[:, 17], logits[:, :, y, x], logits[:, 0, y, x] = 30.0, -30.0, 30.0
    pose = torch.tensor([(x + 0.5) / 8, (y + 0.5) / 8, 0.5]).expand(1, 42, 3)
    signs = evidence(pose, [pose[..., :2]], [torch.zeros(1, 42, 4)], logits, torch.zeros(1, 2))
    for joint in (0, 21):
        assert signs[0, joint, 3:7].tolist() == pytest.approx([0, 0, 0, 1], abs=1e-5)


def test_parts_are_read_where_the_joint_is_put() -> None:
    """All pixels left of the middle show the right index tip, all pixels right of it the left palm."""
    logits = torch.full((1, 33, 8, 8), -30.0)
    logits[:, 7, :, :4], logits[:, 17, :, 4:] = 30.0, 30.0
    pose = torch.tensor([0.25, 0.5, 0.5]).expand(1, 42, 3).clone()
    pose[:, 21:, 0] = 0.75
    signs = evidence(pose, [pose[..., :2]], [torch.zeros(1, 42, 4)], logits, torch.zeros(1, 2))
    right_index_tip, left_wrist, right_wrist = (signs[0, joint, 3:7].tolist() for joint in (4, 41, 20))
    assert right_index_tip == pytest.approx([1, 1, 0, 0], abs=1e-5)
    assert left_wrist == pytest.approx([1, 1, 0, 0], abs=1e-5)
    assert right_wrist == pytest.approx([0, 1, 0, 0], abs=1e-5)


def test_each_joint_sees_its_own_hands_presence_first() -> None:
    signs = answer(peak=(0, 0), joint=(0.5, 0.5))
    assert signs[0, 0, 7:9].tolist() == [3.0, -2.0] and signs[0, 41, 7:9].tolist() == [-2.0, 3.0]


def test_the_shape_of_a_hand_is_read_from_its_joints() -> None:
    """A right hand as a column of joints, 0.01 apart, the left one 0.3 beside it and half as long."""
    pose = torch.full((1, 42, 3), 0.5)
    pose[0, :21, 1] = torch.arange(21) * 0.01
    pose[0, 21:, 0], pose[0, 21:, 1] = 0.8, torch.arange(21) * 0.005
    pose[0, 4, 2] = 0.3
    shape = evidence(pose, [pose[..., :2]], [torch.zeros(1, 42, 4)], torch.zeros(1, 33, 8, 8), None)[0, :, 9:]
    assert shape.shape == (42, 5)
    # The index tip, whose parent is the next joint; the wrist, whose parent is itself; the same for the left hand.
    torch.testing.assert_close(shape[4], torch.tensor([-0.2, 0.2, 0.2, 0.3, 0.01]))
    torch.testing.assert_close(shape[20], torch.tensor([0.0, 0.0, 0.2, (0.3**2 + 0.1**2) ** 0.5, 0.0]))
    torch.testing.assert_close(shape[25], torch.tensor([0.0, 0.0, 0.1, 0.3, 0.005]))


def test_a_head_without_context_sees_one_joint_at_a_time() -> None:
    torch.manual_seed(0)
    signs = torch.randn(1, 42, evidence_size(2))
    changed = signs.clone()
    changed[:, 3, 2] += 1
    for context, told in ((False, {3}), (True, set(range(21)))):
        head = Confidence(2, context=context)
        differs = (head(changed) - head(signs)).abs()[0] > 1e-6
        assert set(differs.nonzero().flatten().tolist()) <= told and differs[3]
        assert bool(differs[5]) == context


@pytest.mark.parametrize("context", [True, False])
def test_both_hands_are_read_alike_and_evidence_is_scaled_as_it_was_when_fitted(context: bool) -> None:
    torch.manual_seed(0)
    head = Confidence(2, context=context)
    torch.nn.init.normal_(head.joint)
    signs = torch.randn(1, 21, evidence_size(2)).repeat(1, 2, 1)
    logits = head(signs)
    torch.testing.assert_close(logits[:, :21], logits[:, 21:])
    assert logits[0, :21].unique().numel() == 21
    head.mean += 3
    head.std *= 2
    torch.testing.assert_close(head(2 * signs + 3), logits, rtol=1e-4, atol=1e-5)


def test_a_head_that_was_fitted_before_needs_no_shape() -> None:
    config = with_model(tiny(), confidence_head=True).model
    assert {
        key: tuple(value.shape) for key, value in build(config).state_dict().items() if key.startswith("confidence.")
    } == {
        "confidence.mean": (evidence_size(config.iterations, context=False),),
        "confidence.std": (evidence_size(config.iterations, context=False),),
        "confidence.joint": (21, 32), "confidence.output.weight": (1, 32), "confidence.output.bias": (1,),
        "confidence.hidden.weight": (32, evidence_size(config.iterations, context=False)),
        "confidence.hidden.bias": (32,),
    }  # fmt: skip


def test_evidence_has_the_size_that_the_head_expects() -> None:
    config = tiny().model
    prediction = build(config).eval()(torch.zeros(1, 3, 64, 64))
    signs = evidence(
        prediction.pose_2p5d, prediction.steps, prediction.relations, prediction.part_logits,
        prediction.presence,
    )  # fmt: skip
    assert signs.shape == (1, 42, evidence_size(config.iterations))


def test_the_figures_of_known_confidences() -> None:
    confidence = torch.tensor([0.95, 0.95, 0.05, 0.05])
    told = quality(confidence, torch.tensor([1.0, 3.0, 30.0, 50.0]), torch.tensor([1.0, 1.0, 0.0, 1.0]), pictures=1)
    assert (told.confident_mm, told.doubtful_mm) == (2.0, 40.0)
    assert told.gap == pytest.approx(0.5 * 0.05 + 0.5 * 0.45)
    wrists_out = quality(confidence, torch.tensor([torch.nan, 3.0, 30.0, 50.0]), torch.ones(4), pictures=1)
    assert (wrists_out.confident_mm, wrists_out.doubtful_mm) == (3.0, 40.0)


def test_calibration_leaves_the_pose_alone_and_survives_the_file(tmp_path: Path) -> None:
    model, config = build(tiny().model).eval(), tiny()
    fitted, new, calibration = calibrate(model, config, Samples(24))
    image = torch.zeros(2, 3, 64, 64)
    with torch.no_grad():
        before, after = model(image), fitted(image)
    assert torch.equal(before.pose_2p5d, after.pose_2p5d) and before.confidence is None
    assert after.confidence.shape == (2, 42) and new.model.confidence_head
    assert calibration.pictures == 6 and 0 <= calibration.gap <= 1
    save_weights(tmp_path / "a.safetensors", fitted.state_dict(), new)
    with torch.no_grad():
        loaded = load_model(tmp_path / "a.safetensors")[0](image)
    torch.testing.assert_close(loaded.confidence, after.confidence, rtol=0.05, atol=0.05)


def test_fitting_again_gives_the_same() -> None:
    model, config = build(tiny().model).eval(), tiny()
    once, once_config, _ = calibrate(model, config, Samples(12))
    twice, _, _ = calibrate(once, once_config, Samples(12))
    for key, value in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[key], value)


def test_planted_doubt_is_found() -> None:
    """Relations are flat for wrong joints and sharp for correct ones: the head has to separate them."""
    rng = np.random.default_rng(0)
    wrong = rng.random((200, 42)) < 0.5
    signs = rng.standard_normal((200, 42, evidence_size(2)))
    signs[..., 0] += 3 * wrong
    errors = torch.from_numpy(np.where(wrong, 60.0, 5.0) + rng.random((200, 42)))
    calibration = fit(Confidence(2, context=True), Observed(torch.from_numpy(signs).float(), errors, errors))
    assert calibration.confident_mm < 15 and calibration.doubtful_mm > 45 and calibration.gap < 0.05


def test_pictures_are_spread_over_the_data_set_and_progress_is_told() -> None:
    class Watched(Samples):
        def __getitem__(self, index: int):
            seen.append(index)
            return super().__getitem__(index)

    seen, told = list[int](), list[tuple[str, int, int]]()
    calibrate(build(tiny().model).eval(), tiny(), Watched(100), limit=8, progress=lambda *done: told.append(done))
    assert seen == [0, 14, 28, 42, 57, 71, 85, 99]
    assert told[0] == ("predict", 8, 8) and told[1] == ("fit", 1, 500) and told[-1] == ("fit", 500, 500)


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(UnclaspError, match="batch_size must be at least 1, got 0"):
        calibrate(build(tiny().model).eval(), tiny(), Samples(9), batch_size=0)
    with pytest.raises(UnclaspError, match="at least 8 pictures, got 3"):
        calibrate(build(tiny().model).eval(), tiny(), Samples(3))


def test_what_the_head_reads_must_be_there() -> None:
    with pytest.raises(UnclaspError, match="confidence_head reads"):
        with_model(tiny(), confidence_head=True, decoder=Decoder.POOLED, joint_joint=False, refine=False)


def test_without_a_presence_head_hands_count_as_undecided() -> None:
    model, config, _ = calibrate(build(tiny().model).eval(), tiny(), Samples(8))
    bare = build(with_model(config, presence_head=False).model).eval()
    bare.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("presence.")})
    assert bare(torch.zeros(1, 3, 64, 64)).confidence.isfinite().all()


def test_training_refuses_the_head(tmp_path: Path) -> None:
    with pytest.raises(UnclaspError, match="fitted after training"):
        train(with_model(tiny(), confidence_head=True), Samples(8), RunOptions(out=tmp_path, accelerator="cpu"))


def test_the_command_keeps_the_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    path, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_weights(path, build(tiny().model).state_dict(), tiny(), notes={"steps": 5, "calibrated_split": "old"})
    monkeypatch.setattr("unclasp.data.open_dataset", lambda name, **_: Samples(9))
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", str(path), "--out", str(out)])
    assert stop.value.code == 0 and "the more confident half of the joints" in capsys.readouterr().out
    assert load_notes(out) == {"steps": 5, "calibrated_on": "synthetic:val", "calibrated_within_mm": WITHIN}
    assert load_model(out)[1].model.confidence_head


def test_the_command_stores_the_split(tmp_path: Path, golden_mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_weights(path, build(tiny().model).state_dict(), tiny())
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", str(path), "--out", str(out), "--data", f"interhand:{golden_mini}", "--limit", "9"])
    assert stop.value.code == 0 and f"fitted on: interhand:{golden_mini}, test\n" in capsys.readouterr().out
    assert load_notes(out)["calibrated_split"] == "test"


def test_the_shipped_confidences_mean_what_they_are_said_to() -> None:
    notes = load_notes(Path(unclasp.__file__).parent / "weights" / "small.safetensors")
    assert notes["calibrated_within_mm"] == WITHIN


def test_pictures_without_annotated_joints_calibrate_nothing() -> None:
    class Blank(Samples):
        def __getitem__(self, index: int):
            return replace(super().__getitem__(index), valid=np.zeros(42, dtype=bool))

    with pytest.raises(UnclaspError, match="needs annotated joints, and these pictures have none"):
        calibrate(build(tiny().model).eval(), tiny(), Blank(8))


@pytest.mark.parametrize("axis", DepthAxis)
def test_errors_are_those_of_the_predicted_pose_in_mm(axis: DepthAxis) -> None:
    """One joint is predicted 20 mm too deep, and the left wrist 3 px beside its place; one joint is not annotated."""
    sample = make_sample_function()(0)
    valid = np.arange(42) != 9
    sample = replace(sample, valid=valid, joints_cam=np.where(valid[:, None], sample.joints_cam, 1).astype(np.float32))
    pose = torch.from_numpy(make_example(sample, plain_view(sample.box), 64, depth_axis=axis).pose_2p5d)[None]
    pose[0, 5, 2] += 20
    pose[0, 41, 0] += 3

    class Predicts(torch.nn.Module):
        depth_axis = axis

        def forward(self, image: torch.Tensor) -> Prediction:
            relations = tuple(torch.zeros(1, 42, 4) for _ in range(2))
            return Prediction(pose, (pose[..., :2],), torch.zeros(1, 33, 8, 8), relations, None, None)

    model: Any = Predicts()
    observed = _observe(model, [sample], 64)
    side_px = float(plain_view(sample.box).box[2] - plain_view(sample.box).box[0])
    beside = 3 * side_px / 64 * float(sample.joints_cam[41, 2] / sample.focal[0])
    camera, relative = observed.camera_errors[0], observed.relative_errors[0]
    assert camera.isnan().nonzero().flatten().tolist() == relative.isnan().nonzero().flatten().tolist() == [9]
    for errors, expected in ((camera, {5: 20.0, 41: beside}), (relative, {5: 20.0})):
        for joint in {*range(21)} - {9}:
            assert float(errors[joint]) == pytest.approx(expected.get(joint, 0.0), rel=0.1, abs=0.01)
    assert float(camera[41]) == pytest.approx(beside, rel=0.02) and float(relative[41]) == 0
    assert float(camera[30]) < 0.5 and float(relative[30]) == pytest.approx(beside, rel=0.02)


def test_wrists_are_found_by_their_place_in_the_camera_frame_and_unknown_joints_teach_nothing() -> None:
    """Other joints by their place relative to the wrist. Joint 7 is right wherever it is known."""
    camera, relative = torch.full((24, 42), 90.0), torch.full((24, 42), 10.0)
    camera[:, [20, 41]] = 80.0
    relative[:, [20, 41]] = 0.0
    relative[::2, 7] = camera[::2, 7] = torch.nan
    relative[:, [3, 24]] = 50.0
    head = Confidence(2, context=True)
    fit(head, Observed(torch.zeros(24, 42, evidence_size(2)), camera, relative))
    confidence = head(torch.zeros(1, 42, evidence_size(2))).sigmoid()[0]
    assert (confidence < 0.5).nonzero().flatten().tolist() == [3, 20, 24, 41]
    assert confidence[7] > 0.9 and confidence[28] > 0.9
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_confidences_are_compared_in_ten_bins_of_which_the_last_includes_certainty() -> None:
    assert calibration_error(np.array([1.0, 1.0]), np.array([False, True])) == pytest.approx(0.5)
    assert calibration_error(np.array([0.51, 0.59]), np.array([True, False])) == pytest.approx(0.05)
