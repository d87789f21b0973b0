"""Checks the exact contact measure on boxes, whose depths and distances are known."""

import numpy as np
import pytest
from exact import distance_to_mesh, penetration_and_gap, winding_number

CORNERS = np.array([[x, y, z] for x in (-10.0, 10) for y in (-10.0, 10) for z in (-10.0, 10)])
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
FACES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))], dtype=np.int32)


def test_winding_number_and_distance_of_a_box():
    points = np.array([[0.0, 0, 0], [9, 1, 2], [11, 0, 0], [13, 14, 0]])
    np.testing.assert_allclose(winding_number(points, CORNERS, FACES), [1, 1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(distance_to_mesh(points, CORNERS, FACES), [10, 1, 1, 5])


@pytest.mark.parametrize(("shift", "depth", "gap"), [((23.0, 0, 0), 0, 3), ((18.0, 4, 5), 2, 2)])
def test_two_boxes(shift, depth, gap):
    measured = penetration_and_gap(CORNERS, FACES, CORNERS + shift, FACES)
    assert measured[0] == pytest.approx(depth)
    assert measured[1] == pytest.approx(gap)
