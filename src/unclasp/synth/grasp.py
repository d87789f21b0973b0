"""Closing a hand around the other one: every finger flexes until it meets something."""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from unclasp.synth.contact import Indices, Spheres
from unclasp.synth.hand import Floats, RestHand
from unclasp.synth.rig import Rig, place, rig_of

_CLOSE: Final = np.deg2rad(np.array([4.0, 5.5, 3.0]))
_WRAP: Final = np.deg2rad(np.array([0.0, 6.0, 4.0]))
_THUMB: Final = np.deg2rad(np.array([3.0, 3.0, 4.0]))
_MOST: Final = np.deg2rad(np.array([85.0, 100.0, 70.0]))
_MOST_THUMB: Final = np.deg2rad(np.array([48.0, 50.0, 65.0]))
_STEPS: Final = 13
_TOUCH_MM: Final = -0.4
"""Overlap of the spheres at which a finger stops; they are a little thinner than the skin."""


def close_fingers(rest: RestHand, spheres: Spheres, pose: Floats, others: Spheres) -> Floats:
    """Return the pose with its fingers closed until they touch.

    Those that meet nothing close as far as the others do on average.

    Args:
        rest: Shape of the hand that closes.
        spheres: Its spheres in rest pose.
        pose: (26,) radians.
        others: What may be in the way, in the frame of the closing hand as a right hand.
    """
    rig = rig_of(rest, spheres, forearm=True)
    steps, met = _close(rig, pose.copy(), others.centres, others.radii, np.full(5, _STEPS))
    enough = round(steps[met].mean()) if met.any() else 0
    closed = pose.copy()
    _close(rig, closed, others.centres, others.radii, np.where(met, _STEPS, np.minimum(steps, enough)))
    return closed


@njit(cache=True, nogil=True)
def _digit(bone: int) -> int:
    """Return 0 for the thumb to 4 for the pinky, or -1, by the order of the model's bones."""
    if 1 <= bone <= 3:
        return 0
    if 4 <= bone < 20 and bone % 4 > 0:
        return bone // 4
    return -1


@njit(cache=True, nogil=True)
def _in_the_way(rig: Rig, placed: Floats, digit: int, others: Floats, radii: Floats) -> tuple[float, float]:
    """Return a digit's deepest overlap with the other hand, and with its own beyond what is allowed; mm."""
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


@njit(cache=True, nogil=True)
def _flex(pose: Floats, digit: int, wrapping: bool) -> None:
    """Flex one digit a step further: all of it, or its ends only."""
    for k in range(3):
        if digit == 0:
            index = 0 if k == 0 else 2 + k
            if not (wrapping and k == 0):
                pose[index] = max(pose[index], min(pose[index] + _THUMB[k], _MOST_THUMB[k]))
        else:
            index = 2 + 4 * digit + k
            pose[index] = max(pose[index], min(pose[index] + (_WRAP[k] if wrapping else _CLOSE[k]), _MOST[k]))


@njit(cache=True, nogil=True)
def _close(
    rig: Rig, pose: Floats, others: Floats, radii: Floats, limits: Indices
) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Close `pose` in place by at most `limits` steps per digit; return the steps, and whether anything was met."""
    steps, met = np.zeros(5, dtype=np.int64), np.zeros(5, dtype=np.bool_)
    placed = np.empty(rig.centres.shape)
    for digit in range(4, -1, -1):
        for wrapping in (False, True):
            for _ in range(limits[digit]):
                before = pose.copy()
                _flex(pose, digit, wrapping)
                place(rig, pose, placed)
                outer, inner = _in_the_way(rig, placed, digit, others, radii)
                if outer > _TOUCH_MM or inner > 0:
                    met[digit] = met[digit] or outer > _TOUCH_MM
                    pose[:] = before
                    break
                steps[digit] += not wrapping
            if not met[digit]:
                break
    return steps, met
