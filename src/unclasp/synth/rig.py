"""The arrays of a hand that the numba-compiled pose searches need."""

from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Doubles
from unclasp.synth.compiled import compiled
from unclasp.synth.contact import Indices, Spheres, sphere_layout
from unclasp.synth.hand import RestHand
from unclasp.synth.pose import bones_of

_FOREARM: Final = 20
"""The first of the forearm's bones."""


class Rig(NamedTuple):
    """The bones and the spheres of a shape in rest pose, as a right hand."""

    heads: Doubles
    """(B, 3) mm."""
    tails: Doubles
    """(B, 3) mm."""
    axes: Doubles
    """(5, 3) flexion axes of the fingers."""
    centres: Doubles
    """(S, 3) mm."""
    radii: Doubles
    """(S,) mm."""
    bone: Indices
    """(S,) the bone that each sphere moves with."""
    allowed: Doubles
    """(S, S) maximum overlap in mm of two spheres of one hand."""


def rig_of(rest: RestHand, spheres: Spheres, *, forearm: bool) -> Rig:
    """Collect the arrays, with or without the spheres of the forearm."""
    layout = sphere_layout()
    used = np.flatnonzero((layout.bone < _FOREARM) | forearm)
    return Rig(
        heads=rest.heads, tails=rest.tails, axes=rest.axes, centres=spheres.centres[used], radii=spheres.radii[used],
        bone=layout.bone[used], allowed=layout.apart[np.ix_(used, used)],
    )  # fmt: skip


@compiled
def place(rig: Rig, pose: Doubles, placed: Doubles) -> None:
    """Write the centres of the posed spheres, (S, 3) mm, to `placed`."""
    transforms, _ = bones_of(rig.heads, rig.tails, rig.axes, pose)
    for s in range(len(rig.bone)):
        x, y, z = rig.centres[s, 0], rig.centres[s, 1], rig.centres[s, 2]
        for k in range(3):
            row = transforms[rig.bone[s], k]
            placed[s, k] = row[0] * x + row[1] * y + row[2] * z + row[3]
