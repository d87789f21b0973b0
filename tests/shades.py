"""Four red hands in a picture, of different shades, and a network whose confidence is their brightness."""

from typing import Final

import cv2
import numpy as np

from unclasp.arrays import Pixels
from unclasp.engines.network import NetworkOutput
from unclasp.geometry import box_iou, expand_box, square_box
from unclasp.pose import HandPose

Box = tuple[float, float, float, float]

DIM, BRIGHT, BRIGHTER, EMPTY = (30.0, 40, 90, 100), (150.0, 40, 210, 100), (270.0, 40, 330, 100), (200.0, 220, 260, 280)
FAINT: Final = (30.0, 200, 90, 260)
SHADES: Final = {DIM: 30, BRIGHT: 150, BRIGHTER: 240, FAINT: 50}


class Shades:
    """A network that finds a right hand in red pixels and a left one in green ones; brightness is confidence."""

    name, image_size = "shades", 96

    def __init__(self, *, has_confidence: bool = True) -> None:
        self.has_confidence = has_confidence

    def __call__(self, crops: Pixels, /) -> NetworkOutput:
        pose, presence, confidence = np.zeros((1, 42, 3)), np.zeros((1, 2)), np.zeros((1, 42))
        for slot in (0, 1):
            rows, columns = np.nonzero(crops[0, ..., slot] > 10)
            if not len(rows):
                continue
            hand = slice(21 * slot, 21 * slot + 21)
            presence[0, slot] = 1
            pose[0, hand, :2] = columns.max(), rows.max()
            pose[0, 21 * slot : 21 * slot + 10, :2] = columns.min(), rows.min()
            confidence[0, hand] = crops[0, ..., slot].max() / 255
        probability = (crops.max(axis=3) > 10).astype(float)
        return NetworkOutput(pose, presence, None, probability, confidence if self.has_confidence else None)


def picture(*, both: bool = False) -> Pixels:
    """Draw red hands of four shades; with `both`, the dim one has a green one beneath."""
    image = np.zeros((300, 400, 3), np.uint8)
    for (x1, y1, x2, y2), shade in SHADES.items():
        cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), (shade, 0, 0), -1)
    if both:
        cv2.rectangle(image, (30, 101), (90, 110), (0, SHADES[DIM], 0), -1)
    return image


def is_around(pose: HandPose, hand: Box) -> bool:
    return box_iou(pose.box, square_box(expand_box(np.array(hand), 1.2))) > 0.5
