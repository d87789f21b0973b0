"""Crops of synthetic pictures in the network's input format, for comparisons, calibration and fitting."""

from typing import Literal

import numpy as np

from unclasp.arrays import Pixels
from unclasp.data.synthetic import SEEDS, SIZES, Synthetic
from unclasp.data.transforms import make_example, plain_view
from unclasp.errors import UnclaspError


def synthetic_crops(split: Literal["val", "test"], count: int, image_size: int) -> Pixels:
    """Return the first crops (count, 3, S, S) of a synthetic split that the model was not trained on.

    Raises:
        UnclaspError: `count` is below 1 or above the size of the split.
    """
    if not 1 <= count <= SIZES[split]:
        raise UnclaspError(
            f"synthetic:{split} has {SIZES[split]} pictures, asked for {count}; take 1 to {SIZES[split]}"
        )
    dataset = Synthetic(SEEDS[split], SIZES[split])
    samples = (dataset[index] for index in range(count))
    crops = np.stack([make_example(sample, plain_view(sample.box), image_size).image for sample in samples])
    return crops.transpose(0, 3, 1, 2)
