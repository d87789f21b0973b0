"""Checks the part labels of a picture against its joints."""

import numpy as np

from unclasp.hands import parts_at_joint
from unclasp.synth.generate import Generated


def adjacency(sample: Generated) -> tuple[int, int]:
    """Count the visible joints, and those of them whose pixel carries a part that meets at the joint.

    A joint lies within the hand, so it counts as visible up to 14 mm behind the surface at its pixel; a finger tip lies
    on the skin, and what is 6 mm in front of it may already be the next finger.
    """
    size = sample.parts.shape[0]
    visible = correct = 0
    for joint in np.flatnonzero(sample.valid):
        point = sample.joints_cam[joint]
        column, row = np.rint(point[:2] / point[2] * sample.focal + sample.princpt).astype(int)
        depth = 6 if joint % 21 in (0, 4, 8, 12, 16) else 14
        if 0 <= column < size and 0 <= row < size and -2 < point[2] - sample.depth[row, column] < depth:
            visible += 1
            correct += int(sample.parts[row, column]) in parts_at_joint(int(joint))
    return visible, correct
