"""The losses (section 3.4): values and gradients against slow reference loops, masks, and identities."""

import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from unclasp.batch import Batch, Prediction
from unclasp.config import LossConfig
from unclasp.losses import (
    compute_losses,
    dice_loss,
    focal_loss,
    pose_loss,
    presence_loss,
    relation_loss,
    root_depth_loss,
    smooth_l1,
    to_space,
    total,
    weights,
)

CROP = 64
CONFIG = LossConfig(relation_weight=0.5)


def make_batch(size: int = 3) -> Batch:
    return Batch(
        image=torch.zeros(size, 3, CROP, CROP, dtype=torch.uint8),
        pose_2p5d=CROP * torch.rand(size, 42, 3, dtype=torch.float64),
        valid=torch.rand(size, 42) < 0.6,
        parts=torch.randint(0, 33, (size, 5, 5)),
        parts_valid=torch.arange(size) != 1,
        hand_type=torch.rand(size, 2) < 0.5,
        hand_type_valid=torch.arange(size) != 0,
        root_depth=20 * torch.randn(size, dtype=torch.float64),
        root_depth_valid=torch.arange(size) != 1,
        names=("made",) * size,
    )


def make_prediction(size: int = 3) -> Prediction:
    def leaf(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(size, *shape, dtype=torch.float64)).requires_grad_()

    return Prediction(
        pose_2p5d=leaf(42, 3, scale=20), steps=(leaf(42, 2, scale=20), leaf(42, 2, scale=20)),
        part_logits=leaf(33, 5, 5), relations=(leaf(42, 4), leaf(42, 16)), presence=leaf(2), root_depth=leaf(scale=20),
    )  # fmt: skip


def trained(prediction: Prediction) -> tuple[Any, ...]:
    """Return the outputs that the losses read: all but the confidence, which is fitted afterwards."""
    return prediction[:-1]


def leaves(prediction: Prediction) -> list[Tensor]:
    found: list[Tensor] = []
    for value in trained(prediction):
        found.extend(value if isinstance(value, tuple) else [value])
    return found


def slow_smooth(x: Tensor, tau: float) -> Tensor:
    return x * x / (2 * tau) if abs(x.item()) < tau else abs(x) - tau / 2


def slow_joints(batch: Batch, term: Callable[[int, int], Tensor]) -> Tensor:
    """Sum over a sample's valid joints / max(1, their number); mean over samples."""
    result = torch.zeros((), dtype=torch.float64)
    for b in range(len(batch)):
        joints = [j for j in range(42) if batch.valid[b, j]]
        result = result + sum((term(b, j) for j in joints), result * 0) / max(1, len(joints)) / len(batch)
    return result


def slow_losses(prediction: Prediction, batch: Batch, config: LossConfig) -> dict[str, Tensor]:
    unit = 256 / CROP
    tau1, tau2 = config.plane_threshold, config.depth_threshold
    truth = batch.pose_2p5d
    size = len(batch)

    def plane(pose: Tensor, b: int, j: int) -> Tensor:
        return sum(slow_smooth((pose[b, j, axis] - truth[b, j, axis]) * unit, tau1) for axis in range(2))

    def whole(b: int, j: int) -> Tensor:
        depth = slow_smooth((prediction.pose_2p5d[b, j, 2] - truth[b, j, 2]) / (400 / 256), tau2)
        return config.plane_weight * plane(prediction.pose_2p5d, b, j) + config.depth_weight * depth

    focal, dice = [], []
    for b in (b for b in range(size) if batch.parts_valid[b]):
        p = torch.stack([prediction.part_logits[b, :, y, x].softmax(0) for y in range(5) for x in range(5)])
        true = batch.parts[b].flatten().tolist()
        chosen = [p[i, c] for i, c in enumerate(true)]
        focal.append(sum(-((1 - q) ** config.focal_gamma) * q.log() for q in chosen) / 25)
        per_class = []
        for c in range(33):
            common = sum((p[i, c] for i in range(25) if true[i] == c), p[0, 0] * 0)
            both = true.count(c) + sum(p[i, c] for i in range(25))
            per_class.append((2 * common + config.dice_epsilon) / (both + config.dice_epsilon))
        dice.append(1 - sum(per_class) / 33)

    def row(logits: Tensor, b: int, j: int) -> Tensor:
        side = math.isqrt(logits.shape[-1])
        stride = CROP / side
        mass = []
        for y in range(side):
            for x in range(side):
                du = (truth[b, j, 0].item() - ((x + 0.5) * stride - 0.5)) * unit
                dv = (truth[b, j, 1].item() - ((y + 0.5) * stride - 0.5)) * unit
                mass.append(math.exp(-(du**2 + dv**2) / (2 * config.relation_sigma**2)))
        return sum(-m / sum(mass) * log_p for m, log_p in zip(mass, logits[b, j].log_softmax(0), strict=True))

    presence = []
    for b in (b for b in range(size) if batch.hand_type_valid[b]):
        for logit, present in zip(prediction.presence[b], batch.hand_type[b], strict=True):
            presence.append(-(logit if present else -logit).sigmoid().log() / 2)
    roots = [
        slow_smooth((prediction.root_depth[b] - batch.root_depth[b]) / (400 / 256), tau2)
        for b in range(size)
        if batch.root_depth_valid[b]
    ]
    return {
        "steps": sum(slow_joints(batch, lambda b, j, s=s: plane(s, b, j)) for s in prediction.steps) / 2,
        "pose": slow_joints(batch, whole),
        "focal": sum(focal) / size,
        "dice": sum(dice) / size,
        "relation": sum(slow_joints(batch, lambda b, j, r=r: row(r, b, j)) for r in prediction.relations) / 2,
        "presence": sum(presence) / size,
        "root_depth": sum(roots) / size,
    }


