"""The rasteriser against a slow reference that looks at every pixel and every triangle in float64."""

import numpy as np
import pytest

from unclasp.synth.compiled import compiled
from unclasp.synth.raster import Raster, Screen, project_to_grid, rasterize, snap, supersampled

WIDTH, HEIGHT = 40, 32
FOCAL, CENTRE = np.array([50.0, 52.0]), np.array([19.5, 15.5])


def reference(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intersect each pixel's ray with the plane of each front face; return face and depth."""
    pixels = snap(vertices[:, :2] / vertices[:, 2:] * FOCAL + CENTRE)
    face, depth = np.full((HEIGHT, WIDTH), -1), np.full((HEIGHT, WIDTH), np.inf)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            for index, (a, b, c) in enumerate(faces):
                corners = np.concatenate([pixels[[a, b, c]], np.ones((3, 1))], axis=1)
                area = np.linalg.det(corners)
                if area >= 0:
                    continue
                weights = np.linalg.solve(corners.T, [column, row, 1.0])
                if (weights < -1e-12).any():
                    continue
                z = 1 / (weights @ (1 / vertices[[a, b, c], 2]))
                if z < depth[row, column]:
                    face[row, column], depth[row, column] = index, z
    return face, depth


def draw(vertices: np.ndarray, faces: np.ndarray, **options: int) -> Raster:
    samples = options.get("supersample", 1)
    screen = project_to_grid(vertices, FOCAL, CENTRE, **options)
    return rasterize(screen, faces.astype(np.int32), width=WIDTH * samples, height=HEIGHT * samples)


@pytest.mark.parametrize("seed", range(4))
def test_random_triangles_equal_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.uniform([-150, -110, 200], [150, 110, 600], (60, 3))
    faces = rng.permutation(60).reshape(20, 3)
    drawn = draw(vertices, faces)
    face, depth = reference(vertices, faces)
    covered = face >= 0
    assert covered.sum() > 150
    np.testing.assert_array_equal(drawn.face >= 0, covered)
    # depths are kept in float32, so two faces may swap where they cross within a hundredth of a millimetre
    np.testing.assert_allclose(drawn.depth()[covered], depth[covered], rtol=3e-6)
    assert (drawn.face == face).mean() > 0.999
    assert np.isinf(drawn.depth()[~covered]).all()


def test_depth_is_perspective_correct() -> None:
    """Half-way across the picture of a slanted quad is not half-way in depth."""
    vertices = np.array([[-100.0, -100, 200], [-100, 100, 200], [400, 100, 800], [400, -100, 800]])
    drawn = draw(vertices, np.array([[0, 2, 1], [0, 3, 2]])[:, ::-1])
    row, columns = 15, np.array([5, 10, 19, 30])
    ray = (columns - CENTRE[0]) / FOCAL[0]
    # the plane through the quad: z = 320 + 1.2 x, met by x = ray z
    np.testing.assert_allclose(drawn.depth()[row, columns], 320 / (1 - 1.2 * ray), rtol=1e-3)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_face_wins_in_any_order(order: tuple[int, int]) -> None:
    square = np.array([[-60.0, -60, 0], [-60, 60, 0], [60, 60, 0], [60, -60, 0]])
    vertices = np.concatenate([square + np.array([0, 0, 500]), square / 2 + np.array([0, 0, 300])])
    quads = [np.array([[0, 1, 2], [0, 2, 3]]), np.array([[4, 5, 6], [4, 6, 7]])]
    drawn = draw(vertices, np.concatenate([quads[order[0]], quads[order[1]]]))
    assert set(np.unique(drawn.depth()[drawn.face >= 0]).round()) == {300.0, 500.0}
    assert drawn.depth()[15, 19] == pytest.approx(300)


def test_back_faces_are_culled() -> None:
    vertices = np.array([[-50.0, -50, 300], [-50, 50, 300], [50, 50, 300]])
    assert (draw(vertices, np.array([[0, 1, 2]])).face >= 0).any()
    assert (draw(vertices, np.array([[0, 2, 1]])).face < 0).all()


@pytest.mark.parametrize(("column", "row"), [(0, 0), (7, 11), (39, 31)])
def test_pixel_centres_are_at_integers(column: int, row: int) -> None:
    """A quad of a fifth of a pixel around the projection of a pixel's centre covers that pixel and no other."""
    centre = np.array([(column - CENTRE[0]) / FOCAL[0], (row - CENTRE[1]) / FOCAL[1], 1.0]) * 400
    offsets = np.array([[-1.0, -1, 0], [-1, 1, 0], [1, 1, 0], [1, -1, 0]]) * 0.1 * 400 / FOCAL[0]
    drawn = draw(centre + offsets, np.array([[0, 1, 2], [0, 2, 3]]))
    assert np.argwhere(drawn.face >= 0).tolist() == [[row, column]]


def test_samples_of_the_supersampled_grid() -> None:
    """Sample i of s lies at (i + 0.5) / s - 0.5: a quad over a pixel's right half covers its right samples."""
    column, row = 12, 9
    edges = np.array([[0.02, -0.48], [0.02, 0.48], [0.48, 0.48], [0.48, -0.48]])
    pixels = np.array([column, row]) + edges
    vertices = np.concatenate([(pixels - CENTRE) / FOCAL * 400, np.full((4, 1), 400.0)], axis=1)
    drawn = draw(vertices, np.array([[0, 1, 2], [0, 2, 3]]), supersample=2)
    expected = [[2 * row, 2 * column + 1], [2 * row + 1, 2 * column + 1]]
    assert np.argwhere(drawn.face >= 0).tolist() == expected
    np.testing.assert_allclose(supersampled(np.array([-0.25, 0.25]), 2), [0, 1])


def test_neighbours_leave_no_cracks() -> None:
    """A fine mesh over the whole picture covers every sample, whatever the rounding."""
    rng = np.random.default_rng(3)
    steps = np.linspace(-1.3, 1.3, 30)
    x, y = np.meshgrid(steps * 200, steps * 160)
    z = 400 + rng.uniform(-8, 8, x.shape)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3) + rng.uniform(-3, 3, (x.size, 3))
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel(), index[:-1, 1:].ravel()
    drawn = draw(vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]), supersample=4)
    assert (drawn.face >= 0).all()


def test_what_is_behind_the_camera_is_dropped() -> None:
    vertices = np.array([[-50.0, -50, 300], [-50, 50, 300], [50, 50, -10]])
    assert (draw(vertices, np.array([[0, 1, 2]])).face < 0).all()


def test_parallel_light_keeps_the_nearest_depth() -> None:
    """Keys of a parallel light are -depth, linear over the map."""
    points = snap(np.array([[2.0, 2], [2, 18], [18, 18], [18, 2]]))
    screen = Screen(points, -np.array([10.0, 10, 26, 26], dtype=np.float32))
    drawn = rasterize(screen, np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32), width=20, height=20)
    np.testing.assert_allclose(-drawn.key[10, 2:19], 10 + np.arange(17), rtol=1e-6)
    assert (drawn.key[:, 19] == -np.inf).all()


def test_functions_are_compiled_where_their_code_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a foreign user in a container, who may write neither to the package's folder nor to a home folder."""

    def refuse(*_: object) -> None:
        raise RuntimeError("cannot cache function 'twice': no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", refuse)
    assert compiled(twice)(21) == 42


def twice(number: int) -> int:
    return 2 * number
