"""The face detector, from MediaPipe's file to the shipped one."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from made_layers import given
from torch.nn import functional

from unclasp.cli import main
from unclasp.errors import CheckpointError, UnclaspError
from unclasp.model.faces import load_face_detector
from unclasp.model.tflite import Layer

WIDTHS = (24, 24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88, 96, 96, 96, 96, 96)
"""Channels before each block and after the last one, as in the file."""
DOWN = (32, 48, 96)
"""Channels of the blocks with stride 2."""
ANSWERS = ((2, 88), (6, 96), (32, 88), (96, 96))
"""Output and input channels of the file's last layers, in its order: scores of both maps, then places."""


def layers() -> list[Layer]:
    """Return the layers of the network's file, all of which have a bias."""
    shapes = [(24, 3, 5, 5)]
    for before, after in pairwise(WIDTHS):
        shapes += [(before, 1, 3, 3), (after, before, 1, 1)]
    shapes += [(n, width, 1, 1) for n, width in ANSWERS]
    return [Layer(torch.randn(shape) / shape[1] ** 0.5 / shape[2], torch.randn(shape[0]) / 4) for shape in shapes]


def naive(held: list[Layer], picture: torch.Tensor) -> list[torch.Tensor]:
    """Return the outputs for (1, 3, H, W) 0 to 255, layer by layer as the file has them."""
    stem, blocks, (fine_score, coarse_score, fine_place, coarse_place) = held[0], held[1:33], held[33:]
    x = functional.relu(functional.conv2d(functional.pad(picture / 127.5 - 1, (1, 2, 1, 2)), *stem[:2], stride=2))
    fine = x
    for depthwise, pointwise in zip(blocks[::2], blocks[1::2], strict=True):
        before, after = x.shape[1], len(pointwise.weight)
        stride = 2 if after in DOWN and after != before else 1
        padded = functional.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))  # SAME in TensorFlow
        y = functional.conv2d(padded, *depthwise[:2], stride=stride, groups=before)
        shortcut = functional.max_pool2d(x, 2) if stride == 2 else x
        y = functional.conv2d(y, *pointwise[:2])
        y[:, :before] += shortcut
        x = functional.relu(y)
        fine = x if after == 88 else fine
    return [
        functional.conv2d(fine, *fine_score[:2]).sigmoid(), functional.conv2d(fine, *fine_place[:2]),
        functional.conv2d(x, *coarse_score[:2]).sigmoid(), functional.conv2d(x, *coarse_place[:2]),
    ]  # fmt: skip


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Layer]:
    torch.manual_seed(0)
    made = layers()
    given(monkeypatch, made)
    return made


@torch.no_grad()
def test_it_is_the_files_network(held: list[Layer]) -> None:
    picture = torch.rand(1, 3, 64, 96) * 255
    told = load_face_detector(Path("a file"))(picture)
    assert [tuple(each.shape[1:]) for each in told] == [(2, 8, 12), (32, 8, 12), (6, 4, 6), (96, 4, 6)]
    for mine, expected in zip(told, naive(held, picture), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)


def test_other_layers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, layers()[:-1])
    with pytest.raises(CheckpointError, match=r"must be MediaPipe's face_detection_short_range\.tflite"):
        load_face_detector(Path("a file"))


def test_the_export_is_the_network_at_all_sizes_or_is_not_written(
    held: list[Layer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    from unclasp.exporting import mediapipe
    from unclasp.find.faces import open_faces

    with monkeypatch.context() as here:
        here.setattr(mediapipe, "DETECTOR_DIFFERENCES", (1e-9,) * 4)
        with pytest.raises(UnclaspError, match="the exported face detector does not match the network"):
            mediapipe.export_faces(Path("a file"), tmp_path / "f.onnx")
    assert not list(tmp_path.iterdir())
    mediapipe.export_faces(Path("a file"), tmp_path / "f.onnx")
    assert (tmp_path / "f.onnx").stat().st_size < 400_000
    faces = open_faces(tmp_path / "f.onnx")
    for size in (64, 128, 256):
        picture = np.random.default_rng(1).integers(0, 256, (size, size, 3)).astype(np.uint8)
        expected = naive(held, torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        for mine, theirs in zip(faces.run(picture), expected, strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), atol=0.02 * max(1.0, float(theirs.abs().max())))


def test_the_command(held: list[Layer], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="exporting is an extra")
    pytest.importorskip("tflite", reason="reading MediaPipe's files is an extra")
    with pytest.raises(SystemExit) as stop:
        main(["faces", str(tmp_path / "face.tflite"), "--out", str(tmp_path / "f.onnx")])
    assert stop.value.code == 0 and (tmp_path / "f.onnx").is_file()
    with pytest.raises(SystemExit) as stop:
        main(["faces", str(tmp_path / "face.tflite"), "--out", str(tmp_path / "f.bin")])
    assert stop.value.code == 2 and "--out must end in .onnx" in capsys.readouterr().err
