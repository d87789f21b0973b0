"""Writes an interactive 3D view of two hands as one self-contained HTML page, which works offline in any browser.

Its style and its script are in `view3d.css` and `view3d.js`.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

from unclasp.arrays import Pixels
from unclasp.hands import FINGER_COLOURS, HAND_JOINT_NAMES, HAND_PARENTS, SIDES, WRIST_COLOURS
from unclasp.legend import DASH, DASH_SHARE, DOUBTED_WIDTH, how_sure
from unclasp.marks import HTML_MARK


def page(result: dict[str, Any]) -> str:
    """Return the HTML page for a result.

    Args:
        result: The output of `HandPose.to_dict()`, schema 1.
    """
    name = re.split(r"[/\\]", result["image"]["source"] or "")[-1]  # do not disclose folder names
    title = html.escape(name or "two hands")
    hands = [_hand(hand) for hand in result["hands"]]
    doubt = {"width": DOUBTED_WIDTH, "dash": DASH, "share": DASH_SHARE}
    data = json.dumps({"parents": HAND_PARENTS, "hands": hands, "doubt": doubt}, allow_nan=False)
    data = data.replace("<", r"\u003c")  # so that no value can close the script element
    buttons = "".join(f'<button id="{name}">{name}</button> ' for name in ("front", "side", "top"))
    footer = "".join(f"<span>{note}</span>" for note in _notes(result)) if hands else ""
    style, script = (Path(__file__).with_suffix(kind).read_text(encoding="utf-8") for kind in (".css", ".js"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{HTML_MARK}
<title>{title} – unclasp</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{title}</h1>{"".join(_legend(hand) for hand in result["hands"])}
<span{"" if hands else " hidden"}>{buttons}</span></header>
<canvas tabindex="0" aria-label="3D view of the hands: drag to turn, wheel to zoom, point at a joint to read its name">
</canvas>
<footer>{footer}</footer>
<div id="name" hidden></div>
<script type="application/json" id="data">{data}</script>
<script>
{script}</script>
</body>
</html>
"""


def _notes(result: dict[str, Any]) -> list[str]:
    """Return the lines below the hands, as HTML; the last one says how to use the view."""
    assumed = [text for text in (result["camera"]["assumed"], result["depth_assumed"]) if text]
    return [
        "mm; x right, y down, z away from the camera",
        "grid 50 mm",
        *([f"assumed: {html.escape('; '.join(assumed))}"] if assumed else []),
        "drag or arrow keys turn; wheel, two fingers, + and − zoom; tap or point at a joint for its name; "
        "a double click shows the front",
    ]


def _hand(hand: dict[str, Any]) -> dict[str, Any]:
    """Return the data that the script needs for one hand; the joints are in the camera frame."""
    names = [f"{hand['side']} {name}" for name in HAND_JOINT_NAMES]
    return {
        "names": names, "joints": hand["joints_cam"], "doubted": hand["doubted"], "colours": _finger_colours(hand),
        "wrist": _hex(WRIST_COLOURS[SIDES.index(hand["side"])]),
    }  # fmt: skip


def _finger_colours(hand: dict[str, Any]) -> list[str]:
    """Return the colours from thumb to pinky."""
    return [_hex(colour) for colour in FINGER_COLOURS[SIDES.index(hand["side"])]]


def _hex(colour: Pixels) -> str:
    """Return a colour (3,) RGB as CSS writes it."""
    return f"#{colour.tobytes().hex()}"


def _legend(hand: dict[str, Any]) -> str:
    dots = "".join(f'<i style="background:{colour}"></i>' for colour in _finger_colours(hand))
    confidence = None if hand["confidence"] is None else sum(hand["confidence"]) / len(hand["confidence"])
    certainty = how_sure(hand["presence"], confidence, doubted=hand["doubted"])
    return f"<span>{dots} {hand['side']} hand, {certainty}</span>"
