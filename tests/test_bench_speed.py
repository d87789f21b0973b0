"""Speed benchmarks: they run, interleave their calls and refuse invalid settings. Times themselves are not tested."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from unclasp.bench.finder import finder_speed
from unclasp.bench.latency import BareBackbone, measure
from unclasp.bench.pieces import REST, piece_macs, piece_times, pieces
from unclasp.bench.predict import predict_speed
from unclasp.bench.start import STAGES, start_speed
from unclasp.bench.timing import interleaved
from unclasp.bench.train import random_batch, train_speed
from unclasp.checkpoint import save_weights
from unclasp.cli import main
from unclasp.engines.onnx_session import open_session
from unclasp.engines.torch_network import TorchNetwork
from unclasp.errors import UnclaspError
from unclasp.model import build
from unclasp.model.deploy import optimise
from unclasp.model.macs import count_macs
from unclasp.presets import tiny


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
        ({"batch": 0}, "^batch must be at least 1, got 0$"),
        ({"threads": -1}, "^threads must be at least 1, got -1$"),
        ({"repeats": 0}, "^repeats must be at least 1, got 0$"),
    ],
)
def test_what_cannot_be_measured(changed: dict[str, object], told: str) -> None:
    given = {"engines": ("plain",), "threads": 1, "repeats": 1, **changed}
    with pytest.raises(UnclaspError, match=told):
        measure(build(tiny().model), name="tiny", **given)  # type: ignore[arg-type]


def test_an_engine_named_twice_is_measured_once() -> None:
    engines = ("eager", "plain", "eager")
    figures = measure(build(tiny().model), name="tiny", engines=engines, threads=1, repeats=1)
    assert [line.engine for line in figures.lines] == ["eager", "plain"]


def test_pieces_are_fed_by_the_name_that_exports_have(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    for module in ("export", "exporting.tracing", "bench.pieces", "exporting.graph"):
        monkeypatch.setattr(f"unclasp.{module}.INPUT", "crop")
    assert pieces(build(tiny().model).eval(), threads=1, repeats=1)


def test_the_finder_is_timed_as_beside_an_exported_model(monkeypatch: pytest.MonkeyPatch) -> None:
    spins = []

    def watched(*given: Any, spin: bool, **others: Any) -> Any:
        spins.append(spin)
        return open_session(*given, spin=spin, **others)

    monkeypatch.setattr("unclasp.engines.onnx_engine.open_session", watched)
    told = finder_speed(width=40, height=30, repeats=1, threads=1).splitlines()
    assert spins == [True] and any("network" in line for line in told)


@pytest.mark.parametrize("name", ["width", "height", "repeats", "threads"])
def test_the_finder_needs_a_picture_and_calls(name: str) -> None:
    with pytest.raises(UnclaspError, match=f"^{name} must be at least 1, got 0$"):
        finder_speed(**{"width": 40, "height": 30, "repeats": 1, "threads": 1, name: 0})


def test_pieces_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    model = build(tiny().model).eval()
    lean = optimise(model)
    counted = piece_macs(lean, 64)
    assert sum(counted.values()) == count_macs(lean, 64)
    assert counted["backbone"] == count_macs(BareBackbone(lean), 64)
    # 3x3 from 15 to 16 channels and 1x1 from 16 to 33, on 16x16 pixels; 3x3 from 15 to 15 on as many, and on fewer.
    assert counted["part segmentation"] == 256 * (9 * 15 * 16 + 16 * 33)
    assert counted["pyramid, 3x3 at stride 4"] == 256 * 9 * 15 * 15
    assert counted["pyramid, 3x3 at strides 8 to 32"] == (64 + 16 + 4) * 9 * 15 * 15
    measured = pieces(model, threads=1, repeats=2)
    assert all(each.ms > 0 and (each.macs > 0 or each.name == REST) for each in measured)
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "pieces", "tiny", "--repeats", "1", "--threads", "1", "--linear-head"])
    rows = capsys.readouterr().out.splitlines()
    assert exit_.value.code == 0 and rows[0].startswith("tiny, linear head, batch 1") and len(rows) == 3 + len(measured)
    for threads, repeats, told in ((1, 0, "repeats"), (0, 1, "threads")):
        with pytest.raises(UnclaspError, match=f"^{told} must be at least 1, got 0$"):
            pieces(model, threads=threads, repeats=repeats)


def test_times_of_nodes_go_to_their_pieces() -> None:
    spent = {
        "/model/encoder/backbone/conv1/Conv": (1000, 3000, 9000), "/model/encoder/output.8/output.8.0/Conv": (2000,),
        "/model/encoder/output.4/output.4.0/Conv_nchwc": (4000,), "part_logits_nchwc": (5000,),
        "/model/encoder/Softmax": (7000,), "/model/decoder/to_pose/Add": (100,),
    }  # fmt: skip
    events = [
        {"cat": "Node", "name": f"{node}_kernel_time", "dur": each} for node, calls in spent.items() for each in calls
    ]
    others = [
        {"cat": "Session", "name": "model_run", "dur": 1e9},
        {"cat": "Node", "name": "x_fence_before", "dur": 1e9},
    ]
    assert piece_times([*events, *others]) == {
        "backbone": 3.0, "pyramid, 3x3 at strides 8 to 32": 2.0, "pyramid, 3x3 at stride 4": 4.0,
        "part segmentation": 5.0, REST: 7.0, "decoder": 0.1,
    }  # fmt: skip


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
    times = {line[:18].strip(): float(line[18:].split()[0]) for line in told[1:]}
    networks = {"finder", "network", "landmarks", "palms", "faces"}
    assert set(times) == networks | {"read", "crop and lift", "picture to pose", "overlay"}
    assert (
        times["finder"] == times["palms"] == times["faces"] == 0
        and max(times["network"], times["crop and lift"]) <= times["picture to pose"]
    )
    assert times["landmarks"] > 0, "random weights see hands in noise"
    found = predict_speed(picture, network, repeats=1, box=None, threads=1).splitlines()
    assert float(found[2].split()[1]) > 0
    with pytest.raises(UnclaspError, match=r"^repeats must be at least 1, got 0$"):
        predict_speed(picture, network, repeats=0, box=None)


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
    with pytest.raises(UnclaspError, match=r"^repeats must be at least 1, got 0$"):
        start_speed(picture, weights, repeats=0, box=None)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "latency", "tiny", "--engines", "plain", "eager", "--repeats", "1", "--threads", "1"])
    told = capsys.readouterr().out
    assert exit_.value.code == 0 and told.startswith("tiny, batch 1, 1 threads")
