"""Whole pictures for the finder of hands: rendered hands on drawn people, at any size, or none at all.

Picture `index` of the endless set `seed` is a function of (seed, index, options) alone. The hands, their forearms and
sleeves are the engine's; bodies, heads and bare limbs, which a finder must not take for hands, are `figure`'s.
"""

from dataclasses import replace
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.finder_config import IGNORED, are_one_region
from unclasp.hands import PARTS_PER_HAND
from unclasp.synth import background, effects
from unclasp.synth.clothes import cloth_colour
from unclasp.synth.figure import (
    Light,
    Person,
    draw_body,
    draw_head,
    draw_idle_arms,
    draw_limb,
    draw_upper_arm,
)
from unclasp.synth.light import Sky, sample_sky
from unclasp.synth.raster import Floats
from unclasp.synth.render import Drawn, arm_axis, draw_hands
from unclasp.synth.scene import PosedHand, Scene, SceneMix, sample_scene
from unclasp.synth.skin import sample_skin
from unclasp.synth.strokes import Colour, Strokes

_LEAST_INSIDE: Final = 0.35
_LEAST_PIXELS: Final = 12
_STREAM: Final = 7001
_REACH_MM: Final = 330.0
_ASPECTS: Final = (1.0, 4 / 3, 3 / 2, 16 / 9, 2.2)

_FACING: Final = SceneMix(
    kinds={"contact": 0.3, "interlaced": 0.1, "apart": 0.34, "right": 0.13, "left": 0.13},
    views={"frontal": 0.72, "selfie": 0.1, "any": 0.18},
)
_OWN: Final = SceneMix(
    kinds={"contact": 0.28, "interlaced": 0.1, "apart": 0.26, "right": 0.18, "left": 0.18},
    views={"egocentric": 0.4, "above": 0.25, "any": 0.35},
)


class Whole(NamedTuple):
    """A picture with the regions of its hands."""

    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    boxes: Floats
    """(R, 4) x1, y1, x2, y2 px around the joints of each region, within the picture."""
    mask: npt.NDArray[np.uint8]
    """(H, W) 0 where there is no hand (forearms included), r + 1 on the hands of region r, IGNORED."""


class _Party(NamedTuple):
    """Somebody's hands, placed in the picture."""

    scene: Scene
    drawn: Drawn
    scale: float
    """px per mm at the hands."""
    light: Light


