"""Draws a contact sheet of samples: picture, skeleton and part labels side by side."""

from collections.abc import Sequence

import cv2
import numpy as np

from unclasp import geometry
from unclasp.arrays import Pixels
from unclasp.canvas import in_rows
from unclasp.hands import BONES, FINGER_COLOURS, JOINTS_PER_HAND, PART_COLOURS
from unclasp.synth.generate import Generated

_FRACTION_BITS = 4
"""Coordinates are passed to OpenCV in 1/16 px."""
_ZOOM = 2


def draw_skeleton(sample: Generated) -> Pixels:
    """Draw the projected joints over the picture at twice its size: (2 H, 2 W, 3)."""
    height, width = sample.image.shape[:2]
    picture = cv2.resize(sample.image, (width * _ZOOM, height * _ZOOM), interpolation=cv2.INTER_LINEAR)
    joints = np.where(sample.valid[:, None], sample.joints_cam, 1.0)
    pixels = geometry.project(joints, sample.focal, sample.princpt)
    points = np.rint(((pixels + 0.5) * _ZOOM - 0.5) * 2**_FRACTION_BITS).astype(int).tolist()
    order = sorted(BONES, key=lambda bone: -float(sample.joints_cam[bone[0], 2]))
    for joint, parent in order:
        if sample.valid[joint]:
            hand, local = divmod(joint, JOINTS_PER_HAND)
            colour = FINGER_COLOURS[hand, local // 4].tolist()
            cv2.line(picture, points[joint], points[parent], colour, _ZOOM, cv2.LINE_AA, _FRACTION_BITS)
            cv2.circle(picture, points[joint], _ZOOM * 2**_FRACTION_BITS, colour, -1, cv2.LINE_AA, _FRACTION_BITS)
    return np.asarray(picture, dtype=np.uint8)


def draw_sample(sample: Generated) -> Pixels:
    """Draw picture, skeleton and part colours side by side: (H, 3 W, 3)."""
    height, width = sample.image.shape[:2]
    skeleton = cv2.resize(draw_skeleton(sample), (width, height), interpolation=cv2.INTER_AREA)
    shaded = (0.25 * sample.image + 0.75 * PART_COLOURS[sample.parts]).astype(np.uint8)
    colours = np.where(sample.parts[..., None] > 0, shaded, sample.image // 4)
    return np.concatenate([sample.image, skeleton, colours], axis=1)


def contact_sheet(samples: Sequence[Generated], *, columns: int = 2) -> Pixels:
    """Arrange samples of the same size in rows of at most `columns`; RGB, with empty cells black."""
    if not samples:
        raise ValueError("expected at least one sample to draw, got none")
    return in_rows([draw_sample(sample) for sample in samples], columns=columns, background=(0, 0, 0))
