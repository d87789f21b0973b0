"""Joints of a closer crop are averaged with those of the wider one before it, in photos alone."""

import numpy as np
import pytest

from made_results import hands, made_result
from unclasp import geometry
from unclasp.engines.network import NetworkOutput
from unclasp.find.crop_predictor import WIDER_CROP_SHARE, CropPredictor, averaged
from unclasp.find.search import Proposal
from unclasp.hands import HAND_SLICES
from unclasp.predictor import Predictor

WIDER = np.array([20.0, 10, 60, 50])
RIGHT, LEFT = HAND_SLICES


@pytest.mark.parametrize("share", [0.2, 0.75])
def test_joints_lie_between_both_and_depths_stay(share: float) -> None:
    closer, wider = hands(), hands() + np.array([0.5, -0.25])
    result = averaged(made_result(closer), made_result(wider, square=WIDER), share)
    np.testing.assert_allclose(result.joints_2d, closer + share * np.array([0.5, -0.25]), atol=1e-9)
    np.testing.assert_array_equal(result.output.pose_2p5d[0, :, 2], np.arange(42))


def test_a_hand_that_the_wider_crop_has_elsewhere_stays() -> None:
    closer, wider = hands(), hands()
    wider[RIGHT] += 0.5 * geometry.extent(closer[RIGHT])
    wider[LEFT] += 1.0
    result = averaged(made_result(closer), made_result(wider), 0.5)
    np.testing.assert_allclose(result.joints_2d[RIGHT], closer[RIGHT], atol=1e-9)
    np.testing.assert_allclose(result.joints_2d[LEFT], closer[LEFT] + 0.5, atol=1e-9)


def test_other_hands_are_not_averaged() -> None:
    closer = made_result(hands())
    assert averaged(closer, made_result(hands() + 1, presence=(1, 0)), 0.5) is closer


class Shifting:
    """A network whose hands are a pixel of the picture further right in each crop."""

    name, image_size = "shifting", 32

    def __init__(self) -> None:
        self.crops = 0

    def __call__(self, crops: np.ndarray, /) -> NetworkOutput:
        pose = np.zeros((1, 42, 3))
        pose[0, :, :2] = np.random.default_rng(0).uniform(8, 24, (42, 2))
        pose[0, :, 0] += self.crops
        self.crops += 1
        return NetworkOutput(pose, np.ones((1, 2)), None, np.zeros((1, 8, 8)), np.ones((1, 42)))


def test_photos_are_averaged_and_frames_are_not() -> None:
    image, proposal = np.zeros((320, 320, 3), np.uint8), Proposal(np.array([0.0, 0, 320, 320]))
    averaging = CropPredictor(Shifting())
    plain = averaging.without_average()
    plain.network = Shifting()
    photo = averaging.predict_proposal(image, proposal).result
    frame = plain.predict_proposal(image, proposal).result
    assert averaging.network.crops == plain.network.crops > 1  # type: ignore[attr-defined]
    moved = photo.joints_2d - frame.joints_2d
    assert (np.abs(moved) > 1e-3).any()
    assert averaging.wider_crop_share == WIDER_CROP_SHARE and plain.wider_crop_share == 0
    predictor = Predictor(Shifting())
    assert predictor.photo_search.crop_predictor.wider_crop_share == WIDER_CROP_SHARE
    assert predictor.frame_search.crop_predictor.wider_crop_share == 0
