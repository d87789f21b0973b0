"""Where in a whole picture the hands are, by the pose network's own part segmentation."""

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.batch import ByteArray
from unclasp.data.transforms import crop_image
from unclasp.hands import NUM_JOINTS
from unclasp.network import Network

Floats = npt.NDArray[np.floating]

TIGHT_TO_ANNOTATED: Final = 1.2
"""InterHand2.6M's annotated boxes are this much larger than the tight ones; the crop rule starts from those."""
SMALLEST_CROP: Final = 16.0
"""px: a network that puts all joints in one place must not lead to an empty crop."""
MOST_REGIONS: Final = 3
"""Regions that are looked at one by one; what is smaller is left out."""
_MASS_SIZE: Final = 192
_MASS_LEVEL: Final = 0.5
_SMALL_SHARE: Final = 0.2


def box_around(joints_2d: Floats, present: npt.NDArray[np.bool_], image: ByteArray) -> Floats | None:
    """Return the box around joints that were found, as an annotator would have drawn it.

    Args:
        joints_2d: (42, 2) px.
        present: (2,) which hands count.
        image: (H, W, 3).

    Returns:
        (4,) x1, y1, x2, y2 px, or None where no hand is present, the joints are all in one place, or outside.
    """
    if not present.any():
        return None
    tight = geometry.tight_box(joints_2d, np.repeat(present, NUM_JOINTS // 2))
    if max(tight[2:] - tight[:2]) < SMALLEST_CROP or not meets(tight, image):
        return None
    return geometry.expand_box(tight, TIGHT_TO_ANNOTATED)


def meets(box: Floats, image: ByteArray) -> bool:
    """Tell whether a box (x1, y1, x2, y2) has a pixel of the picture in it."""
    height, width = image.shape[:2]
    return bool((box[2:] >= 0).all() and box[0] <= width - 1 and box[1] <= height - 1)


def find_regions(network: Network, image: ByteArray) -> list[Floats]:
    """Find squares around hands in a whole picture, by the network's own part segmentation.

    The network looks at the whole picture and at up to nine overlapping windows of half its size. Where it sees hands,
    the first square is around all large regions, and further ones are around each of them, should these be apart.
    Where it sees none, the whole picture is the only square.

    Returns:
        Squares (4,) x1, y1, x2, y2 px, `MOST_REGIONS` + 1 of them at most.
    """
    height, width = image.shape[:2]
    whole = geometry.square_box(np.array([-0.5, -0.5, width - 0.5, height - 0.5]), expansion=1.0)
    windows = [whole, *_half_windows(width, height)]
    size = network.image_size
    crops = [crop_image(image, window, size) for window in windows]
    answer = network(np.stack([crop.image for crop in crops]))
    scale = _MASS_SIZE / (whole[2] - whole[0])
    mass = np.zeros((_MASS_SIZE, _MASS_SIZE), dtype=np.float32)
    for window, probability in zip(windows, answer.hand_probability, strict=True):
        mass = np.maximum(mass, _pasted(probability, window, whole, scale))
    found = _largest_regions(mass > _MASS_LEVEL)
    if not found:
        return [whole]
    together = np.concatenate([np.min(found, axis=0)[:2], np.max(found, axis=0)[2:]])
    boxes = [together, *(found if len(found) > 1 else ())]
    return [
        geometry.square_box(geometry.expand_box(box / scale + np.tile(whole[:2], 2), TIGHT_TO_ANNOTATED))
        for box in boxes
    ]


def _half_windows(width: int, height: int) -> list[Floats]:
    """Return squares of half the longer side that cover the picture, overlapping by half or more."""
    side = max(width, height) / 2
    columns, rows = (max(1, math.ceil(2 * extent / side) - 1) for extent in (width, height))
    centres = [
        ((column + 1) * width / (columns + 1) - 0.5, (row + 1) * height / (rows + 1) - 0.5)
        for row in range(rows)
        for column in range(columns)
    ]
    return [np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2]) for x, y in centres]


def _pasted(probability: Floats, window: Floats, whole: Floats, scale: float) -> npt.NDArray[np.float32]:
    """Resample a window's map (h, w) onto the map of the whole picture."""
    stride = (window[2] - window[0]) * scale / probability.shape[1]
    offset = (window[:2] - whole[:2]) * scale + stride / 2 - 0.5
    matrix = np.array([[stride, 0, offset[0]], [0, stride, offset[1]]])
    pasted = cv2.warpAffine(probability.astype(np.float32), matrix, (_MASS_SIZE, _MASS_SIZE), flags=cv2.INTER_LINEAR)
    return np.asarray(pasted, dtype=np.float32)


def _largest_regions(mask: npt.NDArray[np.bool_]) -> list[Floats]:
    """Return the boxes around the largest connected region and those that are not much smaller, the largest first.

    Their coordinates are those of the cells' edges: the first cell lies between 0 and 1.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    regions = sorted(stats[1:], key=lambda row: -row[cv2.CC_STAT_AREA])
    kept = [row for row in regions if row[cv2.CC_STAT_AREA] >= _SMALL_SHARE * regions[0][cv2.CC_STAT_AREA]]
    corner, extent = [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP], [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]
    return [np.concatenate([row[corner], row[corner] + row[extent]]).astype(np.float64) for row in kept[:MOST_REGIONS]]
