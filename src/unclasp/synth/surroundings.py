"""Draws the surroundings of rendered hands: their owner, other people, objects that resemble hands, held objects.

Bodies, heads and bare limbs come from `figure`, places from `background`.
"""

from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Doubles, Pixels, Singles
from unclasp.synth import background
from unclasp.synth.clothes import cloth_colour
from unclasp.synth.colour import displayed, linear_from_srgb
from unclasp.synth.figure import (
    CLOTH_FOLDS,
    Light,
    Person,
    draw_body,
    draw_head,
    draw_idle_arms,
    draw_limb,
    draw_upper_arm,
)
from unclasp.synth.light import Sky
from unclasp.synth.render import Drawn
from unclasp.synth.scene import Scene
from unclasp.synth.skin import sample_skin
from unclasp.synth.strokes import Colour, Strokes

_ELBOW_MM: Final = 240.0
"""Distance of the elbow from the wrist."""
_MAX_UPPER_ARM_MM: Final = 330.0
_AT_FACE_PROBABILITY: Final = 0.3
"""Probability that people hold their hands in front of their face."""
_THICKNESS_MM: Final = 15.0
"""Thickness of held objects: they only hide surfaces that are farther behind their front than this."""


class Party(NamedTuple):
    """One person's hands, placed in the picture."""

    scene: Scene
    drawn: Drawn
    light: Light


def sample_light(rng: np.random.Generator, sky: Sky) -> Light:
    """Draw the light on bodies and objects under a sky."""
    return Light(sky.key, float(rng.uniform(0.3, 0.75)))


def draw_surroundings(
    rng: np.random.Generator, extent: tuple[int, int], parties: list[Party], sky: Sky, *, own: bool
) -> tuple[Singles, float]:
    """Draw everything around the rendered hands.

    Args:
        rng: Random generator.
        extent: Width and height in px.
        parties: The people whose hands are rendered.
        sky: The light.
        own: Whether the hands are the viewer's own, so that only arms from outside are drawn.

    Returns:
        (H, W, 3) linear RGB, and the brightness of its light.
    """
    strokes = Strokes(rng, extent)
    kinds = ["plain", "clutter", "outdoor", "desk"]
    odds = [0.15, 0.2, 0.1, 0.55] if own else [0.3, 0.47, 0.15, 0.08]
    background.draw_place(strokes, "studio" if sky.setting == "studio" else str(rng.choice(kinds, p=odds)))
    light = parties[0].light if parties else sample_light(rng, sky)
    for _ in range(int(rng.choice(4, p=[0.5, 0.3, 0.15, 0.05])) + (0 if parties else 1)):
        _distraction(strokes, light)
    if rng.random() < 0.4:
        strokes.blur(strokes.uniform(0.4, 4))
    for party in parties:
        if own or rng.random() < 0.12:
            _arms_from_outside(strokes, party)
        else:
            _owner(strokes, party)
    if rng.random() < 0.15:
        _distraction(strokes, light)
    if rng.random() < 0.3:
        strokes.blur(strokes.uniform(0.3, 1.5))
    brightness = strokes.uniform(1.3, 3.0) if sky.setting == "backlit" else float(np.exp(rng.normal(0.05, 0.3)))
    return linear_from_srgb(strokes.canvas), brightness


def hold_something(rng: np.random.Generator, coverage: Singles, labels: Pixels, party: Party) -> None:
    """Draw one to three objects in or in front of a hand, with occlusion by depth, in place.

    Args:
        rng: Random generator.
        coverage: (H, W, 4) linear RGB multiplied by coverage, and coverage; changed.
        labels: (H, W) class of each pixel; set to 0 where objects are visible.
        party: Person whose hands they are; its depth is changed.
    """
    hand = party.scene.hands[int(rng.integers(len(party.scene.hands)))]
    joint = hand.joints[int(rng.integers(len(hand.joints)))]
    spot, turn = party.scene.project(joint), rng.uniform(0, np.pi)
    length, thick = np.array([rng.uniform(60, 450), rng.uniform(6, 45)]) * party.scene.scale
    colour, shiny = cloth_colour(rng), float(rng.choice([0.0, 0.0, 0.5, 1.5]))
    depth = float(joint[2]) + rng.normal(0, 22)
    for _ in range(int(rng.choice([1, 2, 3], p=[0.65, 0.2, 0.15]))):
        alpha, shade = _solid(rng, labels.shape, spot, (length / 2, max(thick / 2, 1.0)), turn, party.light)
        behind = party.drawn.depth > depth + _THICKNESS_MM
        hidden = behind & (alpha > 0.5)
        shape = alpha * cv2.blur(behind.astype(np.float32), (3, 3))
        lit = colour * shade[..., None] + shiny * np.clip(shade - 0.8, 0, 1)[..., None]
        solid = np.concatenate([np.clip(lit, 0, 1), np.ones_like(shade)[..., None]], axis=2)
        coverage[:] = shape[..., None] * solid + (1 - shape[..., None]) * coverage
        labels[hidden] = 0
        party.drawn.depth[hidden] = depth
        spot = spot + rng.uniform(1.2, 4) * thick * np.array([-np.sin(turn), np.cos(turn)])
        length, depth = length * rng.uniform(0.5, 1.2), depth + rng.normal(0, 10)