@pytest.mark.parametrize(
    "config",
    [
        LossConfig(relation_weight=0.5, relation_sigma=60.0),
        LossConfig(
            relation_weight=1.0, relation_sigma=40.0, plane_weight=0.7, depth_weight=0.2, plane_threshold=9.0,
            depth_threshold=5.0, focal_gamma=1.5, dice_epsilon=0.1,
        ),
    ],
)  # fmt: skip
def test_values_and_gradients_are_the_slow_references(config: LossConfig) -> None:
    prediction, batch = make_prediction(), make_batch()
    expected = slow_losses(prediction, batch, config)
    losses = compute_losses(prediction, batch, config, CROP)
    assert losses.keys() == expected.keys() == weights(config).keys()
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-11, atol=1e-12)
        ours = torch.autograd.grad(value, leaves(prediction), allow_unused=True, retain_graph=True)
        theirs = torch.autograd.grad(expected[name], leaves(prediction), allow_unused=True, retain_graph=True)
        for one, other in zip(ours, theirs, strict=True):
            assert (one is None) == (other is None), name
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_values_by_hand() -> None:
    """One valid joint with errors of 2 px and -1 px in a 128 px crop and of 5 units of depth."""
    pose = torch.zeros(1, 42, 3)
    valid = torch.zeros(1, 42, dtype=torch.bool)
    valid[0, 7] = True
    off = pose.clone()
    off[0, 7] = torch.tensor([2.0, -1.0, 5 * 400 / 256])
    error = to_space(off, 128) - to_space(pose, 128)
    torch.testing.assert_close(error[0, 7], torch.tensor([4.0, -2.0, 5.0]))
    loss = pose_loss(
        to_space(off, 128), to_space(pose, 128), valid, plane_weight=0.5, depth_weight=1.0, thresholds=(1.0, 3.0)
    )
    assert loss.item() == pytest.approx(0.5 * (3.5 + 1.5) + 1.0 * 3.5)


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_l_tau_is_pytorchs_smooth_l1(tau: float) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    expected = functional.smooth_l1_loss(x, torch.zeros_like(x), beta=tau, reduction="none")
    torch.testing.assert_close(smooth_l1(x, tau), expected)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    logits, parts = torch.randn(2, 33, 4, 4, dtype=torch.float64), torch.randint(0, 33, (2, 4, 4))
    loss = focal_loss(logits, parts, torch.ones(2, dtype=torch.bool), gamma=0.0)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, parts))


