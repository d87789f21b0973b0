"""The optimised network has the same outputs as the plain one, with fewer operations."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from unclasp.batch import Prediction
from unclasp.checkpoint import load_model
from unclasp.config import Config, Relation, with_model
from unclasp.model import DFL, build
from unclasp.model.backbones import BACKBONES, build_backbone
from unclasp.model.deploy import ConstantPositions, LeanDecoder, optimise
from unclasp.model.folding import fold_batch_norms
from unclasp.model.macs import count_macs
from unclasp.model.relation import Similarity, Update
from unclasp.presets import PRESETS, paper, preset, small, tiny

APPEARANCE = Relation.APPEARANCE
LINEAR = {"segmentation_channels": 0}
CONFIGS: dict[str, Config] = {
    **{name: preset(name) for name in PRESETS if name.startswith("tiny")},
    "linear head": with_model(tiny(), root_depth_head=False, **LINEAR),
    "linear head, finest level gathered": with_model(tiny(), **LINEAR),
    "linear head, finest level thrice": with_model(tiny(), root_depth_head=False, iterations=5, **LINEAR),
    "linear head, iterations 2": with_model(tiny(), root_depth_head=False, iterations=2, **LINEAR),
    "queries kept": with_model(tiny(), init_residual=True),
    "confidence": with_model(tiny(), confidence_head=True),
    "context": with_model(tiny(), confidence_head=True, confidence_context=True),
    "two heads": with_model(tiny(), heads=2),
    "no heads": with_model(tiny(), root_depth_head=False, presence_head=False),
    "levels without appearance": with_model(
        tiny(), root_depth_head=False, presence_head=False, joint_image_relation=Relation.POSITION
    ),
    "appearance alone": with_model(
        tiny(),
        root_depth_head=False,
        presence_head=False,
        init_relation=APPEARANCE,
        joint_joint_relation=APPEARANCE,
        joint_image_relation=APPEARANCE,
        regress_from=APPEARANCE,
    ),
}


def trained_like(model: nn.Module) -> None:
    """Set norm statistics and weight magnitudes as after training, so that no term is negligible against another."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        if name.endswith("readout.weight"):
            parameter.data.mul_(3)
        if name.endswith(("query.weight", "decoder.initialise.appearance")):
            parameter.data.mul_(2)


def built(config: Config) -> DFL:
    torch.manual_seed(0)
    model = build(config.model).eval()
    trained_like(model)
    return model


def crops(count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def tensors(prediction: Prediction) -> Iterator[tuple[str, Tensor]]:
    for name, value in zip(prediction._fields, prediction, strict=True):
        if isinstance(value, tuple):
            yield from ((f"{name} {index}", part) for index, part in enumerate(value))
        elif value is not None:
            yield name, value


def assert_same(model: DFL, image: Tensor) -> None:
    """Check that the networks agree in double precision and, in single precision, differ from it by rounding alone.

    One part in 2^23 of the depth range of 400 mm is 5e-5 mm. The bound is therefore 1e-4 where the plain network's own
    rounding error is at most half of that.
    """
    exact = deepcopy(model).double()
    lean, single = optimise(exact), optimise(model)
    assert {parameter.dtype for parameter in lean.parameters()} == {torch.float64}
    with torch.inference_mode():
        expected, got = dict(tensors(exact(image))), dict(tensors(lean(image)))
        plain, rounded = dict(tensors(model(image))), dict(tensors(single(image)))
    assert expected.keys() == got.keys() == rounded.keys()
    for name, value in expected.items():
        assert got[name].shape == value.shape and rounded[name].dtype == torch.float32, name
        assert (got[name] - value).abs().max() <= 1e-9 * max(1, value.abs().max()), name
        apart, own = (float((each - plain[name]).abs().max()) for each in (rounded[name], value))
        assert apart < max(1e-4, 4 * own), f"{name}: {apart} apart, the plain network's own rounding is {own}"


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_are_those_of_the_plain_network(name: str) -> None:
    assert_same(built(CONFIGS[name]), crops(3, 64))


def test_the_paper_s_model_is_the_same() -> None:
    torch.manual_seed(0)
    assert_same(build(paper().model).eval(), crops(1, 256))


@pytest.mark.parametrize("count", [1, 3, 16])
def test_the_shipped_model_is_the_same_for_every_batch_size(count: int) -> None:
    model, config = load_model()
    assert_same(model, crops(count, config.model.image_size))


def test_poses_depend_on_what_is_compared() -> None:
    """Otherwise agreement would prove nothing: pictures, relations and all parameters change the pose by more."""
    model = built(CONFIGS["linear head"])
    lean, generator = optimise(model), torch.Generator().manual_seed(3)
    with torch.inference_mode():
        image = crops(2, 64)
        pose = lean(image).pose_2p5d
        assert (pose[0] - pose[1]).abs().max() > 0.1
        for name, tensor in lean.named_parameters():
            if "backbone" not in name and "presence" not in name and "to_steps" not in name:
                before = tensor.clone()
                tensor.add_(0.5 * torch.randn(tensor.shape, generator=generator))
                moved = (lean(image).pose_2p5d - pose).abs().max()
                tensor.copy_(before)
                assert moved > 2e-4, name


def test_the_plain_network_stays_as_it_is() -> None:
    model = built(tiny())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimise(model)
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_is_left() -> None:
    """No batch normalisation and no position network remain, nor, with a linear head, smoothing at stride 4."""
    lean = optimise(built(CONFIGS["linear head"]))
    assert isinstance(lean.decoder, LeanDecoder)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in lean.modules())
    assert not any("positions.network" in name for name, _ in lean.named_parameters())
    assert "4" not in lean.encoder.output and "8" in lean.encoder.output  # type: ignore[operator]
    assert not any(isinstance(module, Similarity | Update) for module in lean.modules()), "all are merged, SPR's too"


