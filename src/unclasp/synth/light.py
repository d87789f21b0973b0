"""The light of a scene: a key light, a fill light and a dome, with the shadow maps of the hands."""

from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp.synth.material import POSITION
from unclasp.synth.raster import Floats, Ints, Screen, rasterize, snap
from unclasp.synth.shade import Lights, occluded_ambient

Setting = Literal["indoor", "window", "sun", "studio", "backlit", "evening"]

_SETTINGS: Final[dict[Setting, float]] = {
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
"""Ranges of key strength, softness of its shadow (map cells), ambient strength, warmth (log R / B) of key and dome."""


class Sky(NamedTuple):
    """The light of a scene before any shadow; camera frame, linear RGB."""

    setting: Setting
    key: Floats
    """(3,) unit vector towards the key light."""
    key_colour: Floats
    """(3,)."""
    softness: float
    """Spacing of the shadow filter, cells of the key map."""
    fill: Floats
    """(3,) unit vector towards the fill light, which casts no shadow."""
    fill_colour: Floats
    """(3,)."""
    dome: Floats
    """(L, 3) unit vectors."""
    dome_colours: Floats
    """(L, 3): an open surface receives about their mean times L / 4."""


def _warm(log_ratio: float) -> Floats:
    """Return (3,) a colour of mean 1 whose log(red / blue) is as given."""
    colour = np.exp(np.array([0.5, 0.03, -0.5]) * log_ratio)
    return np.asarray(colour / colour.mean(), dtype=np.float32)


def _unit(vector: npt.NDArray[np.floating]) -> Floats:
    return np.asarray(vector / (np.linalg.norm(vector) + 1e-12), dtype=np.float32)


def sample_sky(rng: np.random.Generator, *, view: str) -> Sky:
    """Draw the light of a scene.

    Args:
        rng: Source of randomness.
        view: View of the scene. It says where up is: against y when the camera looks level, towards the camera when
            it looks down.
    """
    names = list(_SETTINGS)
    setting = names[rng.choice(len(names), p=list(_SETTINGS.values()))]
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


def _sample_dome(rng: np.random.Generator, up: Floats, ambient: Floats) -> tuple[Floats, Floats]:
    """Spread lights over the sphere: sky above, reflections of the floor below, one side brighter than the other."""
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


def light_hands(sky: Sky, rows: Floats, faces: Ints, *, centre: Floats, radius: float) -> Lights:
    """Cast the shadows, and write the ambient light that reaches each vertex into its row.

    Args:
        sky: The light.
        rows: (V, COLUMNS) vertex rows, camera frame; the AMBIENT columns are written.
        faces: (F, 3).
        centre: (3,) mm, middle of the region that casts shadows.
        radius: Of that region, mm.

    Returns:
        The lights with the key light's shadow map.
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
    direction: Floats, vertices: Floats, faces: Ints, *, centre: Floats, radius: float, cells: int
) -> tuple[Floats, Floats]:
    """Return (S, S) -depth along a parallel light, and the (3, 4) map from camera mm to (column, row, depth)."""
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
