const {hands, parents, doubt} = JSON.parse(document.getElementById("data").textContent);
const canvas = document.querySelector("canvas"), context = canvas.getContext("2d");
const label = document.getElementById("name");
const theme = name => getComputedStyle(document.documentElement).getPropertyValue(name);
const all = hands.flatMap(hand => hand.joints);
const along = k => all.length ? all.map(p => p[k]) : [0];
const middle = [0, 1, 2].map(k => (Math.min(...along(k)) + Math.max(...along(k))) / 2);
const radius = Math.max(1, ...all.map(p => Math.hypot(...p.map((x, k) => x - middle[k]))));
let yaw, pitch, zoom, shown = [], tapped = null;
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

function line(from, to, width, colour, dashes = []) {
  context.setLineDash(dashes); context.lineDashOffset = -(dashes[1] || 0) / 2;
  context.strokeStyle = colour; context.lineWidth = width; context.lineCap = "round";
  context.beginPath(); context.moveTo(from.x, from.y); context.lineTo(to.x, to.y); context.stroke();
}

function disc(at, size, colour) {
  context.fillStyle = colour; context.beginPath(); context.arc(at.x, at.y, size, 0, 7); context.fill();
}

function floor() {
  const low = Math.max(...all.map(p => p[1])) + 8, step = 50, reach = Math.ceil(radius / step) * step;
  const colour = theme("--grid");
  for (let at = -reach; at <= reach; at += step) {
    const corner = (x, z) => place([middle[0] + x, low, middle[2] + z]);
    line(corner(at, -reach), corner(at, reach), 1, colour);
    line(corner(-reach, at), corner(reach, at), 1, colour);
  }
}

// Hands in doubt are dashed and thin; a dash is as long as in the overlays, and none is at a bone's ends.
function dashes(start, end, width) {
  const long = Math.hypot(end.x - start.x, end.y - start.y);
  const period = long / Math.max(1, Math.round(long / (doubt.dash * width)));
  return [doubt.share * period, (1 - doubt.share) * period];
}

function draw() {
  label.hidden = true;  // the joint that it names has moved
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (!all.length) {
    context.fillStyle = theme("--muted"); context.textAlign = "center"; context.font = "16px system-ui, sans-serif";
    context.fillText("no hand found", canvas.clientWidth / 2, canvas.clientHeight / 2);
    return;
  }
  floor();
  shown = hands.flatMap(hand => hand.joints.map((joint, k) => ({...place(joint), hand, k})));
  const bones = shown.filter(end => parents[end.k] >= 0).map(end => {
    const start = shown.find(other => other.hand === end.hand && other.k === parents[end.k]);
    return {start, end, depth: (start.depth + end.depth) / 2, colour: end.hand.colours[end.k >> 2]};
  });
  for (const {start, end, colour} of bones.sort((a, b) => b.depth - a.depth)) {
    const doubted = end.hand.doubted, width = Math.max(2, 6.5 * end.scale) * (doubted ? doubt.width : 1);
    const pattern = doubted ? dashes(start, end, width) : [];
    line(start, end, width + 3, "#18161c", pattern); line(start, end, width, colour, pattern);
    for (const joint of [start, end]) {
      disc(joint, 0.7 * width + 1.2, "#18161c");
      disc(joint, 0.7 * width, parents[joint.k] < 0 ? joint.hand.wrist : colour);
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
  tapped = fingers.size === 1 ? [event.clientX, event.clientY] : null;
};
canvas.onpointerup = event => {
  fingers.delete(event.pointerId);
  if (tapped) name(event);
};
canvas.onpointercancel = event => fingers.delete(event.pointerId);
canvas.onpointerleave = event => { if (event.pointerType === "mouse") label.hidden = true; };
canvas.onpointermove = event => {
  const last = fingers.get(event.pointerId);
  if (!last) return name(event);
  if (tapped && Math.hypot(event.clientX - tapped[0], event.clientY - tapped[1]) < 6) return;
  tapped = null;
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
matchMedia("(prefers-color-scheme: dark)").onchange = draw;
reset();
