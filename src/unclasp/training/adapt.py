"""Adaptation of a trained model to pictures of another kind, without annotations.

Photographs are sharper, brighter and of more contrast than rendered pictures, so the first layers of a model that was
trained on these scale their features wrongly there. The statistics by which batch normalisation scales them are
therefore taken from crops of the other pictures (AdaBN: Li et al., Revisiting Batch Normalization For Practical Domain
Adaptation, 2016, arXiv 1603.04779). All weights stay, but for the bias of the presence.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from unclasp import geometry
from unclasp.arrays import Pixels
from unclasp.data.transforms import crop_image
from unclasp.errors import UnclaspError
from unclasp.find.boxes import box_around
from unclasp.model import DFL
from unclasp.pose import HandPose

LAST_STRIDE: Final = 8
"""The layers up to the backbone's map at this stride are adapted: the later ones depend more on what is in a picture
than on how it looks."""
MIN_CROPS: Final = 32
"""Statistics of fewer crops depend too much on which they are."""
_BATCH_SIZE: Final = 64


def hand_crops(pose: HandPose, size: int) -> Iterator[Pixels]:
    """Yield crops (size, size, 3) of a pose's picture: of both hands, and of each of two; none if all are in doubt.

    Raises:
        UnclaspError: The pose has no picture.
    """
    if pose.image is None:
        raise UnclaspError("the pose has no picture to cut crops from")
    sure = [side for side in pose.sides if side not in pose.doubted]
    if not sure:
        return
    yield crop_image(pose.image, np.asarray(pose.box), size).image
    for side in sure if len(pose.sides) == 2 else []:
        box = box_around(pose.hand(side)[0], pose.image)
        if box is not None:
            yield crop_image(pose.image, geometry.square_box(box), size).image


def adapted(model: DFL, crops: Pixels) -> DFL:
    """Return a copy of a model whose first layers have the statistics of some crops.

    The bias of the presence is shifted so that its mean over the crops stays as it was; otherwise fewer second hands
    would count.

    Args:
        model: The model, on the CPU; it is not changed.
        crops: (N, S, S, 3) RGB.

    Raises:
        UnclaspError: There are too few crops, or the backbone has no batch norms that can be adapted.
    """
    if len(crops) < MIN_CROPS:
        raise UnclaspError(
            f"the statistics need at least {MIN_CROPS} crops of hands that are not in doubt, got {len(crops)}: give "
            "more pictures"
        )
    model, copy = deepcopy(model).eval(), deepcopy(model).eval()
    layers = copy.encoder.backbone.until(LAST_STRIDE)
    norms = [module for layer in layers for module in layer.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        raise UnclaspError("the backbone of this model has no batch norms that can be adapted")
    order = np.random.default_rng(0).permutation(len(crops))
    batches = [crops[np.sort(rows)] for rows in np.array_split(order, max(1, len(crops) // _BATCH_SIZE))]
    _set_statistics(copy, norms, batches)
    if isinstance(copy.presence, nn.Linear):
        with torch.no_grad():
            copy.presence.bias.add_(_mean_presence(model, batches) - _mean_presence(copy, batches))
    return copy


def _set_statistics(model: DFL, norms: list[nn.BatchNorm2d], batches: list[Pixels]) -> None:
    """Give the norms the mean statistics of all batches."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            model(_images(batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


@torch.no_grad()
def _mean_presence(model: DFL, batches: list[Pixels]) -> Tensor:
    """Return the mean logit of the presence over all crops and both hands."""
    return torch.cat([model(_images(batch)).presence for batch in batches]).mean()


def _images(crops: Pixels) -> Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2)
