"""Paints backgrounds: walls, rooms, desks, foliage, dark studios and people, from a few strokes and blur.

No photographs are used. Backgrounds are drawn as 8-bit sRGB, mostly in muted colours, and returned as linear RGB.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Doubles, Singles
from unclasp.synth.colour import displayed, linear_from_srgb
from unclasp.synth.light import Setting
from unclasp.synth.people import draw_person
from unclasp.synth.scene import Scene
from unclasp.synth.strokes import CLOUDS, GRAIN, WOOD, Colour, Strokes

_KIND_PROBABILITIES: Final[dict[str, dict[str, float]]] = {
    "level": {"plain": 0.14, "person": 0.44, "clutter": 0.27, "outdoor": 0.10, "desk": 0.05},
    "down": {"plain": 0.10, "person": 0.08, "clutter": 0.22, "outdoor": 0.05, "desk": 0.55},
    "any": {"plain": 0.16, "person": 0.22, "clutter": 0.32, "outdoor": 0.10, "desk": 0.20},
}
_CAMERA_OF_VIEW: Final = {
    "frontal": "level", "lowered": "level", "selfie": "level", "reaching": "level", "egocentric": "down",
    "above": "down",
}  # fmt: skip


class Subject(NamedTuple):
    """The person behind the hands, and the position of the hands in the picture."""

    middle: Doubles
    """(2,) middle of the joints, pixels."""
    pixels_per_mm: float
    skin: Colour
    """(3,) sRGB."""
    cloth: Colour
    """(3,) sRGB."""


def paint(rng: np.random.Generator, *, scene: Scene, setting: Setting, skin: Singles, cloth: Singles) -> Singles:
    """Draw the background of a scene, (H, W, 3) linear RGB, under the scene's light.

    Args:
        rng: Random generator.
        scene: Gives the picture's size, the view and the position of the hands.
        setting: The kind of light.
        skin: (3,) linear RGB of the person's skin.
        cloth: (3,) linear RGB of the person's clothes.
    """
    strokes = Strokes(rng, scene.size)
    middle = scene.project(scene.joints).mean(axis=0)
    subject = Subject(middle, scene.scale, displayed(skin), displayed(cloth))
    kind = "studio"
    if setting != "studio":
        shares = _KIND_PROBABILITIES[_CAMERA_OF_VIEW.get(scene.view, "any")]
        kind = list(shares)[rng.choice(len(shares), p=list(shares.values()))]
    if kind == "person":
        _person(strokes, subject)
    else:
        draw_place(strokes, kind)
    if kind == "studio" and rng.random() < 0.45:
        dimmed = strokes.uniform(0.25, 0.8)
        _figure(strokes, subject._replace(skin=dimmed * subject.skin, cloth=dimmed * subject.cloth))
    focus = rng.random()
    if focus > 0.25:
        near = kind in ("desk", "studio") or focus < 0.65
        strokes.blur(strokes.uniform(0.4, 1.6) if near else strokes.uniform(1.5, 7))
    return linear_from_srgb(strokes.canvas) * np.float32(_brightness(strokes, setting))


def draw_place(strokes: Strokes, kind: str) -> None:
    """Draw a place without people: `kind` is plain, clutter, outdoor, desk or studio."""
    _PLACES[kind](strokes)


def _brightness(strokes: Strokes, setting: Setting) -> float:
    """Draw the brightness of the background's light relative to the hands'."""
    if setting == "backlit":
        return strokes.uniform(1.5, 4.0)
    if setting in ("studio", "evening"):
        return strokes.uniform(0.4, 1.0)
    return float(np.exp(strokes.rng.normal(-0.05, 0.35)))


def _plain(strokes: Strokes) -> None:
    """Draw a wall or a paper backdrop."""
    colour = strokes.colour(light=(20, 250))
    strokes.gradient(colour, np.clip(colour * strokes.uniform(0.6, 1.15), 0, 255))
    strokes.texture(CLOUDS, strokes.uniform(0.0, 0.06), zoom=strokes.uniform(0.6, 3))
    strokes.texture(GRAIN, strokes.uniform(0.0, 0.04))


def _room(strokes: Strokes) -> None:
    """Draw a wall with furniture-like blocks, window and door edges, and small objects."""
    wall = strokes.colour(light=(60, 250), vivid=0.15)
    strokes.gradient(wall, wall * strokes.uniform(0.6, 1.0))
    for _ in range(int(strokes.rng.integers(1, 6))):
        size = strokes.rng.uniform(0.08, 0.8, 2) * strokes.side
        strokes.box(strokes.anywhere(), size, strokes.rng.normal(0, 3), strokes.colour())
    for _ in range(int(strokes.rng.integers(0, 10))):
        size = strokes.rng.uniform(0.02, 0.2, 2) * strokes.side
        if strokes.rng.random() < 0.6:
            strokes.box(strokes.anywhere(), size, strokes.rng.normal(0, 5), strokes.colour(vivid=0.35))
        else:
            strokes.blob(strokes.anywhere(), size / 2, strokes.uniform(0, 180), strokes.colour(vivid=0.35))
    for _ in range(int(strokes.rng.integers(0, 5))):
        first, second = strokes.anywhere().astype(int).tolist(), strokes.anywhere().astype(int).tolist()
        cv2.line(strokes.canvas, first, second, strokes.colour().tolist(), int(strokes.rng.integers(1, 5)), cv2.LINE_AA)
    strokes.texture(CLOUDS, strokes.uniform(0.02, 0.14), zoom=strokes.uniform(0.6, 3))


def _clutter(strokes: Strokes) -> None:
    """Draw a room, sometimes with textile-like stripes or tiles and with bokeh."""
    _room(strokes)
    if strokes.rng.random() < 0.3:
        strokes.stripes()
    if strokes.rng.random() < 0.3:
        strokes.bokeh()
    strokes.texture(GRAIN, strokes.uniform(0.0, 0.08))


def _outdoor(strokes: Strokes) -> None:
    """Draw sky, ground and leaves."""
    sky = np.array([strokes.uniform(150, 230), strokes.uniform(180, 235), strokes.uniform(200, 250)])
    ground = np.array([1.0, strokes.uniform(0.9, 1.15), strokes.uniform(0.55, 0.9)]) * strokes.uniform(40, 150)
    strokes.gradient(sky, ground, angle=np.pi / 2 + strokes.rng.normal(0, 0.1))
    horizon = strokes.uniform(0.1, 0.9) * strokes.height
    corners = [
        (0, horizon),
        (strokes.width, horizon + strokes.rng.normal(0, 8)),
        (strokes.width, strokes.height),
        (0, strokes.height),
    ]
    strokes.polygon(corners, ground)
    leaf = np.array([strokes.uniform(0.5, 0.95), 1.0, strokes.uniform(0.2, 0.6)])
    for _ in range(int(strokes.rng.integers(0, 90))):
        axes = strokes.rng.uniform(0.01, 0.09, 2) * strokes.side
        strokes.blob(strokes.anywhere(), axes, strokes.uniform(0, 180), leaf * strokes.uniform(15, 170))
    strokes.texture(CLOUDS, strokes.uniform(0.1, 0.35), zoom=strokes.uniform(0.5, 2))
    strokes.blur(strokes.uniform(0.5, 6))
    if strokes.rng.random() < 0.4:
        strokes.bokeh()


def _desk(strokes: Strokes) -> None:
    """Draw a table or a floor seen from above, with paper, cups and keyboards on it."""
    top = strokes.colour(light=(25, 245), vivid=0.2)
    if strokes.rng.random() < 0.45:
        top = np.array([1.0, strokes.uniform(0.68, 0.85), strokes.uniform(0.4, 0.7)]) * strokes.uniform(60, 220)
    strokes.gradient(top, top * strokes.uniform(0.65, 1.05))
    if strokes.rng.random() < 0.5:
        strokes.texture(WOOD, strokes.uniform(0.03, 0.16), zoom=strokes.uniform(0.7, 2))
    else:
        strokes.texture(CLOUDS, strokes.uniform(0.0, 0.1), zoom=strokes.uniform(0.6, 2.5))
    turn = strokes.uniform(-25, 25)
    for _ in range(int(strokes.rng.integers(0, 6))):
        kind = strokes.rng.random()
        if kind < 0.45:
            paper = strokes.colour(light=(150, 255), vivid=0.1) if strokes.rng.random() < 0.6 else strokes.colour()
            strokes.box(
                strokes.anywhere(),
                strokes.rng.uniform(0.1, 0.7, 2) * strokes.side,
                turn + strokes.rng.normal(0, 10),
                paper,
            )
        elif kind < 0.6:
            _keyboard(strokes, turn)
        else:
            radius = strokes.uniform(0.03, 0.14) * strokes.side
            centre, colour = strokes.anywhere(), strokes.colour(vivid=0.4)
            strokes.blob(centre, (radius, radius), 0, colour)
            strokes.blob(centre, (0.8 * radius, 0.8 * radius), 0, colour * strokes.uniform(0.3, 0.9))
    strokes.texture(GRAIN, strokes.uniform(0.0, 0.07))


def _keyboard(strokes: Strokes, turn: float) -> None:
    """Draw a keyboard: a block of small keys."""
    centre, key = strokes.anywhere(), strokes.uniform(0.025, 0.06) * strokes.side
    columns, rows = int(strokes.rng.integers(4, 12)), int(strokes.rng.integers(3, 6))
    body, cap = strokes.colour(vivid=0.08), strokes.colour(vivid=0.08)
    strokes.box(centre, ((columns + 0.5) * key, (rows + 0.5) * key), turn, body)
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    for row in range(rows):
        for column in range(columns):
            x, y = (column - (columns - 1) / 2) * key, (row - (rows - 1) / 2) * key
            strokes.box(
                centre + np.array([cosine * x - sine * y, sine * x + cosine * y]), (0.8 * key, 0.8 * key), turn, cap
            )


def _studio(strokes: Strokes) -> None:
    """Draw a dark room like a capture dome: nearly black, sometimes with lamps in view."""
    dark = strokes.uniform(2, 34)
    strokes.gradient(
        dark * (1 + strokes.rng.normal(0, 0.1, 3)), strokes.uniform(1, 30) * (1 + strokes.rng.normal(0, 0.1, 3))
    )
    strokes.texture(CLOUDS, strokes.uniform(0, 0.2), zoom=strokes.uniform(0.6, 2))
    if strokes.rng.random() < 0.45:
        _lamps(strokes)


def _lamps(strokes: Strokes) -> None:
    """Draw a loose grid of point lights with small flares."""
    pitch, turn = strokes.uniform(0.12, 0.4) * strokes.side, strokes.uniform(-0.4, 0.4)
    cosine, sine = np.cos(turn), np.sin(turn)
    glow = strokes.colour(light=(170, 255), vivid=0.1)
    radius = max(1, int(strokes.uniform(0.004, 0.014) * strokes.side))
    for row in range(-6, 7):
        for column in range(-6, 7):
            if strokes.rng.random() < 0.35:
                continue
            spot = np.array([column + 0.5 * (row % 2), row]) * pitch + strokes.rng.normal(0, 0.06, 2) * pitch
            x, y = (
                (np.array([cosine * spot[0] - sine * spot[1], sine * spot[0] + cosine * spot[1]]) + strokes.side / 2)
                .astype(int)
                .tolist()
            )
            reach = int(radius * strokes.uniform(1, 4))
            cv2.line(strokes.canvas, (x - reach, y), (x + reach, y), (0.5 * glow).tolist(), 1, cv2.LINE_AA)
            cv2.line(strokes.canvas, (x, y - reach), (x, y + reach), (0.5 * glow).tolist(), 1, cv2.LINE_AA)
            cv2.circle(strokes.canvas, (x, y), radius, glow.tolist(), -1, cv2.LINE_AA)


def _person(strokes: Strokes, subject: Subject) -> None:
    """Draw a person who faces the camera, in a room or before a wall."""
    if strokes.rng.random() < 0.6:
        _room(strokes)
    else:
        _plain(strokes)
    strokes.blur(strokes.uniform(0, 7))
    _figure(strokes, subject)


def _figure(strokes: Strokes, subject: Subject) -> None:
    """Draw a person at about the distance of the hands, mostly with the head above them."""
    head = 230 * subject.pixels_per_mm * strokes.uniform(0.7, 1.1)
    chin = subject.middle + np.array([strokes.rng.normal(0, 0.5), strokes.rng.normal(-0.35, 0.8)]) * head
    cloth = subject.cloth if strokes.rng.random() < 0.8 else strokes.colour()
    draw_person(strokes, chin, head, skin=subject.skin, cloth=cloth)


_PLACES: Final[dict[str, Callable[[Strokes], None]]] = {
    "plain": _plain,
    "clutter": _clutter,
    "outdoor": _outdoor,
    "desk": _desk,
    "studio": _studio,
}
