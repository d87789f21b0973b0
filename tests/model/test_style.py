"""Style mixing: the resulting statistics, unchanged content and gradients, and no other effects."""

import pytest
import torch

from unclasp.errors import UnclaspError
from unclasp.model.backbones import BACKBONES, Backbone
from unclasp.model.style import StyleMixing, mixed


def maps(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(count, 4, 1, 1, generator=generator) + 0.5
    return scale * torch.randn(count, 4, 6, 5, generator=generator) + 3 * scale


def test_a_share_of_one_keeps_a_map_and_a_share_of_none_gives_it_the_partners_statistics() -> None:
    features, partner = maps(), torch.tensor([1, 2, 0])
    torch.testing.assert_close(mixed(features, partner, torch.ones(3, 1, 1, 1)), features)
    borrowed = mixed(features, partner, torch.zeros(3, 1, 1, 1))
    torch.testing.assert_close(borrowed.mean(dim=(2, 3)), features[partner].mean(dim=(2, 3)), rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(borrowed.std(dim=(2, 3)), features[partner].std(dim=(2, 3)), rtol=4e-3, atol=1e-3)
    for own, other in zip(features.flatten(2).flatten(0, 1), borrowed.flatten(2).flatten(0, 1), strict=True):
        assert torch.corrcoef(torch.stack((own, other)))[0, 1] > 0.9999, "what is where stays"


def test_gradients_pass_as_through_a_fixed_scale() -> None:
    features = maps().requires_grad_()
    mixed(features, torch.tensor([1, 2, 0]), torch.full((3, 1, 1, 1), 0.5)).sum().backward()
    assert features.grad is not None
    spread = features.grad.amax(dim=(2, 3)) - features.grad.amin(dim=(2, 3))
    assert spread.max() < 1e-6 and features.grad.min() > 0


def test_the_type_of_the_maps_stays() -> None:
    half = mixed(maps().bfloat16(), torch.tensor([1, 2, 0]), torch.full((3, 1, 1, 1), 0.5, dtype=torch.float64))
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["tiny", "efficientnet_lite0", "resnet18"])
def test_styles_are_mixed_in_training_alone_and_the_same_for_a_seed(name: str) -> None:
    torch.manual_seed(0)
    backbone, image = BACKBONES[name](), torch.randn(4, 3, 64, 64)
    backbone.eval()
    plain = [level.clone() for level in backbone(image)]
    styles = StyleMixing(backbone, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(plain, backbone(image), strict=True))
    for layer in backbone.shallow():
        layer.training = True  # the layer's own flag, so that batch statistics stay out of it
    styles.start(7, 1)
    once = [level.clone() for level in backbone(image)]
    styles.start(7, 1)
    again = backbone(image)
    styles.start(7, 2)
    other = backbone(image)
    for level, (a, b, c) in enumerate(zip(once, again, other, strict=True)):
        assert torch.equal(a, b) and not torch.equal(a, c), level
        assert not torch.equal(a, plain[level]), level


def test_each_sample_has_a_share_of_its_own_that_is_mostly_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[torch.Tensor] = []
    monkeypatch.setattr("unclasp.model.style.mixed", lambda features, _, share: shares.append(share.flatten()))
    backbone = BACKBONES["tiny"]().train()
    StyleMixing(backbone, 1.0)
    backbone(torch.randn(64, 3, 32, 32))
    for share in shares:
        assert len(share.unique()) == 64
        assert ((share < 0.1) | (share > 0.9)).float().mean() > 0.5


def test_at_probability_zero_there_are_no_hooks() -> None:
    backbone = BACKBONES["tiny"]()
    StyleMixing(backbone, 0.0)
    assert not any(module._forward_hooks for module in backbone.modules())


def test_a_backbone_that_does_not_tell_its_shallow_layers_is_refused() -> None:
    with pytest.raises(UnclaspError, match=r"augment\.style"):
        StyleMixing(Backbone(), 0.5)
    StyleMixing(Backbone(), 0.0)
