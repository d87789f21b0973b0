"""The hand regions of whole pictures: what the renderer draws, the data stores and the finder learns."""

from typing import Final

from unclasp.arrays import Floats
from unclasp.geometry import expand_box

IGNORED: Final = 255
"""Value in region masks for hands that are too occluded or too far outside the picture: finding them is neither
required nor penalised."""
_BOX_ENLARGEMENT: Final = 1.15
"""Factor by which boxes of hands are enlarged before it is checked whether they meet."""


def are_one_region(first: Floats, second: Floats) -> bool:
    """Return whether two hands form one region: their slightly enlarged boxes x1, y1, x2, y2 meet."""
    a, b = expand_box(first, _BOX_ENLARGEMENT), expand_box(second, _BOX_ENLARGEMENT)
    return bool((a[:2] <= b[2:]).all() and (b[:2] <= a[2:]).all())
