"""Renders the hands of a scene, with part labels and depth, without background."""

from typing import Final, NamedTuple

import numpy as np

from unclasp.arrays import Pixels, Singles
from unclasp.synth.clothes import Tube, Wardrobe, dress, sample_wardrobe
from unclasp.synth.gloves import Gloves, put_on
from unclasp.synth.hand import HandModel
from unclasp.synth.light import Sky, light_hands
from unclasp.synth.material import AMBIENT, COLUMNS, MARK, PALM, SKIN, Surface, noise_table
from unclasp.synth.raster import Raster, project_to_grid, rasterize
from unclasp.synth.scene import PosedHand, Scene
from unclasp.synth.shade import Lights, Mesh, label_parts, shade
from unclasp.synth.skin import Canvas, SkinLook, canvas, sample_skin

FOREARM_MM: Final = (215.0, 265.0)
"""Range of the distance from the wrist at which the rendered forearm ends where the rest of the arm is drawn."""
_SHADOW_MARGIN_MM: Final = 60.0
_SHADOW_RADIUS_MM: Final = 150.0


class Drawn(NamedTuple):
    """Hands without background, and the look that they were drawn with."""

    coverage: Singles
    """(H, W, 4) linear RGB multiplied by coverage, and coverage."""
    parts: Pixels
    """(H, W) part class at the pixel's centre: 0 background, forearm and clothes, 1-16 right, 17-32 left hand."""
    depth: Singles
    """(H, W) mm at the pixel's centre, inf for the background."""
    look: SkinLook
    wardrobe: Wardrobe


def draw_hands(
    scene: Scene, rng: np.random.Generator, *, supersample: int, sky: Sky, arm_mm: float | None,
    gloves: Gloves | None = None,
) -> Drawn:  # fmt: skip
    """Draw the hands of a scene with a random look.

    Args:
        scene: Posed hands and camera.
        rng: Random generator.
        supersample: Samples per pixel side on contours.
        sky: The light.
        arm_mm: Distance from the wrist at which arms and sleeves end; if None, they leave the picture.
        gloves: Gloves over the skin that `rng` draws; None for none.
    """
    look = sample_skin(rng)
    if gloves is not None:
        look = put_on(gloves, look)
    wardrobe = sample_wardrobe(rng)
    mesh = assemble(scene, look, wardrobe)
    if arm_mm is not None:
        _shorten_arms(scene, mesh, arm_mm)
    lights = _light(scene, mesh, sky)
    surface = _surface(look, wardrobe)
    centre, sub = _rasterised(scene, mesh, 1), _rasterised(scene, mesh, supersample)
    coverage = shade(mesh, centre, sub, surface, lights)
    paint = canvas()
    parts = label_parts(centre, mesh.faces, mesh.left, mesh.model_row, paint.probabilities, paint.dominant)
    return Drawn(coverage, parts, centre.depth(), look, wardrobe)


def _shorten_arms(scene: Scene, mesh: Mesh, length: float) -> None:
    """Clamp vertices farther than `length` mm from the wrist along the forearm to this distance, in place."""
    starts = [*np.flatnonzero(mesh.model_row == 0), len(mesh.rows)]
    for hand, first, last in zip(scene.hands, starts[:-1], starts[1:], strict=True):
        points, axis = mesh.rows[first:last, :3], hand.arm_axis
        beyond = np.maximum((points - hand.wrist) @ axis - length, 0)
        points -= beyond[:, None] * axis


def assemble(scene: Scene, look: SkinLook, wardrobe: Wardrobe) -> Mesh:
    """Join the hands and their clothes into one mesh."""
    model, paint = HandModel.load(), canvas()
    pieces: list[Mesh] = []
    for index, hand in enumerate(scene.hands):
        pieces.append(_hand_piece(hand, model, paint, look))
        others = [other.joints for other in scene.hands if other is not hand]
        keep_out = np.concatenate(others) if others else np.zeros((0, 3), dtype=np.float32)
        tubes = dress(wardrobe, hand, index, forearm=paint.probabilities[:, 0] > 0.8, keep_out=keep_out)
        pieces.extend(_tube_piece(tube) for tube in tubes)
    starts = np.cumsum([0, *(len(piece.rows) for piece in pieces)])
    faces = [piece.faces + np.int32(start) for piece, start in zip(pieces, starts[:-1], strict=True)]
    joined = {
        name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in Mesh._fields if name != "faces"
    }
    return Mesh(faces=np.ascontiguousarray(np.concatenate(faces), dtype=np.int32), **joined)


def _hand_piece(hand: PosedHand, model: HandModel, paint: Canvas, look: SkinLook) -> Mesh:
    left, vertices, no_light = hand.side == "left", hand.vertices, np.zeros_like(hand.vertices)
    if look.thickness is not None:
        vertices = vertices + look.thickness[:, None] * hand.normals
    return Mesh(
        rows=np.column_stack([
            vertices, hand.normals, paint.rest, look.albedo, no_light, paint.nail, paint.palm, look.low_noise,
            paint.arc, paint.palm_lines,
        ]),
        faces=model.faces[:, ::-1] if left else model.faces,
        kinds=np.full(len(model.faces), SKIN, dtype=np.uint8),
        fingers=paint.face_finger,
        left=np.full(len(model.faces), left),
        model_row=np.arange(len(vertices), dtype=np.int32),
    )  # fmt: skip


def _tube_piece(tube: Tube) -> Mesh:
    count = len(tube.vertices)
    grey, zeros = np.full((count, 3), 0.3, dtype=np.float32), np.zeros((count, COLUMNS), dtype=np.float32)
    return Mesh(
        rows=np.column_stack([
            tube.vertices, tube.normals, tube.texture, grey, zeros[:, AMBIENT:MARK], tube.mark, zeros[:, PALM:],
        ]),
        faces=tube.faces,
        kinds=np.full(len(tube.faces), tube.kind, dtype=np.uint8),
        fingers=np.full(len(tube.faces), -1, dtype=np.int32),
        left=np.zeros(len(tube.faces), dtype=np.bool_),
        model_row=np.full(count, -1, dtype=np.int32),
    )  # fmt: skip


def _light(scene: Scene, mesh: Mesh, sky: Sky) -> Lights:
    """Render the shadow maps and write the ambient light to the mesh's rows."""
    joints = np.concatenate([hand.joints for hand in scene.hands])
    centre = joints.mean(axis=0)
    radius = float(np.linalg.norm(joints - centre, axis=1).max()) + _SHADOW_MARGIN_MM
    return light_hands(sky, mesh.rows, mesh.faces, centre=centre, radius=max(_SHADOW_RADIUS_MM, radius))


def _surface(look: SkinLook, wardrobe: Wardrobe) -> Surface:
    return Surface(
        noise=noise_table(),
        finger_joints=canvas().finger_joints,
        skin=look.strengths,
        cloth=wardrobe.colours.astype(np.float32),
        pattern=wardrobe.pattern,
        band=wardrobe.band.astype(np.float32),
    )


def _rasterised(scene: Scene, mesh: Mesh, supersample: int) -> Raster:
    """Rasterise the mesh on a grid."""
    width, height = scene.size
    screen = project_to_grid(mesh.rows[:, :3], scene.focal, scene.princpt, supersample=supersample)
    return rasterize(screen, mesh.faces, width=width * supersample, height=height * supersample)
