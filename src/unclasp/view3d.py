"""Writes an interactive 3D view of two hands as one self-contained HTML page, which works offline in any browser."""

import html
import json
import re
from typing import Any, Final

from unclasp.hands import FINGER_COLOURS, HAND_JOINT_NAMES, HAND_PARENTS, SIDES
from unclasp.legend import how_sure
from unclasp.marks import HTML_MARK

_STYLE: Final = """
html, body { margin: 0; height: 100%; background: #f3f2ee; color: #343230; font: 14px/1.45 system-ui, sans-serif; }
body { display: flex; flex-direction: column; }
canvas { flex: 1; min-height: 0; width: 100%; touch-action: none; cursor: grab; outline-offset: -3px; }
canvas:active { cursor: grabbing; }
header, footer { padding: 10px 18px; display: flex; gap: 6px 20px; flex-wrap: wrap; align-items: center; }
footer { color: #76736c; font-size: 12px; }
h1 { font-size: 15px; margin: 0; overflow-wrap: anywhere; }
i { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 2px; }
button { font: inherit; border: 1px solid #d8d5cc; border-radius: 7px; background: #fdfcfa; padding: 3px 10px; }
#name { position: fixed; pointer-events: none; background: #343230; color: #fff; border-radius: 6px; padding: 2px 8px; }
"""

_SCRIPT: Final = """
const {hands, parents} = JSON.parse(document.getElementById("data").textContent);
const canvas = document.querySelector("canvas"), context = canvas.getContext("2d");
const label = document.getElementById("name");
const all = hands.flatMap(hand => hand.joints);
const along = k => all.length ? all.map(p => p[k]) : [0];
const middle = [0, 1, 2].map(k => (Math.min(...along(k)) + Math.max(...along(k))) / 2);
const radius = Math.max(1, ...all.map(p => Math.hypot(...p.map((x, k) => x - middle[k]))));
let yaw, pitch, zoom, shown = [];
const fingers = new Map();

// Camera axes: x right, y down, z away. The viewer looks along z from far away, with slight perspective.
function place(point) {
  const [x, y, z] = point.map((value, k) => value - middle[k]);
  const [sy, cy, sp, cp] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
  const turned = [cy * x + sy * z, y, cy * z - sy * x];
  const [px, py, pz] = [turned[0], cp * turned[1] - sp * turned[2], sp * turned[1] + cp * turned[2]];
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const near = 5 * radius / (5 * radius + pz), scale = 0.44 * Math.min(width, height) / radius * zoom * near;
  return {x: width / 2 + px * scale, y: height / 2 + py * scale, depth: pz, scale};
}

function line(from, to, width, colour) {
  context.strokeStyle = colour; context.lineWidth = width; context.lineCap = "round";
  context.beginPath(); context.moveTo(from.x, from.y); context.lineTo(to.x, to.y); context.stroke();
}

function disc(at, size, colour) {
  context.fillStyle = colour; context.beginPath(); context.arc(at.x, at.y, size, 0, 7); context.fill();
}

function floor() {
  const low = Math.max(...all.map(p => p[1])) + 8, step = 50, reach = Math.ceil(radius / step) * step;
  for (let at = -reach; at <= reach; at += step) {
    const corner = (x, z) => place([middle[0] + x, low, middle[2] + z]);
    line(corner(at, -reach), corner(at, reach), 1, "#d3d0c8");
    line(corner(-reach, at), corner(reach, at), 1, "#d3d0c8");
  }
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (!all.length) {
    context.fillStyle = "#76736c"; context.textAlign = "center";
    context.fillText("no hand found", canvas.clientWidth / 2, canvas.clientHeight / 2);
    return;
  }
  floor();
  shown = hands.flatMap(hand => hand.joints.map((joint, k) => ({...place(joint), hand, k})));
  const bones = shown.filter(end => parents[end.k] >= 0).map(end => {
    const start = shown.find(other => other.hand === end.hand && other.k === parents[end.k]);
    return {start, end, depth: (start.depth + end.depth) / 2, colour: end.hand.colours[Math.min(end.k >> 2, 4)]};
  });
  for (const {start, end, colour} of bones.sort((a, b) => b.depth - a.depth)) {
    const width = Math.max(2, 6.5 * end.scale);
    line(start, end, width + 3, "#18161c"); line(start, end, width, colour);
    for (const joint of [start, end]) {
      disc(joint, 0.7 * width + 1.2, "#18161c"); disc(joint, 0.7 * width, colour);
      disc(joint, 0.3 * width, "#ffffffc0");
    }
  }
}

function name(event) {
  const far = at => Math.hypot(at.x - event.offsetX, at.y - event.offsetY);
  const near = shown.filter(at => far(at) < 14).sort((a, b) => far(a) - far(b) || a.depth - b.depth)[0];
  label.hidden = !near;
  if (!near) return;
  const numbers = near.hand.joints[near.k].map(mm => mm.toFixed(1)).join(", ");
  label.textContent = `${near.hand.names[near.k]}  ${numbers} mm`;
  label.style.left = Math.min(event.clientX + 14, innerWidth - 250) + "px";
  label.style.top = event.clientY + 14 + "px";
}

function turn(dx, dy) { yaw += dx; pitch = Math.max(-1.5, Math.min(1.5, pitch + dy)); draw(); }
function grow(by) { zoom = Math.max(0.3, Math.min(8, zoom * by)); draw(); }
function reset() { [yaw, pitch, zoom] = [0, 0, 1]; draw(); }
const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };

canvas.onpointerdown = event => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
};
canvas.onpointerup = canvas.onpointercancel = event => fingers.delete(event.pointerId);
canvas.onpointermove = event => {
  const last = fingers.get(event.pointerId);
  if (!last) return name(event);
  const before = fingers.size === 2 && spread();
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (before) grow(spread() / before);
  else turn(-(event.clientX - last[0]) / 160, -(event.clientY - last[1]) / 160);
};
canvas.onwheel = event => { event.preventDefault(); grow(Math.exp(-event.deltaY / 600)); };
canvas.onkeydown = event => {
  const keys = {ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1]};
  if (keys[event.key]) { event.preventDefault(); turn(...keys[event.key]); }
  if (event.key === "+" || event.key === "-") grow(event.key === "+" ? 1.15 : 1 / 1.15);
};
document.getElementById("front").onclick = canvas.ondblclick = reset;
document.getElementById("side").onclick = () => { [yaw, pitch] = [1.22, 0]; draw(); };
document.getElementById("top").onclick = () => { [yaw, pitch] = [0, -1.5]; draw(); };
// Observe the canvas, not the window: inside a frame the canvas may have no size until the outer page is laid out.
new ResizeObserver(draw).observe(canvas);
reset();
"""


