"""How well confidences agree with how often they are right."""

from typing import Final

import numpy as np

from unclasp.arrays import Bools, Floats

_BINS: Final = 10


def calibration_error(confidence: Floats, found: Bools) -> float:
    """Return the expected calibration error of confidences (J,) of joints that were found or not (J,).

    It is the mean difference between confidence and frequency over ten bins, weighted by their number of joints.
    """
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    inside = [bins == index for index in range(_BINS)]
    return float(sum(each.mean() * abs(confidence[each].mean() - found[each].mean()) for each in inside if each.any()))
