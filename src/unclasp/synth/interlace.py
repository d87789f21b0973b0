"""Interlaces fingers: places two hands with their fingers crossed, and resolves the overlaps by random search.

The hands face each other, shifted by half a finger's spacing along the knuckles, and are opened towards the wrists by
some angle. Then fingers, thumbs and the left hand as a whole are perturbed at random, one after the other, with
shrinking steps; changes that lower the overlap of the spheres are kept.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from unclasp.arrays import Doubles
from unclasp.synth.compiled import compiled
from unclasp.synth.contact import Spheres
from unclasp.synth.hand import RestHand
from unclasp.synth.pose import choose_templates, draw_pose, jitter, pose_bones
from unclasp.synth.rig import Rig, place, rig_of
from unclasp.synth.rotations import product, rotation_matrix

_STRAIGHT: Final = ("flat", "relaxed", "flat_thumb_out")
_BLOCKS: Final = 11
"""Search blocks: the left hand as a whole, and the five digits of each hand."""
_ROUNDS: Final = 34
_HOPELESS_MM: Final = 9.0
"""The search is given up if the overlap is still deeper than this after six rounds."""
_MAX_REMAINING_MM: Final = 3.0
"""Maximum overlap of the spheres, inflated by `-_FREE_MM`, from which the surfaces can still be settled."""
_FREE_MM: Final = -1.0
"""Overlap that costs nothing; negative, so it is a required gap."""
_LOW: Final = np.deg2rad(np.array([-4.0, -15.0, 0.0, 0.0]))
_HIGH: Final = np.deg2rad(np.array([24.0, 90.0, 105.0, 75.0]))
_THUMB_LOW: Final = np.deg2rad(np.array([-20.0, -38, -15, -10, -15]))
_THUMB_HIGH: Final = np.deg2rad(np.array([50.0, 22, 35, 55, 70]))


@dataclass(frozen=True)
class Woven:
    """Two poses, and the left hand's transform into the right hand's frame: `rotation @ x + translation`."""

    right: Doubles
    left: Doubles
    rotation: Doubles
    translation: Doubles


def weave(rng: np.random.Generator, rest: RestHand, spheres: Spheres) -> Woven | None:
    """Draw two hands with interlaced fingers, or return None if the search leaves too much overlap.

    Args:
        rng: Random generator.
        rest: The shape of both hands.
        spheres: Its spheres in rest pose.
    """
    opening = rng.uniform(0, 115)
    poses = _crossing_poses(rng, opening)
    rotation = rotation_matrix(np.array([1.0, 0, 0]), np.deg2rad(-opening)) @ np.diag([-1.0, 1.0, -1.0])
    axis = rng.standard_normal(3)
    rotation = rotation_matrix(axis / np.linalg.norm(axis), np.deg2rad(abs(rng.normal(0, 7)))) @ rotation
    along = rng.uniform(0.5, 1.15)
    right, left = (_crossing_point(rest, pose, along) for pose in poses)
    knuckles = rest.heads[5] - rest.heads[17]
    shift = rng.choice([-0.5, 0.5]) * knuckles / 3
    translation = right - rotation @ (left * [-1, 1, 1]) + shift
    noise = rng.standard_normal((_ROUNDS * _BLOCKS, 6))
    rig = rig_of(rest, spheres, forearm=False)
    excess = _search(rig, poses, rotation, translation, noise)
    return Woven(poses[0], poses[1], rotation, translation) if excess < _MAX_REMAINING_MM else None


def _crossing_poses(rng: np.random.Generator, opening: float) -> Doubles:
    """Draw the poses (2, 26): fingers flexed at the base so that they cross, and curled around the other hand."""
    pose = draw_pose(rng, choose_templates(rng, _STRAIGHT), spread=rng.uniform(11, 17), noise=0.25)
    crossing = rng.uniform(65, 135)
    base = np.clip((crossing - opening) / 2, 0, 62)
    curl = rng.choice([rng.uniform(5, 25), rng.uniform(30, 85)], p=[0.35, 0.65])
    for finger in range(4):
        bend = curl * rng.uniform(0.85, 1.15)
        row = slice(5 + 4 * finger, 9 + 4 * finger)
        pose[row] = np.deg2rad([0, base + rng.normal(0, 4), bend, 0.55 * bend]) + pose[row] * [1, 0, 0, 0]
    pose[0:2] += np.deg2rad(rng.normal([4, 0], 7))
    other = jitter(rng, pose, 2.5)
    other[23:] = np.deg2rad(
        [np.clip(rng.normal(-8, 14), -45, 45), np.clip(rng.normal(3, 7), -15, 25), rng.uniform(-40, 40)]
    )
    return np.stack([pose, other])


def _crossing_point(rest: RestHand, pose: Doubles, along: float) -> Doubles:
    joints = pose_bones(rest, pose)[1]
    bases, middles = joints[[7, 11, 15, 19]].mean(axis=0), joints[[6, 10, 14, 18]].mean(axis=0)
    return np.asarray(bases + along * (middles - bases))


@compiled
def _move(own: Doubles, rotation: Doubles, translation: Doubles, moved: Doubles) -> None:
    """Mirror a left hand's spheres and transform them to the right hand's frame."""
    for s in range(len(own)):
        for k in range(3):
            moved[s, k] = (
                -rotation[k, 0] * own[s, 0] + rotation[k, 1] * own[s, 1] + rotation[k, 2] * own[s, 2] + translation[k]
            )


@compiled
def _between(a: Doubles, b: Doubles, radii: Doubles) -> tuple[float, float]:
    """Return the sum of squared overlaps of two hands' spheres, and the deepest one."""
    total, deepest = 0.0, 0.0
    for i in range(len(radii)):
        for j in range(len(radii)):
            reach = radii[i] + radii[j] - _FREE_MM
            x, y, z = b[j, 0] - a[i, 0], b[j, 1] - a[i, 1], b[j, 2] - a[i, 2]
            square = x * x + y * y + z * z
            if square < reach * reach:
                depth = reach - np.sqrt(square)
                total += depth * depth
                deepest = max(deepest, depth)
    return total, deepest


