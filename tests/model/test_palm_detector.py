"""The palm detector, from MediaPipe's file to the shipped one."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from made_layers import given, layers_of
from torch.nn import functional

from unclasp.cli import main
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.model.palms import PalmBackbone, load_palm_detector
from unclasp.model.tflite import Layer

ANSWERS = ((6, 256), (108, 256), (2, 128), (36, 128))
"""Output and input channels of the file's last layers, in its order: coarse scores, coarse places, fine ones."""


def layers() -> list[Layer]:
    """Return the layers of the network's file: random weights that keep the scale of what passes through.

    Depthwise convolutions are without bias. Like the file's, all values are in half precision.
    """
    body = [
        Layer(
            0.25 + 0.1 * torch.randn_like(weight) if weight.ndim == 1 else _random(weight),
            torch.zeros_like(bias) if weight.ndim > 1 and weight.shape[1] == 1 else bias / 8,
        )
        for weight, bias, _ in layers_of(PalmBackbone())
    ]
    answers = [Layer(4 * torch.randn(n, width, 1, 1) / width**0.5, torch.randn(n)) for n, width in ANSWERS]
    return [Layer(layer.weight.half().float(), layer.bias.half().float()) for layer in body + answers]


def _random(weight: torch.Tensor) -> torch.Tensor:
    return torch.randn_like(weight) * 0.5 / weight[0].numel() ** 0.5


def test_the_detector_s_own_answers_are_loaded_by_their_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, held := layers())
    net = load_palm_detector(Path("a file"))
    coarse, coarse_places, fine, fine_places = held[-4:]
    for module, layer in zip((*net.scores, *net.places), (fine, coarse, fine_places, coarse_places), strict=True):
        torch.testing.assert_close(module.weight.detach(), layer.weight)
        torch.testing.assert_close(module.bias.detach(), layer.bias)
    picture = torch.rand(1, 3, 64, 96) * 255
    with torch.no_grad():
        told = net(picture)
        _, finer, coarser, _ = net.body.up(net.body.down(picture / 255))
        assert (net(255 - picture).fine_scores - told.fine_scores).abs().max() > 0.05, "they depend on the picture"
    assert [tuple(each.shape[1:]) for each in told] == [(2, 8, 12), (36, 8, 12), (6, 4, 6), (108, 4, 6)]
    convolve = torch.nn.functional.conv2d
    torch.testing.assert_close(told.fine_scores, convolve(finer, fine.weight, fine.bias).sigmoid())
    torch.testing.assert_close(told.coarse_places, convolve(coarser, coarse_places.weight, coarse_places.bias))


def test_other_answers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, layers()[:-1])
    with pytest.raises(CheckpointError, match=r"has other output layers than MediaPipe's palm_detection_full\.tflite"):
        load_palm_detector(Path("a file"))


def test_the_export_is_the_network_at_all_sizes_or_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    from unclasp.exporting import mediapipe
    from unclasp.find.palms import open_palms

    torch.manual_seed(0)
    given(monkeypatch, held := layers())
    with monkeypatch.context() as here:
        here.setattr(mediapipe, "DETECTOR_DIFFERENCES", (1e-9,) * 4)
        with pytest.raises(UnclaspError, match="the exported palm detector does not match the network"):
            mediapipe.export_palms(Path("a file"), tmp_path / "p.onnx")
    assert not list(tmp_path.iterdir())
    mediapipe.export_palms(Path("a file"), tmp_path / "p.onnx")
    assert (tmp_path / "p.onnx").stat().st_size < 2.6 * sum(layer.weight.numel() for layer in held)
    net, palms = load_palm_detector(Path("a file")), open_palms(tmp_path / "p.onnx")
    for size in (64, 192, 320):
        picture = np.random.default_rng(1).integers(0, 256, (size, size, 3)).astype(np.uint8)
        with torch.inference_mode():
            expected = net(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        for mine, theirs in zip(palms.run(picture), expected, strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), atol=0.005 * max(1.0, float(theirs.abs().max())))


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    pytest.importorskip("tflite", reason="reading MediaPipe's files is an extra")
    torch.manual_seed(0)
    given(monkeypatch, layers())
    with pytest.raises(SystemExit) as stop:
        main(["palms", str(tmp_path / "palm.tflite"), "--out", str(tmp_path / "p.onnx")])
    assert stop.value.code == 0 and (tmp_path / "p.onnx").is_file()
    with pytest.raises(SystemExit) as stop:
        main(["palms", str(tmp_path / "palm.tflite"), "--out", str(tmp_path / "p.bin")])
    assert stop.value.code == 2 and "--out must end in .onnx" in capsys.readouterr().err


def naive_block(x: torch.Tensor, held: Iterator[Layer], stride: int = 1) -> torch.Tensor:
    """Apply a block layer by layer; padding is TensorFlow's SAME."""
    depthwise, pointwise, slope = next(held), next(held), next(held)
    padded = functional.pad(x, (1, 2, 1, 2) if stride == 2 else (2, 2, 2, 2))
    y = functional.conv2d(padded, depthwise.weight, stride=stride, groups=x.shape[1])
    y = functional.conv2d(y, pointwise.weight, pointwise.bias)
    y[:, : x.shape[1]] += functional.max_pool2d(x, 2) if stride == 2 else x
    return functional.prelu(y, slope.weight)


def naive_up(coarse: torch.Tensor, fine: torch.Tensor, held: Iterator[Layer]) -> torch.Tensor:
    project, slope = next(held), next(held)
    size = (fine.shape[3], fine.shape[2])
    up = np.stack([[cv2.resize(channel, size, interpolation=cv2.INTER_LINEAR) for channel in coarse[0].numpy()]])
    projected = functional.conv2d(torch.from_numpy(up), project.weight, project.bias)
    return naive_block(naive_block(fine + functional.prelu(projected, slope.weight), held), held)


@torch.no_grad()
def test_the_body_is_the_file_s_network() -> None:
    torch.manual_seed(0)
    palms, held = PalmBackbone(), layers()[:-4]
    parts = [part for part in palms.modules() if isinstance(part, torch.nn.Conv2d | torch.nn.PReLU)]
    for part, layer in zip(parts, held, strict=True):
        part.load_state_dict({name: getattr(layer, name) for name in part.state_dict()})
    picture, left = torch.rand(1, 3, 64, 96), iter(held)
    stem, slope = next(left), next(left)
    x = functional.conv2d(functional.pad(picture, (1, 2, 1, 2)), stem.weight, stem.bias, stride=2)
    x, maps = functional.prelu(x, slope.weight), []
    for stage in range(5):
        if stage:
            x = naive_block(x, left, stride=2)
        for _ in range(4):
            x = naive_block(x, left)
        maps.append(x)
    coarse = naive_up(maps[4], maps[3], left)
    expected = [maps[1], naive_up(coarse, maps[2], left), coarse, maps[4]]
    for mine, theirs in zip(palms.up(palms.down(picture)), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
    assert not list(left)
