"""Generates whole pictures for the hand finder: rendered hands on drawn people, at any size, or no hands at all.

Picture `index` of the endless set `seed` depends only on (seed, index, options). Hands, forearms and sleeves are
rendered; everything around them, the finder's negative examples, comes from `surroundings`.
"""

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Pixels, Singles
from unclasp.hands import PARTS_PER_HAND
from unclasp.synth import effects
from unclasp.synth.gloves import Gloves, sample_gloves
from unclasp.synth.light import Sky, sample_sky
from unclasp.synth.regions import IGNORED, Whole, are_one_region
from unclasp.synth.render import FOREARM_MM, draw_hands
from unclasp.synth.scene import PosedHand, Scene, SceneMix, sample_scene
from unclasp.synth.surroundings import Party, draw_surroundings, hold_something, sample_light

_MIN_INSIDE_SHARE: Final = 0.35
"""Minimum share of a region's joints inside the picture; other regions are IGNORED."""
_MIN_REGION_PX: Final = 12
"""Minimum number of visible pixels of a region."""
_STREAM: Final = 7001
"""Third entry of the seed, which separates these pictures from the close-ups."""
_GLOVES_STREAM: Final = 7002
_MAX_METERED: Final = 8.0
_ASPECTS: Final = (1.0, 4 / 3, 3 / 2, 16 / 9, 2.2)

_FACING: Final = SceneMix(
    kinds={"contact": 0.3, "interlaced": 0.1, "apart": 0.34, "right": 0.13, "left": 0.13},
    views={"frontal": 0.58, "lowered": 0.16, "selfie": 0.08, "any": 0.18},
)
_OWN: Final = SceneMix(
    kinds={"contact": 0.28, "interlaced": 0.1, "apart": 0.26, "right": 0.18, "left": 0.18},
    views={"egocentric": 0.4, "above": 0.25, "any": 0.35},
)


class _Region(NamedTuple):
    """Hands that are found as one."""

    box: Singles
    """(4,) px around the joints, within the picture."""
    inside: float
    """Share of the joints inside the picture."""


