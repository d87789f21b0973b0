"""Draws docs/images/joints.svg: the 42 joints, numbered, on the mean hand. Run it as `python docs/joint_order.py`.

A test compares the file with what this draws, so the picture cannot tell another order than the code has.
"""

from pathlib import Path

import numpy as np

from unclasp.files import write_text
from unclasp.hands import (
    FINGER_COLOURS,
    FINGERS,
    HAND_JOINT_NAMES,
    HAND_PARENTS,
    JOINTS_PER_HAND,
    PART_COLOURS,
    PARTS_PER_HAND,
    SIDES,
)
from unclasp.synth.hand import MEAN_LENGTH_MM, HandModel

TARGET = Path(__file__).with_name("images") / "joints.svg"
WIDTH, HEIGHT = 860, 560
_SCALE, _WRISTS, _BASE = 2.1, (235.0, 625.0), 490.0
_RADIUS = 11.0


def main() -> None:
    """Write the picture."""
    write_text(TARGET, draw())


def draw() -> str:
    """Return the picture as SVG: both palms towards the viewer, as of a person who faces the camera."""
    elements = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" text-anchor="middle">',
        "<title>The 42 joints in InterHand2.6M's order</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="14" fill="#fdfcfa" stroke="#e2e0da"/>',
    ]
    for side, name in enumerate(SIDES):
        first = JOINTS_PER_HAND * side
        title = f"{name} hand: {first}–{first + JOINTS_PER_HAND - 1}"
        elements += [*_hand(side), _text(_WRISTS[side], 36, title, 18)]
    middle = f"Palms towards you, as of a person who faces the camera: {SIDES[0]} and {SIDES[1]} are the person's own."
    return "\n".join([*elements, _text(WIDTH / 2, HEIGHT - 18, middle, 14), "</svg>"]) + "\n"


def mean_joints() -> np.ndarray:
    """Return (21, 3) mm of the mean right hand at rest: x to the thumb, y to the middle finger, z out of the palm."""
    model = HandModel.load()
    rest = model.rest(np.zeros(model.shape_components), MEAN_LENGTH_MM)
    joints = np.zeros((JOINTS_PER_HAND, 3))
    for joint, name in enumerate(HAND_JOINT_NAMES[:-1]):
        finger, number = FINGERS.index(name[:-1]) + 1, int(name[-1])
        bone = model.bone(f"finger{finger}-{min(number, 3)}")
        joints[joint] = rest.tails[bone] if number == 4 else rest.heads[bone]
    joints[-1] = rest.heads[model.bone("wrist")]
    return joints - joints[-1]


def _hand(side: int) -> list[str]:
    mirror = -1.0 if side else 1.0
    points = np.array([_WRISTS[side], _BASE]) + mean_joints()[:, :2] * [mirror * _SCALE, -_SCALE]
    palm = PART_COLOURS[1 + PARTS_PER_HAND * side]
    colours = [*(FINGER_COLOURS[side, joint // 4] for joint in range(JOINTS_PER_HAND - 1)), palm]
    lines = [
        f'<path d="M{_xy(points[joint])} L{_xy(points[parent])}" stroke="{_hex(colours[joint])}" '
        'stroke-width="9" stroke-linecap="round"/>'
        for joint, parent in enumerate(HAND_PARENTS)
        if parent >= 0
    ]
    for joint, (x, y) in enumerate(points):
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS:g}" fill="{_hex(colours[joint])}" stroke="#18161c"/>'
        )
        lines.append(_text(x, y + 4, str(joint + JOINTS_PER_HAND * side), 11))
    tips = [(finger, points[4 * number]) for number, finger in enumerate(FINGERS)]
    lines += [_text(x, y - 18, finger, 13) for finger, (x, y) in tips]
    return [*lines, _text(points[-1, 0], points[-1, 1] + 27, HAND_JOINT_NAMES[-1], 13)]


def _text(x: float, y: float, words: str, size: int) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="#18161c">{words}</text>'


def _xy(point: np.ndarray) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _hex(colour: np.ndarray) -> str:
    return "#" + bytes(colour.tolist()).hex()


if __name__ == "__main__":
    main()
