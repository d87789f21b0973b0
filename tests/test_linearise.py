"""The linear head: it approximates the head with a hidden layer, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from unclasp.checkpoint import load_model, load_notes, save_weights
from unclasp.cli import main
from unclasp.config import with_model
from unclasp.errors import UnclaspError
from unclasp.model import DFL, build
from unclasp.model.deploy import optimise
from unclasp.model.macs import count_macs
from unclasp.presets import tiny
from unclasp.training import linearise
from unclasp.training.linearise import linearised

CROPS = np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64)).astype(np.uint8)


def made() -> DFL:
    torch.manual_seed(0)
    return build(tiny().model).eval()


def test_a_head_that_is_linear_in_truth_is_found_again() -> None:
    """The hidden layer passes seven channels through without clipping, so the head computes a linear function."""
    model = made()
    (conv, norm), _, last = model.encoder.segmentation  # type: ignore[misc]
    torch.nn.init.zeros_(conv.weight)
    for channel in range(7):
        conv.weight.data[channel, channel, 1, 1] = 1
    torch.nn.init.constant_(norm.bias, 50)
    last.weight.data.mul_(0.3)
    last.bias.data = -50 * last.weight.data.sum(dim=(1, 2, 3))
    fitted, config = linearised(model, tiny(), CROPS, steps=400)
    assert config == with_model(tiny(), segmentation_channels=0)
    with torch.inference_mode():
        expected, got = model(torch.from_numpy(CROPS)), fitted(torch.from_numpy(CROPS))
    assert (got.part_logits.softmax(dim=1) - expected.part_logits.softmax(dim=1)).abs().max() < 0.02
    assert (got.pose_2p5d - expected.pose_2p5d).abs().max() < 0.1
    assert count_macs(optimise(fitted), 64) < count_macs(optimise(model), 64)


def test_the_rest_stays_as_it_is() -> None:
    model = made()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fitted, config = linearised(model, tiny(), CROPS, steps=3)
    after = fitted.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in after.items() if "segmentation" not in name)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(UnclaspError, match="linear already"):
        linearised(fitted, config, CROPS)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, out = tmp_path / "tiny.safetensors", tmp_path / "linear.safetensors"
    save_weights(weights, made().state_dict(), tiny())
    with pytest.raises(SystemExit) as exit_:
        main(["linearise", str(weights), "--out", str(out), "--pictures", "2", "--steps", "2"])
    assert exit_.value.code == 0 and "fitted to 2 pictures" in (told := capsys.readouterr().out)
    assert load_model(out)[1].model.segmentation_channels == 0 and load_notes(out) == {"linearised": "tiny"}
    assert "calibrate" not in told, "there was no confidence to leave out"
    with pytest.raises(SystemExit) as exit_:
        main(["linearise", "--pictures", "0"])
    assert exit_.value.code == 2 and "--pictures must be at least 1" in capsys.readouterr().err


def test_confidences_are_left_out_as_they_were_fitted_to_the_other_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = with_model(tiny(), confidence_head=True)
    torch.manual_seed(0)
    model = build(config.model).eval()
    fitted, linear = linearised(model, config, CROPS, steps=2)
    assert linear == with_model(tiny(), segmentation_channels=0)
    with torch.inference_mode():
        assert fitted(torch.from_numpy(CROPS)).confidence is None
    weights, out = tmp_path / "sure.safetensors", tmp_path / "linear.safetensors"
    save_weights(weights, model.state_dict(), config, notes={"steps": 7, "calibrated_on": "synthetic:val"})
    with pytest.raises(SystemExit) as exit_:
        main(["linearise", str(weights), "--out", str(out), "--pictures", "2", "--steps", "2"])
    assert exit_.value.code == 0 and "run unclasp calibrate again" in capsys.readouterr().out
    assert not load_model(out)[1].model.confidence_head
    assert load_notes(out) == {"steps": 7, "linearised": "sure"}, "the calibration is gone, and the note of it"


def test_the_fit_is_the_same_in_any_mode_and_batches_and_after_any_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made()
    once, _ = linearised(model, tiny(), CROPS, steps=3)
    monkeypatch.setattr(linearise, "_BATCH_SIZE", 3)
    torch.manual_seed(7)
    again, _ = linearised(model.train(), tiny(), CROPS, steps=3)
    assert not model.training and not again.training
    for name, value in once.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, msg=name)
