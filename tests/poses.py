"""Results that no network made: of joints at random, and of given ones."""

import numpy as np

from unclasp import geometry
from unclasp.lifting import assumed_focal
from unclasp.pose import Camera, HandPose

WIDTH, HEIGHT = 640, 480
FOCAL = assumed_focal(WIDTH, HEIGHT)
CAMERA = Camera(focal=(FOCAL, FOCAL), princpt=((WIDTH - 1) / 2, (HEIGHT - 1) / 2), assumed=None)


def random_pose(right: float = 0.97, left: float = 0.91) -> HandPose:
    rng = np.random.default_rng(0)
    joints_cam = rng.normal((0, 0, 600), 50, (42, 3))
    return HandPose(
        joints_2d=joints_cam[:, :2] / joints_cam[:, 2:] * 500 + 128,
        joints_3d=joints_cam - np.repeat(joints_cam[[20, 41]], 21, axis=0),
        joints_cam=joints_cam,
        presence=np.array([right, left]),
        box=np.array([-3.25, 10.0, 200.0, 213.25]),
        camera=Camera(focal=(500.0, 500.0), princpt=(128.0, 128.0), assumed="a field of view"),
        depth_assumed="an average hand",
        image_size=(256, 240),
        model="tiny",
    )


def pose_of(joints_cam: np.ndarray, *, noise: np.ndarray | float = 0.0, **fields: object) -> HandPose:
    """Return the pose of camera joints (42, 3), with noise (42, 2) px on what is seen."""
    joints_2d = geometry.project(joints_cam, np.array(CAMERA.focal), np.array(CAMERA.princpt)) + noise
    joints_cam = geometry.unproject(joints_2d, joints_cam[:, 2], np.array(CAMERA.focal), np.array(CAMERA.princpt))
    known = {
        "joints_2d": joints_2d, "joints_cam": joints_cam, "joints_3d": geometry.relative_to_roots(joints_cam),
        "presence": np.array([0.9, 0.9]), "box": np.array([0.0, 0.0, 100.0, 100.0]), "camera": CAMERA,
        "depth_assumed": None, "image_size": (WIDTH, HEIGHT), "model": "made",
    }  # fmt: skip
    return HandPose(**{**known, **fields})  # type: ignore[arg-type]


def poses_of(motion: np.ndarray, **fields: object) -> list[HandPose]:
    box = np.array([0.0, 0.0, WIDTH, HEIGHT])
    return [pose_of(joints, **{"box": box, **fields}) for joints in motion]