def generate_whole(seed: int, index: int, *, size: int = 224, gloved: float = 0.0) -> Whole:
    """Generate picture `index` of the set `seed`.

    Args:
        seed: Number of the set.
        index: Number of the picture.
        size: Longer side, px.
        gloved: Share of people who wear gloves (`gloves`). The geometry does not depend on it, but the exposure does.
    """
    rng = np.random.default_rng([seed, index, _STREAM])
    fitting = np.random.default_rng([seed, index, _GLOVES_STREAM])
    aspect = float(rng.choice(_ASPECTS)) * rng.uniform(0.95, 1.05)
    extent = (size, max(size // 3, round(size / max(aspect, 1.0))))
    extent = extent if rng.random() < 0.6 else extent[::-1]
    kind = rng.choice(["facing", "own", "two", "nobody"], p=[0.46, 0.27, 0.12, 0.15])
    mix = _OWN if kind == "own" else _FACING
    parties: list[Party] = []
    share = float(np.exp(rng.uniform(np.log(0.06), np.log(0.65)))) if rng.random() < 0.88 else rng.uniform(0.6, 1.1)
    sky = sample_sky(rng, view="frontal" if kind == "facing" else "any")
    for _ in range({"nobody": 0, "two": 2}.get(str(kind), 1)):
        gloves = sample_gloves(fitting) if fitting.random() < gloved else None
        parties.append(_party(rng, mix, extent, share=share, sky=sky, gloves=gloves))
        share = float(np.clip(share * rng.uniform(0.6, 1.5), 0.05, 0.6))
    backdrop, brightness = draw_surroundings(rng, extent, parties, sky, own=kind == "own")
    coverage, mask, found = _together(extent, parties)
    if parties and rng.random() < 0.22:
        hold_something(rng, coverage, mask, parties[-1])
    mask, boxes = _visible_regions(mask, found)
    image = effects.photograph(
        rng, coverage, backdrop * np.float32(brightness), setting=sky.setting, metered=_metered(parties)
    )
    return Whole(image, mask, boxes)


def _party(
    rng: np.random.Generator, mix: SceneMix, extent: tuple[int, int], *, share: float, sky: Sky, gloves: Gloves | None
) -> Party:
    """Draw one person's hands, with an extent of `share` of the picture's longer side."""
    scene = sample_scene(rng, mix, size=256)
    rays = scene.joints[:, :2] / scene.joints[:, 2:]
    low, high = rays.min(axis=0), rays.max(axis=0)
    focal = share * max(extent) / float((high - low).max())
    half = focal * (high - low) / 2
    outside = 0.3 * half if rng.random() < 0.25 else -1.05 * half
    bounds = np.array(extent) - 1.0
    first, last = -outside, bounds + outside
    middle = np.where(first < last, rng.uniform(np.minimum(first, last), np.maximum(first, last)), bounds / 2)
    scene = replace(scene, focal=np.full(2, focal), princpt=middle - focal * (low + high) / 2, size=extent)
    arm = rng.uniform(*FOREARM_MM)
    drawn = draw_hands(scene, rng, supersample=3 if share < 0.15 else 2, sky=sky, arm_mm=arm, gloves=gloves)
    return Party(scene, drawn, sample_light(rng, sky))


def _metered(parties: list[Party]) -> float:
    """Return the ratio of the skin's brightness to the gloves', so that dark gloves stay dark.

    Cameras do not expose for gloves. If there are bare hands, they expose for those, and the ratio is 1.
    """
    looks = [party.drawn.look for party in parties]
    if not looks or any(look.thickness is None for look in looks):
        return 1.0
    ratios = [float(look.colour[1]) / max(float(np.median(look.albedo[:, 1])), 0.004) for look in looks]
    return min(float(np.mean(ratios)), _MAX_METERED)


def _together(extent: tuple[int, int], parties: list[Party]) -> tuple[Singles, Pixels, list[_Region]]:
    """Compose the hands of all parties, the last one on top; return coverage, mask and regions."""
    width, height = extent
    coverage = np.zeros((height, width, 4), dtype=np.float32)
    mask = np.zeros((height, width), dtype=np.uint8)
    regions: list[_Region] = []
    for party in parties:
        over = party.drawn.coverage
        coverage = over + (1 - over[..., 3:]) * coverage
        mask[over[..., 3] > 0.5] = 0
        for hands in regions_of(party.scene):
            points = np.concatenate([party.scene.project(hand.joints) for hand in hands])
            low, high = points.min(axis=0), points.max(axis=0)
            inside = ((points > -0.5) & (points < np.array(extent) - 0.5)).all(axis=1).mean()
            low, high = (np.clip(corner, -0.5, np.array(extent) - 0.5) for corner in (low, high))
            regions.append(_Region(np.concatenate([low, high]).astype(np.float32), float(inside)))
            for hand in hands:
                last = PARTS_PER_HAND if hand.side == "right" else 2 * PARTS_PER_HAND
                parts = party.drawn.parts
                mask[(parts > last - PARTS_PER_HAND) & (parts <= last)] = len(regions)
    return coverage, mask, regions


def regions_of(scene: Scene) -> list[tuple[PosedHand, ...]]:
    """Group the hands into regions: both in one if they are near each other, else one region per hand."""
    if len(scene.hands) < 2:
        return [scene.hands]
    points = [scene.project(hand.joints) for hand in scene.hands]
    first, second = (np.concatenate([joints.min(axis=0), joints.max(axis=0)]) for joints in points)
    return [scene.hands] if are_one_region(first, second) else [(hand,) for hand in scene.hands]


def _visible_regions(mask: Pixels, regions: list[_Region]) -> tuple[Pixels, Singles]:
    """Renumber the regions that are sufficiently visible; the others become IGNORED."""
    numbers = np.zeros(256, dtype=np.uint8)
    kept: list[Singles] = []
    counts = np.bincount(mask.ravel(), minlength=256)
    for number, (box, inside) in enumerate(regions, start=1):
        large_enough = counts[number] >= max(_MIN_REGION_PX, 0.06 * float(np.prod(box[2:] - box[:2])))
        if large_enough and inside >= _MIN_INSIDE_SHARE:
            kept.append(box)
            numbers[number] = len(kept)
        else:
            numbers[number] = IGNORED
    return numbers[mask], np.array(kept, dtype=np.float32).reshape(-1, 4)
