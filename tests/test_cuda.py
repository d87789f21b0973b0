"""On a CUDA device: predictions, evaluation and training give what they give on the CPU."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dots import MakeSample
from unclasp.config import AugmentConfig, Config
from unclasp.data.synthetic import Synthetic
from unclasp.evaluate import EvaluateOptions, evaluate
from unclasp.model import build
from unclasp.picture import read_picture
from unclasp.predictor import Predictor
from unclasp.presets import preset, tiny
from unclasp.train import LOG, STATE, train
from unclasp.training.options import RunOptions

DEVICE = "cuda"
PICTURES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are computed in full single precision, as on the CPU."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def test_a_photo_has_the_pose_that_it_has_on_the_cpu() -> None:
    picture = read_picture(PICTURES / "two_hands.jpg")
    here, there = (Predictor.load(device=device)(picture) for device in ("cpu", DEVICE))
    np.testing.assert_allclose(there.joints_2d, here.joints_2d, atol=0.3, err_msg="px")
    np.testing.assert_allclose(there.joints_3d, here.joints_3d, atol=0.3, err_msg="mm")
    np.testing.assert_allclose(there.confidence, here.confidence, atol=0.01)


@pytest.mark.parametrize("name", ["paper", "small"])
def test_the_models_compute_what_they_compute_on_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    config = preset(name)
    model = build(config.model).eval()
    crops = torch.randint(0, 256, (2, 3, config.model.image_size, config.model.image_size), dtype=torch.uint8)
    with torch.no_grad():
        here, there = model(crops), model.to(DEVICE)(crops.to(DEVICE))
    torch.testing.assert_close(there.pose_2p5d.cpu(), here.pose_2p5d, atol=1e-2, rtol=1e-3)


def test_evaluation_gives_the_figures_of_the_cpu() -> None:
    samples, options = Synthetic(2, 16), EvaluateOptions(batch_size=8)
    torch.manual_seed(0)
    model = build(tiny().model)
    here = evaluate(model, samples, options).figures
    there = evaluate(model.to(DEVICE), samples, options, device=DEVICE).figures
    assert there.keys() == here.keys()
    assert there["mpjpe_all_mm"] == pytest.approx(here["mpjpe_all_mm"], abs=0.01)


class Dots:
    """Made-up samples."""

    def __init__(self, make: MakeSample, size: int) -> None:
        self.make, self.size = make, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> object:
        return self.make(index, hands=("interacting", "right", "left")[index % 3])


def with_everything() -> Config:
    config = replace(tiny(), augment=AugmentConfig(photographic=0.5, texture=0.5, style=0.7))
    recipe = {"epochs": 3, "batch_size": 4, "ema_decay": 0.9, "schedule": "cosine", "clip_norm": 5.0}
    return replace(config, train=replace(config.train, **recipe))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_training_learns_and_resumes(tmp_path: Path, make_sample: MakeSample, precision: str) -> None:
    options = {"accelerator": DEVICE, "workers": 1, "save_every": 2, "report_every": 1, "precision": precision}
    samples = Dots(make_sample, 12)
    train(with_everything(), samples, RunOptions(out=tmp_path / "whole", **options))
    train(with_everything(), samples, RunOptions(out=tmp_path / "cut", max_steps=4, **options))
    train(with_everything(), samples, RunOptions(out=tmp_path / "cut", resume=True, **options))
    whole, cut = (
        [json.loads(line) for line in (tmp_path / name / LOG).read_text().splitlines()] for name in ("whole", "cut")
    )
    assert [line["step"] for line in cut] == [line["step"] for line in whole] == list(range(1, 10))
    assert whole[-1]["loss"]["total"] < whole[0]["loss"]["total"]
    # On a GPU, sums are in no fixed order, so that resumed runs are equal but for roundings.
    losses = ([line["loss"]["total"] for line in lines] for lines in (whole, cut))
    np.testing.assert_allclose(*losses, rtol=0.05)
    states = [torch.load(tmp_path / name / STATE, weights_only=True, map_location="cpu") for name in ("whole", "cut")]
    assert states[0]["step"] == states[1]["step"] == 9
    counts = [{float(moments["step"]) for moments in state["optimiser"]["state"].values()} for state in states]
    assert counts[0] == counts[1], "the optimiser goes on as well"
