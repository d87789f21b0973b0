"""Versions of a photo: what is where in each of them."""

import cv2
import numpy as np
import pytest

from unclasp import geometry
from unclasp.evaluation.photo_versions import versions
from unclasp.evaluation.reference_photos import ReferenceHand, ReferencePhoto, in_version

NAMES = ["mirrored", "half as large", "turned left", "turned right", "wider", "darker", "grey", "coarse JPEG"]


@pytest.mark.parametrize(("x", "y"), [(60, 40), (50, 62), (75, 35)])
def test_versions_say_where_things_went(x: int, y: int) -> None:
    image = np.full((100, 120, 3), 20, np.uint8)
    cv2.circle(image, (x, y), 4, (250, 200, 220), -1)
    made = list(versions(image))
    assert [version.name for version in made] == NAMES
    for version in made:
        light = version.image[..., 0] > 130
        rows, columns = np.nonzero(light)
        place = geometry.apply_affine(version.version_from_photo, np.array([float(x), float(y)]))
        np.testing.assert_allclose([columns.mean(), rows.mean()], place, atol=0.35, err_msg=version.name)


def test_versions_differ_from_the_photo_and_from_each_other() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8), (0, 0), 3)
    made = [image, *(version.image for version in versions(image))]
    shapes = [picture.shape for picture in made]
    assert shapes[2] == (40, 45, 3) and shapes[5] == (132, 150, 3)
    same = [picture.astype(int) for picture in made if picture.shape == image.shape]
    assert all(np.abs(one - other).mean() > 1 for k, one in enumerate(same) for other in same[k + 1 :])
    grey = made[NAMES.index("grey") + 1]
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 0] == grey[..., 2]).all()
    assert made[NAMES.index("darker") + 1].mean() < 0.8 * image.mean()


def test_tiny_photos_are_not_halved() -> None:
    assert "half as large" not in [version.name for version in versions(np.zeros((16, 40, 3), np.uint8))]


def test_in_a_mirrored_version_right_hands_are_left_ones() -> None:
    joints = np.random.default_rng(0).uniform(10, 50, (21, 2))
    photo = ReferencePhoto(path=None, hands=(ReferenceHand("right", joints),), in_view=1)  # type: ignore[arg-type]
    sides = []
    for version in versions(np.zeros((60, 64, 3), np.uint8)):
        (hand,) = in_version(photo, version).hands
        sides.append(hand.side)
        np.testing.assert_allclose(hand.joints_2d, geometry.apply_affine(version.version_from_photo, joints))
    assert sides == ["left", *["right"] * 7]
