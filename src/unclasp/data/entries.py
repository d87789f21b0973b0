"""Annotation entries in InterHand2.6M's format, for the data sets that we write."""

from typing import Any

import numpy as np

from unclasp.arrays import Singles
from unclasp.batch import Sample
from unclasp.data.fields import HAND_TYPES


def annotation_entries(sample: Sample, index: int, capture: int, file_name: str) -> dict[str, Any]:
    """Return one picture's entries for the annotation files; the world frame equals its camera's frame."""
    camera, frame = file_name.split("/cam")[1].split("/", maxsplit=1)[0], str(index)
    height, width = sample.image.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in sample.box)
    hand_type = next(name for name, flags in HAND_TYPES.items() if flags == tuple(sample.hand_type.tolist()))
    world: Singles = np.where(sample.valid[:, None], sample.joints_cam, np.float32(1.0))
    return {
        "image": {
            "id": index, "file_name": file_name, "width": width, "height": height, "capture": capture, "subject": 0,
            "seq_name": file_name.split("/")[1], "camera": camera, "frame_idx": index,
        },
        "annotation": {
            "id": index, "image_id": index, "bbox": [x1, y1, x2 - x1, y2 - y1],
            "joint_valid": [[int(valid)] for valid in sample.valid], "hand_type": hand_type,
            "hand_type_valid": int(sample.hand_type_valid),
        },
        "camera": {
            "campos": {camera: [0.0, 0.0, 0.0]}, "camrot": {camera: np.eye(3).tolist()},
            "focal": {camera: sample.focal.tolist()}, "princpt": {camera: sample.princpt.tolist()},
        },
        "joint_3d": {
            frame: {
                "world_coord": world.round(3).astype(float).tolist(),
                "joint_valid": [[bool(valid)] for valid in sample.valid],
                "hand_type": hand_type, "hand_type_valid": sample.hand_type_valid,
            }
        },
    }  # fmt: skip
