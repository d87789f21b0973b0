"""The complete network: each preset builds, runs and trains all parameters; each field of the config has an effect."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unclasp.batch import Batch
from unclasp.config import Decoder, DepthAxis, ModelConfig, Relation, with_model
from unclasp.errors import UnclaspError
from unclasp.losses import compute_losses, total
from unclasp.model import build
from unclasp.model.dfl import RootDepth
from unclasp.model.units import depth_of, depth_share_of, pixels_of, shares_of
from unclasp.presets import PRESETS, paper, preset, small, tiny

TINY = [name for name in PRESETS if name.startswith("tiny")]
LARGE = [name for name in PRESETS if not name.startswith("tiny")]


def random_batch(size: int = 3, image_size: int = 64, *, seed: int = 0, device: str = "cpu") -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def flags(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) < 0.7

    batch = Batch(
        image=torch.randint(0, 256, (size, 3, image_size, image_size), generator=generator, dtype=torch.uint8),
        pose_2p5d=image_size * torch.rand(size, 42, 3, generator=generator),
        valid=flags(size, 42),
        parts=torch.randint(0, 33, (size, image_size // 4, image_size // 4), generator=generator),
        parts_valid=torch.arange(size) != 1,
        hand_type=flags(size, 2),
        hand_type_valid=torch.arange(size) != 1,
        root_depth=50 * torch.randn(size, generator=generator),
        root_depth_valid=torch.arange(size) != 1,
        names=("random",) * size,
    )
    return batch.to(device)


def test_the_decoder_s_units_span_the_crop_and_the_depth_range() -> None:
    ends = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    assert pixels_of(ends, 64).tolist() == [-0.5, 31.5, 63.5]
    assert depth_of(ends).tolist() == [-200, 0, 200]
    values = 500 * torch.randn(99, dtype=torch.float64)
    torch.testing.assert_close(pixels_of(shares_of(values, 48), 48), values)
    torch.testing.assert_close(depth_of(depth_share_of(values)), values)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_of_every_tiny_preset_gets_a_gradient(name: str) -> None:
    config = preset(name)
    model, batch = build(config.model), random_batch()
    total(compute_losses(model(batch.image), batch, config.loss, 64), config.loss).backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", LARGE)
def test_every_parameter_of_the_large_presets_is_reached_by_the_losses(name: str) -> None:
    """Run on the meta device, which computes shapes only: reading any value would be an error there."""
    config = preset(name)
    size = config.model.image_size
    with torch.device("meta"):
        model = build(config.model)
    batch = random_batch(1, size, device="meta")
    prediction = model(batch.image)
    assert prediction.pose_2p5d.shape == (1, 42, 3)
    total(compute_losses(prediction, batch, config.loss, size), config.loss).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


def test_shapes() -> None:
    prediction = build(tiny().model)(random_batch().image)
    assert prediction.pose_2p5d.shape == (3, 42, 3)
    assert [tuple(step.shape) for step in prediction.steps] == [(3, 42, 2)] * 3
    assert prediction.part_logits.shape == (3, 33, 16, 16)
    assert [tuple(relation.shape) for relation in prediction.relations] == [(3, 42, n**2) for n in (2, 4, 8, 16)]
    assert prediction.presence is not None and prediction.presence.shape == (3, 2)
    assert prediction.root_depth is not None and prediction.root_depth.shape == (3,)


def test_the_paper_has_about_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        model = build(paper().model)
        assert model.presence is None and model.root_depth is None
        assert count(model.encoder.backbone) == 23_508_032
        assert 39e6 < count(model) < 44e6  # published: 42 M
        per_iteration = count(build(with_model(paper(), iterations=4).model)) - count(model)
        assert 3e6 < per_iteration < 4e6


def test_the_small_model_is_small() -> None:
    with torch.device("meta"):
        assert 4e6 < count(build(small().model)) < 6e6


@pytest.mark.parametrize("base", ["paper", "small"])
def test_the_fused_baseline_has_about_as_many_parameters(base: str) -> None:
    with torch.device("meta"):
        decoupled, fused = (count(build(preset(name).model)) for name in (base, f"{base}-table1-spr"))
    assert 0.9 < fused / decoupled < 1.0


CHANGES: dict[str, dict[str, object]] = {
    "backbone": {"backbone": "resnet18"},
    "image_size": {"image_size": 96},
    "fpn_channels": {"fpn_channels": 17},
    "segmentation_channels": {"segmentation_channels": 0},
    "position_channels": {"position_channels": 24},
    "decoder": {"decoder": Decoder.FUSED},
    "iterations": {"iterations": 4},
    "joint_joint": {"joint_joint": False},
    "refine": {"refine": False},
    "init_relation": {"init_relation": Relation.BOTH},
    "init_residual": {"init_residual": True},
    "joint_joint_relation": {"joint_joint_relation": Relation.BOTH},
    "joint_image_relation": {"joint_image_relation": Relation.POSITION},
    "regress_from": {"regress_from": Relation.BOTH},
    "depth_axis": {"depth_axis": DepthAxis.CROP},
    "heads": {"heads": 4},
    "feedforward": {"feedforward": 3},
    "refine_layers": {"refine_layers": 2},
    "presence_head": {"presence_head": False},
    "root_depth_head": {"root_depth_head": False},
    "confidence_head": {"confidence_head": True},
    "confidence_context": {"confidence_head": True, "confidence_context": True},
}


def test_all_fields_are_listed() -> None:
    assert set(CHANGES) == {field.name for field in fields(ModelConfig)}


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_of_the_config_changes_something(name: str) -> None:
    model = build(tiny().model).eval()
    config = replace(tiny().model, **CHANGES[name])
    changed = build(config).eval()

    def shapes(model: nn.Module) -> dict[str, torch.Size]:
        return {key: value.shape for key, value in model.state_dict().items()}

    if shapes(model) != shapes(changed):
        return
    changed.load_state_dict(model.state_dict())
    if model.depth_axis != changed.depth_axis:  # what its depths mean, not what they are
        return
    images = [random_batch(image_size=size).image for size in (64, config.image_size)]
    one, other = model(images[0]), changed(images[1])
    assert one.part_logits.shape != other.part_logits.shape or not torch.allclose(one.pose_2p5d, other.pose_2p5d)


def test_two_iterations_drop_the_coarsest_level_and_more_repeat_the_finest() -> None:
    image = random_batch().image
    for iterations, sizes in ((2, (4, 8, 16)), (3, (2, 4, 8, 16)), (5, (2, 4, 8, 16, 16, 16))):
        prediction = build(with_model(tiny(), iterations=iterations).model)(image)
        assert [relation.shape[-1] for relation in prediction.relations] == [size**2 for size in sizes]
        assert len(prediction.steps) == iterations


def test_the_output_is_in_crop_pixels_and_millimetres() -> None:
    """With all weights zero, the readout's bias of one half gives the centre of the crop and the wrist's depth."""
    model = build(tiny().model).eval()
    for parameter in (*model.decoder.to_pose.readout.parameters(), *model.decoder.to_steps[0].readout.parameters()):
        nn.init.constant_(parameter, 0.5 if parameter.ndim == 1 else 0.0)
    prediction = model(random_batch().image)
    torch.testing.assert_close(prediction.pose_2p5d, torch.tensor([31.5, 31.5, 0.0]).expand(3, 42, 3))
    torch.testing.assert_close(prediction.steps[0], torch.tensor([31.5, 31.5]).expand(3, 42, 2))
    with torch.no_grad():
        model.decoder.to_pose.readout.bias.copy_(torch.tensor([0.0, 1.0, 1.0]))
    pose = model(random_batch().image).pose_2p5d
    torch.testing.assert_close(pose, torch.tensor([-0.5, 63.5, 200.0]).expand(3, 42, 3))


class Keep(nn.Module):
    """Returns zeros, or `value`, for the features that it keeps."""

    def __init__(self, outputs: int, value: float = 0.0) -> None:
        super().__init__()
        self.outputs, self.value = outputs, value

    def forward(self, features: Tensor) -> Tensor:
        self.seen = features
        return features.new_full((*features.shape[:-1], self.outputs), self.value)


def test_the_depth_between_the_wrists_is_read_from_the_means_of_crop_and_hands() -> None:
    """In half depth ranges: 0.25 of 200 mm."""
    head = RootDepth(2, 1, hidden=4)
    head.network = keep = Keep(1, 0.25)
    assert head(torch.tensor([[7.0, 8.0]]), torch.arange(42.0).view(1, 42, 1)).tolist() == [50]
    assert keep.seen.tolist() == [[7, 8, 10, 31]]


def test_the_heads_read_the_mean_appearance_of_the_coarsest_level_and_the_presence() -> None:
    model = build(with_model(tiny(), confidence_head=True, confidence_context=True).model).eval()
    model.presence, model.confidence = presence, confidence = Keep(2), Keep(1)
    presence.register_forward_hook(lambda *_: torch.tensor([[3.0, -2.0]]))
    image = random_batch(1).image
    model(image)
    level = model.encoder(model.normalise(image)).levels[0]
    torch.testing.assert_close(presence.seen, level.appearance.mean(dim=1))
    own_and_other = confidence.seen[0, :, -7:-5]
    assert own_and_other[0].tolist() == [3, -2] and own_and_other[41].tolist() == [-2, 3]


def test_bytes_and_floats_are_the_same_picture() -> None:
    model, image = build(tiny().model).eval(), random_batch().image
    assert torch.equal(model(image).pose_2p5d, model(image.float()).pose_2p5d)


def test_the_backbone_sees_normalised_colours() -> None:
    model = build(tiny().model)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    image = (mean + 2 * std).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    torch.testing.assert_close(model.normalise(image), torch.full((1, 3, 64, 64), 2.0), rtol=1e-5, atol=1e-5)
    lite = build(with_model(tiny(), backbone="efficientnet_lite0").model)
    torch.testing.assert_close(lite.normalise(torch.full((1, 3, 64, 64), 255.0)), torch.ones(1, 3, 64, 64))


def test_crops_of_another_size_are_refused() -> None:
    model = build(tiny().model)
    for shape in ((1, 3, 96, 96), (1, 64, 64, 3), (3, 64, 64), (0, 3, 64, 64), ()):
        with pytest.raises(UnclaspError, match=r"image must be \(B, 3, 64, 64\), got"):
            model(torch.zeros(shape))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "a tensor, got NoneType; convert arrays with torch.from_numpy"),
        (np.zeros((1, 3, 64, 64), np.uint8), "a tensor, got ndarray; convert"),
        (torch.zeros(1, 3, 64, 64).double(), "of uint8 or torch.float32, got torch.float64; convert it with image.to("),
        (torch.zeros(1, 3, 64, 64).bool(), "of uint8 or torch.float32, got torch.bool;"),
        (torch.zeros(1, 3, 64, 64).cfloat(), "of uint8 or torch.float32, got torch.complex64;"),
    ],
)
def test_what_is_no_batch_of_crops_is_named(image: Any, message: str) -> None:
    with pytest.raises(UnclaspError) as caught:
        build(tiny().model)(image)
    assert str(caught.value).startswith("image must be (B, 3, 64, 64)") and message in str(caught.value)


def test_whole_numbers_and_lower_precision_are_taken() -> None:
    model, image = build(tiny().model).eval(), random_batch().image
    expected = model(image).pose_2p5d
    for dtype in (torch.int64, torch.float16, torch.float32):
        torch.testing.assert_close(model(image.to(dtype)).pose_2p5d, expected)
    model.double()(image.double())


@pytest.mark.parametrize(("config", "name"), [(tiny(), "Config"), (None, "NoneType"), ("tiny", "str")])
def test_what_is_no_model_config_is_refused(config: Any, name: str) -> None:
    with pytest.raises(UnclaspError, match=f"expected a ModelConfig, got {name}; of a Config, give config.model"):
        build(config)


def test_samples_do_not_influence_each_other_in_evaluation() -> None:
    model, image = build(tiny().model).double().eval(), random_batch().image.double()
    together = model(image)
    for index in range(3):
        alone = model(image[index : index + 1])
        torch.testing.assert_close(alone.pose_2p5d[0], together.pose_2p5d[index], rtol=0, atol=1e-9)
        assert alone.root_depth is not None and together.root_depth is not None
        torch.testing.assert_close(alone.root_depth[0], together.root_depth[index], rtol=0, atol=1e-9)


def test_a_model_blind_to_the_picture_is_refused() -> None:
    blind = dict.fromkeys(("init_relation", "joint_joint_relation", "joint_image_relation"), Relation.POSITION)
    with pytest.raises(UnclaspError, match="cannot depend on the picture"):
        build(replace(tiny().model, **blind))


def test_bfloat16_autocast_keeps_coordinates_in_full_precision() -> None:
    model, image = build(tiny().model).eval(), random_batch().image
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = model(image)
    assert prediction.pose_2p5d.dtype == torch.float32
    assert all(step.dtype == torch.float32 for step in prediction.steps)
    assert (prediction.pose_2p5d - model(image).pose_2p5d).abs().max() < 2.0


class Flat(nn.Module):
    """Tensors in, tensors out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        prediction = self.model(image)
        return prediction.pose_2p5d, *prediction.relations


def test_the_network_can_be_exported_for_any_batch_size() -> None:
    model = Flat(build(tiny().model).eval())
    example = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    image = random_batch(5).image
    for ours, theirs in zip(model(image), program.module()(image), strict=True):
        torch.testing.assert_close(ours, theirs)
