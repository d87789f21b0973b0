"""A scene becomes a picture of hands, as large as a pose network wants them, with labels and depth."""

from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from unclasp.synth import background, effects
from unclasp.synth.light import sample_sky
from unclasp.synth.raster import Floats
from unclasp.synth.render import Drawn, draw_hands
from unclasp.synth.scene import Scene
from unclasp.synth.surroundings import Party, draw_surroundings, hold_something, sample_light

_ON_PERSON: Final = {"frontal": 0.65, "lowered": 0.75, "selfie": 0.65, "reaching": 0.65, "any": 0.35}
"""How often the hands hang on a whole person, by view."""
_HOLDING: Final = 0.14
_UNSEEN: Final = 0.35
"""How often a sleeve has the colours of what is behind it, so that the hand alone tells whose it is."""
_FOREARM_MM: Final = (215.0, 265.0)
"""Where the rendered forearm ends and the drawn arm begins."""


class Rendered(NamedTuple):
    """A picture and what is known of it per pixel."""

    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    parts: npt.NDArray[np.uint8]
    """(H, W) part class at the pixel's centre: 0 background, forearm, clothes and things, 1-16 right, 17-32 left
    hand."""
    depth: Floats
    """(H, W) mm at the pixel's centre, inf where nothing is."""


def render(scene: Scene, rng: np.random.Generator, *, supersample: int = 2) -> Rendered:
    """Draw a scene with a random look: skin, clothes, light, background, people, things held, camera.

    Args:
        scene: Posed hands and camera.
        rng: Source of all that is random; the result is a function of its state.
        supersample: Samples per pixel side on contours.
    """
    sky = sample_sky(rng, view=scene.view)
    on_person = rng.random() < _ON_PERSON.get(scene.view, 0.0)
    arm = rng.uniform(*_FOREARM_MM) if on_person else None
    drawn = draw_hands(scene, rng, supersample=supersample, sky=sky, arm_mm=arm)
    if drawn.wardrobe.sleeve_start is not None and rng.random() < _UNSEEN:
        _fade_sleeves(drawn, rng.uniform(0.75, 1.0))
    party = Party(scene, drawn, sample_light(rng, sky))
    if on_person:
        backdrop, brightness = draw_surroundings(rng, scene.size, [party], sky, own=False)
        backdrop = backdrop * np.float32(brightness)
    else:
        backdrop = background.paint(
            rng, scene=scene, setting=sky.setting, skin=drawn.look.colour, cloth=drawn.wardrobe.colours[0]
        )
    if rng.random() < _HOLDING:
        hold_something(rng, drawn.coverage, drawn.parts, party)
    image = effects.photograph(rng, drawn.coverage, backdrop, setting=sky.setting)
    return Rendered(image, drawn.parts, drawn.depth)


def _fade_sleeves(drawn: Drawn, share: float) -> None:
    """Let the background through forearms and clothes, in place, as a black sleeve before a black wall does."""
    hand = cv2.dilate((drawn.parts > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    sleeves = (drawn.parts == 0) & (np.isfinite(drawn.depth) | ~hand)  # with their soft border, not with the hand's
    drawn.coverage[:] *= (1 - share * cv2.blur(sleeves.astype(np.float32), (3, 3)))[..., None]