def generate_whole(seed: int, index: int, *, size: int = 224) -> Whole:
    """Draw picture `index` of the set `seed`, its longer side `size` px."""
    rng = np.random.default_rng([seed, index, _STREAM])
    aspect = float(rng.choice(_ASPECTS)) * rng.uniform(0.95, 1.05)
    extent = (size, max(size // 3, round(size / max(aspect, 1.0))))
    extent = extent if rng.random() < 0.6 else extent[::-1]
    kind = rng.choice(["facing", "own", "two", "nobody"], p=[0.46, 0.27, 0.12, 0.15])
    mix = _OWN if kind == "own" else _FACING
    parties: list[_Party] = []
    share = float(np.exp(rng.uniform(np.log(0.06), np.log(0.65)))) if rng.random() < 0.88 else rng.uniform(0.6, 1.1)
    sky = sample_sky(rng, view="frontal" if kind == "facing" else "any")
    for _ in range({"nobody": 0, "two": 2}.get(str(kind), 1)):
        parties.append(_party(rng, mix, extent, share=share, sky=sky))
        share = float(np.clip(share * rng.uniform(0.6, 1.5), 0.05, 0.6))
    backdrop, brightness = _backdrop(rng, extent, parties, sky, own=kind == "own")
    coverage, mask, found = _together(extent, parties)
    if parties and rng.random() < 0.22:
        _hold_something(rng, coverage, mask, parties[-1])
    mask, boxes = _asked_for(mask, found)
    image = effects.photograph(rng, coverage, backdrop * np.float32(brightness), setting=sky.setting)
    return Whole(image, boxes, mask)


def _party(rng: np.random.Generator, mix: SceneMix, extent: tuple[int, int], *, share: float, sky: Sky) -> _Party:
    """Draw somebody's hands, as large as `share` of the picture's longer side."""
    scene = sample_scene(rng, mix, size=256)
    if scene.kind == "apart" and rng.random() < 0.5:
        scene = _farther_apart(rng, scene)
    joints = np.concatenate([hand.joints for hand in scene.hands]).astype(np.float64)
    rays = joints[:, :2] / joints[:, 2:]
    low, high = rays.min(axis=0), rays.max(axis=0)
    focal = share * max(extent) / float((high - low).max())
    half = focal * (high - low) / 2
    outside = 0.3 * half if rng.random() < 0.25 else -1.05 * half
    bounds = np.array(extent) - 1.0
    first, last = -outside, bounds + outside
    middle = np.where(first < last, rng.uniform(np.minimum(first, last), np.maximum(first, last)), bounds / 2)
    scene = replace(
        scene, focal=np.full(2, focal), princpt=middle - focal * (low + high) / 2, size=extent,
    )  # fmt: skip
    arm = rng.uniform(215, 265)
    drawn = draw_hands(scene, rng, supersample=3 if share < 0.15 else 2, sky=sky, arm_mm=arm)
    light = Light(sky.key, float(rng.uniform(0.3, 0.75)))
    return _Party(scene, drawn, focal / float(joints[:, 2].mean()), light)


def _farther_apart(rng: np.random.Generator, scene: Scene) -> Scene:
    """Move one hand away from the other, in parallel to the picture."""
    first, second = scene.hands
    way = float(np.sign(second.joints[:, 0].mean() - first.joints[:, 0].mean()))
    offset = np.array([way * rng.uniform(0, 420), rng.normal(0, 130), 0], dtype=np.float32)
    moved = replace(second, vertices=second.vertices + offset, joints=second.joints + offset)
    return replace(scene, hands=(first, moved))


def _pixels(scene: Scene, points: Floats) -> Colour:
    points = points.astype(np.float64)
    return np.asarray(points[..., :2] / points[..., 2:] * scene.focal + scene.princpt)


def _together(
    extent: tuple[int, int], parties: list[_Party]
) -> tuple[Floats, npt.NDArray[np.uint8], list[tuple[Floats, float]]]:
    """Lay the hands of all parties over each other; return coverage, mask, and per region its box and share inside."""
    width, height = extent
    coverage = np.zeros((height, width, 4), dtype=np.float32)
    mask = np.zeros((height, width), dtype=np.uint8)
    boxes: list[tuple[Floats, float]] = []
    for party in parties:
        over = party.drawn.coverage
        coverage = over + (1 - over[..., 3:]) * coverage
        mask[over[..., 3] > 0.5] = 0
        for hands in _regions(party.scene):
            points = np.concatenate([_pixels(party.scene, hand.joints) for hand in hands])
            low, high = points.min(axis=0), points.max(axis=0)
            inside = ((points > -0.5) & (points < np.array(extent) - 0.5)).all(axis=1).mean()
            low, high = (np.clip(corner, -0.5, np.array(extent) - 0.5) for corner in (low, high))
            boxes.append((np.concatenate([low, high]).astype(np.float32), float(inside)))
            for hand in hands:
                last = PARTS_PER_HAND if hand.side == "right" else 2 * PARTS_PER_HAND
                parts = party.drawn.parts
                mask[(parts > last - PARTS_PER_HAND) & (parts <= last)] = len(boxes)
    return coverage, mask, boxes


def _regions(scene: Scene) -> list[tuple[PosedHand, ...]]:
    """Return the hands that are one region each: both where they are near each other, else one by one."""
    if len(scene.hands) < 2:
        return [scene.hands]
    points = [_pixels(scene, hand.joints) for hand in scene.hands]
    first, second = (np.concatenate([each.min(axis=0), each.max(axis=0)]) for each in points)
    return [scene.hands] if are_one_region(first, second) else [(hand,) for hand in scene.hands]


def _asked_for(mask: npt.NDArray[np.uint8], boxes: list[tuple[Floats, float]]) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Number the regions that are visible enough anew; the others become IGNORED."""
    numbers = np.zeros(256, dtype=np.uint8)
    kept: list[Floats] = []
    counts = np.bincount(mask.ravel(), minlength=256)
    for number, (box, inside) in enumerate(boxes, start=1):
        seen = counts[number] >= max(_LEAST_PIXELS, 0.06 * float(np.prod(box[2:] - box[:2])))
        if seen and inside >= _LEAST_INSIDE:
            kept.append(box)
            numbers[number] = len(kept)
        else:
            numbers[number] = IGNORED
    return numbers[mask], np.array(kept, dtype=np.float32).reshape(-1, 4)


def _hold_something(rng: np.random.Generator, coverage: Floats, mask: npt.NDArray[np.uint8], party: _Party) -> None:
    """Draw a bar, a box or a disc across a hand, as something held or in the way, in place."""
    hand = party.scene.hands[int(rng.integers(len(party.scene.hands)))]
    spot = _pixels(party.scene, hand.joints[int(rng.integers(len(hand.joints)))][None])[0]
    shape = np.zeros(mask.shape, dtype=np.uint8)
    length, thick = rng.uniform(60, 450) * party.scale, rng.uniform(6, 45) * party.scale
    turn = rng.uniform(0, 180)
    if rng.random() < 0.25:
        radius = max(1, int(rng.uniform(12, 38) * party.scale))
        cv2.circle(shape, spot.astype(int).tolist(), radius, 255, -1, cv2.LINE_AA)
    else:
        corners = cv2.boxPoints((spot.tolist(), (float(length), float(max(thick, 1.0))), float(turn)))
        cv2.fillPoly(shape, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    alpha = (shape.astype(np.float32) / 255)[..., None]
    ramp = np.linspace(0.5, 1.3, mask.shape[1], dtype=np.float32)[None, :, None]
    opaque = np.ones((*mask.shape, 1), dtype=np.float32)
    colour = np.concatenate([np.broadcast_to(cloth_colour(rng) * ramp, (*mask.shape, 3)), opaque], axis=2)
    coverage[:] = alpha * colour + (1 - alpha) * coverage
    mask[shape > 127] = 0


def _backdrop(
    rng: np.random.Generator, extent: tuple[int, int], parties: list[_Party], sky: Sky, *, own: bool
) -> tuple[Floats, float]:
    """Draw all that is not a rendered hand; return (H, W, 3) linear RGB and how brightly it is lit."""
    strokes = Strokes(rng, extent)
    kinds = ["plain", "clutter", "outdoor", "desk"]
    odds = [0.15, 0.2, 0.1, 0.55] if own else [0.3, 0.47, 0.15, 0.08]
    background.draw_place(strokes, "studio" if sky.setting == "studio" else str(rng.choice(kinds, p=odds)))
    light = parties[0].light if parties else Light(sky.key, float(rng.uniform(0.3, 0.75)))
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
    return np.ascontiguousarray(background.linear_from_srgb(strokes.canvas)), brightness


def _distraction(strokes: Strokes, light: Light) -> None:
    """Draw what is no hand but might be taken for one: a person, a face, a bare limb, things of the colour of skin."""
    rng = strokes.rng
    skin = background.srgb_from_linear(sample_skin(rng).colour)
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


def _outside(strokes: Strokes) -> Colour:
    """Draw a point well outside of the canvas."""
    angle, extent = strokes.uniform(0, 2 * np.pi), np.array([strokes.width, strokes.height])
    return np.asarray(extent / 2 + 0.85 * extent.max() * np.array([np.cos(angle), np.sin(angle)]))


def _clothes_of(drawn: Drawn) -> tuple[Colour, Colour, bool]:
    """Return the sRGB of skin and cloth, and whether the sleeves are long."""
    skin, cloth = (background.srgb_from_linear(c) for c in (drawn.look.colour, drawn.wardrobe.colours[0]))
    return skin, cloth, drawn.wardrobe.sleeve_start is not None


def _elbows(party: _Party) -> list[tuple[Colour, Colour, float]]:
    """Return per hand the wrist and the elbow in px, and px per mm at the elbow; none where it is too near."""
    found = []
    for hand in party.scene.hands:
        elbow = hand.joints[20] + 240.0 * arm_axis(hand)
        if elbow[2] > 80:
            wrist, end = _pixels(party.scene, np.stack([hand.joints[20], elbow]))
            found.append((wrist, end, float(party.scene.focal[0] / elbow[2])))
    return found


def _arms_from_outside(strokes: Strokes, party: _Party) -> None:
    """Let the arms go on from the elbow until they leave the picture."""
    skin, cloth, sleeved = _clothes_of(party.drawn)
    for wrist, elbow, scale in _elbows(party):
        way = elbow - wrist
        way = way / (np.linalg.norm(way) + 1e-6) + strokes.rng.normal(0, 0.25, 2)
        far = elbow + way / np.linalg.norm(way) * 1.5 * max(strokes.width, strokes.height)
        colour, folds = (cloth, 0.08) if sleeved else (skin, 0.0)
        reach = strokes.uniform(1.0, 1.5)
        draw_limb(strokes, party.light, (elbow, far), (44 * scale, 44 * scale * reach), colour, folds=folds)


def _owner(strokes: Strokes, party: _Party) -> None:
    """Draw whose hands they are, where arms can reach."""
    rng = strokes.rng
    skin, cloth, sleeved = _clothes_of(party.drawn)
    elbows = _elbows(party)
    hands = np.concatenate([_pixels(party.scene, hand.joints) for hand in party.scene.hands]).mean(axis=0)
    bare = strokes.uniform(0, 0.24) if sleeved else strokes.uniform(0.3, 1.0)
    scale = party.scale * strokes.uniform(0.78, 1.05)
    chins = hands + scale * np.column_stack([rng.normal(0, 170, 40), rng.normal(-190, 230, 40)])
    people = [Person(chin, scale, skin, cloth, bare) for chin in chins]
    person = min(people, key=lambda each: _strain(each, elbows))
    draw_body(strokes, party.light, person)
    if len(elbows) == 1 and rng.random() < 0.6:
        draw_idle_arms(strokes, party.light, person)
    for shoulder, (_, elbow, _) in zip(_shoulders_for(person, elbows), elbows, strict=True):
        draw_upper_arm(strokes, party.light, person, (shoulder, elbow), cloth=sleeved)


def _shoulders_for(person: Person, elbows: list[tuple[Colour, Colour, float]]) -> list[Colour]:
    """Give each elbow the shoulder of its side in the picture."""
    left, right = person.shoulders
    if len(elbows) == 2:
        return [left, right] if elbows[0][1][0] < elbows[1][1][0] else [right, left]
    return [min((left, right), key=lambda s: float(np.linalg.norm(s - elbow))) for _, elbow, _ in elbows]


def _strain(person: Person, elbows: list[tuple[Colour, Colour, float]]) -> float:
    """Return by how many mm the upper arms would be too long, or too short to be one."""
    total = 0.0
    for shoulder, (_, elbow, _) in zip(_shoulders_for(person, elbows), elbows, strict=True):
        length = float(np.linalg.norm(shoulder - elbow)) / person.scale
        total += max(0.0, length - _REACH_MM) + 0.3 * max(0.0, 140 - length)
        total += 0.5 * max(0.0, (person.chin[1] - elbow[1]) / person.scale)
    return total
