"""TensorFlow Lite files of MediaPipe: reading in order, strict loading, and unfolding of norms."""

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_layers import given, layers_of
from torch import nn

from unclasp.errors import CheckpointError
from unclasp.model import load_backbone
from unclasp.model.backbones import build_backbone
from unclasp.model.backbones.efficientnet import HandLandmarks
from unclasp.model.palms import MoreChannels, PalmBackbone, load_palm_backbone, make_lean
from unclasp.model.tflite import Layer, _kind, load_folded, read_layers, unfold_norms

flatbuffers = pytest.importorskip("flatbuffers")
tflite = pytest.importorskip("tflite", reason="reading such files is an extra")


class Writer:
    """Writes a TensorFlow Lite file, operator by operator."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)
        self.buffers, self.tensors = [self._buffer(b"")], []
        self.kinds: list[int] = []
        self.operators: list[tuple[int, list[int], int]] = []

    def add(self, kind: int, *inputs: int) -> int:
        """Add an operator and return its output tensor."""
        self.kinds.append(kind)
        output = self.tensor((1,), tflite.TensorType.FLOAT32, 0)
        self.operators.append((len(self.kinds) - 1, list(inputs), output))
        return output

    def constant(self, values: np.ndarray) -> int:
        """Add a tensor of these values, followed by DEQUANTIZE if they are in half precision."""
        self.buffers.append(self._buffer(values.tobytes()))
        half = values.dtype == np.float16
        kind = tflite.TensorType.FLOAT16 if half else tflite.TensorType.FLOAT32
        stored = self.tensor(values.shape, kind, len(self.buffers) - 1)
        return self.add(tflite.BuiltinOperator.DEQUANTIZE, stored) if half else stored

    def tensor(self, shape: tuple[int, ...], kind: int, buffer: int) -> int:
        name = self.builder.CreateString(f"tensor {len(self.tensors)}")
        numbers = self.builder.CreateNumpyVector(np.array(shape, dtype=np.int32))
        tflite.TensorStart(self.builder)
        tflite.TensorAddShape(self.builder, numbers)
        tflite.TensorAddType(self.builder, kind)
        tflite.TensorAddBuffer(self.builder, buffer)
        tflite.TensorAddName(self.builder, name)
        self.tensors.append(tflite.TensorEnd(self.builder))
        return len(self.tensors) - 1

    def write(self, path: Path) -> Path:
        builder, codes, operators = self.builder, [], []
        for kind in self.kinds:
            tflite.OperatorCodeStart(builder)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, kind)
            tflite.OperatorCodeAddBuiltinCode(builder, kind)
            codes.append(tflite.OperatorCodeEnd(builder))
        for code, inputs, output in self.operators:
            read, made = (builder.CreateNumpyVector(np.array(each, dtype=np.int32)) for each in (inputs, [output]))
            tflite.OperatorStart(builder)
            tflite.OperatorAddOpcodeIndex(builder, code)
            tflite.OperatorAddInputs(builder, read)
            tflite.OperatorAddOutputs(builder, made)
            operators.append(tflite.OperatorEnd(builder))
        tensors, listed = self._offsets(self.tensors), self._offsets(operators)
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tensors)
        tflite.SubGraphAddOperators(builder, listed)
        graphs = self._offsets([tflite.SubGraphEnd(builder)])
        of_codes, of_buffers = self._offsets(codes), self._offsets(self.buffers)
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddOperatorCodes(builder, of_codes)
        tflite.ModelAddSubgraphs(builder, graphs)
        tflite.ModelAddBuffers(builder, of_buffers)
        builder.Finish(tflite.ModelEnd(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path

    def _buffer(self, content: bytes) -> int:
        data = self.builder.CreateByteVector(content)
        tflite.BufferStart(self.builder)
        tflite.BufferAddData(self.builder, data)
        return int(tflite.BufferEnd(self.builder))

    def _offsets(self, items: list[int]) -> int:
        self.builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            self.builder.PrependUOffsetTRelative(item)
        return int(self.builder.EndVector())


def one_convolution(path: Path, weight: np.ndarray, bias: np.ndarray) -> Path:
    """Write a file with one convolution, of weight (out, K, K, in) and bias (out,)."""
    writer = Writer()
    picture = writer.tensor((1, 8, 8, weight.shape[3]), tflite.TensorType.FLOAT32, 0)
    writer.add(tflite.BuiltinOperator.CONV_2D, picture, writer.constant(weight), writer.constant(bias))
    return writer.write(path)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_convolutions_and_slopes_are_read_in_order(tmp_path: Path, kind: type) -> None:
    rng = np.random.default_rng(0)
    dense, each, slope, bias = (
        rng.normal(size=shape).astype(kind) for shape in ((5, 3, 3, 2), (1, 5, 5, 5), (1, 1, 5), (5,))
    )
    writer, kinds = Writer(), tflite.BuiltinOperator
    x = writer.tensor((1, 8, 8, 2), tflite.TensorType.FLOAT32, 0)
    x = writer.add(kinds.CONV_2D, x, writer.constant(dense), writer.constant(bias))
    x = writer.add(kinds.PRELU, x, writer.constant(slope))
    x = writer.add(kinds.DEPTHWISE_CONV_2D, x, writer.constant(each), writer.constant(2 * bias))
    writer.add(kinds.ADD, x, x)
    layers = read_layers(writer.write(tmp_path / "three.tflite"))
    expected = [(dense.transpose(0, 3, 1, 2), bias), (slope.ravel(), bias[:0]), (each.transpose(3, 0, 1, 2), 2 * bias)]
    for layer, (weight, shift) in zip(layers, expected, strict=True):
        np.testing.assert_array_equal(layer.weight.numpy(), weight.astype(np.float32))
        np.testing.assert_array_equal(layer.bias.numpy(), shift.astype(np.float32))


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_fully_connected_layers_are_read_with_their_weight_s_name(tmp_path: Path, kind: type) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, 7)).astype(kind), rng.normal(size=4).astype(kind)
    writer, kinds = Writer(), tflite.BuiltinOperator
    x = writer.tensor((1, 7), tflite.TensorType.FLOAT32, 0)
    stored = writer.constant(weight)
    writer.add(kinds.FULLY_CONNECTED, x, stored, writer.constant(bias))
    writer.add(kinds.FULLY_CONNECTED, x, stored, -1)
    with_bias, without = read_layers(writer.write(tmp_path / "two.tflite"))
    np.testing.assert_array_equal(with_bias.weight.numpy(), weight.astype(np.float32))
    np.testing.assert_array_equal(with_bias.bias.numpy(), bias.astype(np.float32))
    np.testing.assert_array_equal(without.bias.numpy(), np.zeros(4))
    assert with_bias.name == without.name == f"tensor {stored}"


def test_files_that_are_missing_damaged_or_of_another_network_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no weights file"):
        read_layers(tmp_path / "none.tflite")
    other = one_convolution(tmp_path / "other.tflite", np.zeros((32, 3, 3, 3), np.float32), np.zeros(32, np.float32))
    (tmp_path / "photo.tflite").write_bytes(b"\xff\xd8\xff\xe0 a picture")
    with pytest.raises(CheckpointError, match="is not a TensorFlow Lite file"):
        read_layers(tmp_path / "photo.tflite")
    content = other.read_bytes()
    for number, length in enumerate((9, len(content) // 3, len(content) // 2, len(content) - 300)):
        (tmp_path / f"{number}.tflite").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="is a damaged TensorFlow Lite file"):
            read_layers(tmp_path / f"{number}.tflite")
    writer = Writer()
    writer.add(tflite.BuiltinOperator.CONV_2D, 0, *(writer.constant(np.zeros(4, np.float32)) for _ in range(2)))
    with pytest.raises(CheckpointError, match=r"is a damaged TensorFlow Lite file .RuntimeError"):
        read_layers(writer.write(tmp_path / "flat.tflite"))
    with pytest.raises(CheckpointError, match=r"with 1 convolutions: expected the 47 of .*hand_landmark_full"):
        load_backbone(HandLandmarks(), other)
    with pytest.raises(CheckpointError, match="palm_detection_full"):
        load_palm_backbone(PalmBackbone(), other)
    with pytest.raises(CheckpointError, match="ResNet does not come as a TensorFlow Lite file"):
        load_backbone(build_backbone("resnet18"), other)


def test_a_loaded_backbone_convolves_and_adds_the_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    backbone = HandLandmarks().eval()
    layers = layers_of(backbone)[:-1]
    given(monkeypatch, layers)
    projection = backbone._blocks[-1]._project_conv.weight.clone()
    load_folded(backbone, Path("a file"))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        stem = backbone._bn0(backbone._conv_stem(x))
    padded = nn.functional.pad(x, (0, 1, 0, 1))
    torch.testing.assert_close(stem, nn.functional.conv2d(padded, *layers[0][:2], stride=2))
    torch.testing.assert_close(backbone._blocks[-1]._bn1.bias.detach(), layers[-1].bias)
    torch.testing.assert_close(backbone._blocks[-1]._project_conv.weight, projection)


def test_unfolded_norms_answer_the_same_in_use_and_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    backbone = HandLandmarks().double()
    given(monkeypatch, layers_of(backbone)[:-1])
    load_folded(backbone, Path("a file"))
    pictures = torch.rand(4, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = backbone.eval()(pictures)
        unfold_norms(backbone.train(), backbone, pictures)
        assert backbone.training, "as it was"
        in_training = backbone(pictures)
        after = backbone.eval()(pictures)
    for maps in (after, in_training):
        for mine, theirs in zip(maps, before, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any((norm.running_mean == 0).all() for norm in norms)


def test_palms_load_in_order_without_the_detector_s_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    palms = PalmBackbone()
    layers = [
        Layer(weight, torch.zeros_like(bias) if weight.ndim > 1 and weight.shape[1] == 1 else bias)
        for weight, bias, _ in layers_of(palms)
    ]
    answers = [Layer(torch.ones(count, 128, 1, 1), torch.ones(count)) for count in (6, 108, 2, 36)]
    given(monkeypatch, [*layers[:-9], *answers[:2], *layers[-9:], *answers[2:]])
    load_palm_backbone(palms, Path("a file"))
    loaded = [part for part in palms.modules() if isinstance(part, nn.Conv2d | nn.PReLU)]
    for part, layer in zip(loaded, layers, strict=True):
        torch.testing.assert_close(part.weight.detach(), layer.weight)
    maps = palms.down(torch.rand(1, 3, 64, 64))
    assert [tuple(each.shape) for each in maps] == [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4), (1, 256, 2, 2)]
    assert [each.shape for each in palms.up(maps)] == [each.shape for each in maps]

    biased = next(number for number, layer in enumerate(layers) if layer.weight.ndim > 1 and layer.weight.shape[1] == 1)
    given(monkeypatch, [Layer(w, b + 1 if at == biased else b) for at, (w, b, _) in enumerate(layers)])
    with pytest.raises(CheckpointError, match="depthwise convolution has a bias"):
        load_palm_backbone(palms, Path("a file"))


def test_lean_palms_answer_the_same() -> None:
    torch.manual_seed(0)
    palms = PalmBackbone().eval()
    for part in palms.modules():
        if isinstance(part, nn.PReLU):
            nn.init.normal_(part.weight)
    lean, pictures = copy.deepcopy(palms), torch.rand(1, 3, 64, 64)
    make_lean(lean)
    kinds = {type(part) for part in lean.modules()}
    assert nn.PReLU not in kinds and MoreChannels not in kinds
    with torch.no_grad():
        expected, got = (each.double().up(each.double().down(pictures.double())) for each in (palms, lean))
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6 * float(theirs.abs().max()))


def with_statistics(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.weight.data, norm.running_var, norm.bias.data, norm.running_mean):
                values.uniform_(0.5, 1.5)


def test_a_backbone_that_was_trained_before_is_loaded_like_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    used, new = HandLandmarks(), HandLandmarks()
    given(monkeypatch, layers_of(used)[:-1])
    with_statistics(used)
    for backbone in (used, new):
        load_folded(backbone, Path("a file"))
    last = f"_blocks.{len(new._blocks) - 1}._"  # its projection is not in the file
    for name, value in new.state_dict().items():
        if not name.startswith((f"{last}project", f"{last}bn2")):
            torch.testing.assert_close(used.state_dict()[name], value, msg=name)


@torch.no_grad()
def test_unfolding_takes_the_statistics_of_the_pictures_and_leaves_no_trace() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)
    ).double()
    with_statistics(net)
    pictures, others = torch.randn(2, 4, 3, 9, 9, dtype=torch.float64)
    net.eval()
    before = net(others)
    unfold_norms(net, net, pictures)
    assert not net.training
    for at in (1, 4):
        inputs = net[:at](pictures)
        torch.testing.assert_close(net[at].running_mean, inputs.mean(dim=(0, 2, 3)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(net[at].running_var, inputs.var(dim=(0, 2, 3), correction=0), rtol=1e-5, atol=1e-6)
    statistics = net[1].running_mean.clone()
    torch.testing.assert_close(net(others), before, rtol=1e-5, atol=1e-6)
    assert torch.equal(net[1].running_mean, statistics), "later pictures change nothing"


@pytest.mark.parametrize(("new", "old", "kind"), [(0, 3, 3), (3, 3, 3), (150, 127, 150)])
def test_the_kind_of_an_operator_is_in_an_old_or_a_new_field(new: int, old: int, kind: int) -> None:
    assert _kind(SimpleNamespace(BuiltinCode=lambda: new, DeprecatedBuiltinCode=lambda: old)) == kind
