"""Lighting of a scene: a key light, a fill light and an ambient dome, with shadow maps of the hands."""

from typing import Final, Literal, NamedTuple

import numpy as np

from unclasp.arrays import Floats, Ints, Singles
from unclasp.synth.material import POSITION
from unclasp.synth.raster import Screen, rasterize, snap
from unclasp.synth.shade import Lights, occluded_ambient

Setting = Literal["indoor", "window", "sun", "studio", "backlit", "evening"]

_SETTING_PROBABILITIES: Final[dict[Setting, float]] = {
    "indoor": 0.32, "window": 0.24, "sun": 0.12, "studio": 0.18, "backlit": 0.07, "evening": 0.07,
}  # fmt: skip
_DOME_LIGHTS: Final = 9
_DOME_CELLS: Final = 96
_KEY_CELLS: Final = 256
_AMBIENT_BIAS_MM: Final = 3.0

_RANGES: Final[dict[Setting, tuple[tuple[float, float], ...]]] = {
    "indoor": ((0.5, 1.2), (1.0, 3.0), (0.35, 0.8), (-0.05, 0.35), (-0.1, 0.25)),
    "window": ((0.4, 1.0), (2.0, 4.0), (0.4, 0.9), (-0.2, 0.1), (-0.1, 0.15)),
    "sun": ((1.6, 2.8), (0.6, 1.0), (0.3, 0.6), (0.0, 0.2), (-0.35, 0.0)),
    "studio": ((0.3, 0.9), (2.0, 4.0), (0.4, 0.9), (-0.1, 0.1), (-0.1, 0.1)),
    "backlit": ((0.8, 2.0), (1.0, 3.0), (0.3, 0.6), (-0.1, 0.3), (-0.15, 0.1)),
    "evening": ((0.6, 1.4), (1.0, 2.5), (0.12, 0.35), (0.2, 0.6), (-0.1, 0.3)),
}
"""Ranges of the key light's strength, its shadow's softness (map cells), the ambient strength, and the warmth (log R /
B) of key light and dome."""


class Sky(NamedTuple):
    """The light of a scene without shadows; camera frame, linear RGB."""

    setting: Setting
    key: Singles
    """(3,) unit vector towards the key light."""
    key_colour: Singles
    """(3,)."""
    softness: float
    """Spacing of the shadow filter's taps, in cells of the key light's shadow map."""
    fill: Singles
    """(3,) unit vector towards the fill light, which casts no shadow."""
    fill_colour: Singles
    """(3,)."""
    dome: Singles
    """(L, 3) unit vectors towards the dome lights."""
    dome_colours: Singles
    """(L, 3); an unoccluded surface receives about their mean times L / 4."""


def _warm(log_ratio: float) -> Singles:
    """Return a colour (3,) of mean 1 with the given log(red / blue)."""
    colour = np.exp(np.array([0.5, 0.03, -0.5]) * log_ratio)
    return np.asarray(colour / colour.mean(), dtype=np.float32)


def _unit(vector: Floats) -> Singles:
    return np.asarray(vector / (np.linalg.norm(vector) + 1e-12), dtype=np.float32)


def sample_sky(rng: np.random.Generator, *, view: str) -> Sky:
    """Draw the light of a scene.

    Args:
        rng: Random generator.
        view: View of the scene, which gives the up direction: against y if the camera is level, towards the camera if
            it looks down.
    """
    names = list(_SETTING_PROBABILITIES)
    setting = names[rng.choice(len(names), p=list(_SETTING_PROBABILITIES.values()))]
    strength, softness, ambient, key_warmth, dome_warmth = (rng.uniform(*bounds) for bounds in _RANGES[setting])
    levels = {"frontal": 0.0, "lowered": 0.0, "selfie": 0.1, "reaching": 0.0, "egocentric": 0.7, "above": 1.6}
    level = levels.get(view, rng.uniform(-0.5, 1.5))
    up = _unit(np.array([rng.normal(0, 0.2), -1.0, -level]))
    side = _unit(np.array([rng.uniform(-1, 1), rng.uniform(-0.8, 0.3), rng.uniform(-1.2, 0.0)]))
    key = _unit(side + rng.uniform(0, 0.9) * up)
    if setting == "backlit":
        key = _unit(np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.2), rng.uniform(0.3, 1.2)]))
    fill = _unit(np.array([-key[0], key[1] * 0.3, -abs(key[2]) - 0.2]) + rng.normal(0, 0.3, 3))
    dome, dome_colours = _sample_dome(rng, up, ambient * _warm(dome_warmth))
    key_colour = strength * _warm(key_warmth)
    fill_colour = rng.uniform(0.0, 0.35) * strength * _warm(rng.normal(0, 0.15))
    return Sky(setting, key, key_colour, softness, fill, fill_colour, dome, dome_colours)


