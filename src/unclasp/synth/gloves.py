"""Gloves for the hands of one picture: work, winter and hygiene gloves, with ribbed cuffs, prints or bare fingertips.

They replace the colours of `skin` and are offset from the skin by the thickness of the cloth. Lengths refer to the mean
hand, on which everything is painted.
"""

from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Singles
from unclasp.synth.clothes import cloth_colour
from unclasp.synth.material import noise_table, sample_noise
from unclasp.synth.skin import SkinLook, canvas

_PRINT_CELLS_PER_MM: Final = 0.09
_HEM_MM: Final = 3.0
_DARK_PROBABILITY: Final = 0.35
"""Probability that gloves are darker than other clothes."""


class Gloves(NamedTuple):
    """A pair of gloves. Colours are linear RGB; lengths are mm of the mean hand."""

    back: Singles
    """(3,) colour of the back."""
    palm: Singles
    """(3,) colour of the palm, which is coated on some gloves."""
    cuff: Singles
    """(3,) colour of the cuff."""
    print: Singles
    """(3,) colour of letters and badges on the back."""
    printed: float | None
    """Noise threshold (unit variance) above which the back is printed; None for no print."""
    cuff_start: float
    """Distance in mm from the wrist towards the elbow at which the cuff begins."""
    end: float
    """Distance in mm from the wrist towards the elbow at which the glove ends."""
    ribs: float
    """Spacing of the cuff's ribs in mm; 0 for none."""
    bare_from: float | None
    """Distance in mm along the fingers from which they are bare; None for whole gloves."""
    thickness: float
    """mm."""
    roughness: float
    specular: float
    offset: Singles
    """(3,) offset of the prints in the noise."""


def sample_gloves(rng: np.random.Generator) -> Gloves:
    """Draw a pair of gloves."""
    dark, thin = rng.random() < _DARK_PROBABILITY, rng.random() < 0.25
    back = cloth_colour(rng) * np.float32(rng.uniform(0.1, 0.5) if dark else 1.0)
    palm = cloth_colour(rng) if rng.random() < 0.4 and not thin else back
    cuff = cloth_colour(rng) if rng.random() < 0.5 else np.clip(back * rng.uniform(0.5, 2.5), 0.01, 0.9)
    bright = cloth_colour(rng) if rng.random() < 0.5 else np.full(3, rng.uniform(0.4, 0.85))
    return Gloves(
        back=back,
        palm=palm,
        cuff=np.asarray(cuff, dtype=np.float32),
        print=np.asarray(bright, dtype=np.float32),
        printed=float(rng.uniform(0.7, 1.5)) if rng.random() < 0.4 and not thin else None,
        cuff_start=float(rng.uniform(-12, 20)),
        end=float(rng.uniform(35, 130)),
        ribs=float(rng.uniform(5, 14)) if rng.random() < 0.5 and not thin else 0.0,
        bare_from=float(rng.uniform(8, 40)) if rng.random() < 0.08 else None,
        thickness=float(rng.uniform(0.1, 0.5) if thin else rng.uniform(0.7, 2.5)),
        roughness=float(rng.uniform(0.35, 0.6) if thin else rng.uniform(0.6, 0.9)),
        specular=float(rng.uniform(0.8, 2.5) if thin else rng.uniform(0.2, 0.8)),
        offset=rng.uniform(0, 32, 3).astype(np.float32),
    )


def put_on(gloves: Gloves, look: SkinLook) -> SkinLook:
    """Return the look of hands in these gloves; bare parts keep their colour but lose their creases."""
    paint = canvas()
    behind = -paint.rest[:, 1]
    palm = paint.palm[:, None]
    cloth = gloves.back * (1 - palm) + gloves.palm * palm
    if gloves.printed is not None:
        letters = sample_noise(noise_table(), paint.rest * _PRINT_CELLS_PER_MM + gloves.offset) > gloves.printed
        cloth = np.where((letters & (paint.palm < 0.4))[:, None], gloves.print, cloth)
    cuff = np.broadcast_to(gloves.cuff, cloth.shape)
    if gloves.ribs:
        raised = np.sin(behind * (2 * np.pi / gloves.ribs)) > 0
        cuff = np.where(raised[:, None], cuff, 0.5 * cuff)
    cloth = np.where((behind > gloves.cuff_start)[:, None], cuff, cloth)
    worn = np.clip((gloves.end - behind) / _HEM_MM, 0, 1)
    if gloves.bare_from is not None:
        worn = worn * np.clip((gloves.bare_from - paint.arc) / _HEM_MM, 0, 1)
    albedo = look.albedo * (1 - worn[:, None]) + cloth * worn[:, None]
    strengths = look.strengths._replace(
        bump=(1 if look.gloved else 3) * look.strengths.bump,
        crease=0.0,
        vein=0.0,
        roughness=gloves.roughness,
        specular=gloves.specular,
    )
    if gloves.bare_from is None:
        strengths = strengths._replace(nail_tint=(1.0, 1.0, 1.0), nail_paint=0.0)
    return look._replace(
        albedo=albedo.astype(np.float32), strengths=strengths, gloved=True,
        thickness=(gloves.thickness * worn).astype(np.float32),
    )  # fmt: skip
