"""The maps of Figures 1 and 6 are the relations that the network computes, and what each kind adds to them."""

import pytest
import torch
from torch import Tensor

from unclasp.config import with_model
from unclasp.errors import UnclaspError
from unclasp.model import DFL, build
from unclasp.model.attention import attention_maps
from unclasp.presets import PRESETS, preset, tiny

RELATING = [name for name in PRESETS if name.startswith("tiny") and name != "tiny-table1-pooled"]


def picture(model: DFL) -> Tensor:
    size = model.image_size
    return torch.randint(0, 256, (3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize("name", RELATING)
def test_the_maps_are_the_relations_of_the_forward_pass(name: str) -> None:
    model = build(preset(name).model).eval()
    image = picture(model)
    with torch.no_grad():
        relations = model(image[None]).relations
    maps, prediction = attention_maps(model, image)
    assert all(map(torch.equal, prediction.relations, relations))
    stages = ["initialisation", *(f"iteration {number}" for number in range(1, len(relations)))]
    assert [each.stage for each in maps] == stages
    for each, logits in zip(maps, relations, strict=True):
        torch.testing.assert_close(each.relation.flatten(1), logits[0].softmax(dim=-1))


def test_the_relation_is_the_product_of_its_kinds_maps() -> None:
    # softmax(a + p) is softmax(a) softmax(p), divided by its sum (eq. 4)
    model = build(tiny().model).eval()
    start, *iterations = attention_maps(model, picture(model))[0]
    assert list(start.of_kinds) == ["appearance"]
    torch.testing.assert_close(start.of_kinds["appearance"], start.relation)
    for each in iterations:
        assert set(each.of_kinds) == {"appearance", "position"}
        product = each.of_kinds["appearance"] * each.of_kinds["position"]
        torch.testing.assert_close(each.relation, product / product.sum(dim=(1, 2), keepdim=True))
        assert not torch.allclose(each.of_kinds["appearance"], each.of_kinds["position"], atol=1e-3)


def test_heads_are_averaged_as_distributions() -> None:
    model = build(with_model(tiny(), heads=2, fpn_channels=31).model).eval()
    logits: list[Tensor] = []
    for iteration in model.decoder.iterations:
        iteration.joint_image.register_forward_hook(lambda *given: logits.append(given[-1][1]))
    start, *iterations = attention_maps(model, picture(model))[0]
    torch.testing.assert_close(start.relation.sum(dim=(1, 2)), torch.ones(42))
    for each, of_heads in zip(iterations, logits, strict=True):
        expected = of_heads[0].softmax(dim=-1).mean(dim=0)
        torch.testing.assert_close(each.relation.flatten(1), expected, rtol=1e-5, atol=1e-8)


def test_the_baseline_knows_only_the_sum() -> None:
    model = build(preset("tiny-table1-ji").model).eval()
    assert all(each.of_kinds == {} for each in attention_maps(model, picture(model))[0])


def test_without_relations_there_are_no_maps() -> None:
    model = build(preset("tiny-table1-pooled").model).eval()
    with pytest.raises(UnclaspError, match="relates no joints to pixels"):
        attention_maps(model, picture(model))


def test_nothing_is_left_in_the_network() -> None:
    model = build(tiny().model).eval()
    attention_maps(model, picture(model))
    with pytest.raises(UnclaspError):  # also after a picture of the wrong size
        attention_maps(model, picture(model)[:, 1:])
    assert not any(module._forward_hooks for module in model.modules())