def _sample_dome(rng: np.random.Generator, up: Singles, ambient: Singles) -> tuple[Singles, Singles]:
    """Distribute lights over the sphere: sky above, reflections from the floor below, one side brighter."""
    index = np.arange(_DOME_LIGHTS)
    z = 1 - 2 * (index + 0.5) / _DOME_LIGHTS
    angle = index * 2.39996 + rng.uniform(0, 2 * np.pi)
    ring = np.sqrt(1 - z * z)
    dome = np.stack([ring * np.cos(angle), z, ring * np.sin(angle)], axis=1)
    floor = rng.uniform(0.15, 0.8) * _warm(rng.uniform(-0.05, 0.35))
    height = (0.5 + 0.5 * dome @ up)[:, None]
    lean = 1 + rng.uniform(0, 0.6) * (dome @ _unit(rng.standard_normal(3)))[:, None]
    colours = ambient * (floor * (1 - height) + height) * lean * (4.0 / _DOME_LIGHTS) * 1.3
    return dome.astype(np.float32), colours.astype(np.float32)


def light_hands(sky: Sky, rows: Singles, faces: Ints, *, centre: Singles, radius: float) -> Lights:
    """Render the shadow maps, and write the ambient light at each vertex to its row.

    Args:
        sky: The light.
        rows: (V, COLUMNS) vertex rows, camera frame; the AMBIENT columns are written.
        faces: (F, 3).
        centre: (3,) mm, centre of the region that casts shadows.
        radius: Radius of that region, mm.

    Returns:
        The directional lights with the key light's shadow map.
    """
    vertices = np.ascontiguousarray(rows[:, POSITION : POSITION + 3])
    shadow, shadow_from_camera = _shadow_map(sky.key, vertices, faces, centre=centre, radius=radius, cells=_KEY_CELLS)
    maps = np.empty((len(sky.dome), _DOME_CELLS, _DOME_CELLS), dtype=np.float32)
    transforms = np.empty((len(sky.dome), 3, 4), dtype=np.float32)
    for light, direction in enumerate(sky.dome):
        maps[light], transforms[light] = _shadow_map(
            direction, vertices, faces, centre=centre, radius=radius, cells=_DOME_CELLS
        )
    occluded_ambient(rows, sky.dome, sky.dome_colours, maps, transforms, _AMBIENT_BIAS_MM)
    directions = np.stack([sky.key, sky.fill])
    colours = np.stack([sky.key_colour, sky.fill_colour]).astype(np.float32)
    return Lights(directions, colours, shadow, shadow_from_camera, sky.softness)


def _shadow_map(
    direction: Singles, vertices: Singles, faces: Ints, *, centre: Singles, radius: float, cells: int
) -> tuple[Singles, Singles]:
    """Return (S, S) -depth along a parallel light, and the (3, 4) transform from camera mm to (column, row, depth)."""
    forward = -np.asarray(direction, dtype=np.float64)
    right = np.cross(forward, [0.31, 0.9, 0.13])
    right /= np.linalg.norm(right)
    scale = (cells - 1) / (2 * radius)
    rotation = np.stack([right * scale, np.cross(forward, right) * scale, forward])
    offset = np.array([(cells - 1) / 2, (cells - 1) / 2, 0.0]) - rotation @ centre
    placed = vertices @ rotation.T.astype(np.float32) + offset.astype(np.float32)
    screen = Screen(snap(placed[:, :2].astype(np.float64)), -placed[:, 2])
    transform = np.concatenate([rotation, offset[:, None]], axis=1).astype(np.float32)
    return rasterize(screen, faces, width=cells, height=cells).key, transform