def _solid(
    rng: np.random.Generator, extent: tuple[int, ...], spot: Doubles, half: tuple[float, float], turn: float,
    light: Light,
) -> tuple[Singles, Singles]:  # fmt: skip
    """Return the coverage (H, W) and the shading (H, W) of a ball, a plate or a tube."""
    y, x = np.mgrid[: extent[0], : extent[1]]
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    place = (np.stack([x, y], axis=-1) - spot) @ turned  # along and across
    kind = rng.random()
    if kind < 0.2:
        inside = 1.2 * half[1] - np.linalg.norm(place, axis=-1)
        slope = place / (1.2 * half[1])
    else:
        inside = (half - np.abs(place)).min(axis=-1)
        slope = rng.normal(0, 0.25, 2) * np.ones_like(place) if kind < 0.5 else place / half[1] * [0, 1]
    slope = slope * np.minimum(1, 0.98 / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-6))
    towards = -np.sqrt(1 - (slope**2).sum(axis=-1, keepdims=True))
    shade = light.on(np.concatenate([slope @ turned.T, towards], axis=-1))
    return np.clip(inside + 0.5, 0, 1).astype(np.float32), shade.astype(np.float32)


def _distraction(strokes: Strokes, light: Light) -> None:
    """Draw a negative example for the finder: a person, a face, a bare limb, or skin-coloured objects."""
    rng = strokes.rng
    skin = displayed(sample_skin(rng).colour)
    kind, long = rng.random(), max(strokes.width, strokes.height)
    if kind < 0.5:
        scale = float(np.exp(rng.uniform(np.log(0.08), np.log(1.2)))) * long / 700
        person = Person(strokes.anywhere(), scale, skin, strokes.colour(), float(rng.random()))
        draw_body(strokes, light, person, turned=bool(rng.random() < 0.15))
        if rng.random() < 0.8:
            draw_idle_arms(strokes, light, person)
    elif kind < 0.62:
        size = float(np.exp(rng.uniform(np.log(0.06), np.log(0.9)))) * long
        draw_head(strokes, light, strokes.anywhere(), size, skin=skin)
    elif kind < 0.8:
        thick = float(np.exp(rng.uniform(np.log(0.008), np.log(0.12)))) * long
        start, elbow = _outside(strokes), strokes.anywhere()
        for ends, radii in (((start, elbow), (1.2, 0.95)), ((elbow, _outside(strokes)), (0.95, 0.7))):
            draw_limb(strokes, light, ends, (radii[0] * thick, radii[1] * thick), skin)
    else:
        for _ in range(int(rng.integers(1, 5))):
            colour, size = np.clip(skin * rng.uniform(0.7, 1.2, 3), 0, 255), rng.uniform(0.02, 0.2) * long
            if rng.random() < 0.5:
                spot = strokes.anywhere()
                reach = spot + rng.normal(0, size, 2)
                draw_limb(strokes, light, (spot, reach), (size * rng.uniform(0.1, 0.6), size * 0.3), colour)
            else:
                strokes.box(strokes.anywhere(), rng.uniform(0.3, 1.5, 2) * size, strokes.uniform(0, 180), colour)


def _outside(strokes: Strokes) -> Doubles:
    """Draw a random point well outside the canvas."""
    angle, extent = strokes.uniform(0, 2 * np.pi), np.array([strokes.width, strokes.height])
    return np.asarray(extent / 2 + 0.85 * extent.max() * np.array([np.cos(angle), np.sin(angle)]))


