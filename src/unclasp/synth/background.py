"""What stands behind the hands: walls, rooms, desks, foliage, dark studios and people, drawn with a few strokes and blurred.

Nothing here is a photograph. Pictures are drawn as 8-bit sRGB, mostly with muted colours, and returned as linear RGB.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.synth.light import Setting
from unclasp.synth.raster import Floats
from unclasp.synth.scene import Scene

Canvas8 = npt.NDArray[np.uint8]
Colour = npt.NDArray[np.float64]

_TEXTURE: Final = 512

_KINDS: Final[dict[str, dict[str, float]]] = {
    "level": {"plain": 0.14, "person": 0.44, "clutter": 0.27, "outdoor": 0.10, "desk": 0.05},
    "down": {"plain": 0.10, "person": 0.08, "clutter": 0.22, "outdoor": 0.05, "desk": 0.55},
    "any": {"plain": 0.16, "person": 0.22, "clutter": 0.32, "outdoor": 0.10, "desk": 0.20},
}
_LEVEL: Final = {"frontal": "level", "selfie": "level", "egocentric": "down", "above": "down"}


@lru_cache(maxsize=1)
def _textures() -> Floats:
    """Make (3, N, N) textures of unit deviation, once: clouds, grain and wood."""
    rng = np.random.default_rng(11)
    clouds = np.zeros((_TEXTURE, _TEXTURE), dtype=np.float32)
    for octave in range(2, 9):
        cells = rng.standard_normal((2**octave, 2**octave)).astype(np.float32)
        clouds += cv2.resize(cells, (_TEXTURE, _TEXTURE), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    grain = cv2.GaussianBlur(rng.standard_normal((_TEXTURE, _TEXTURE)).astype(np.float32), (0, 0), 0.8)
    rings = rng.standard_normal((16, 128)).astype(np.float32)
    wood = cv2.resize(rings, (_TEXTURE, _TEXTURE), interpolation=cv2.INTER_CUBIC)
    stack = np.stack([clouds, grain, wood])
    stack -= stack.mean(axis=(1, 2), keepdims=True)
    return np.asarray(stack / stack.std(axis=(1, 2), keepdims=True), dtype=np.float32)


@lru_cache(maxsize=1)
def _linear_from_srgb() -> Floats:
    """Make the (256,) table from 8-bit sRGB to linear light."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def srgb_from_linear(linear: npt.NDArray[np.floating]) -> Colour:
    """Convert linear light (0-1) to 0-255 sRGB."""
    clipped = np.clip(linear, 0, 1).astype(np.float64)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055) * 255


def paint(rng: np.random.Generator, *, scene: Scene, setting: Setting, skin: Floats, cloth: Floats) -> Floats:
    """Draw the background of a scene: (H, W, 3) linear RGB under the light of the scene.

    Args:
        rng: Source of randomness.
        scene: Its size, view and where the hands are.
        setting: The kind of light.
        skin: (3,) linear RGB of the person's skin.
        cloth: (2, 3) linear RGB of the person's clothes.
    """
    painter = _Painter(rng, scene, srgb_from_linear(skin), srgb_from_linear(cloth))
    if setting == "studio":
        kind = "studio"
    else:
        shares = _KINDS[_LEVEL.get(scene.view, "any")]
        kind = list(shares)[rng.choice(len(shares), p=list(shares.values()))]
    painter.kinds[kind]()
    canvas = painter.finish(sharp=kind in ("desk", "studio"))
    linear = _linear_from_srgb()[canvas]
    return np.ascontiguousarray(linear * np.float32(painter.brightness(setting)))


