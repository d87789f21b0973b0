"""The decoder's units, and those of predictions.

The decoder works with shares: u and v from 0 to 1 across the crop, depth from 0 to 1 across `geometry.DEPTH_RANGE`,
with the wrist at 0.5. Predictions have u and v in px of the crop, in which 0 to 1 is from -0.5, the first pixel's near
edge, to the last one's far edge, and depth in mm.
"""

from torch import Tensor

from unclasp.geometry import DEPTH_RANGE


def pixels_of(shares: Tensor, image_size: int) -> Tensor:
    """Convert u and v from shares of a crop of S px to px."""
    return shares * image_size - 0.5


def shares_of(pixels: Tensor, image_size: int) -> Tensor:
    """Convert u and v from px of a crop of S px to shares: the inverse of `pixels_of`."""
    return (pixels + 0.5) / image_size


def depth_of(share: Tensor) -> Tensor:
    """Convert depth from shares to mm relative to the wrist."""
    return (share - 0.5) * DEPTH_RANGE


def depth_share_of(depth: Tensor) -> Tensor:
    """Convert depth from mm relative to the wrist to shares: the inverse of `depth_of`."""
    return depth / DEPTH_RANGE + 0.5
