"""Lifts the output for a crop to millimetres in the camera frame."""

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats
from unclasp.data.transforms import sight_of
from unclasp.find.crop_result import CropResult
from unclasp.hands import ROOTS
from unclasp.lifting import shares_of_size, wrist_depths
from unclasp.pose import Camera


def lifted(result: CropResult, camera: Camera) -> Floats:
    """Return the joints (42, 3) mm in the camera frame; distances follow from the hands' size, as far as it is sure."""
    output, joints_2d = result.output, result.joints_2d
    focal, princpt = np.array(camera.focal), np.array(camera.princpt)

    def sight(middle: Floats) -> Floats:
        return sight_of(middle, focal, princpt, output.depth_axis)

    sights = np.stack([sight(middle) for middle in result.middles_of_hands])
    lines = geometry.joint_lines(joints_2d, output.pose_2p5d[0, :, 2], focal, princpt, sights)
    left_from_right = None
    if output.root_depth is not None:
        roots, offset = joints_2d[list(ROOTS)], float(output.root_depth[0])
        left_from_right = geometry.offset_along(roots, offset, focal, princpt, sight(result.middle))
    shares = shares_of_size(result.reported_confidence)
    depths = wrist_depths(lines, result.present, left_from_right=left_from_right, shares=shares)
    return geometry.on_lines(lines, depths)