class _Painter:
    """One canvas and the strokes on it. Lengths are relative to the smaller side unless they are called pixels."""

    def __init__(self, rng: np.random.Generator, scene: Scene, skin: Colour, cloth: Colour) -> None:
        self.rng = rng
        self.width, self.height = scene.size
        self.side = min(scene.size)
        self.skin, self.cloth = skin, cloth
        joints = np.concatenate([hand.joints for hand in scene.hands]).astype(np.float64)
        self.points = joints[:, :2] / joints[:, 2:] * scene.focal + scene.princpt
        self.pixels_per_mm = float(np.mean(scene.focal) / joints[:, 2].mean())
        self.canvas: Canvas8 = np.empty((self.height, self.width, 3), dtype=np.uint8)
        self.kinds: dict[str, Callable[[], None]] = {
            "plain": self.plain,
            "person": self.person,
            "clutter": self.clutter,
            "outdoor": self.outdoor,
            "desk": self.desk,
            "studio": self.studio,
        }

    def uniform(self, low: float, high: float) -> float:
        """Draw a number."""
        return float(self.rng.uniform(low, high))

    def brightness(self, setting: Setting) -> float:
        """Draw how much light falls on the background, relative to the hands."""
        if setting == "backlit":
            return self.uniform(1.5, 4.0)
        if setting in ("studio", "evening"):
            return self.uniform(0.4, 1.0)
        return float(np.exp(self.rng.normal(-0.05, 0.35)))

    def colour(self, *, light: tuple[float, float] = (10, 240), vivid: float = 0.28) -> Colour:
        """Draw an sRGB colour; most are muted."""
        grey = self.uniform(*light)
        spread = self.rng.beta(1.1, 1 / vivid) * 0.9
        tint = self.rng.standard_normal(3)
        tint = tint - tint.mean()
        return np.clip(grey * (1 + spread * tint), 0, 255)

    def gradient(self, first: Colour, second: Colour, *, angle: float | None = None) -> None:
        """Fill the canvas with a straight blend of two colours."""
        angle = self.uniform(0, 2 * np.pi) if angle is None else angle
        x = np.arange(self.width, dtype=np.float32) / self.width - 0.5
        y = np.arange(self.height, dtype=np.float32) / self.height - 0.5
        share = np.clip(0.5 + 0.8 * (np.cos(angle) * x[None] + np.sin(angle) * y[:, None]), 0, 1)[..., None]
        self.canvas = (first + (second - first) * share.astype(np.float32)).astype(np.uint8)

    def texture(self, kind: int, strength: float, *, zoom: float = 1.0, region: Canvas8 | None = None) -> None:
        """Multiply the canvas, or a region of it (mask), by a random window of a texture."""
        source = _textures()[kind]
        size = int(np.clip(self.side / zoom, 8, _TEXTURE - 1))
        x, y = self.rng.integers(0, _TEXTURE - size, 2)
        window = cv2.resize(source[y : y + size, x : x + size], (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        if self.rng.random() < 0.5:
            window = window[::-1] if kind == 2 else cv2.flip(window, 1)
        factor = np.clip(128 + 128 * strength * window, 0, 255).astype(np.uint8)
        changed = cv2.multiply(self.canvas, cv2.merge([factor] * 3), scale=1 / 128)
        if region is None:
            self.canvas = changed
        else:
            cv2.copyTo(changed, region, self.canvas)

    def blob(self, centre: npt.ArrayLike, axes: npt.ArrayLike, angle: float, colour: Colour) -> None:
        """Fill an ellipse: centre and half axes in pixels, angle in degrees."""
        centre, axes = np.asarray(centre, dtype=np.float64), np.asarray(axes, dtype=np.float64)
        cv2.ellipse(
            self.canvas, (int(centre[0]), int(centre[1])), (max(1, int(axes[0])), max(1, int(axes[1]))), angle, 0, 360,
            colour.tolist(), -1, cv2.LINE_AA,
        )  # fmt: skip

    def polygon(self, points: npt.ArrayLike, colour: Colour) -> None:
        """Fill a polygon with corners in pixels."""
        cv2.fillPoly(self.canvas, [np.asarray(points).astype(np.int32)], colour.tolist(), cv2.LINE_AA)

    def box(self, centre: npt.ArrayLike, size: npt.ArrayLike, angle: float, colour: Colour) -> None:
        """Fill a turned rectangle: centre and size in pixels, angle in degrees."""
        centre, size = np.asarray(centre, dtype=np.float64), np.asarray(size, dtype=np.float64)
        corners = cv2.boxPoints((centre.tolist(), size.tolist(), angle))
        self.polygon(corners, colour)

    def blur(self, sigma: float) -> None:
        """Defocus what has been drawn so far, sigma in 256ths of the smaller side."""
        sigma *= self.side / 256
        if sigma > 0.3:
            self.canvas = cv2.GaussianBlur(self.canvas, (0, 0), sigma)

    def anywhere(self) -> Colour:
        """Draw a point of the canvas or a little outside."""
        return self.rng.uniform(-0.1, 1.1, 2) * (self.width, self.height)

    def finish(self, *, sharp: bool) -> Canvas8:
        """Blur as a lens would, and return the canvas."""
        kind = self.rng.random()
        self.blur(0.0 if kind < 0.25 else self.uniform(0.4, 1.6) if sharp or kind < 0.65 else self.uniform(1.5, 7))
        return self.canvas

    # ------------------------------------------------------------------ kinds

    def plain(self) -> None:
        """A wall or a paper backdrop."""
        colour = self.colour(light=(20, 250))
        self.gradient(colour, np.clip(colour * self.uniform(0.6, 1.15), 0, 255))
        self.texture(0, self.uniform(0.0, 0.06), zoom=self.uniform(0.6, 3))
        self.texture(1, self.uniform(0.0, 0.04))

    def room(self) -> None:
        """A wall with furniture-like blocks, window and door edges, things on shelves."""
        wall = self.colour(light=(60, 250), vivid=0.15)
        self.gradient(wall, wall * self.uniform(0.6, 1.0))
        for _ in range(int(self.rng.integers(1, 6))):
            size = self.rng.uniform(0.08, 0.8, 2) * self.side
            self.box(self.anywhere(), size, self.rng.normal(0, 3), self.colour())
        for _ in range(int(self.rng.integers(0, 10))):
            size = self.rng.uniform(0.02, 0.2, 2) * self.side
            if self.rng.random() < 0.6:
                self.box(self.anywhere(), size, self.rng.normal(0, 5), self.colour(vivid=0.5))
            else:
                self.blob(self.anywhere(), size / 2, self.uniform(0, 180), self.colour(vivid=0.5))
        for _ in range(int(self.rng.integers(0, 5))):
            first, second = self.anywhere().astype(int).tolist(), self.anywhere().astype(int).tolist()
            cv2.line(self.canvas, first, second, self.colour().tolist(), int(self.rng.integers(1, 5)), cv2.LINE_AA)
        self.texture(0, self.uniform(0.02, 0.14), zoom=self.uniform(0.6, 3))

    def clutter(self) -> None:
        """A room, sometimes with textile-like stripes or tiles."""
        self.room()
        if self.rng.random() < 0.3:
            self.stripes()
        if self.rng.random() < 0.3:
            self.bokeh()
        self.texture(1, self.uniform(0.0, 0.08))

    def stripes(self, region: Canvas8 | None = None) -> None:
        """Multiply by one or two sets of stripes, as of cloth, blinds or tiles; within a region (mask) if given."""
        period, angle = self.uniform(0.015, 0.15) * self.side, self.uniform(0, np.pi)
        x, y = np.arange(self.width, dtype=np.float32)[None], np.arange(self.height, dtype=np.float32)[:, None]
        factor = np.full((self.height, self.width), 128, dtype=np.float32)
        depth, duty = self.uniform(0.08, 0.6), self.uniform(-0.6, 0.6)
        for turn in range(1 if self.rng.random() < 0.5 else 2):
            along = np.cos(angle + turn * np.pi / 2) * x + np.sin(angle + turn * np.pi / 2) * y
            factor *= 1 - depth * (np.sin(along * (2 * np.pi / period)) > duty)
        changed = cv2.multiply(self.canvas, cv2.merge([factor.astype(np.uint8)] * 3), scale=1 / 110)
        if region is None:
            self.canvas = changed
        else:
            cv2.copyTo(changed, region, self.canvas)

    def bokeh(self) -> None:
        """Add discs of out-of-focus light."""
        layer = np.zeros_like(self.canvas)
        for _ in range(int(self.rng.integers(3, 25))):
            colour = self.colour(light=(40, 160), vivid=0.5)
            centre = self.anywhere().astype(int).tolist()
            cv2.circle(layer, centre, int(self.uniform(0.01, 0.06) * self.side), colour.tolist(), -1, cv2.LINE_AA)
        self.canvas = cv2.add(self.canvas, layer)

    def outdoor(self) -> None:
        """Sky, ground and leaves."""
        sky = np.array([self.uniform(150, 230), self.uniform(180, 235), self.uniform(200, 250)])
        ground = np.array([1.0, self.uniform(0.9, 1.15), self.uniform(0.55, 0.9)]) * self.uniform(40, 150)
        self.gradient(sky, ground, angle=np.pi / 2 + self.rng.normal(0, 0.1))
        horizon = self.uniform(0.1, 0.9) * self.height
        corners = [(0, horizon), (self.width, horizon + self.rng.normal(0, 8)), (self.width, self.height), (0, self.height)]
        self.polygon(corners, ground)
        leaf = np.array([self.uniform(0.5, 0.95), 1.0, self.uniform(0.2, 0.6)])
        for _ in range(int(self.rng.integers(0, 90))):
            axes = self.rng.uniform(0.01, 0.09, 2) * self.side
            self.blob(self.anywhere(), axes, self.uniform(0, 180), leaf * self.uniform(15, 170))
        self.texture(0, self.uniform(0.1, 0.35), zoom=self.uniform(0.5, 2))
        self.blur(self.uniform(0.5, 6))
        if self.rng.random() < 0.4:
            self.bokeh()

    def desk(self) -> None:
        """A table or a floor seen from above, with paper, cups and keys on it."""
        top = self.colour(light=(25, 245), vivid=0.2)
        if self.rng.random() < 0.45:
            top = np.array([1.0, self.uniform(0.68, 0.85), self.uniform(0.4, 0.7)]) * self.uniform(60, 220)
        self.gradient(top, top * self.uniform(0.65, 1.05))
        if self.rng.random() < 0.5:
            self.texture(2, self.uniform(0.03, 0.16), zoom=self.uniform(0.7, 2))
        else:
            self.texture(0, self.uniform(0.0, 0.1), zoom=self.uniform(0.6, 2.5))
        turn = self.uniform(-25, 25)
        for _ in range(int(self.rng.integers(0, 6))):
            kind = self.rng.random()
            if kind < 0.45:
                paper = self.colour(light=(150, 255), vivid=0.1) if self.rng.random() < 0.6 else self.colour()
                self.box(self.anywhere(), self.rng.uniform(0.1, 0.7, 2) * self.side, turn + self.rng.normal(0, 10), paper)
            elif kind < 0.6:
                self.keyboard(turn)
            else:
                radius, centre, colour = self.uniform(0.03, 0.14) * self.side, self.anywhere(), self.colour(vivid=0.4)
                self.blob(centre, (radius, radius), 0, colour)
                self.blob(centre, (0.8 * radius, 0.8 * radius), 0, colour * self.uniform(0.3, 0.9))
        self.texture(1, self.uniform(0.0, 0.07))

    def keyboard(self, turn: float) -> None:
        """A block of small keys."""
        centre, key = self.anywhere(), self.uniform(0.025, 0.06) * self.side
        columns, rows = int(self.rng.integers(4, 12)), int(self.rng.integers(3, 6))
        body, cap = self.colour(vivid=0.08), self.colour(vivid=0.08)
        self.box(centre, ((columns + 0.5) * key, (rows + 0.5) * key), turn, body)
        cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        for row in range(rows):
            for column in range(columns):
                x, y = (column - (columns - 1) / 2) * key, (row - (rows - 1) / 2) * key
                self.box(centre + [cosine * x - sine * y, sine * x + cosine * y], (0.8 * key, 0.8 * key), turn, cap)

    def studio(self) -> None:
        """A dark room as of a capture dome: nearly black, at times with lamps in view or a person's dark torso."""
        dark = self.uniform(2, 34)
        self.gradient(dark * (1 + self.rng.normal(0, 0.1, 3)), self.uniform(1, 30) * (1 + self.rng.normal(0, 0.1, 3)))
        self.texture(0, self.uniform(0, 0.2), zoom=self.uniform(0.6, 2))
        if self.rng.random() < 0.45:
            self.lamps()
        if self.rng.random() < 0.45:
            self.torso(self.points.mean(axis=0) + self.rng.normal(0, 0.2, 2) * self.side)

    def lamps(self) -> None:
        """A loose grid of point lights with small flares."""
        pitch, turn = self.uniform(0.12, 0.4) * self.side, self.uniform(-0.4, 0.4)
        cosine, sine = np.cos(turn), np.sin(turn)
        glow = self.colour(light=(170, 255), vivid=0.1)
        radius = max(1, int(self.uniform(0.004, 0.014) * self.side))
        for row in range(-6, 7):
            for column in range(-6, 7):
                if self.rng.random() < 0.35:
                    continue
                spot = np.array([column + 0.5 * (row % 2), row]) * pitch + self.rng.normal(0, 0.06, 2) * pitch
                x, y = (np.array([cosine * spot[0] - sine * spot[1], sine * spot[0] + cosine * spot[1]]) + self.side / 2).astype(int).tolist()
                reach = int(radius * self.uniform(1, 4))
                cv2.line(self.canvas, (x - reach, y), (x + reach, y), (0.5 * glow).tolist(), 1, cv2.LINE_AA)
                cv2.line(self.canvas, (x, y - reach), (x, y + reach), (0.5 * glow).tolist(), 1, cv2.LINE_AA)
                cv2.circle(self.canvas, (x, y), radius, glow.tolist(), -1, cv2.LINE_AA)

    # ------------------------------------------------------------------ people

    def person(self) -> None:
        """Somebody who faces the camera, hands in front: torso, neck, head with hair and a hint of a face."""
        if self.rng.random() < 0.6:
            self.room()
        else:
            self.plain()
        self.blur(self.uniform(0, 7))
        head = 230 * self.pixels_per_mm * self.uniform(0.7, 1.1)
        chin = self.points.mean(axis=0) + np.array([self.rng.normal(0, 0.5), self.rng.normal(-0.25, 0.9)]) * head
        self.torso(chin)
        self.head(chin, head)

    def torso(self, chin: Colour) -> None:
        """Shoulders and trunk below the chin (pixels), dressed like the sleeves."""
        unit = 230 * self.pixels_per_mm * self.uniform(0.8, 1.1)
        outline = np.array([
            (-0.28, 0.15), (-0.9, 0.42), (-1.12, 0.9), (-1.1, 2.2), (-0.85, 4.0), (0.85, 4.0), (1.1, 2.2), (1.12, 0.9), (0.9, 0.42),
            (0.28, 0.15),
        ])  # fmt: skip
        outline = outline * unit + chin + self.rng.normal(0, 0.03, outline.shape) * unit
        colour = self.cloth[0] if self.rng.random() < 0.8 else self.colour()
        mask = np.zeros(self.canvas.shape[:2], dtype=np.uint8)
        cv2.fillPoly(mask, [outline.astype(np.int32)], 255)
        self.polygon(outline, colour)
        if self.rng.random() < 0.35:
            self.stripes(mask)
        self.texture(0, self.uniform(0.08, 0.3), zoom=self.uniform(0.7, 2.5), region=mask)
        self.blob(chin + [0, 0.12 * unit], (0.27 * unit, self.uniform(0.1, 0.4) * unit), 0, 0.85 * self.skin)

    def head(self, chin: Colour, size: float) -> None:
        """A head of `size` pixels above the chin, tilted a little."""
        tilt = self.rng.normal(0, 9)
        turn = np.radians(tilt)
        up, right = np.array([np.sin(turn), -np.cos(turn)]), np.array([np.cos(turn), np.sin(turn)])
        centre = chin + 0.5 * size * up
        hair = np.array([1.0, self.uniform(0.75, 0.95), self.uniform(0.55, 0.9)]) * self.uniform(10, 120 if self.rng.random() < 0.3 else 55)
        if self.rng.random() < 0.45:
            self.blob(centre - 0.25 * size * up, (0.5 * size, 0.85 * size), tilt, hair)
        self.blob(centre + 0.1 * size * up, (0.43 * size, 0.54 * size), tilt, hair)
        self.blob(centre, (0.36 * size, 0.5 * size), tilt, self.skin)
        self.blob(centre + 0.1 * size * right - 0.1 * size * up, (0.2 * size, 0.3 * size), tilt, np.clip(1.07 * self.skin, 0, 255))
        for eye in (-1, 1):
            spot = centre + 0.05 * size * up + eye * 0.15 * size * right
            self.blob(spot, (0.055 * size, 0.025 * size), tilt, 0.35 * self.skin)
            self.blob(spot + 0.08 * size * up, (0.08 * size, 0.016 * size), tilt, 0.6 * hair + 0.2 * self.skin)
        self.blob(centre - 0.14 * size * up, (0.055 * size, 0.03 * size), tilt, 0.78 * self.skin)
        self.blob(centre - 0.27 * size * up, (0.12 * size, 0.03 * size), tilt, self.skin * [0.8, 0.55, 0.55])
        self.blob(centre + 0.43 * size * up, (0.34 * size, 0.15 * size), tilt, hair)
