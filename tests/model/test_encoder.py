"""The encoder (section 3.2): pyramid, part probabilities in the appearance, and positions that depend on the grid."""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional

from unclasp.config import Decoder, Relation, with_model
from unclasp.model import build
from unclasp.model.encoder import PositionFeatures, Pyramid, part_segmentation, pixel_centres, sine_code
from unclasp.presets import tiny


def test_the_sine_code_is_what_it_says() -> None:
    points = torch.tensor([[0.0, 1.0], [0.3, 0.125]], dtype=torch.float64)
    code = sine_code(points)
    for point, row in zip(points.tolist(), code, strict=True):
        expected = [
            function(math.pi * 2 ** (5 * index / 15) * coordinate)
            for coordinate in point
            for function in (math.sin, math.cos)
            for index in range(16)
        ]
        torch.testing.assert_close(row, torch.tensor(expected, dtype=torch.float64))


def test_a_place_has_the_same_position_features_on_every_level() -> None:
    positions = PositionFeatures(8, (2, 6, 6))
    coarse, fine, again = positions()
    assert fine is again
    # The centre of a pixel of a 2x2 map is that of the middle one of the 3x3 pixels that it covers on a 6x6 map.
    fine = fine.unflatten(1, (6, 6))[:, 1::3, 1::3].flatten(1, 2)
    torch.testing.assert_close(coarse, fine)


def test_positions_tell_all_pixels_apart() -> None:
    code = sine_code(pixel_centres(64))
    assert torch.cdist(code, code).fill_diagonal_(9.0).min() > 0.1


def test_pixels_are_listed_row_by_row_and_x_comes_first() -> None:
    x, y = pixel_centres(3).unflatten(0, (3, 3)).unbind(dim=-1)
    torch.testing.assert_close(x[1], torch.tensor([1 / 6, 3 / 6, 5 / 6]))
    torch.testing.assert_close(y[:, 1], torch.tensor([1 / 6, 3 / 6, 5 / 6]))


def test_positions_are_not_stored_in_checkpoints() -> None:
    assert all(name.startswith("network.") for name in PositionFeatures(8, (2, 4)).state_dict())


def test_the_pyramid_adds_the_coarser_levels_by_nearest_neighbours() -> None:
    pyramid = Pyramid({4: 3, 8: 4, 16: 5, 32: 6}, 7, (4, 16)).eval()
    maps = [torch.randn(1, channels, size, size) for channels, size in ((3, 8), (4, 4), (5, 2), (6, 1))]
    outputs = pyramid(maps)
    assert list(outputs) == [16, 4]
    laterals = {s: pyramid.lateral[str(s)](x) for s, x in zip((4, 8, 16, 32), maps, strict=True)}
    for stride, output in outputs.items():
        merged = laterals[stride].clone()
        for coarser in (s for s in laterals if s > stride):
            ratio = coarser // stride
            for y, x in itertools.product(range(merged.shape[2]), range(merged.shape[3])):
                merged[:, :, y, x] += laterals[coarser][:, :, y // ratio, x // ratio]
        torch.testing.assert_close(output, pyramid.output[str(stride)](merged))


def test_appearance_is_the_map_and_the_averaged_part_probabilities() -> None:
    model = build(tiny().model).eval()
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        normal = model.normalise(image)
        encoded = model.encoder(normal)
        maps = model.encoder.pyramid(model.encoder.backbone(normal))
    parts = encoded.part_logits.softmax(dim=1)
    for level, stride in zip(encoded.levels, (32, 16, 8, 4), strict=True):
        size, block = 64 // stride, stride // 4
        assert level.appearance.shape == (2, size**2, 48)
        assert level.position.shape == (1, size**2, 16)
        torch.testing.assert_close(level.appearance[..., 15:].sum(dim=-1), torch.ones(2, size**2))
        for y, x in itertools.product(range(size), range(size)):
            token = level.appearance[:, y * size + x]
            torch.testing.assert_close(token[:, :15], maps[stride][:, :, y, x])
            window = parts[:, :, y * block : (y + 1) * block, x * block : (x + 1) * block]
            torch.testing.assert_close(token[:, 15:], window.mean(dim=(2, 3)))


def test_the_pose_trains_the_segmentation_too() -> None:
    model = build(tiny().model)
    encoded = model.encoder(torch.randn(2, 3, 64, 64))
    probabilities = encoded.levels[0].appearance[..., 15:]
    (gradient,) = torch.autograd.grad(probabilities.square().sum(), model.encoder.segmentation[-1].weight)
    assert gradient.any()


def test_positions_do_not_depend_on_the_image() -> None:
    model = build(tiny().model).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    level = model.encoder(image).levels[0]
    assert torch.autograd.grad(level.position.sum(), image, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(level.appearance.square().sum(), image)[0].any()
    other = model.encoder(1 - image).levels[0]
    assert torch.equal(level.position, other.position)


def test_the_segmentation_head_without_hidden_channels_is_linear() -> None:
    head = part_segmentation(5, 0)
    (layer,) = head
    x = torch.randn(1, 5, 4, 4)
    expected = functional.linear(x.movedim(1, -1), layer.weight.flatten(1), layer.bias).movedim(-1, 1)
    torch.testing.assert_close(head(x), expected)


def test_levels_that_nobody_reads_are_not_built() -> None:
    config = with_model(
        tiny(), joint_image_relation=Relation.POSITION, presence_head=False, root_depth_head=False
    ).model  # fmt: skip
    encoder = build(config).encoder
    assert sorted(encoder.pyramid.output) == ["32", "4"]
    levels = encoder(torch.randn(2, 3, 64, 64)).levels
    assert [level.appearance.shape[-1] for level in levels] == [48, 0, 0, 0]
    for iterations in (2, 3):
        pooled = build(with_model(tiny(), decoder=Decoder.POOLED, iterations=iterations).model).encoder
        assert pooled.positions is None and pooled.strides == (32,)
        (level,) = pooled(torch.randn(2, 3, 128, 128)).levels
        assert level.position.shape == (1, level.appearance.shape[1], 0) == (1, 16, 0)


def test_convolutions_begin_in_the_range_that_keeps_the_scale_of_their_inputs() -> None:
    """He et al. 2015, without a rectifier: uniform up to the root of 3 / inputs."""
    torch.manual_seed(0)
    pyramid = Pyramid({4: 30, 8: 40, 16: 50, 32: 60}, 70, (4, 16))
    for conv, norm in (*pyramid.lateral.values(), *pyramid.output.values()):
        most = math.sqrt(3 / conv.weight[0].numel())
        assert 0.95 * most < float(conv.weight.detach().abs().max()) <= most
        assert isinstance(norm, nn.BatchNorm2d)