@pytest.mark.parametrize("name", ["two heads", "tiny-table1-pooled", "tiny-table1-ji"])
def test_what_is_left_of_networks_that_are_not_rewritten(name: str) -> None:
    lean = optimise(built(CONFIGS[name]))
    assert not isinstance(lean.decoder, LeanDecoder)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in lean.modules())
    assert lean.encoder.positions is None or isinstance(lean.encoder.positions, ConstantPositions)


def test_the_optimised_network_is_for_inference_whatever_the_plain_one_was_for() -> None:
    model = built(tiny()).train()
    lean = optimise(model)
    assert not any(module.training for module in lean.modules()) and model.training
    assert not any(parameter.requires_grad for parameter in lean.parameters())


@pytest.mark.parametrize("name", [*BACKBONES])
def test_batch_norms_fold_into_every_backbone(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name).eval()
    trained_like(backbone)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone.double()(image.double())
        fold_batch_norms(backbone)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
        for got, value in zip(backbone.float()(image), expected, strict=True):
            assert (got - value).abs().max() <= 1e-4 * value.abs().max()


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"groups": 2}], ids=str)
def test_batch_norms_fold_into_convolutions_with_a_bias(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    block = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3, **options), torch.nn.BatchNorm2d(6)).double()
    block(torch.randn(8, 4, 9, 9, dtype=torch.float64) + 1)
    torch.nn.init.normal_(block[1].weight)
    block.eval()
    image = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    expected = block(image)
    fold_batch_norms(block)
    assert isinstance(block[1], torch.nn.Identity)
    torch.testing.assert_close(block(image), expected)


def test_norms_without_running_statistics_stay() -> None:
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    image = torch.randn(2, 3, 9, 9)
    expected = block(image)
    fold_batch_norms(block)
    torch.testing.assert_close(block(image), expected)


def test_macs_are_counted_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, 1))
    assert count_macs(net, 8) == 64 * (3 * 5 * 9 + 5 * 2)


@pytest.mark.parametrize(
    ("config", "most"),
    [
        (paper(), 12.2e9),
        (with_model(paper(), **LINEAR), 8e9),
        (small(), 0.42e9),
        (with_model(small(), **LINEAR), 0.33e9),
    ],
    ids=["paper", "paper, linear head", "small", "small, linear head"],
)
def test_macs(config: Config, most: float) -> None:
    """MACs are counted on the meta device.

    The hidden convolution of the paper's default head alone takes 2.4 G, and it prevents another 2.4 G of smoothing
    from being merged.
    """
    with torch.device("meta"):
        model = build(config.model).eval()
        plain, lean = (count_macs(each, config.model.image_size) for each in (model, optimise(model)))
    assert lean <= most and lean < 0.96 * plain