@pytest.mark.parametrize("gamma", [1.0, 2.0])
@pytest.mark.parametrize("p", [0.25, 0.5, 0.9, 0.99, 0.9999])
def test_focal_loss_by_hand(p: float, gamma: float) -> None:
    """The surer a pixel is of its class the less it counts, to the end."""
    logits = torch.full((1, 33, 1, 1), math.log((1 - p) / 32), dtype=torch.float64)
    logits[0, 7] = math.log(p)
    loss = focal_loss(logits, torch.full((1, 1, 1), 7), torch.tensor([True]), gamma=gamma)
    assert loss.item() == pytest.approx(-((1 - p) ** gamma) * math.log(p), rel=1e-9)


def test_perfect_parts_cost_nothing() -> None:
    parts = torch.randint(0, 33, (2, 4, 4))
    logits = 200.0 * functional.one_hot(parts, 33).movedim(-1, 1)
    valid = torch.ones(2, dtype=torch.bool)
    assert dice_loss(logits, parts, valid, epsilon=1.0).item() == pytest.approx(0, abs=1e-6)
    assert focal_loss(logits, parts, valid, gamma=2.0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_saturated_pixels_have_finite_gradients(gamma: float) -> None:
    logits = torch.zeros(1, 33, 1, 2)
    logits[0, 0, 0] = torch.tensor([500.0, -500.0])
    logits.requires_grad_()
    loss = focal_loss(logits, torch.zeros(1, 1, 2, dtype=torch.int64), torch.tensor([True]), gamma=gamma)
    loss.backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_gradcheck() -> None:
    batch = make_batch(2)
    config = replace(CONFIG, relation_sigma=60.0)
    inputs = [leaf.detach().requires_grad_() for leaf in leaves(make_prediction(2))]

    def losses(*tensors: Tensor) -> tuple[Tensor, ...]:
        pose, one, two, parts, coarse, fine, presence, root = tensors
        prediction = Prediction(pose, (one, two), parts, (coarse, fine), presence, root)
        return tuple(compute_losses(prediction, batch, config, CROP).values())

    assert torch.autograd.gradcheck(losses, inputs, fast_mode=True)


def test_a_relation_costs_least_where_the_joint_is() -> None:
    """The cost is least at the joint's own pixel, for every pixel of a 4x4 level: u is the column, v the row."""
    valid = torch.ones(1, 42, dtype=torch.bool)
    for index in range(16):
        row, column = divmod(index, 4)
        pixel = torch.tensor([(column + 0.5) * CROP / 4 - 0.5, (row + 0.5) * CROP / 4 - 0.5])
        plane = to_space(pixel.expand(1, 42, 2), CROP)
        costs = [
            relation_loss(8.0 * functional.one_hot(torch.full((1, 42), i), 16), plane, valid, sigma=20.0).item()
            for i in range(16)
        ]
        assert min(range(16), key=costs.__getitem__) == index


def test_invalid_annotations_cost_nothing_whatever_stands_there() -> None:
    prediction, batch = make_prediction(), make_batch()
    junk = replace(
        batch,
        pose_2p5d=torch.where(batch.valid.unsqueeze(-1), batch.pose_2p5d, torch.nan),
        root_depth=torch.where(batch.root_depth_valid, batch.root_depth, torch.inf),
        parts=torch.where(batch.parts_valid.view(-1, 1, 1), batch.parts, 0),
        hand_type=torch.where(batch.hand_type_valid.view(-1, 1), batch.hand_type, ~batch.hand_type),
    )
    clean, dirty = (compute_losses(prediction, b, CONFIG, CROP) for b in (batch, junk))
    assert {k: v.item() for k, v in clean.items()} == {k: v.item() for k, v in dirty.items()}
    total(dirty, CONFIG).backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves(prediction))
    for tensor in (prediction.pose_2p5d, *prediction.steps, *prediction.relations):
        assert tensor.grad is not None
        assert not tensor.grad[~batch.valid].any()
        assert tensor.grad[batch.valid].any(dim=-1).all()
    assert not prediction.part_logits.grad[~batch.parts_valid].any()
    assert not prediction.presence.grad[~batch.hand_type_valid].any()
    assert not prediction.root_depth.grad[~batch.root_depth_valid].any()


