"""The training losses (section 3.4): named terms and their weights.

Joint terms are computed in 256-unit space: u and v scaled to a crop of 256x256 pixels, depth in units of 400/256 mm.
Every term is a mean over the whole batch, in which samples without the required annotation count as zero. The gradient
of a batch is therefore the mean of its samples' gradients, however the batch is split over devices. Invalid entries are
masked rather than indexed away, so that nothing here waits for the device.

Letters: B batch, h and w size of the finest feature map, L pixels of a level.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from unclasp.batch import Batch, Prediction
from unclasp.config import LossConfig
from unclasp.geometry import DEPTH_RANGE
from unclasp.metrics import PLANE_UNITS

DEPTH_UNIT: Final = DEPTH_RANGE / PLANE_UNITS
"""mm per unit of depth: the depth range has as many units as the side of a crop."""


def smooth_l1(x: Tensor, tau: float) -> Tensor:
    """Return L_tau elementwise: x^2 / (2 tau) where |x| < tau, else |x| - tau / 2 (eq. 7).

    The values are those of `functional.smooth_l1_loss`, whose gradients differ in the last bit for some `tau`, so that
    runs would no longer repeat earlier ones.

    Examples:
        >>> smooth_l1(torch.tensor([0.5, -2.0, 5.0]), 3.0).tolist()
        [0.0416666679084301, 0.6666666865348816, 3.5]
    """
    size = x.abs()
    return torch.where(size < tau, x.square() / (2 * tau), size - tau / 2)


def pose_loss(
    pose: Tensor, target: Tensor, valid: Tensor, *, plane_weight: float, depth_weight: float,
    thresholds: tuple[float, float],
) -> Tensor:  # fmt: skip
    """Return L_2.5D as in eq. 6: the sum over coordinates, averaged over the valid joints of each sample.

    Args:
        pose: (B, 42, 2 or 3) u, v and optionally depth, in 256-unit space.
        target: Like `pose`; values at invalid joints are ignored.
        valid: (B, 42) bool.
        plane_weight: alpha, weight of u and v.
        depth_weight: beta, weight of the depth.
        thresholds: tau_1 for u and v, tau_2 for the depth.

    Returns:
        Scalar: the mean over the batch.
    """
    error = torch.where(valid.unsqueeze(-1), pose - target, 0.0)
    plane = smooth_l1(error[..., :2], thresholds[0]).sum(dim=-1)
    depth = smooth_l1(error[..., 2:], thresholds[1]).sum(dim=-1)
    return _masked_mean(plane_weight * plane + depth_weight * depth, valid).mean()


def focal_loss(logits: Tensor, parts: Tensor, valid: Tensor, *, gamma: float) -> Tensor:
    """Return the focal loss of the part classes (eq. 8): the pixel mean of -(1 - p)^gamma log p, p of the true class.

    Args:
        logits: (B, 33, h, w).
        parts: (B, h, w) int64 classes.
        valid: (B,) bool, whether the sample has a part mask.
        gamma: Focusing parameter; 0 gives cross-entropy.

    Returns:
        Scalar: the mean over the batch.
    """
    log_p = _full(logits).log_softmax(dim=1).gather(1, parts.unsqueeze(1)).squeeze(1)
    focus = (-torch.expm1(log_p)).clamp_min(1e-6) ** gamma
    return _masked(-(focus * log_p).mean(dim=(1, 2)), valid).mean()


def dice_loss(logits: Tensor, parts: Tensor, valid: Tensor, *, epsilon: float) -> Tensor:
    """Return the soft Dice loss of the part classes (eq. 9), computed per image.

    With T the true mask and p the predicted probability of a class, and sums over pixels, the loss is 1 minus the mean
    over classes of (2 sum T p + epsilon) / (sum T + sum p + epsilon).

    Args:
        logits: (B, 33, h, w).
        parts: (B, h, w) int64 classes.
        valid: (B,) bool, whether the sample has a part mask.
        epsilon: Added to numerator and denominator, in pixels.

    Returns:
        Scalar: the mean over the batch.
    """
    p = _full(logits).softmax(dim=1)
    classes = torch.arange(p.shape[1], device=p.device).view(1, -1, 1, 1)
    truth = (parts.unsqueeze(1) == classes).to(p.dtype)
    common = (truth * p).sum(dim=(2, 3))
    both = truth.sum(dim=(2, 3)) + p.sum(dim=(2, 3))
    dice = (2 * common + epsilon) / (both + epsilon)
    return _masked(1 - dice.mean(dim=1), valid).mean()


def relation_loss(logits: Tensor, plane: Tensor, valid: Tensor, *, sigma: float) -> Tensor:
    """Return the cross-entropy of each relation row to a normalised Gaussian at the true joint (not in the paper).

    Args:
        logits: (B, 42, L) logits of one relation, row-major over the pixels of a square level.
        plane: (B, 42, 2) true u, v in 256-unit space, in which the left edge of pixel 0 is at 0.
        valid: (B, 42) bool.
        sigma: Standard deviation of the Gaussian in 256-unit space.

    Returns:
        Scalar: the mean over each sample's valid joints, then over the batch.
    """
    side = round(logits.shape[-1] ** 0.5)
    plane = torch.where(valid.unsqueeze(-1), plane, 0.0)
    centres = (torch.arange(side, device=plane.device, dtype=plane.dtype) + 0.5) * (PLANE_UNITS / side)
    offsets = (plane.unsqueeze(-1) - centres) / sigma
    # The Gaussian is separable; each factor is (B, 42, side).
    columns, rows = (-0.5 * offsets.square()).softmax(dim=-1).unbind(dim=2)
    truth = (rows.unsqueeze(-1) * columns.unsqueeze(-2)).flatten(2)
    cross_entropy = -(truth * _full(logits).log_softmax(dim=-1)).sum(dim=-1)
    return _masked_mean(cross_entropy, valid).mean()


def presence_loss(logits: Tensor, hand_type: Tensor, valid: Tensor) -> Tensor:
    """Return the binary cross-entropy of hand presence.

    Args:
        logits: (B, 2) of the right and the left hand.
        hand_type: (B, 2) bool, whether that hand is present.
        valid: (B,) bool, whether the sample's label can be trusted.
    """
    logits = _full(logits)
    per_hand = functional.binary_cross_entropy_with_logits(logits, hand_type.to(logits.dtype), reduction="none")
    return _masked(per_hand.mean(dim=1), valid).mean()


def root_depth_loss(root_depth: Tensor, target: Tensor, valid: Tensor, *, threshold: float) -> Tensor:
    """Return the smooth L1 loss of the relative wrist depth (B,) in mm; the threshold is in units of `DEPTH_UNIT`."""
    error = torch.where(valid, _full(root_depth) - target, 0.0) / DEPTH_UNIT
    return smooth_l1(error, threshold).mean()


def compute_losses(prediction: Prediction, batch: Batch, config: LossConfig, image_size: int) -> dict[str, Tensor]:
    """Compute the unweighted loss terms that apply to a prediction.

    Args:
        prediction: Output of the network.
        batch: The targets.
        config: Thresholds and parameters of the losses.
        image_size: Side of the crop in pixels.

    Returns:
        Scalars: always pose, focal and dice; steps if there are intermediate estimates; relation if the network
        returns relations and `relation_weight` is positive; presence and root_depth if the network has those heads.

    Raises:
        ValueError: The part masks do not have the size of the finest feature map.
    """
    if batch.parts.shape[1:] != prediction.part_logits.shape[2:]:
        raise ValueError(
            f"parts must have the size of the finest feature map, {tuple(prediction.part_logits.shape[2:])}, "
            f"got {tuple(batch.parts.shape[1:])}"
        )
    losses = _joint_losses(prediction, batch, config, image_size)
    losses["focal"] = focal_loss(prediction.part_logits, batch.parts, batch.parts_valid, gamma=config.focal_gamma)
    losses["dice"] = dice_loss(prediction.part_logits, batch.parts, batch.parts_valid, epsilon=config.dice_epsilon)
    if prediction.presence is not None:
        losses["presence"] = presence_loss(prediction.presence, batch.hand_type, batch.hand_type_valid)
    if prediction.root_depth is not None:
        losses["root_depth"] = root_depth_loss(
            prediction.root_depth, batch.root_depth, batch.root_depth_valid, threshold=config.depth_threshold
        )
    return losses


def _joint_losses(prediction: Prediction, batch: Batch, config: LossConfig, image_size: int) -> dict[str, Tensor]:
    """Compute the joint terms. The estimate of each iteration gets the loss of u and v alone: alpha = 1, beta = 0."""
    target = to_space(batch.pose_2p5d, image_size)
    plane = target[..., :2]
    taus = (config.plane_threshold, config.depth_threshold)
    alpha, beta = config.plane_weight, config.depth_weight
    pose = to_space(prediction.pose_2p5d, image_size)
    losses = {"pose": pose_loss(pose, target, batch.valid, plane_weight=alpha, depth_weight=beta, thresholds=taus)}
    if prediction.steps:
        steps = [
            pose_loss(step, plane, batch.valid, plane_weight=1.0, depth_weight=0.0, thresholds=taus)
            for step in (to_space(step, image_size) for step in prediction.steps)
        ]
        losses["steps"] = torch.stack(steps).mean()
    if prediction.relations and config.relation_weight > 0:
        rows = [
            relation_loss(logits, plane, batch.valid, sigma=config.relation_sigma) for logits in prediction.relations
        ]
        losses["relation"] = torch.stack(rows).mean()
    return losses


def weights(config: LossConfig) -> dict[str, float]:
    """Return the weight of each loss term (eq. 11)."""
    return {
        "steps": config.steps_weight,
        "pose": config.pose_weight,
        "focal": config.segmentation_weight,
        "dice": config.segmentation_weight,
        "relation": config.relation_weight,
        "presence": config.presence_weight,
        "root_depth": config.root_depth_weight,
    }


def total(losses: dict[str, Tensor], config: LossConfig) -> Tensor:
    """Return L_total, the weighted sum of the terms (eq. 11)."""
    weight = weights(config)
    if unknown := losses.keys() - weight.keys():
        raise ValueError(f"no weight for {', '.join(sorted(unknown))}: add one to losses.weights")
    return torch.stack([weight[name] * loss for name, loss in losses.items()]).sum()


def to_space(pose: Tensor, image_size: int) -> Tensor:
    """Convert (B, 42, 2 or 3) u, v in crop pixels and optional depth in mm to 256-unit space; a crop starts at 0.

    Examples:
        >>> to_space(torch.tensor([[[-0.5, 63.5, 25.0]]]), 128).tolist()
        [[[0.0, 128.0, 16.0]]]
    """
    pose = _full(pose)
    return torch.cat(((pose[..., :2] + 0.5) * (PLANE_UNITS / image_size), pose[..., 2:] / DEPTH_UNIT), dim=-1)


def _full(x: Tensor) -> Tensor:
    """Return x in at least float32; half precision is too coarse for a loss."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _masked(per_sample: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, per_sample, 0.0)


def _masked_mean(per_joint: Tensor, valid: Tensor) -> Tensor:
    """Return the mean (B,) over each sample's valid joints (B, 42); 0 where there are none."""
    return _masked(per_joint, valid).sum(dim=-1) / valid.sum(dim=-1).clamp_min(1)
