"""Draws bodies as shaded solids, from far to near: limbs as tubes of skin or cloth, heads with a face.

They are the negative examples of the hand finder, and the bodies that the rendered forearms are attached to.
"""

from functools import partial
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.arrays import Doubles, Singles
from unclasp.synth.strokes import CLOUDS, Colour, Strokes

_FACE_CELLS: Final = 72
_EDGE_PX: Final = 0.7
"""Width of the soft edge of limbs."""
CLOTH_FOLDS: Final = 0.08
"""Depth of the folds of clothes, for `draw_limb`."""


class Light(NamedTuple):
    """The light on bodies and objects, consistent with that on the rendered hands."""

    key: Singles
    """(3,) unit vector towards the key light; camera frame, y down, z away from the camera."""
    ambient: float
    """Share of ambient light."""

    def on(self, normals: Doubles) -> Doubles:
        """Return the brightness (...,) of surfaces with unit normals (..., 3)."""
        lit = np.clip(normals @ self.key.astype(np.float64), 0, 1)
        return np.asarray(self.ambient + (1.25 - self.ambient) * lit)


def draw_limb(
    strokes: Strokes, light: Light, ends: tuple[Doubles, Doubles], radii: tuple[float, float], colour: Colour,
    *, folds: float = 0.0,
) -> None:  # fmt: skip
    """Draw a round, tapered tube.

    Args:
        strokes: The canvas.
        light: The light.
        ends: Two (2,) px.
        radii: px at the two ends.
        colour: (3,) sRGB.
        folds: Depth of the cross folds; 0 for skin.
    """
    (start, stop), reach = (np.asarray(end, dtype=np.float64) for end in ends), max(radii) + 2
    low = np.floor(np.maximum(np.minimum(start, stop) - reach, 0)).astype(int)
    high = np.ceil(np.minimum(np.maximum(start, stop) + reach, (strokes.width, strokes.height))).astype(int)
    if (high <= low).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    axis = stop - start
    length = max(float(np.hypot(*axis)), 1e-6)
    axis = axis / length
    along = (x - start[0]) * axis[0] + (y - start[1]) * axis[1]
    share = np.clip(along / length, 0, 1)
    off_x, off_y = x - start[0] - share * length * axis[0], y - start[1] - share * length * axis[1]
    radius = np.maximum(radii[0] + share * (radii[1] - radii[0]), 0.5)
    distance = np.hypot(off_x, off_y) / radius
    flat = np.clip(distance, 0, 0.98)
    scale = flat / np.maximum(distance, 1e-6) / radius
    normals = np.stack([off_x * scale, off_y * scale, -np.sqrt(1 - flat**2)], axis=-1)
    shade = light.on(normals)
    if folds:
        phase = strokes.uniform(0, 6.28)
        waves = np.sin(along / radius * strokes.uniform(1.5, 5) + 2 * distance + phase)
        shade = shade * (1 + folds * waves)
    _blend(strokes, low, (1 - distance) * radius / _EDGE_PX + 0.5, shade[..., None] * colour)


def _blend(strokes: Strokes, corner: npt.NDArray[np.int64], coverage: Doubles, colours: Doubles) -> None:
    """Blend (h, w, 3) sRGB with a coverage (h, w) onto the canvas, with the first pixel at `corner` (x, y)."""
    height, width = coverage.shape
    window = strokes.canvas[corner[1] : corner[1] + height, corner[0] : corner[0] + width]
    alpha = np.clip(coverage, 0, 1)[..., None]
    window[:] = np.clip(alpha * colours + (1 - alpha) * window, 0, 255).astype(np.uint8)


