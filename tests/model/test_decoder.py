"""Information flow in the decoder (section 3.3), checked by autograd: which outputs depend on which inputs."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from unclasp.config import Decoder, ModelConfig, Relation
from unclasp.errors import UnclaspError
from unclasp.model import build, decoder
from unclasp.model.assembly import needs
from unclasp.model.decoder import DecoupledDecoder, Estimate, Initialisation, Iteration, PooledDecoder
from unclasp.model.relation import Features, Readout, RelationLayer, Widths
from unclasp.presets import tiny

PAPER = replace(tiny().model, presence_head=False, root_depth_head=False)
BOTH = frozenset({"appearance", "position"})


def decoder_of(config: ModelConfig) -> DecoupledDecoder:
    return build(config).double().decoder


def random_levels(config: ModelConfig = PAPER) -> list[Features]:
    sizes = [(config.image_size // stride) ** 2 for stride in config.strides]
    return [
        Features(
            torch.randn(2, size, config.appearance_channels, dtype=torch.float64, requires_grad=True),
            torch.randn(1, size, config.position_channels, dtype=torch.float64, requires_grad=True),
        )
        for size in sizes
    ]


def gradients(output: Tensor, inputs: list[Tensor]) -> list[bool]:
    """Return for each input whether the output has a non-zero gradient with respect to it."""
    found = torch.autograd.grad(output.pow(3).sum(), inputs, allow_unused=True, retain_graph=True)
    return [gradient is not None and bool(gradient.any()) for gradient in found]


@pytest.fixture
def fixed_relations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the only path through which the kinds may interact."""

    def cut(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *args: function(*args).detach()

    monkeypatch.setattr(RelationLayer, "logits", cut(RelationLayer.logits))
    monkeypatch.setattr(decoder, "relate", cut(decoder.relate))


def test_initialisation_relates_by_appearance_alone() -> None:
    level = random_levels()[0]
    initialise = decoder_of(PAPER).initialise
    assert sorted(dict(initialise.named_parameters())) == ["appearance"]
    joints, logits = initialise(level)
    inputs = [level.appearance, level.position, initialise.appearance]
    assert gradients(logits, inputs) == [True, False, True]
    assert gradients(joints.appearance, inputs) == [True, False, True]
    assert gradients(joints.position, inputs) == [True, True, True]


def test_initialisation_is_equations_1_and_2() -> None:
    level = random_levels()[0]
    initialise = decoder_of(PAPER).initialise
    joints, logits = initialise(level)
    for b in range(2):
        a = torch.softmax(initialise.appearance @ level.appearance[b].T / 48**0.5, dim=1)
        torch.testing.assert_close(logits[b].softmax(-1), a)
        torch.testing.assert_close(joints.appearance[b], a @ level.appearance[b])
        torch.testing.assert_close(joints.position[b], a @ level.position[0])


def test_joint_joint_relates_by_position_and_updates_both_kinds_with_that_relation() -> None:
    layer = decoder_of(PAPER).iterations[0].joint_joint
    joints = Features(*(torch.randn(2, 42, c, dtype=torch.float64, requires_grad=True) for c in (48, 16)))
    updated, logits = layer(joints, joints)
    assert logits.shape == (2, 1, 42, 42)
    assert gradients(logits, list(joints)) == [False, True]
    assert gradients(updated.appearance, list(joints)) == [True, True]
    assert gradients(updated.position, list(joints)) == [False, True]


@pytest.mark.usefixtures("fixed_relations")
def test_appearance_reaches_the_pose_only_through_relations() -> None:
    model, levels = decoder_of(PAPER), random_levels()
    decoded = model(levels)
    appearance = [model.initialise.appearance, *(level.appearance for level in levels)]
    position = [level.position for level in levels]
    for output in (decoded.pose, *decoded.steps):
        assert not any(gradients(output, appearance))
    assert gradients(decoded.pose, position) == [True] * 4


@pytest.mark.usefixtures("fixed_relations")
def test_position_reaches_joint_appearance_only_through_relations() -> None:
    config = replace(PAPER, regress_from=Relation.APPEARANCE)
    levels = random_levels()
    decoded = decoder_of(config)(levels)
    assert not any(gradients(decoded.pose, [level.position for level in levels]))
    assert all(gradients(decoded.pose, [level.appearance for level in levels]))


def test_the_pose_depends_on_every_level_of_both_kinds() -> None:
    levels = random_levels()
    decoded = decoder_of(PAPER)(levels)
    assert all(gradients(decoded.pose, [x for level in levels for x in level]))
    for t, step in enumerate(decoded.steps, start=1):
        expected = [index <= t for index in range(4)]
        assert gradients(step, [level.position for level in levels]) == expected


def test_the_paper_builds_no_last_appearance_update() -> None:
    needed = needs(PAPER)
    assert needed.initial == BOTH
    assert needed.joint_joint == (BOTH, BOTH, BOTH)
    assert needed.joint_image == (BOTH, BOTH, frozenset({"position"}))
    assert list(decoder_of(PAPER).iterations[2].joint_image.update) == ["position"]


@pytest.mark.parametrize(
    ("changes", "initial", "last_joint_joint"),
    [
        ({"joint_image_relation": Relation.POSITION}, {"position"}, {"position"}),
        ({"joint_image_relation": Relation.POSITION, "joint_joint_relation": Relation.APPEARANCE}, BOTH, {"position"}),
        ({"joint_image_relation": Relation.APPEARANCE, "regress_from": Relation.APPEARANCE}, BOTH, {"appearance"}),
        ({"root_depth_head": True, "joint_image_relation": Relation.POSITION}, BOTH, BOTH),
        ({"joint_joint": False, "joint_image_relation": Relation.POSITION}, {"position"}, {"position"}),
        (
            {
                "joint_joint": False,
                "joint_image_relation": Relation.POSITION,
                "joint_joint_relation": Relation.APPEARANCE,
            },
            {"position"},
            {"position"},
        ),
    ],
)
def test_needs_follow_the_decoder_backwards(
    changes: dict[str, object], initial: set[str], last_joint_joint: set[str]
) -> None:
    needed = needs(replace(PAPER, **changes))
    assert needed.initial == initial
    assert needed.joint_joint[-1] == last_joint_joint


@pytest.mark.parametrize("by", Relation)
def test_ablated_initialisations_have_queries_of_the_kinds_they_relate_by(by: Relation) -> None:
    level = random_levels()[0]
    initialise = decoder_of(replace(PAPER, init_relation=by)).initialise
    kinds = {"appearance": 48, "position": 16}
    expected = {kind: (42, width) for kind, width in kinds.items() if by in (kind, Relation.BOTH)}
    assert {name: tuple(p.shape) for name, p in initialise.named_parameters()} == expected
    _, logits = initialise(level)
    assert logits.shape == (2, 42, 4)
    assert gradients(logits, list(level)) == [by != Relation.POSITION, by != Relation.APPEARANCE]


def test_refinement_comes_after_the_last_step() -> None:
    levels = random_levels()
    model = decoder_of(PAPER)
    before = model(levels)
    with torch.no_grad():
        model.to_pose.refine[0].graph.weight.mul_(3)
    after = model(levels)
    assert not torch.allclose(before.pose, after.pose)
    for one, other in zip(before.steps, after.steps, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", Decoder)
def test_estimates_start_in_the_middle_of_the_crop_and_of_the_depths(kind: Decoder) -> None:
    """One half is the middle of both."""
    model = decoder_of(replace(PAPER, decoder=kind))
    readouts = [module for module in model.modules() if isinstance(module, Readout)]
    decoded = model(random_levels())
    assert len(readouts) == len((decoded.pose, *decoded.steps))
    for readout in readouts:
        assert (readout(torch.zeros(readout.in_features)) == 0.5).all()
    for estimate in (decoded.pose, *decoded.steps):
        assert (estimate - 0.5).abs().max() < 0.25


def test_the_fused_decoder_mixes_what_the_decoupled_one_keeps_apart() -> None:
    config = replace(PAPER, decoder=Decoder.FUSED)
    levels = random_levels()
    fused = decoder_of(config)
    decoded = fused(levels)
    assert decoded.joints.shape == (2, 42, 16)
    mixed = [fused.project(level.appearance) + level.position for level in levels]
    again = fused.decoder([Features(x[..., :0], x) for x in mixed])
    assert torch.equal(decoded.pose, again.pose)
    _, logits = fused.decoder.initialise(Features(mixed[0][..., :0], mixed[0]))
    assert gradients(logits, list(levels[0])) == [True, True]


def test_the_pooled_decoder_reads_the_mean_of_the_coarsest_level() -> None:
    level = random_levels()[0]
    model = decoder_of(replace(PAPER, decoder=Decoder.POOLED))
    decoded = model([level])
    pooled = level.appearance.mean(dim=1)
    expected = pooled @ model.readout.weight.T + model.readout.bias
    torch.testing.assert_close(decoded.pose.flatten(1), expected)
    assert decoded.steps == decoded.relations == ()


def test_the_initialisation_adds_its_queries_to_what_it_gathers() -> None:
    plain, residual = (Initialisation(Widths(3, 2), Relation.BOTH, residual=residual) for residual in (False, True))
    residual.load_state_dict(plain.state_dict())
    level = Features(torch.randn(1, 4, 3), torch.randn(1, 4, 2))
    for kind in ("appearance", "position"):
        gathered, joints = (initialise(level)[0].of(kind) for initialise in (plain, residual))
        torch.testing.assert_close(joints, gathered + plain.queries.of(kind))


@pytest.mark.parametrize(("read", "refined"), [(Relation.BOTH, 2), (Relation.POSITION, 2), (Relation.APPEARANCE, 3)])
def test_positions_are_refined_or_else_appearance(read: Relation, refined: int) -> None:
    class Refine(nn.Module):
        def forward(self, joints: Tensor) -> Tensor:
            assert joints.shape == (1, 42, refined)
            return joints

    estimate = Estimate(Widths(3, 2), read, 3, refine=Refine())
    assert estimate(Features(torch.randn(1, 42, 3), torch.randn(1, 42, 2))).shape == (1, 42, 3)


def test_relations_are_means_over_the_heads() -> None:
    logits = torch.randn(1, 2, 42, 4)

    class TwoHeads(nn.Module):
        def forward(self, joints: Features, level: Features) -> tuple[Features, Tensor]:
            return joints, logits

    widths, level = Widths(3, 2), Features(torch.randn(1, 4, 3), torch.randn(1, 4, 2))
    initialise, estimate = Initialisation(widths, Relation.BOTH, residual=False), Estimate(widths, Relation.BOTH, 3)
    decoded = DecoupledDecoder(initialise, [TwoHeads()], to_steps=[estimate], to_pose=estimate)([level, level])
    torch.testing.assert_close(decoded.relations[1], logits.mean(dim=1))


def test_joints_relate_to_joints_before_they_relate_to_the_picture() -> None:
    joints, among, level, seen = (Features(torch.randn(1, 2, 3), torch.randn(1, 2, 2)) for _ in range(4))

    class Returns(nn.Module):
        def __init__(self, result: Features) -> None:
            super().__init__()
            self.result = result

        def forward(self, *inputs: Features) -> tuple[Features, Tensor]:
            self.inputs = inputs
            return self.result, torch.zeros(1, 1, 2, 2)

    joint_joint, joint_image = Returns(among), Returns(seen)
    assert Iteration(joint_joint, joint_image)(joints, level)[0] is seen
    assert all(given is joints for given in joint_joint.inputs) and len(joint_joint.inputs) == 2
    assert joint_image.inputs[0] is among and joint_image.inputs[1] is level


def test_without_a_decoder_the_coarsest_level_is_pooled() -> None:
    levels = [Features(torch.randn(1, size, 3), torch.zeros(1, size, 0)) for size in (4, 16)]
    pooled = PooledDecoder(3)(levels).joints
    torch.testing.assert_close(pooled, levels[0].appearance.mean(dim=1)[:, None].expand(1, 42, 3))


@pytest.mark.parametrize("name", ["init_relation", "joint_joint_relation", "joint_image_relation", "regress_from"])
def test_appearance_of_the_coarsest_level_is_read_wherever_appearance_is_read_at_all(name: str) -> None:
    """The optional heads read its mean."""
    by = Relation.POSITION
    config = replace(
        PAPER, init_relation=by, joint_joint_relation=by, joint_image_relation=by, regress_from=by,
        presence_head=True, root_depth_head=True,
    )  # fmt: skip
    with torch.device("meta"):
        encoder = build(replace(config, **{name: Relation.APPEARANCE})).encoder
    assert encoder.strides[0] in encoder.appearance_strides


def test_a_relation_among_joints_that_is_not_built_shows_no_picture() -> None:
    by = Relation.POSITION
    config = replace(
        PAPER, init_relation=by, joint_joint_relation=Relation.APPEARANCE, joint_image_relation=by, regress_from=by,
        joint_joint=False,
    )  # fmt: skip
    with torch.device("meta"), pytest.raises(UnclaspError, match="the pose cannot depend on the picture"):
        build(config)


def test_positions_that_nothing_reads_are_not_built() -> None:
    by = Relation.APPEARANCE
    config = replace(PAPER, init_relation=by, joint_joint_relation=by, joint_image_relation=by, regress_from=by)
    with torch.device("meta"):
        assert build(config).encoder.positions is None and build(PAPER).encoder.positions is not None
