"""The relation layer (section 3.3): equal to attention on concatenated features, without mixing the two kinds."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from unclasp.config import Relation
from unclasp.model.refine import RefineBlock
from unclasp.model.relation import KINDS, Features, Readout, RelationLayer, Similarity, Widths, aggregate, relate

WIDTHS = Widths(12, 8)
BOTH = KINDS[Relation.BOTH]


def features(tokens: int, *, batch: int = 2, grad: bool = False) -> Features:
    return Features(
        torch.randn(batch, tokens, 12, dtype=torch.float64, requires_grad=grad),
        torch.randn(1, tokens, 8, dtype=torch.float64, requires_grad=grad),
    )


def layer(by: Relation = Relation.BOTH, *, heads: int = 1) -> RelationLayer:
    return RelationLayer(WIDTHS, by, updates=BOTH, heads=heads, hidden=Widths(24, 16)).double()


@pytest.mark.parametrize("by", Relation)
def test_relate_is_the_scaled_dot_product_of_the_kinds_that_take_part(by: Relation) -> None:
    queries, keys = features(3), features(5)
    channels = sum(WIDTHS.of(kind) for kind in KINDS[by])
    logits = relate(queries, keys, by)
    for b, n, m in itertools.product(range(2), range(3), range(5)):
        dots = sum(
            float(queries.of(kind)[b % len(queries.of(kind)), n] @ keys.of(kind)[b % len(keys.of(kind)), m])
            for kind in KINDS[by]
        )
        assert logits[b % len(logits), n, m].item() == pytest.approx(dots / math.sqrt(channels), abs=1e-12)


def test_aggregate_gathers_each_kind_by_the_same_relation() -> None:
    values = features(5)
    relation = torch.rand(2, 3, 5, dtype=torch.float64)
    gathered = aggregate(relation, values)
    for kind in BOTH:
        for b, n in itertools.product(range(2), range(3)):
            expected = sum(relation[b, n, m] * values.of(kind)[b % len(values.of(kind)), m] for m in range(5))
            torch.testing.assert_close(gathered.of(kind)[b, n], expected)


def concatenated_attention(module: RelationLayer, joints: Features, tokens: Features, heads: int) -> Tensor:
    """Return (B, N, A + S) by eq. 3 as printed: attention on concatenated features, with block-diagonal maps."""
    queries = [module.similarity[kind].query(joints.of(kind)) for kind in BOTH]
    keys = [module.similarity[kind].key(tokens.of(kind)) for kind in BOTH]
    values = [module.update[kind].value(tokens.of(kind)) for kind in BOTH]

    def by_head(kinds: list[Tensor]) -> Tensor:
        parts = [x.expand(2, -1, -1).unflatten(-1, (heads, -1)) for x in kinds]
        return torch.cat(parts, dim=-1).transpose(1, 2)  # every head has its share of both kinds

    gathered = functional.scaled_dot_product_attention(by_head(queries), by_head(keys), by_head(values))
    split = gathered.split([12 // heads, 8 // heads], dim=-1)
    return torch.cat([x.transpose(1, 2).flatten(2) for x in split], dim=-1)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_a_layer_is_attention_on_the_concatenation(heads: int) -> None:
    module, joints, tokens = layer(heads=heads), features(6), features(9)
    expected = concatenated_attention(module, joints, tokens, heads).split([12, 8], dim=-1)
    updated, _ = module(joints, tokens)
    for kind, gathered in zip(BOTH, expected, strict=True):
        update = module.update[kind]
        x = update.norm(joints.of(kind) + update.output(gathered))
        assert (update.feedforward_norm(x + update.feedforward(x)) - updated.of(kind)).abs().max() < 1e-12


def test_gradients_are_those_of_attention_on_the_concatenation() -> None:
    module, joints, tokens = layer(heads=2), features(6, grad=True), features(9, grad=True)
    inputs = (*joints, *tokens, *module.similarity.parameters(), *(module.update[kind].value.weight for kind in BOTH))
    weight = torch.randn(2, 6, 20, dtype=torch.float64)

    relation = module.logits(joints, tokens).softmax(dim=-1)
    ours = []
    for kind in BOTH:
        update = module.update[kind]
        update.output = update.norm = torch.nn.Identity()
        update.feedforward = update.feedforward_norm = torch.nn.Identity()
        ours.append(update(torch.zeros_like(joints.of(kind)), relation, tokens.of(kind)) / 2)  # x + identity(x) = 2 x
    expected = concatenated_attention(module, joints, tokens, 2)
    for ours_, theirs in zip(
        torch.autograd.grad((torch.cat(ours, dim=-1) * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours_, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("by", Relation)
def test_logits_depend_on_the_related_kinds_alone(by: Relation) -> None:
    joints, tokens = features(6, grad=True), features(9, grad=True)
    gradients = torch.autograd.grad(
        layer(by).logits(joints, tokens).square().sum(), (*joints, *tokens), allow_unused=True
    )
    for kind, of_joints, of_tokens in zip(BOTH, gradients[:2], gradients[2:], strict=True):
        assert (of_joints is not None) == (of_tokens is not None) == (kind in KINDS[by])


def test_with_the_relation_held_fixed_the_kinds_never_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    free = RelationLayer.logits
    monkeypatch.setattr(RelationLayer, "logits", lambda *args: free(*args).detach())
    joints, tokens = features(6, grad=True), features(9, grad=True)
    updated, _ = layer()(joints, tokens)
    for kind, other in (BOTH, BOTH[::-1]):
        inputs = (joints.of(kind), tokens.of(kind), joints.of(other), tokens.of(other))
        gradients = torch.autograd.grad(updated.of(kind).pow(3).sum(), inputs, allow_unused=True)
        assert gradients[0] is not None and gradients[1] is not None
        assert gradients[2] is None and gradients[3] is None


def test_a_key_bias_would_change_nothing() -> None:
    similarity = Similarity(8).double()
    queries, keys = torch.randn(2, 3, 8).double(), torch.randn(2, 5, 8).double()
    shifted = similarity.query(queries) @ (similarity.key(keys) + torch.randn(8)).transpose(1, 2)
    torch.testing.assert_close(similarity(queries, keys).squeeze(1).softmax(-1), shifted.softmax(-1))


def test_only_asked_kinds_are_updated_and_have_parameters() -> None:
    module = RelationLayer(WIDTHS, Relation.BOTH, updates=("position",), heads=1, hidden=WIDTHS).double()
    joints, tokens = features(6), features(9)
    updated, _ = module(joints, tokens)
    assert updated.appearance is joints.appearance
    assert not torch.equal(updated.position, joints.position.expand_as(updated.position))
    assert list(module.update) == ["position"]


def test_heads_are_a_different_function_of_the_same_parameters() -> None:
    one, four = layer(), layer(heads=4)
    four.load_state_dict(one.state_dict())
    joints, tokens = features(6), features(9)
    assert one(joints, tokens)[1].shape == (2, 1, 6, 9)
    assert four(joints, tokens)[1].shape == (2, 4, 6, 9)
    assert not torch.allclose(one(joints, tokens)[0].position, four(joints, tokens)[0].position)


def test_a_new_readout_gives_about_its_bias_for_all_features() -> None:
    torch.manual_seed(0)
    torch.testing.assert_close(Readout(8, 3, bias=0.5)(torch.randn(42, 8)), torch.full((42, 3), 0.5), rtol=0, atol=0.2)


def test_readout_is_a_linear_layer_that_keeps_float32_under_autocast() -> None:
    readout = Readout(8, 3, bias=0.5)
    features = torch.randn(2, 42, 8)
    expected = functional.linear(features, readout.weight, readout.bias)
    torch.testing.assert_close(readout(features), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert functional.linear(features, readout.weight).dtype == torch.bfloat16
        torch.testing.assert_close(readout(features), expected)
        assert readout(features.bfloat16()).dtype == torch.float32


def test_learned_maps_begin_in_the_range_that_keeps_the_scale_of_features_and_gradients() -> None:
    """Glorot and Bengio 2010: uniform up to the root of 6 / (inputs + outputs)."""
    torch.manual_seed(0)
    relation, refine = layer(), RefineBlock(12, heads=1, feedforward=2)
    maps = [module for module in (*relation.modules(), *refine.modules()) if type(module) is nn.Linear]
    assert len(maps) == 2 * 6 + 7
    for each in maps:
        most = math.sqrt(6 / (each.in_features + each.out_features))
        assert 0.9 * most < float(each.weight.detach().abs().max()) <= most
