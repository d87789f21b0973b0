"""Renders a scene as a close-up of hands, the pose network's training data, with part labels and depth."""

from typing import Final, NamedTuple

import cv2
import numpy as np

from unclasp.arrays import Pixels, Singles
from unclasp.synth import background, effects
from unclasp.synth.light import sample_sky
from unclasp.synth.render import FOREARM_MM, Drawn, draw_hands
from unclasp.synth.scene import Scene
from unclasp.synth.surroundings import Party, draw_surroundings, hold_something, sample_light

_PERSON_PROBABILITY: Final = {"frontal": 0.65, "lowered": 0.75, "selfie": 0.65, "reaching": 0.65, "any": 0.35}
"""Probability, by view, that the whole person whose hands they are is drawn."""
_HOLDING_PROBABILITY: Final = 0.14
"""Probability, per picture, that something is held."""
_FADED_SLEEVE_PROBABILITY: Final = 0.35
"""Probability that a sleeve blends into the background, so that only the hand itself shows its side."""


class Rendered(NamedTuple):
    """A picture with its ground truth per pixel."""

    image: Pixels
    """(H, W, 3) RGB."""
    parts: Pixels
    """(H, W) part class at the pixel's centre: 0 background, forearm, clothes and things, 1-16 right, 17-32 left
    hand."""
    depth: Singles
    """(H, W) mm at the pixel's centre, inf where nothing is."""


def render(scene: Scene, rng: np.random.Generator, *, supersample: int = 2) -> Rendered:
    """Render a scene with random skin, clothes, light, background, people, held objects and camera effects.

    Args:
        scene: Posed hands and camera.
        rng: Random generator; the result depends on its state only.
        supersample: Samples per pixel side on contours.
    """
    sky = sample_sky(rng, view=scene.view)
    on_person = rng.random() < _PERSON_PROBABILITY.get(scene.view, 0.0)
    arm = rng.uniform(*FOREARM_MM) if on_person else None
    drawn = draw_hands(scene, rng, supersample=supersample, sky=sky, arm_mm=arm)
    if drawn.wardrobe.sleeve_start is not None and rng.random() < _FADED_SLEEVE_PROBABILITY:
        _fade_sleeves(drawn, rng.uniform(0.75, 1.0))
    party = Party(scene, drawn, sample_light(rng, sky))
    if on_person:
        backdrop, brightness = draw_surroundings(rng, scene.size, [party], sky, own=False)
        backdrop = backdrop * np.float32(brightness)
    else:
        backdrop = background.paint(
            rng, scene=scene, setting=sky.setting, skin=drawn.look.colour, cloth=drawn.wardrobe.colours[0]
        )
    if rng.random() < _HOLDING_PROBABILITY:
        hold_something(rng, drawn.coverage, drawn.parts, party)
    image = effects.photograph(rng, drawn.coverage, backdrop, setting=sky.setting)
    return Rendered(image, drawn.parts, drawn.depth)


def _fade_sleeves(drawn: Drawn, share: float) -> None:
    """Fade forearms and clothes into the background, in place, like a black sleeve before a black wall."""
    hand = cv2.dilate((drawn.parts > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    sleeves = (drawn.parts == 0) & (np.isfinite(drawn.depth) | ~hand)  # includes their soft border but not the hand's
    drawn.coverage[:] *= (1 - share * cv2.blur(sleeves.astype(np.float32), (3, 3)))[..., None]
