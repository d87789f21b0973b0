"""The hand regions of whole pictures: what the renderer draws, the data stores and the finder learns."""

from typing import Final, NamedTuple

from unclasp.arrays import Floats, Pixels, Singles
from unclasp.geometry import expand_box

IGNORED: Final = 255
"""Value in region masks for hands that are too occluded or too far outside the picture: finding them is neither
required nor penalised."""
_BOX_ENLARGEMENT: Final = 1.15
"""Factor by which boxes of hands are enlarged before it is checked whether they meet."""


class Whole(NamedTuple):
    """A picture with its hand regions."""

    image: Pixels
    """(H, W, 3) RGB."""
    mask: Pixels
    """(H, W) 0 for background and forearms, r + 1 on the hands of region r, IGNORED on hardly visible hands."""
    boxes: Singles
    """(R, 4) x1, y1, x2, y2 px around the joints of each region, within the picture."""


def are_one_region(first: Floats, second: Floats) -> bool:
    """Return whether two hands form one region: their slightly enlarged boxes x1, y1, x2, y2 meet."""
    a, b = expand_box(first, _BOX_ENLARGEMENT), expand_box(second, _BOX_ENLARGEMENT)
    return bool((a[:2] <= b[2:]).all() and (b[:2] <= a[2:]).all())
