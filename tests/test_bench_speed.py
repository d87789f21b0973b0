"""Benches of speed: they run, take turns, and refuse what they cannot measure. Times themselves are nobody's fact."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from unclasp.bench_latency import interleaved, measure
from unclasp.bench_start import STAGES, start_speed
from unclasp.bench_train import predict_speed, random_batch, train_speed
from unclasp.checkpoint import save_weights
from unclasp.cli import main
from unclasp.config import tiny
from unclasp.errors import UnclaspError
from unclasp.model import build
from unclasp.model.macs import count_macs
from unclasp.torch_network import TorchNetwork


@pytest.fixture(autouse=True)
def _threads() -> None:
    torch.set_num_threads(1)


def test_calls_take_turns_and_the_first_do_not_count() -> None:
    calls: list[str] = []
    times = interleaved([lambda: calls.append("a"), lambda: calls.append("b")], 2, warm_up=1)
    assert "".join(calls) == "ababab" and [len(each) for each in times] == [2, 2]


def test_every_engine_stands_beside_its_backbone() -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    pytest.importorskip("openvino", reason="an extra of its own")
    model = build(tiny().model).eval()
    engines = ("plain", "eager", "eager-bf16", "onnx", "openvino")
    figures = measure(model, name="tiny", engines=engines, batch=2, threads=1, repeats=3)
    assert tuple(line.engine for line in figures.lines) == engines
    assert all(line.model_ms > 0 and line.backbone_ms > 0 and line.ratio > 1 for line in figures.lines)
    assert figures.plain_macs == count_macs(model, 64) > figures.model_macs > figures.backbone_macs > 0
    told = str(figures).splitlines()
    assert len(told) == 3 + len(engines) and told[-1].startswith("openvino")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"engines": ("abacus",)}, "engines are plain"),
        ({"engines": ()}, "got none"),
        ({"engines": ("onnx",), "device": "cuda"}, "measured on the CPU"),
        ({"repeats": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_measured(changed: dict[str, object], told: str) -> None:
    given = {"engines": ("plain",), "threads": 1, "repeats": 1, **changed}
    with pytest.raises(UnclaspError, match=told):
        measure(build(tiny().model), name="tiny", **given)  # type: ignore[arg-type]


def test_a_training_step_beside_its_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    told = train_speed(
        tiny(), name="tiny", batch=2, repeats=2, threads=1, device="cpu", half=False, compiled=False
    ).splitlines()
    assert "batch 2, fp32" in told[0] and [line.split()[0] for line in told[1:]] == ["step", "backbone", "ratio"]
    assert float(told[3].split()[1]) > 1
    assert len(random_batch(5, 64)) == 5


def test_a_prediction_by_stage(tmp_path: Path) -> None:
    picture = tmp_path / "noise.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8))
    network = TorchNetwork(build(tiny().model), name="tiny", image_size=64)
    told = predict_speed(picture, network, repeats=3, box=(10, 10, 60, 60)).splitlines()
    times = {line[:16].strip(): float(line[16:].split()[0]) for line in told[1:]}
    assert set(times) == {"read", "network", "crop and lift", "overlay", "together"}
    assert max(times.values()) == times["together"] and min(times.values()) >= 0


def test_a_fresh_process_by_stage(tmp_path: Path) -> None:
    picture, weights = tmp_path / "noise.png", tmp_path / "tiny.safetensors"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8))
    save_weights(weights, build(tiny().model).state_dict(), tiny())
    told = start_speed(picture, weights, repeats=1, box=(10, 10, 60, 60)).splitlines()
    times = {line[:22].strip(): float(line[22:].split()[0]) for line in told[1:]}
    assert tuple(times)[:4] == STAGES and tuple(times)[4:] == ("together", "second picture", "import torch")
    assert times["together"] == pytest.approx(sum(times[stage] for stage in STAGES), abs=0.05)
    assert times["engine and weights"] > 0.1, "torch is imported there"
    with pytest.raises(UnclaspError, match="there is no weights file"):
        start_speed(picture, tmp_path / "nowhere.safetensors", repeats=1, box=None)
    with pytest.raises(UnclaspError, match="at least 1"):
        start_speed(picture, weights, repeats=0, box=None)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "latency", "tiny", "--engines", "plain", "eager", "--repeats", "1", "--threads", "1"])
    told = capsys.readouterr().out
    assert exit_.value.code == 0 and told.startswith("tiny, batch 1, 1 threads")