def page(result: dict[str, Any]) -> str:
    """Return the HTML page for a result.

    Args:
        result: The output of `HandPose.to_dict()`, schema 1.
    """
    name = re.split(r"[/\\]", result["image"]["source"] or "")[-1]  # do not disclose folder names
    title = html.escape(name or "two hands")
    data = json.dumps({"parents": HAND_PARENTS, "hands": [_hand(hand) for hand in result["hands"]]}, allow_nan=False)
    assumed = [text for text in (result["camera"]["assumed"], result["depth_assumed"]) if text]
    notes = ["mm; x right, y down, z away from the camera", "grid 50 mm"]
    data = data.replace("<", r"\u003c")  # so that no value can close the script element
    notes += [f"assumed: {html.escape('; '.join(assumed))}"] if assumed else []
    footer = "".join(
        f"<span>{note}</span>"
        for note in [*notes, "drag or arrow keys turn, wheel or two fingers zoom, a double click shows the front"]
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{HTML_MARK}
<title>{title} – unclasp</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{title}</h1>{"".join(_legend(hand) for hand in result["hands"])}
<span><button id="front">front</button> <button id="side">side</button> <button id="top">top</button></span></header>
<canvas tabindex="0" aria-label="3D view of the hands: drag to turn, wheel to zoom, point at a joint to read its name">
</canvas>
<footer>{footer}</footer>
<div id="name" hidden></div>
<script type="application/json" id="data">{data}</script>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _hand(hand: dict[str, Any]) -> dict[str, Any]:
    """Return the data that the script needs for one hand; the joints are in the camera frame."""
    names = [f"{hand['side']} {name}" for name in HAND_JOINT_NAMES]
    return {"side": hand["side"], "names": names, "joints": hand["joints_cam"], "colours": _colours(hand["side"])}


def _colours(side: str) -> list[str]:
    colours = FINGER_COLOURS[[str(name) for name in SIDES].index(side)].tolist()
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colours]


def _legend(hand: dict[str, Any]) -> str:
    dots = "".join(f'<i style="background:{colour}"></i>' for colour in _colours(hand["side"]))
    confidence = None if hand["confidence"] is None else sum(hand["confidence"]) / len(hand["confidence"])
    certainty = how_sure(hand["presence"], confidence, doubted=hand["doubted"])
    return f"<span>{dots} {hand['side']} hand, {certainty}</span>"
