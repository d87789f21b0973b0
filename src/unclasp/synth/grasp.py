"""Closes a hand around the other one: every finger flexes until it touches something."""

from typing import Final

import numpy as np

from unclasp.arrays import Bools, Doubles
from unclasp.synth.compiled import compiled
from unclasp.synth.contact import Indices, Spheres
from unclasp.synth.hand import RestHand
from unclasp.synth.rig import Rig, place, rig_of

_CLOSE: Final = np.deg2rad(np.array([4.0, 5.5, 3.0]))
"""Flexion per step of a finger's base, middle and last joint, radians."""
_WRAP: Final = np.deg2rad(np.array([0.0, 6.0, 4.0]))
"""The same once the finger has touched something."""
_THUMB: Final = np.deg2rad(np.array([3.0, 3.0, 4.0]))
_MAX_FLEXION: Final = np.deg2rad(np.array([85.0, 100.0, 70.0]))
_MAX_THUMB_FLEXION: Final = np.deg2rad(np.array([48.0, 50.0, 65.0]))
_MAX_STEPS: Final = 13
_TOUCH_MM: Final = -0.4
"""Overlap of the spheres at which a finger stops; negative because spheres are a little thinner than the hand."""


def close_fingers(rest: RestHand, spheres: Spheres, pose: Doubles, others: Spheres) -> Doubles:
    """Return the pose with its fingers closed until they touch the other hand.

    Fingers that touch nothing close as far as the others do on average.

    Args:
        rest: Shape of the hand that closes.
        spheres: Its spheres in rest pose.
        pose: (26,) radians.
        others: Spheres of the other hand, in the frame of the closing hand as a right hand.
    """
    rig = rig_of(rest, spheres, forearm=True)
    steps, met = _close(rig, pose.copy(), others.centres, others.radii, np.full(5, _MAX_STEPS))
    mean_steps = round(steps[met].mean()) if met.any() else 0
    closed = pose.copy()
    _close(rig, closed, others.centres, others.radii, np.where(met, _MAX_STEPS, np.minimum(steps, mean_steps)))
    return closed


@compiled
def _digit(bone: int) -> int:
    """Return the digit of a bone, from 0, the thumb, to 4, the pinky; -1 for other bones."""
    if 1 <= bone <= 3:
        return 0
    if 4 <= bone < 20 and bone % 4 > 0:
        return bone // 4
    return -1


@compiled
def _overlaps(rig: Rig, placed: Doubles, digit: int, others: Doubles, radii: Doubles) -> tuple[float, float]:
    """Return a digit's deepest overlap in mm with the other hand, and with its own hand beyond the allowed one."""
    outer, inner = -1e9, -1e9
    for i in range(len(placed)):
        if _digit(rig.bone[i]) != digit:
            continue
        for j in range(len(others)):
            x, y, z = placed[i, 0] - others[j, 0], placed[i, 1] - others[j, 1], placed[i, 2] - others[j, 2]
            outer = max(outer, rig.radii[i] + radii[j] - np.sqrt(x * x + y * y + z * z))
        for j in range(len(placed)):
            allowed = min(rig.allowed[i, j], rig.allowed[j, i])
            if allowed < 1e9:
                x, y, z = placed[i, 0] - placed[j, 0], placed[i, 1] - placed[j, 1], placed[i, 2] - placed[j, 2]
                inner = max(inner, rig.radii[i] + rig.radii[j] - allowed - np.sqrt(x * x + y * y + z * z))
    return outer, inner


@compiled
def _flex(pose: Doubles, digit: int, wrapping: bool) -> None:
    """Flex one digit by a step: all joints, or, if `wrapping`, all but the base."""
    for k in range(3):
        if digit == 0:
            index = 0 if k == 0 else 2 + k
            if not (wrapping and k == 0):
                pose[index] = max(pose[index], min(pose[index] + _THUMB[k], _MAX_THUMB_FLEXION[k]))
        else:
            index = 2 + 4 * digit + k
            pose[index] = max(pose[index], min(pose[index] + (_WRAP[k] if wrapping else _CLOSE[k]), _MAX_FLEXION[k]))


@compiled
def _close(rig: Rig, pose: Doubles, others: Doubles, radii: Doubles, limits: Indices) -> tuple[Indices, Bools]:
    """Close `pose` in place by at most `limits` steps per digit.

    Returns:
        Per digit, the number of steps and whether it touched the other hand.
    """
    steps, met = np.zeros(5, dtype=np.int64), np.zeros(5, dtype=np.bool_)
    placed = np.empty(rig.centres.shape)
    for digit in range(4, -1, -1):
        for wrapping in (False, True):
            for _ in range(limits[digit]):
                before = pose.copy()
                _flex(pose, digit, wrapping)
                place(rig, pose, placed)
                outer, inner = _overlaps(rig, placed, digit, others, radii)
                if outer > _TOUCH_MM or inner > 0:
                    met[digit] = met[digit] or outer > _TOUCH_MM
                    pose[:] = before
                    break
                steps[digit] += not wrapping
            if not met[digit]:
                break
    return steps, met
