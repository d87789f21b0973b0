"""The landmark network, from MediaPipe's file to the shipped one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unclasp.cli import main
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.model.landmarks import LandmarkNet, load_landmarks
from unclasp.model.tflite import Layer


def layers() -> list[Layer]:
    """Return the layers of the network's file, with random weights that keep the scale of what passes through.

    Like the file's, the weights are in half precision. World joints, which are not used, are included, and the output
    layers have an order of their own.
    """
    convolutions = [part for part in LandmarkNet().body.modules() if isinstance(part, nn.Conv2d)][:-1]
    read = [
        Layer(
            (torch.randn_like(part.weight) * (2 / part.weight[0].numel()) ** 0.5).half().float(),
            (0.1 * torch.randn(len(part.weight))).half().float(),
        )
        for part in convolutions
    ]
    names = (("conv_handedness", 1), ("conv_handflag", 1), ("conv_landmarks", 63), ("conv_world_landmarks", 63))
    return read + [
        Layer(
            (torch.randn(outputs, 1152) / 30).half().float(),
            torch.randn(outputs).half().float(),
            f"model/{name}/MatMul",
        )
        for name, outputs in names
    ]


def given(monkeypatch: pytest.MonkeyPatch, held: list[Layer]) -> None:
    for module in ("tflite", "landmarks"):
        monkeypatch.setattr(f"unclasp.model.{module}.read_layers", lambda path: held)


def test_answers_are_linear_in_the_mean_of_the_last_block(monkeypatch: pytest.MonkeyPatch) -> None:
    held = layers()
    given(monkeypatch, held)
    net = load_landmarks(Path("a file"))
    picture = torch.rand(2, 3, 64, 64) * 255
    with torch.inference_mode():
        joints, hand, right, told = net(picture)
        features = net.body.before_last(picture / 255).mean(dim=(2, 3))
    assert features.shape == (2, 1152)
    assert (features[0] - features[1]).abs().max() > 0.01, "they depend on the picture"
    named = {layer.name.split("/")[1]: layer for layer in held[-4:]}
    spoken = {name: nn.functional.linear(features, layer.weight, layer.bias) for name, layer in named.items()}
    torch.testing.assert_close(joints, spoken["conv_landmarks"].reshape(2, 21, 3))
    torch.testing.assert_close(told, features)
    torch.testing.assert_close(hand, spoken["conv_handflag"].sigmoid())
    torch.testing.assert_close(right, spoken["conv_handedness"].sigmoid())


def test_the_last_block_is_as_in_the_backbone() -> None:
    body = LandmarkNet().eval().body
    picture = torch.rand(1, 3, 64, 64)
    last = body._blocks[-1]
    with torch.inference_mode():
        torch.testing.assert_close(last._bn2(last._project_conv(body.before_last(picture))), body(picture)[-1])


def test_other_answers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, [layer for layer in layers() if "handflag" not in layer.name])
    with pytest.raises(CheckpointError, match=r"has other output layers than MediaPipe's hand_landmark_full\.tflite"):
        load_landmarks(Path("a file"))


def test_the_export_is_the_network_or_is_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    from unclasp.exporting import mediapipe
    from unclasp.find.landmarks import SIZE, open_landmarks

    given(monkeypatch, layers())
    monkeypatch.setattr(mediapipe, "LANDMARK_DIFFERENCES", (1e-9,) * 4)
    with pytest.raises(UnclaspError, match="the exported landmark network does not match the network"):
        mediapipe.export_landmarks(Path("a file"), tmp_path / "l.onnx")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    given(monkeypatch, held := layers())
    mediapipe.export_landmarks(Path("a file"), tmp_path / "l.onnx")
    assert (tmp_path / "l.onnx").stat().st_size < 2.2 * sum(layer.weight.numel() for layer in held)
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    net = load_landmarks(Path("a file"))
    with torch.inference_mode():
        expected = net(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
    for mine, theirs in zip(open_landmarks(tmp_path / "l.onnx").run(picture), expected, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), atol=0.02)


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    pytest.importorskip("tflite", reason="reading MediaPipe's files is an extra")
    given(monkeypatch, layers())
    words = ["landmarks", str(tmp_path / "hand.tflite"), "--out"]
    with pytest.raises(SystemExit) as stop:
        main([*words, str(tmp_path / "l.onnx")])
    assert stop.value.code == 0 and (tmp_path / "l.onnx").is_file()
    for out, missing, told in (
        ("l.bin", None, "--out must end in .onnx"),
        ("m.onnx", "tflite", r"needs the package tflite: pip install 'unclasp[export,weights]'"),
        ("m.onnx", "onnx", r"needs the package onnx: pip install 'unclasp[export,weights]'"),
    ):
        with monkeypatch.context() as here, pytest.raises(SystemExit) as stop:
            here.setattr("unclasp.commands.mediapipe.find_spec", lambda name, missing=missing: name != missing or None)
            main([*words, str(tmp_path / out)])
        assert stop.value.code == 2 and told in capsys.readouterr().err and not (tmp_path / out).exists()