def _clothes_of(drawn: Drawn) -> tuple[Colour, Colour, bool]:
    """Return the sRGB of skin and cloth, and whether the sleeves are long."""
    skin, cloth = (displayed(c) for c in (drawn.look.colour, drawn.wardrobe.colours[0]))
    return skin, cloth, drawn.wardrobe.sleeve_start is not None


class _Forearm(NamedTuple):
    """A forearm in the picture."""

    wrist: Doubles
    """(2,) px."""
    elbow: Doubles
    """(2,) px."""
    scale: float
    """px per mm at the elbow."""


def _forearms(party: Party) -> list[_Forearm]:
    """Return the forearm of each hand, but for those whose elbow is too near to the camera."""
    found = []
    for hand in party.scene.hands:
        elbow = hand.wrist + _ELBOW_MM * hand.arm_axis
        if elbow[2] > 80:
            wrist, end = party.scene.project(np.stack([hand.wrist, elbow]))
            found.append(_Forearm(wrist, end, float(party.scene.focal[0] / elbow[2])))
    return found


def _arms_from_outside(strokes: Strokes, party: Party) -> None:
    """Extend the arms from the elbows out of the picture."""
    skin, cloth, sleeved = _clothes_of(party.drawn)
    for wrist, elbow, scale in _forearms(party):
        direction = elbow - wrist
        direction = direction / (np.linalg.norm(direction) + 1e-6) + strokes.rng.normal(0, 0.25, 2)
        far = elbow + direction / np.linalg.norm(direction) * 1.5 * max(strokes.width, strokes.height)
        colour, folds = (cloth, CLOTH_FOLDS) if sleeved else (skin, 0.0)
        reach = strokes.uniform(1.0, 1.5)
        draw_limb(strokes, party.light, (elbow, far), (44 * scale, 44 * scale * reach), colour, folds=folds)


def _owner(strokes: Strokes, party: Party) -> None:
    """Draw the owner of the hands, at the most plausible of 40 random positions for the arms."""
    rng = strokes.rng
    skin, cloth, sleeved = _clothes_of(party.drawn)
    elbows = [forearm.elbow for forearm in _forearms(party)]
    hands = party.scene.project(party.scene.joints).mean(axis=0)
    bare = strokes.uniform(0, 0.24) if sleeved else strokes.uniform(0.3, 1.0)
    scale = party.scene.scale * strokes.uniform(0.78, 1.05)
    if rng.random() < _AT_FACE_PROBABILITY:
        chins = hands + scale * np.column_stack([rng.normal(0, 70, 40), rng.normal(90, 70, 40)])
    else:
        chins = hands + scale * np.column_stack([rng.normal(0, 170, 40), rng.normal(-230, 260, 40)])
    people = [Person(chin, scale, skin, cloth, bare) for chin in chins]
    person = min(people, key=lambda candidate: _strain(candidate, elbows))
    draw_body(strokes, party.light, person)
    if len(elbows) == 1 and rng.random() < 0.6:
        draw_idle_arms(strokes, party.light, person)
    for shoulder, elbow in zip(_shoulders_for(person, elbows), elbows, strict=True):
        draw_upper_arm(strokes, party.light, person, (shoulder, elbow), cloth=sleeved)


def _shoulders_for(person: Person, elbows: list[Doubles]) -> list[Doubles]:
    """Return the shoulder for each elbow: by sides for two elbows, the nearer one for a single elbow."""
    left, right = person.shoulders
    if len(elbows) == 2:
        return [left, right] if elbows[0][0] < elbows[1][0] else [right, left]
    return [min((left, right), key=lambda s: float(np.linalg.norm(s - elbow))) for elbow in elbows]


def _strain(person: Person, elbows: list[Doubles]) -> float:
    """Return the implausibility of the upper arms in mm: too long, too short, or with elbows above the chin."""
    total = 0.0
    for shoulder, elbow in zip(_shoulders_for(person, elbows), elbows, strict=True):
        length = float(np.linalg.norm(shoulder - elbow)) / person.scale
        total += max(0.0, length - _MAX_UPPER_ARM_MM) + 0.3 * max(0.0, 140 - length)
        total += 0.5 * max(0.0, (person.chin[1] - elbow[1]) / person.scale)
    return total