@compiled
def _within(rig: Rig, placed: Doubles) -> float:
    """Return the sum of squared overlaps, beyond the allowed ones, between the spheres of one hand."""
    total = 0.0
    for i in range(len(placed)):
        for j in range(len(placed)):
            reach = rig.radii[i] + rig.radii[j] - rig.allowed[i, j]
            if reach > 0:
                x, y, z = placed[j, 0] - placed[i, 0], placed[j, 1] - placed[i, 1], placed[j, 2] - placed[i, 2]
                square = x * x + y * y + z * z
                if square < reach * reach:
                    total += (reach - np.sqrt(square)) ** 2
    return total


@compiled
def _wriggle(poses: Doubles, hand: int, digit: int, noise: Doubles, step: float) -> None:
    """Perturb one digit of a pose within its limits."""
    if digit == 0:
        for k in range(5):
            angle = poses[hand, k] + noise[k] * step * 0.12
            poses[hand, k] = min(max(angle, _THUMB_LOW[k]), _THUMB_HIGH[k])
        return
    start = 1 + 4 * digit
    for k in range(4):
        change = noise[min(k, 2)] * step * (0.07 if k == 0 else 0.1 if k < 3 else 0.06)
        poses[hand, start + k] = min(max(poses[hand, start + k] + change, _LOW[k]), _HIGH[k])


@compiled
def _search(rig: Rig, poses: Doubles, rotation: Doubles, translation: Doubles, noise: Doubles) -> float:
    """Reduce the overlap by changing poses, rotation and translation in place; return the deepest remaining one."""
    start, first = translation.copy(), poses.copy()
    own, moved, selves = np.empty((2, *rig.centres.shape)), np.empty(rig.centres.shape), np.empty(2)
    for hand in range(2):
        place(rig, poses[hand], own[hand])
        selves[hand] = _within(rig, own[hand])
    best, deepest = 1e18, 1e9
    for row in range(len(noise)):
        if row % _BLOCKS == 0 and row > 0 and (deepest < 0.4 or (row == 6 * _BLOCKS and deepest > _HOPELESS_MM)):
            break
        block, step = row % _BLOCKS, 1.3 - 1.0 * row / len(noise)
        old_poses, old_rotation, old_translation = poses.copy(), rotation.copy(), translation.copy()
        old_own, old_selves = own.copy(), selves.copy()
        if block == 0:
            axis = noise[row, :3] / np.sqrt((noise[row, :3] ** 2).sum())
            rotation[:] = product(rotation_matrix(axis, step * 0.05 * noise[row, 0]), rotation)
            translation += noise[row, 3:] * step * 2.0
        else:
            hand = (block - 1) // 5
            _wriggle(poses, hand, (block - 1) % 5, noise[row], step)
            place(rig, poses[hand], own[hand])
            selves[hand] = _within(rig, own[hand])
        _move(own[1], rotation, translation, moved)
        overlaps, deep = _between(own[0], moved, rig.radii)
        away = ((translation - start) ** 2).sum() / 40.0 + 12.0 * ((poses - first) ** 2).sum()
        energy = overlaps + selves.sum() + away
        if energy < best:
            best, deepest = energy, max(deep, np.sqrt(selves.max()))
        else:
            poses[:], rotation[:], translation[:] = old_poses, old_rotation, old_translation
            own[:], selves[:] = old_own, old_selves
    return deepest


@compiled
def _pierces(p: Doubles, q: Doubles, a: Doubles, b: Doubles, c: Doubles) -> bool:
    """Return whether the segment from p to q intersects a triangle."""
    normal = np.cross(b - a, c - a)
    before, after = ((p - a) * normal).sum(), ((q - a) * normal).sum()
    if before * after >= 0:
        return False
    hit = p + (q - p) * (before / (before - after))
    inside = True
    for u, v in ((a, b), (b, c), (c, a)):
        inside = inside and (np.cross(v - u, hit - u) * normal).sum() >= 0
    return inside


@compiled
def fingers_between(a: Doubles, b: Doubles) -> int:
    """Count the fingers of b that pass through the gaps between neighbouring fingers of a.

    Args:
        a: (21, 3) joints in mm.
        b: (21, 3) joints in the same frame.
    """
    count = 0
    for finger in range(1, 5):
        through = False
        for neighbour in range(1, 4):
            for bone in range(3):
                p, q = b[4 * finger + 3 - bone], b[4 * finger + 2 - bone]
                for k in range(3):
                    first, second = 4 * neighbour + 3 - k, 4 * neighbour + 7 - k
                    through = through or _pierces(p, q, a[first], a[first - 1], a[second])
                    through = through or _pierces(p, q, a[second], a[first - 1], a[second - 1])
        count += through
    return count
