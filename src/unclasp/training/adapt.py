"""Adaptation of a trained model to pictures of another kind, without annotations.

Photographs are sharper, brighter and of more contrast than rendered pictures, so the first layers of a model that was
trained on these scale their features wrongly there. The statistics by which batch normalisation scales them are
therefore taken from crops of the other pictures (AdaBN: Li et al., Revisiting Batch Normalization For Practical Domain
Adaptation, 2016, arXiv 1603.04779). All weights stay, but for the bias of the presence.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from unclasp import geometry
from unclasp.arrays import Pixels
from unclasp.data.transforms import crop_image
from unclasp.errors import UnclaspError
from unclasp.exposure import brightened
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

    Dark pictures are brightened, as they are for the network.

    Raises:
        UnclaspError: The pose has no picture.
    """
    if pose.image is None:
        raise UnclaspError("the pose has no picture to cut crops from")
    sure = [side for side in pose.sides if side not in pose.doubted]
    if not sure:
        return
    image = brightened(pose.image)
    yield crop_image(image, pose.box, size).image
    for side in sure if len(pose.sides) == 2 else []:
        box = box_around(pose.hand(side)[0], image)
        if box is not None:
            yield crop_image(image, geometry.square_box(box), size).image


def adapted(model: DFL, crops: Sequence[Pixels]) -> DFL:
    """Return a copy of a model whose first layers have the statistics of some crops.

    The bias of the presence is shifted so that its mean over the crops stays as it was; otherwise fewer second hands
    would count.

    Args:
        model: The model, on the CPU; it is not changed.
        crops: N crops (S, S, 3) RGB, S being the side of the model's input.

    Raises:
        UnclaspError: There are too few crops, or the backbone has no batch norms that can be adapted.
    """
    if len(crops) < MIN_CROPS:
        raise UnclaspError(
            f"the statistics need at least {MIN_CROPS} crops of hands that are not in doubt, got {len(crops)}: give "
            "more pictures"
        )
    copy = deepcopy(model).eval()
    layers = copy.encoder.backbone.until(LAST_STRIDE)
    norms = [module for layer in layers for module in layer.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        raise UnclaspError("the backbone of this model has no batch norms that can be adapted")
    order = np.random.default_rng(0).permutation(len(crops))
    batches = [
        torch.from_numpy(np.stack([crops[row] for row in rows])).permute(0, 3, 1, 2)
        for rows in np.array_split(order, max(1, len(crops) // _BATCH_SIZE))
    ]
    with torch.no_grad():
        before = _mean_presence(copy, batches)
        _set_statistics(copy, norms, batches)
        if isinstance(copy.presence, nn.Linear):
            copy.presence.bias.add_(before - _mean_presence(copy, batches))
    return copy


def _set_statistics(model: DFL, norms: list[nn.BatchNorm2d], batches: list[Tensor]) -> None:
    """Give the norms the mean statistics of all batches."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for batch in batches:
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _mean_presence(model: DFL, batches: list[Tensor]) -> Tensor:
    """Return the mean logit of the presence over all crops and both hands; 0 without that head."""
    presences = [presence for batch in batches if (presence := model(batch).presence) is not None]
    return torch.cat(presences).mean() if presences else torch.zeros(())