def draw_head(
    strokes: Strokes, light: Light, chin: Doubles, size: float, *, skin: Colour, turned: bool = False
) -> None:
    """Draw a head of `size` px above the chin, with hair, face and ears; from behind if `turned`."""
    rng = strokes.rng
    tilt, yaw, pitch = rng.normal(0, 0.17), np.clip(rng.normal(0, 0.45), -1, 1), rng.normal(0, 0.12)
    hair = np.array([1.0, strokes.uniform(0.7, 1.0), strokes.uniform(0.45, 1.0)]) * strokes.uniform(8, 70)
    if rng.random() < 0.25:
        hair = strokes.colour(light=(10, 220), vivid=0.15)
    up = np.array([np.sin(tilt), -np.cos(tilt)])
    centre = chin + 0.5 * size * up
    if rng.random() < 0.45:
        for side in (-0.26, 0.26, 0.0):
            root = centre + size * np.array([side, -0.1])
            draw_limb(
                strokes, light, (root, root + size * np.array([0.3 * side, strokes.uniform(0.3, 1.0)])),
                (0.24 * size, 0.16 * size), hair, folds=0.25,
            )  # fmt: skip
    volume = strokes.uniform(1.0, 1.25)
    if rng.random() < 0.85:
        draw_limb(
            strokes, light, (centre + 0.1 * size * up, centre + 0.16 * size * up),
            (0.4 * size * volume, 0.38 * size * volume), hair, folds=0.15,
        )  # fmt: skip
    for side in (-0.36, 0.36):
        ear = centre + size * np.array([side * np.cos(yaw), 0.02])
        draw_limb(strokes, light, (ear, ear + np.array([0, 0.1 * size])), (0.05 * size, 0.04 * size), 0.9 * skin)
    colours, coverage = _face(strokes, light, skin, hair, yaw=float(yaw), pitch=float(pitch), turned=turned)
    cosine, sine = np.cos(tilt), np.sin(tilt)
    scale = size / _FACE_CELLS
    matrix = np.array([[cosine * scale, -sine * scale, 0.0], [sine * scale, cosine * scale, 0.0]])
    matrix[:, 2] = centre - matrix[:, :2] @ np.full(2, (_FACE_CELLS - 1) / 2)
    if scale < 0.7:
        soft = 0.45 / scale
        colours = np.asarray(cv2.GaussianBlur(colours, (0, 0), soft), dtype=np.float32)
        coverage = np.asarray(cv2.GaussianBlur(coverage, (0, 0), soft), dtype=np.float32)
    extent = (strokes.width, strokes.height)
    warped = cv2.warpAffine(colours, matrix, extent, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(coverage, matrix, extent, flags=cv2.INTER_LINEAR)
    _blend(strokes, np.zeros(2, dtype=int), np.asarray(alpha, dtype=np.float64), np.asarray(warped, dtype=np.float64))


def _bump(x: Doubles, y: Doubles, place: tuple[float, float], size: tuple[float, float]) -> Doubles:
    return np.asarray(np.exp(-(((x - place[0]) / size[0]) ** 2) - ((y - place[1]) / size[1]) ** 2))


def _face(
    strokes: Strokes, light: Light, skin: Colour, hair: Colour, *, yaw: float, pitch: float, turned: bool
) -> tuple[Singles, Singles]:
    """Return (N, N, 3) sRGB and (N, N) coverage of a head, from a shaded height map with nose, eyes and mouth."""
    rng = strokes.rng
    grid = (np.arange(_FACE_CELLS) + 0.5) / _FACE_CELLS * 2 - 1
    x, y = np.meshgrid(grid, grid)
    jaw = strokes.uniform(0.1, 0.4) * np.clip(y - 0.1, 0, 1)
    across = x / (0.72 * (1 - jaw))
    rim = np.sqrt(across**2 + y**2)
    height = 0.75 * np.sqrt(np.clip(1 - rim**2, 0, 1))
    middle, eyes, mouth = 0.6 * yaw, -0.08 + pitch, 0.48 + pitch
    if not turned:
        height = height + 0.22 * _bump(x, y, (1.25 * middle, 0.2 + pitch), (0.11, 0.16))
        height = height + 0.08 * _bump(x, y, (1.1 * middle, -0.02 + pitch), (0.08, 0.2))
        for side in (-1, 1):
            height = height - 0.09 * _bump(x, y, (middle + 0.3 * side, eyes), (0.17, 0.1))
            height = height + 0.05 * _bump(x, y, (middle + 0.36 * side, 0.2 + pitch), (0.18, 0.16))
        height = height + 0.06 * _bump(x, y, (middle, mouth), (0.2, 0.07))
        height = height + 0.05 * _bump(x, y, (middle, 0.8), (0.2, 0.1))
    slope_y, slope_x = np.gradient(height, grid[1] - grid[0])
    normals = np.stack([slope_x, slope_y, np.ones_like(x)], axis=-1) * [-1, -1, -1]
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    colours = np.broadcast_to(skin, (*x.shape, 3)) * light.on(normals)[..., None]
    if turned:
        line = np.ones_like(x)
    else:
        colours = _features(strokes, colours, x, y, middle=middle, eyes=eyes, mouth=mouth, skin=skin, hair=hair)
        line = 1 / (1 + np.exp((y + strokes.uniform(0.45, 0.75) - 0.5 * (x - middle) ** 2) * 25))
    if rng.random() < 0.9:
        streaks = 1 + 0.25 * np.sin(strokes.uniform(10, 30) * (x + 0.3 * y) + strokes.uniform(0, 6))
        shine = light.on(normals)[..., None] * streaks[..., None]
        colours = colours + line[..., None] * (hair * shine - colours)
    coverage = np.clip((1 - rim) * 0.36 * _FACE_CELLS + 0.5, 0, 1)
    return colours.astype(np.float32), coverage.astype(np.float32)


def _features(
    strokes: Strokes, colours: Doubles, x: Doubles, y: Doubles, *, middle: float, eyes: float, mouth: float,
    skin: Colour, hair: Colour,
) -> Doubles:  # fmt: skip
    """Tint lips, eyes and brows, and sometimes add a beard, glasses or a mask."""
    rng, layers = strokes.rng, []
    lips = skin * [0.85, 0.55, 0.55] if rng.random() < 0.7 else np.array([170.0, 40.0, 50.0])
    smile = mouth - 0.3 * (x - middle) ** 2 * strokes.uniform(-0.5, 2)
    layers.append((0.8 * _bump(x, y - smile, (middle, 0), (0.19, 0.055)), lips))
    if rng.random() < 0.25:
        layers.append((_bump(x, y - smile, (middle, 0), (0.14, 0.03)), np.array([225.0, 220.0, 215.0])))
    for side in (-1, 1):
        spot = middle + 0.3 * side
        layers.append((0.8 * _bump(x, y, (spot, eyes - 0.15), (0.15, 0.035)), 0.7 * hair + 0.15 * skin))
        white = np.array([205.0, 200.0, 195.0]) * skin.max() / 255
        layers.append((0.7 * _bump(x, y, (spot, eyes), (0.12, 0.05)), white))
        layers.append((_bump(x, y, (spot + 0.03, eyes), (0.05, 0.05)), np.array([35.0, 25.0, 20.0])))
        layers.append((0.6 * _bump(x, y, (spot, eyes - 0.05), (0.13, 0.02)), 0.3 * skin))
        layers.append((0.45 * _bump(x, y, (1.25 * middle + 0.06 * side, 0.3), (0.04, 0.03)), 0.4 * skin))
    extra = rng.random()
    if extra < 0.15:
        beard = np.clip((y - 0.3) * 5, 0, 1) * (1 - _bump(x, y, (middle, mouth), (0.15, 0.05)))
        layers.append((strokes.uniform(0.4, 0.95) * beard, hair))
    elif extra < 0.27:
        for side in (-1, 1):
            ring = np.exp(-((np.hypot((x - middle - 0.31 * side) / 0.24, (y - eyes) / 0.17) - 1) ** 2) * 40)
            layers.append((0.9 * ring, np.array([30.0, 30.0, 30.0])))
    elif extra < 0.33:
        shades = np.maximum(*(_bump(x, y, (middle + 0.31 * s, eyes), (0.28, 0.18)) for s in (-1, 1)))
        layers.append((np.clip(3 * shades - 1, 0, 1), np.array([15.0, 15.0, 20.0])))
    elif extra < 0.37:
        layers.append((np.clip((y - 0.12) * 12, 0, 1), strokes.colour(light=(60, 240))))
    for alpha, tint in layers:
        colours = colours + alpha[..., None] * (tint - colours)
    return colours


class Person(NamedTuple):
    """A person who faces the camera or turns away from it."""

    chin: Doubles
    """(2,) px."""
    scale: float
    """px per mm."""
    skin: Colour
    """(3,) sRGB."""
    cloth: Colour
    """(3,) sRGB."""
    bare: float
    """Share of bare skin: 0 a jumper, 0.5 short sleeves, 1 a bare torso."""

    def at(self, x: float, y: float) -> Doubles:
        """Return in px the point that is x mm to the right of the chin and y mm below it."""
        return np.asarray(self.chin + self.scale * np.array([x, y]), dtype=np.float64)

    @property
    def shoulders(self) -> tuple[Doubles, Doubles]:
        """The shoulders on the picture's left and right, in px."""
        return self.at(-175, 105), self.at(175, 105)


def draw_body(strokes: Strokes, light: Light, person: Person, *, turned: bool = False) -> None:
    """Draw legs, trunk, neck and head; the arms are drawn separately."""
    rng, scale, limb = strokes.rng, person.scale, partial(draw_limb, strokes, light)
    trousers = person.skin if rng.random() < 0.15 else strokes.colour(light=(10, 150))
    spread = strokes.uniform(0, 160) if rng.random() < 0.5 else strokes.uniform(0, 40)
    for side in (-1, 1):
        hip, knee = person.at(90 * side, 640), person.at((90 + spread) * side, strokes.uniform(850, 1080))
        limb((knee, person.at(90 * side, 1500)), (65 * scale, 50 * scale), trousers, folds=CLOTH_FOLDS)
        limb((hip, knee), (95 * scale, 70 * scale), trousers, folds=0.06)
    trunk = person.skin if person.bare > 0.9 else person.cloth
    folds = 0.0 if person.bare > 0.9 else CLOTH_FOLDS
    limb((person.at(0, 250), person.at(0, 600)), (165 * scale, 150 * scale), trunk, folds=folds)
    limb((person.at(-110, 145), person.at(110, 145)), (90 * scale, 90 * scale), trunk, folds=folds)
    pattern = rng.random()
    if pattern < 0.35 and person.bare <= 0.9:
        mask = np.zeros(strokes.canvas.shape[:2], dtype=np.uint8)
        low, high = person.at(-180, 130).astype(int).tolist(), person.at(180, 640).astype(int).tolist()
        cv2.rectangle(mask, low, high, 255, -1)
        strokes.stripes(mask) if pattern < 0.2 else strokes.texture(CLOUDS, 0.25, zoom=3.0, region=mask)
    if person.bare > 0.2:
        depth = strokes.uniform(100, 230)
        neckline = [person.at(x, y) for x, y in ((-90, 40), (-60, 110), (0, depth), (60, 110), (90, 40))]
        strokes.polygon(neckline, np.clip(0.95 * person.skin, 0, 255))
    limb((person.at(0, -60), person.at(0, 85)), (58 * scale, 66 * scale), 0.85 * person.skin)
    draw_head(
        strokes, light, person.at(0, 0), 230 * scale * strokes.uniform(0.92, 1.08), skin=person.skin, turned=turned
    )


def draw_upper_arm(
    strokes: Strokes, light: Light, person: Person, ends: tuple[Doubles, Doubles], *, cloth: bool
) -> None:
    """Draw an upper arm from shoulder to elbow (px), in cloth, or bare, perhaps with a short sleeve."""
    (shoulder, elbow), limb = ends, partial(draw_limb, strokes, light)
    scale, thick = person.scale, strokes.uniform(0.85, 1.15)
    colour, folds = (person.cloth, CLOTH_FOLDS) if cloth else (person.skin, 0.0)
    limb((shoulder, elbow), (56 * scale * thick, 43 * scale * thick), colour, folds=folds)
    if not cloth and person.bare < 0.7:
        hem = shoulder + strokes.uniform(0.3, 0.75) * (elbow - shoulder)
        limb((shoulder, hem), (66 * scale * thick, 62 * scale * thick), person.cloth, folds=CLOTH_FOLDS)


def draw_idle_arms(strokes: Strokes, light: Light, person: Person) -> None:
    """Draw both arms with hidden hands: behind the back, in a pocket, or behind something."""
    cloth, limb = person.bare < 0.25, partial(draw_limb, strokes, light)
    for side, shoulder in zip((-1, 1), person.shoulders, strict=True):
        elbow = shoulder + person.scale * np.array([side * strokes.uniform(10, 150), strokes.uniform(220, 300)])
        wrist = person.at(side * strokes.uniform(40, 190), strokes.uniform(470, 620))
        colour, folds = (person.cloth, CLOTH_FOLDS) if cloth else (person.skin, 0.0)
        limb((elbow, wrist), (42 * person.scale, 31 * person.scale), colour, folds=folds)
        cover = person.cloth if strokes.rng.random() < 0.5 else strokes.colour()
        pocket = wrist + person.scale * np.array([0, strokes.uniform(20, 60)])
        limb((wrist, pocket), (85 * person.scale, 85 * person.scale), cover, folds=CLOTH_FOLDS)
        draw_upper_arm(strokes, light, person, (shoulder, elbow), cloth=cloth)
