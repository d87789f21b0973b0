"""Clothes of the forearm: sleeves and straps, as tubes around the axis from the wrist to the elbow."""

from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Bools, Doubles, Ints, Singles
from unclasp.synth.material import BAND, CLOTH
from unclasp.synth.scene import PosedHand

_SIDES: Final = 28
_ANGLES: Final = np.arange(_SIDES) * (2 * np.pi / _SIDES)
"""(28,) of the corners of a tube's rings, radians."""
_ARM_CELLS: Final = 48
_CELL_MM: Final = 12.0
_REACH_MM: Final = 520.0


class Wardrobe(NamedTuple):
    """The clothes of one picture, not yet fitted to an arm. Colours are linear RGB."""

    sleeve_start: float | None
    """Distance from the wrist to the cuff in mm; None for bare arms."""
    looseness: float
    """Gap between the cloth and the arm, mm."""
    cuff: float
    """Length of the cuff, mm; 0 for none."""
    folds: float
    """Height of the folds, mm."""
    colours: Singles
    """(2, 3) colours of the sleeve."""
    pattern: Singles
    """(5,) see `material.Surface`."""
    strap_start: float | None
    """Distance from the wrist to a watch or bracelet, mm; None for none."""
    strap_width: float
    """mm."""
    strap_hand: int
    """The hand that wears it: 0 the first hand of the scene, 1 the second."""
    dial: bool
    """Whether the strap carries a watch."""
    band: Singles
    """(2, 3) colours of strap and dial."""
    phase: float
    """Phase of the folds, radians."""


class Tube(NamedTuple):
    """A mesh around a forearm. Camera frame, mm."""

    vertices: Singles
    """(V, 3)."""
    normals: Singles
    """(V, 3)."""
    texture: Singles
    """(V, 3) mm: texture coordinates around and along the arm, and the phase of the folds, for patterns and noise."""
    mark: Singles
    """(V,) 1 on the dial of a watch."""
    faces: Ints
    """(F, 3)."""
    kind: int
    """CLOTH or BAND."""


def cloth_colour(rng: np.random.Generator) -> Singles:
    """Draw the linear RGB of a textile; black, grey, white, blue and muted colours are common."""
    kind = rng.random()
    if kind < 0.5:
        rgb = np.full(3, rng.choice([0.02, 0.05, 0.12, 0.35, 0.7]) * rng.uniform(0.6, 1.3)) * (
            1 + rng.normal(0, 0.04, 3)
        )
    elif kind < 0.7:
        rgb = np.array([0.06, 0.09, 0.17]) * rng.uniform(0.3, 2.2) * (1 + rng.normal(0, 0.15, 3))
    else:
        grey = rng.uniform(0.05, 0.6)
        rgb = grey * np.exp(rng.normal(0, rng.uniform(0.1, 0.9), 3))
    return np.clip(rgb, 0.012, 0.85).astype(np.float32)


def sample_wardrobe(rng: np.random.Generator) -> Wardrobe:
    """Draw the clothes of one picture."""
    kind = rng.random()
    start = None
    if kind < 0.45:
        start = rng.uniform(14, 45)
    elif kind < 0.62:
        start = rng.uniform(45, 220)
    strap = rng.random() < 0.16 and (start is None or start > 75)
    second = cloth_colour(rng)
    first = cloth_colour(rng)
    pattern = np.array([
        rng.choice(3, p=[0.72, 0.14, 0.14]),
        rng.uniform(0.2, 1.2),
        rng.uniform(0.2, 1.2),
        rng.uniform(0.05, 0.3),
        rng.uniform(0.1, 0.45),
    ])  # fmt: skip
    return Wardrobe(
        sleeve_start=start,
        looseness=float(rng.uniform(1.5, 4.0) if rng.random() < 0.5 else rng.uniform(3, 14)),
        cuff=float(rng.uniform(12, 50) if rng.random() < 0.5 else 0.0),
        folds=float(rng.uniform(0.0, 3.0)),
        colours=np.stack([first, second if rng.random() < 0.6 else np.clip(first * 2.2, 0.01, 0.9)]),
        pattern=pattern.astype(np.float32),
        strap_start=float(rng.uniform(16, 40)) if strap else None,
        strap_width=float(rng.uniform(4, 22)),
        strap_hand=int(rng.integers(2)),
        dial=bool(rng.random() < 0.6),
        band=np.stack([cloth_colour(rng), cloth_colour(rng)]),
        phase=float(rng.uniform(0, 6.28)),
    )


class _Arm(NamedTuple):
    wrist: Doubles
    axis: Singles
    across: Doubles
    up: Doubles
    radius: Doubles
    """(_ARM_CELLS,) largest distance of the skin from the axis, per step of `_CELL_MM` from the wrist."""


def _measure(hand: PosedHand, forearm: Bools) -> _Arm:
    """Measure the forearm's axis and its thickness at each distance from the wrist."""
    wrist, axis = hand.wrist, hand.arm_axis
    skin = hand.vertices[forearm].astype(np.float64) - wrist
    along = skin @ axis
    distance = np.sqrt(np.maximum(0, (skin * skin).sum(axis=1) - along * along))
    cells = np.clip((along / _CELL_MM).astype(np.int64), 0, _ARM_CELLS - 1)
    radius = np.zeros(_ARM_CELLS)
    np.maximum.at(radius, cells, distance)
    filled = np.flatnonzero(radius > 0)
    radius = np.interp(np.arange(_ARM_CELLS), filled, radius[filled])
    across = np.cross(axis, [0.35, 0.2, 0.9])
    across /= np.linalg.norm(across)
    return _Arm(np.asarray(wrist, dtype=np.float64), axis, across, np.cross(axis, across), radius)


