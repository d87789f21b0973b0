"""Made-up results of the pose network and readings of the landmark network."""

import numpy as np

from unclasp import geometry
from unclasp.arrays import Floats
from unclasp.engines.network import NetworkOutput
from unclasp.find.crop_result import CropResult
from unclasp.find.landmarks import FEATURES, LandmarkReading

SIZE = 32
SQUARE = np.array([30.0, 20.0, 50.0, 40.0])


def hands(seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(30, 50, (42, 2))


def made_result(
    joints_2d: Floats, *, presence: tuple[float, float] = (1, 1), confidence: tuple[float, float] | None = (0.1, 0.1),
    square: Floats = SQUARE,
) -> CropResult:  # fmt: skip
    """Return a result for a crop of SIZE px, with joints at these pixels of the picture."""
    crop_from_image = geometry.crop_matrix(square, SIZE)
    pose = np.zeros((1, 42, 3))
    pose[0, :, :2] = geometry.apply_affine(crop_from_image, joints_2d)
    pose[0, :, 2] = np.arange(42)
    confidences = None if confidence is None else np.repeat(confidence, 21)[None]
    probability = np.zeros((1, 8, 8))
    probability[0, 2, 1] = 1
    output = NetworkOutput(pose, np.array([presence], dtype=float), np.array([7.0]), probability, confidences)
    return CropResult(output, np.linalg.inv(crop_from_image), square, SIZE)


def reading_of(joints_2d: Floats, hand_score: float, side_score: float) -> LandmarkReading:
    joints = np.column_stack([joints_2d, np.zeros(21)])
    return LandmarkReading(joints_2d, hand_score, side_score, joints, np.zeros(FEATURES), np.eye(3))
