"""Crops of synthetic pictures, as the network takes them: to compare, to calibrate and to fit with."""

from typing import Literal

import numpy as np

from unclasp.batch import ByteArray
from unclasp.data.synthetic import SEEDS, SIZES, Synthetic
from unclasp.data.transforms import make_example, plain_view
from unclasp.errors import UnclaspError


def synthetic_crops(split: Literal["val", "test"], count: int, image_size: int) -> ByteArray:
    """Return the first crops (count, 3, S, S) of a synthetic split; the model was trained on neither.

    Raises:
        UnclaspError: The split has fewer.
    """
    if not 1 <= count <= SIZES[split]:
        raise UnclaspError(
            f"synthetic:{split} has {SIZES[split]} pictures, asked for {count}; take 1 to {SIZES[split]}"
        )
    dataset = Synthetic(SEEDS[split], SIZES[split])
    samples = (dataset[index] for index in range(count))
    return np.stack([make_example(each, plain_view(each.box), image_size).image for each in samples]).transpose(
        0, 3, 1, 2
    )
