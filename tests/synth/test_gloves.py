"""Gloves cover only the hands, come in all kinds, and stay dark in the picture."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="rendering is an extra")

from unclasp.synth.gloves import put_on, sample_gloves
from unclasp.synth.regions import IGNORED
from unclasp.synth.skin import canvas, sample_skin
from unclasp.synth.whole import generate_whole


def test_gloves_change_the_hands_alone() -> None:
    """Regions and pictures without hands do not change, and a share of 0 changes nothing."""
    for index in range(12):
        bare, gloved = (generate_whole(9, index, size=160, gloved=share) for share in (0.0, 1.0))
        np.testing.assert_array_equal(bare.boxes, gloved.boxes)
        assert (bare.image != gloved.image).any() == (len(bare.boxes) > 0 or (bare.mask == IGNORED).any())
        assert (bare.mask != gloved.mask).mean() < 0.04, "they are a little thicker"


def test_gloves_cover_the_hand_and_leave_the_arm_bare() -> None:
    paint, look = canvas(), sample_skin(np.random.default_rng(1))
    gloves = sample_gloves(np.random.default_rng(2))._replace(
        back=np.full(3, 0.02, np.float32), palm=np.full(3, 0.4, np.float32), cuff=np.array([0.5, 0.1, 0.1], np.float32),
        printed=None, cuff_start=5.0, end=60.0, ribs=0.0, bare_from=None, thickness=2.0,
    )  # fmt: skip
    worn = put_on(gloves, look)
    behind = -paint.rest[:, 1]
    np.testing.assert_array_equal(worn.albedo[behind > 65], look.albedo[behind > 65])
    np.testing.assert_allclose(worn.albedo[(behind < 0) & (paint.palm < 0.01)], 0.02, atol=0.01)
    np.testing.assert_allclose(worn.albedo[(behind < 0) & (paint.palm > 0.99)], 0.4, atol=0.01)
    assert (np.abs(worn.albedo[(behind > 10) & (behind < 50)] - gloves.cuff) < 1e-6).all()
    assert worn.gloved and worn.thickness is not None
    assert worn.thickness[behind < 0].min() == 2 and worn.thickness[behind > 65].max() == 0
    bare = put_on(gloves._replace(bare_from=20.0), look)
    np.testing.assert_array_equal(bare.albedo[paint.arc > 25], look.albedo[paint.arc > 25])
    assert (look.colour == worn.colour).all(), "faces stay as they are"


def test_gloves_of_all_kinds_come() -> None:
    drawn = [sample_gloves(np.random.default_rng(seed)) for seed in range(200)]
    backs = np.array([gloves.back.mean() for gloves in drawn])
    assert (backs < 0.03).mean() > 0.15 and (backs > 0.3).mean() > 0.15
    assert 0.1 < np.mean([(gloves.back != gloves.palm).any() for gloves in drawn]) < 0.6
    assert any(gloves.bare_from for gloves in drawn) and any(gloves.printed for gloves in drawn)


def test_dark_gloves_stay_dark() -> None:
    """Cameras do not expose for gloves."""
    dark, light = (np.full(3, value, np.float32) for value in (0.02, 0.7))
    shades = []
    for colour in (dark, light):
        gloves = sample_gloves(np.random.default_rng(3))._replace(
            back=colour, palm=colour, printed=None, bare_from=None
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("unclasp.synth.whole.sample_gloves", lambda rng, worn=gloves: worn)
            pictures = [generate_whole(9, index, size=160, gloved=1.0) for index in range(12)]
        shades.append(
            np.median(
                [
                    whole.image[(whole.mask > 0) & (whole.mask < IGNORED)].mean()
                    for whole in pictures
                    if len(whole.boxes)
                ]
            )
        )
    assert shades[0] < 0.5 * shades[1]