def dress(wardrobe: Wardrobe, hand: PosedHand, number: int, *, forearm: Bools, keep_out: Singles) -> list[Tube]:
    """Return the sleeve and the strap of one arm.

    Args:
        wardrobe: The clothes.
        hand: The hand with its forearm.
        number: 0 for the first hand of the scene, 1 for the second.
        forearm: (V,) vertices that belong to the forearm only.
        keep_out: (J, 3) mm, joints of the other hand; a sleeve that would contain one starts beyond it instead.
    """
    arm = _measure(hand, forearm)
    tubes = []
    if wardrobe.strap_start is not None and wardrobe.strap_hand == number:
        tubes.append(_strap(wardrobe, arm, wardrobe.strap_start, hand.dorsal))
    if wardrobe.sleeve_start is not None:
        start = _beyond(keep_out, arm, wardrobe.sleeve_start, wardrobe.looseness)
        if start < 300:
            tubes.append(_sleeve(wardrobe, arm, start))
    return tubes


def _beyond(points: Singles, arm: _Arm, start: float, looseness: float) -> float:
    """Return where a sleeve that begins at `start` must begin so that none of the points (N, 3) is inside it."""
    offset = points.astype(np.float64) - arm.wrist
    along = offset @ arm.axis
    away = np.linalg.norm(offset - along[:, None] * arm.axis, axis=1)
    limit = np.interp(along, np.arange(_ARM_CELLS) * _CELL_MM, arm.radius) + looseness + 14
    inside = (along > start - 15) & (away < limit)
    return max(start, float(along[inside].max()) + 20) if inside.any() else start


def _sleeve(wardrobe: Wardrobe, arm: _Arm, start: float) -> Tube:
    stations = start + (_REACH_MM - start) * np.linspace(0, 1, 22) ** 1.6
    skin = np.interp(stations / _CELL_MM, np.arange(_ARM_CELLS), arm.radius)
    widest = np.maximum.accumulate(skin) + wardrobe.looseness
    along, phase = stations[:, None], wardrobe.phase
    waves = np.sin(along / 13 + 2 * np.sin(_ANGLES + phase)) + np.sin(along / 29 + 3 * _ANGLES + phase)
    ramp = np.clip((stations - start - wardrobe.cuff) / 25, 0, 1)[:, None]
    radius = widest[:, None] + wardrobe.folds * ramp * waves
    if wardrobe.cuff:
        radius = radius + 1.5 * (stations < start + wardrobe.cuff)[:, None]
    # the hem turns inwards, so that one cannot see into the sleeve
    hem = np.full((1, _SIDES), max(3.0, skin[0] * 0.7))
    rings = np.concatenate([hem, radius])
    stations = np.concatenate([[start + 1.5], stations])
    return _tube(arm, stations, rings, kind=CLOTH, mark=np.zeros(_SIDES), phase=phase)


def _strap(wardrobe: Wardrobe, arm: _Arm, start: float, dorsal: Singles) -> Tube:
    width = max(wardrobe.strap_width, 14.0) if wardrobe.dial else wardrobe.strap_width
    stations = start + width * np.array([0.02, 0.0, 0.08, 0.5, 0.92, 1.0, 0.98])
    skin = float(np.interp((start + width) / _CELL_MM, np.arange(_ARM_CELLS), arm.radius))
    towards = np.arctan2(dorsal @ arm.up, dorsal @ arm.across)
    apart = np.abs((_ANGLES - towards + np.pi) % (2 * np.pi) - np.pi)
    dial = (apart < 0.55).astype(np.float64) if wardrobe.dial else np.zeros(_SIDES)
    rise = np.array([-6.0, 1.0, 2.2, 2.4, 2.2, 1.0, -6.0])
    radius = skin + rise[:, None] + 4.0 * dial * (rise > 2)[:, None]
    return _tube(arm, stations, radius, kind=BAND, mark=dial, phase=wardrobe.phase)


def _tube(arm: _Arm, stations: Doubles, radius: Doubles, *, kind: int, mark: Doubles, phase: float) -> Tube:
    """Build a tube from rings of `radius` (R, _SIDES) at the stations (R,) along the arm, with outward faces."""
    spoke = np.cos(_ANGLES)[:, None] * arm.across + np.sin(_ANGLES)[:, None] * arm.up
    grid = arm.wrist + stations[:, None, None] * arm.axis + radius[:, :, None] * spoke
    around = np.roll(grid, -1, axis=1) - np.roll(grid, 1, axis=1)
    along = np.gradient(grid, axis=0)
    normals = np.cross(around, along)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True) + 1e-9
    index = np.arange(radius.size).reshape(radius.shape)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    faces = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    mirrored = np.abs(_ANGLES - np.pi) * 30  # halfway around the arm, so that the pattern has no seam
    texture = np.stack(np.broadcast_arrays(mirrored, stations[:, None], phase * 7.0), axis=-1)
    return Tube(
        grid.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        texture.reshape(-1, 3).astype(np.float32),
        np.broadcast_to(mark, radius.shape).reshape(-1).astype(np.float32),
        faces.astype(np.int32),
        kind,
    )