def test_a_batch_without_any_annotation_costs_zero() -> None:
    batch = make_batch()
    nothing = {name: torch.zeros_like(getattr(batch, name)) for name in (
        "valid", "parts_valid", "hand_type_valid", "root_depth_valid")}  # fmt: skip
    prediction = make_prediction()
    losses = compute_losses(prediction, replace(batch, **nothing), CONFIG, CROP)
    assert all(loss.item() == 0 for loss in losses.values())
    total(losses, CONFIG).backward()
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in leaves(prediction))


def test_the_loss_of_a_batch_is_the_mean_of_its_halves() -> None:
    prediction, batch = make_prediction(4), make_batch(4)

    def half(rows: slice) -> dict[str, Tensor]:
        cut = {field.name: getattr(batch, field.name)[rows] for field in fields(Batch)}
        parts = [tuple(x[rows] for x in v) if isinstance(v, tuple) else v[rows] for v in trained(prediction)]
        return compute_losses(Prediction(*parts), Batch(**cut), CONFIG, CROP)

    one, other = half(slice(0, 2)), half(slice(2, 4))
    for name, value in compute_losses(prediction, batch, CONFIG, CROP).items():
        torch.testing.assert_close(value, (one[name] + other[name]) / 2)


def test_only_the_terms_that_apply_are_there() -> None:
    prediction = make_prediction()._replace(steps=(), relations=(), presence=None, root_depth=None)
    assert compute_losses(prediction, make_batch(), CONFIG, CROP).keys() == {"pose", "focal", "dice"}
    assert "relation" not in compute_losses(make_prediction(), make_batch(), LossConfig(), CROP)


def test_the_total_is_the_weighted_sum() -> None:
    config = LossConfig()
    losses = {
        "steps": torch.tensor(1.0),
        "pose": torch.tensor(10.0),
        "focal": torch.tensor(100.0),
        "dice": torch.tensor(2.0),
    }
    assert total(losses, config).item() == 1 + 3 * 10 + 100 + 2


CHANGES = {
    "steps_weight": 2.0, "pose_weight": 2.0, "segmentation_weight": 2.0, "plane_weight": 2.0, "depth_weight": 2.0,
    "plane_threshold": 20.0, "depth_threshold": 20.0, "focal_gamma": 0.0, "dice_epsilon": 2.0, "relation_weight": 2.0,
    "relation_sigma": 30.0, "presence_weight": 2.0, "root_depth_weight": 2.0,
}  # fmt: skip


def test_all_fields_are_listed() -> None:
    assert set(CHANGES) == {field.name for field in fields(LossConfig)}


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_of_the_config_changes_the_total(name: str) -> None:
    prediction, batch = make_prediction(), make_batch()
    one, other = (
        total(compute_losses(prediction, batch, config, CROP), config).item()
        for config in (CONFIG, replace(CONFIG, **{name: CHANGES[name]}))
    )
    assert abs(one - other) > 1e-4


def test_half_precision_predictions_are_computed_in_full() -> None:
    batch = make_batch()
    batch = replace(batch, pose_2p5d=batch.pose_2p5d.float(), root_depth=batch.root_depth.float())

    def cast(dtype: torch.dtype) -> Prediction:
        torch.manual_seed(1)
        return Prediction(*(
            tuple(x.bfloat16().to(dtype) for x in v) if isinstance(v, tuple) else v.bfloat16().to(dtype)
            for v in trained(make_prediction())
        ))  # fmt: skip

    full = compute_losses(cast(torch.float32), batch, CONFIG, CROP)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = compute_losses(cast(torch.bfloat16), batch, CONFIG, CROP)
    for name, value in half.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, full[name])


@pytest.mark.parametrize("size", [(7, 5), (5, 7)])
def test_a_mask_of_another_size_is_refused(size: tuple[int, int]) -> None:
    batch = replace(make_batch(), parts=torch.zeros(3, *size, dtype=torch.int64))
    told = f"parts must have the size of the finest feature map, (5, 5), got {size}"
    with pytest.raises(ValueError, match=re.escape(told)):
        compute_losses(make_prediction(), batch, CONFIG, CROP)


def test_the_single_terms() -> None:
    presence = presence_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[True, False]]), torch.tensor([True]))
    assert presence.item() == pytest.approx(math.log(2))
    root = root_depth_loss(torch.tensor([400 / 256 * 5]), torch.zeros(1), torch.tensor([True]), threshold=3.0)
    assert root.item() == pytest.approx(5 - 1.5)
