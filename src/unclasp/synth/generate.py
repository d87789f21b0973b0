"""Generates synthetic samples: sample `index` of the endless set `seed` depends only on (seed, index, options)."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unclasp.arrays import Bools, Pixels, Singles
from unclasp.errors import UnclaspError
from unclasp.hands import JOINTS_PER_HAND, NUM_JOINTS, PARTS_PER_HAND
from unclasp.synth.close_up import Rendered, render
from unclasp.synth.scene import Scene, SceneMix, sample_scene

MIN_HAND_SHARE: Final = 0.009
"""Every present hand covers at least this share of the picture."""
MIN_ON_HAND: Final = 0.75
"""At least this share of the joints lies on a pixel of a hand; otherwise forearms or objects hide too much."""
MAX_OUTSIDE: Final = 0.04
"""At most this share of the joints lies outside the picture."""
_ATTEMPTS: Final = 100


class Generated(NamedTuple):
    """One synthetic picture with its ground truth."""

    image: Pixels
    """(H, W, 3) RGB."""
    parts: Pixels
    """(H, W) part class 0-32."""
    depth: Singles
    """(H, W) mm, including forearms, clothes and held things; inf for the background."""
    joints_cam: Singles
    """(42, 3) mm, camera frame; 0 for an absent hand."""
    valid: Bools
    """(42,) whether the joint's hand is present."""
    focal: Singles
    """(2,) pixels."""
    princpt: Singles
    """(2,) pixels, pixel centres at integers."""
    hand_type: Bools
    """(2,) whether the right and the left hand are present."""
    kind: str
    """Kind of scene, as in `SceneMix`."""
    view: str
    """Kind of view."""


def generate(seed: int, index: int, *, size: int = 256, mix: SceneMix | None = None) -> Generated:
    """Generate sample `index` of the set `seed`; it is the same in any order and process.

    On other processors, whose libraries round differently, the annotations are the same, and pixels of some pictures
    differ by a few levels.

    Args:
        seed: Number of the set; training and test sets use different ones.
        index: Number of the sample.
        size: Width and height of the picture in pixels.
        mix: Probabilities of the kinds of scenes and views.

    Raises:
        UnclaspError: No acceptable picture was found.
    """
    mix = SceneMix() if mix is None else mix
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, index, attempt])
        scene = sample_scene(rng, mix, size=size)
        pixels = joint_pixels(scene)
        if outside_share(pixels, size) > MAX_OUTSIDE:
            continue
        rendered = render(scene, rng)
        if acceptable(scene, rendered, pixels):
            return _collect(scene, rendered)
    raise UnclaspError(
        f"expected a usable view within {_ATTEMPTS} attempts for seed {seed}, index {index}, size {size}; got none: "
        "use a larger size or another mix"
    )


def joint_pixels(scene: Scene) -> npt.NDArray[np.int64]:
    """Return (J, 2) the column and row of the pixel of each joint of the present hands."""
    return np.rint(scene.project(scene.joints)).astype(np.int64)


def outside_share(pixels: npt.NDArray[np.int64], size: int) -> float:
    """Return the share of joints outside a square picture."""
    return float(((pixels < 0) | (pixels >= size)).any(axis=1).mean())


def acceptable(scene: Scene, rendered: Rendered, pixels: npt.NDArray[np.int64]) -> bool:
    """Return whether every hand is large enough and enough joints lie on a hand."""
    parts = rendered.parts
    counts = np.bincount(parts.ravel(), minlength=1 + 2 * PARTS_PER_HAND)
    for hand in scene.hands:
        first = 1 + PARTS_PER_HAND * (hand.side == "left")
        if counts[first : first + PARTS_PER_HAND].sum() < MIN_HAND_SHARE * parts.size:
            return False
    height, width = parts.shape
    inside = ((pixels >= 0) & (pixels < [width, height])).all(axis=1)
    columns, rows = np.clip(pixels, 0, [width - 1, height - 1]).T
    return float((inside & (parts[rows, columns] > 0)).mean()) >= MIN_ON_HAND


def _collect(scene: Scene, rendered: Rendered) -> Generated:
    joints = np.zeros((NUM_JOINTS, 3), dtype=np.float32)
    valid = np.zeros(NUM_JOINTS, dtype=np.bool_)
    for hand in scene.hands:
        start = JOINTS_PER_HAND * (hand.side == "left")
        joints[start : start + JOINTS_PER_HAND] = hand.joints
        valid[start : start + JOINTS_PER_HAND] = True
    return Generated(
        image=rendered.image,
        parts=rendered.parts,
        depth=rendered.depth,
        joints_cam=joints,
        valid=valid,
        focal=np.asarray(scene.focal, dtype=np.float32),
        princpt=np.asarray(scene.princpt, dtype=np.float32),
        hand_type=valid[[0, JOINTS_PER_HAND]],
        kind=scene.kind,
        view=scene.view,
    )
