"""The statistics of other pictures in the first layers of a trained model."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from command_line import run_here
from made_hands import two_hands
from poses import pose_of
from unclasp.checkpoint import load_model, load_notes
from unclasp.errors import UnclaspError
from unclasp.model import DFL, build
from unclasp.presets import tiny
from unclasp.training.adapt import adapted, hand_crops

EXAMPLE = Path(__file__).parents[1] / "examples" / "two_hands.jpg"
CROPS = np.random.default_rng(0).integers(40, 180, (48, 64, 64, 3)).astype(np.float32)


def made() -> DFL:
    torch.manual_seed(0)
    return build(tiny().model).eval()


@torch.no_grad()
def outputs(model: DFL, crops: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    prediction = model(torch.from_numpy(crops).permute(0, 3, 1, 2))
    assert prediction.presence is not None
    return prediction.pose_2p5d, prediction.part_logits, prediction.presence


def test_pictures_of_more_contrast_are_predicted_like_those_of_less() -> None:
    middle = np.array(made().encoder.backbone.mean, dtype=np.float32)
    harder = middle + 1.4 * (CROPS - middle)
    usual, for_harder = adapted(made(), CROPS), adapted(made(), harder)
    pose, parts, _ = outputs(usual, CROPS)
    same_pose, same_parts, _ = outputs(for_harder, harder)
    torch.testing.assert_close(same_parts, parts, atol=2e-3, rtol=0)
    torch.testing.assert_close(same_pose, pose, atol=2e-2, rtol=0)
    assert (outputs(usual, harder)[1] - parts).abs().max() > 0.05, "without being adapted they are not"


def test_the_first_layer_gets_the_mean_and_variance_of_its_features() -> None:
    model = made()
    model.encoder.backbone.stages[0][1].num_batches_tracked += 1000  # type: ignore[union-attr,index,operator]  # trained
    convolution, norm, _ = adapted(model, CROPS).encoder.backbone.stages[0]  # type: ignore[union-attr,misc]
    with torch.no_grad():
        features = convolution(model.normalise(torch.from_numpy(CROPS).permute(0, 3, 1, 2)))
    torch.testing.assert_close(norm.running_mean, features.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_var, features.var(dim=(0, 2, 3)))


def test_everything_else_stays_but_for_the_mean_presence() -> None:
    model = made()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changed = adapted(model, CROPS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    differing = {name for name, value in changed.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    first = {f"encoder.backbone.stages.{stage}.1.{name}" for stage in (0, 1) for name in statistics}
    assert differing == {*first, "presence.bias"}
    assert {module.momentum for module in changed.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}
    assert not any(module.training for module in changed.modules())
    old, new = outputs(model, CROPS)[2], outputs(changed, CROPS)[2]
    assert new.mean() == pytest.approx(float(old.mean()), abs=1e-5)
    assert not torch.allclose(new, old, atol=1e-4)


def test_a_model_without_presences_is_adapted_too() -> None:
    config = replace(tiny().model, presence_head=False)
    model = build(config).eval()
    assert model.presence is None and adapted(model, CROPS).presence is None


def test_what_cannot_be_adapted_is_told() -> None:
    with pytest.raises(UnclaspError, match="at least 32 crops of hands that are not in doubt, got 31: give more"):
        adapted(made(), CROPS[:31])
    model = made()
    for stage in model.encoder.backbone.stages:  # type: ignore[union-attr]
        stage[1] = nn.Identity()  # type: ignore[index,operator]
    with pytest.raises(UnclaspError, match="no batch norms"):
        adapted(model, CROPS)


def test_crops_show_both_hands_and_each_hand_that_is_not_in_doubt() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    sure, unsure = np.full(42, 0.9), np.repeat([0.9, 0.01], 21)
    pose = pose_of(two_hands(0, (600, 600)), image=image, confidence=sure)
    image[:, :320] = 200
    both, right, left = hand_crops(pose, 64)
    assert both.shape == right.shape == left.shape == (64, 64, 3)
    assert right.mean() > left.mean() + 50, "the right hand is in the left half"
    dark = replace(pose, image=image // 4)
    assert next(hand_crops(dark, 64)).max() > 120, "50 of 255 is brightened for the network, too"
    assert len(list(hand_crops(replace(pose, confidence=unsure), 64))) == 2
    assert len(list(hand_crops(replace(pose, present=np.array([True, False])), 64))) == 1
    assert not list(hand_crops(replace(pose, confidence=np.full(42, 0.01)), 64))
    assert not list(hand_crops(replace(pose, present=np.array([False, False])), 64))
    with pytest.raises(UnclaspError, match="no picture"):
        next(hand_crops(replace(pose, image=None), 64))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "adapted.safetensors"
    folder.mkdir()
    picture = cv2.imread(str(EXAMPLE))
    for index in range(11):
        cv2.imwrite(str(folder / f"{index}.jpg"), cv2.convertScaleAbs(picture, alpha=1 + index / 50))
    code, told, errors = run_here(capsys, "adapt", folder / "0.jpg", "--out", out)
    assert code == 2 and "got 3: give more pictures" in errors and not out.exists()
    code, told, errors = run_here(capsys, "adapt", folder, "--out", out, "--max-crops", "32")
    assert code == 0 and told == f"{out}: small with the statistics of 32 crops in its first layers\n", errors
    notes = load_notes(out)
    assert (notes["adapted"], notes["adapted_crops"]) == ("small", 32)
    small, changed = load_model("small")[0].state_dict(), load_model(out)[0].state_dict()
    assert sum(not torch.equal(small[name], changed[name]) for name in small if "running_var" in name) == 15
