"""The page that `demo` serves: a single HTML document that loads nothing from other servers."""

import html
import json
from typing import Final

EXAMPLES: Final = {
    "apart.jpg": "two hands apart",
    "touching.jpg": "two hands that touch",
    "one_hand.jpg": "one hand",
}
"""Rendered example pictures in the package: file name -> description."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every response: nothing is cached, and the page cannot load anything from other servers."""

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #f3f2ee; --card: #fdfcfa; --button: #fff; --edge: #dedbd2; --rim: #cfcbc0;
  --track: #e6e3da; --absent: #b9b5aa; --ink: #343230; --muted: #6d6a63; --accent: #b8431a; --over: #faf1ec;
  --bad: #fbe9e4; --bad-ink: #8c2408; --main: #b8431a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #1f1e1c; --card: #2b2a27; --button: #35332f; --edge: #45433e; --rim: #5a574f;
    --track: #45433e; --absent: #7d7a72; --ink: #eceae4; --muted: #aaa69c; --accent: #ff9166; --over: #3a2c25;
    --bad: #4a241b; --bad-ink: #ffc9b8; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
[hidden] { display: none !important; }
header { padding: 22px 28px 6px; display: flex; gap: 4px 18px; align-items: baseline; flex-wrap: wrap; }
h1 { font-size: 24px; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 15px; margin: 0 0 10px; }
p { margin: 0; }
.muted { color: var(--muted); font-size: 13px; }
main { display: grid; grid-template-columns: 320px minmax(0, 1fr); gap: 20px; padding: 14px 28px 28px;
  max-width: 1500px; }
@media (max-width: 860px) { main { grid-template-columns: minmax(0, 1fr); } }
section, .card { background: var(--card); border: 1px solid var(--edge); border-radius: 14px; padding: 18px; }
#ask { align-self: start; display: grid; gap: 16px; }
#drop { display: grid; gap: 4px; place-items: center; text-align: center; padding: 28px 14px; cursor: pointer;
  border: 2px dashed var(--rim); border-radius: 12px; transition: background 0.15s; }
#drop:hover, #drop.over, #drop:focus-within { border-color: var(--accent); background: var(--over); }
#drop strong { color: var(--accent); }
#file { position: absolute; opacity: 0; width: 1px; height: 1px; }
button, .button { font: inherit; color: inherit; border: 1px solid var(--rim); border-radius: 9px;
  background: var(--button); padding: 7px 14px; cursor: pointer; text-decoration: none; display: inline-block; }
button:hover, .button:hover { border-color: var(--accent); }
.main { background: var(--main); border-color: var(--main); color: #fff; }
video { width: 100%; border-radius: 10px; background: #222; margin-bottom: 8px; }
#examples { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; }
#examples button { padding: 0; overflow: hidden; aspect-ratio: 1; }
#examples img { width: 100%; height: 100%; object-fit: cover; display: block; }
label.check { display: flex; gap: 9px; align-items: flex-start; cursor: pointer; }
label.check input { margin: 5px 0 0; accent-color: var(--accent); }
#status { min-height: 1.5em; margin-bottom: 12px; overflow-wrap: anywhere; scroll-margin-top: 12px; }
#status.error { background: var(--bad); color: var(--bad-ink); border-radius: 10px; padding: 10px 14px; }
.spin { display: inline-block; vertical-align: -2px; width: 15px; height: 15px; margin-right: 10px; border-radius: 50%;
  border: 2px solid var(--rim); border-top-color: var(--accent); animation: spin 0.8s linear infinite; }
@keyframes spin { to { transform: rotate(1turn); } }
#pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 14px; }
figure { margin: 0; border: 1px solid var(--edge); border-radius: 12px; overflow: hidden; background: var(--button);
  display: flex; flex-direction: column; height: min(66vh, 560px); }
figcaption { padding: 8px 14px; border-bottom: 1px solid var(--edge); font-weight: 600; font-size: 13px; }
#overlay { flex: 1; min-height: 0; width: 100%; object-fit: contain; background: var(--track); }
iframe { flex: 1; width: 100%; border: 0; }
@media (max-width: 900px) { figure:has(#overlay) { height: auto; } #overlay { max-height: 80vh; } }
#details { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 260px), 1fr)); gap: 14px;
  margin-top: 14px; }
#details .card { padding: 14px 16px; }
.bar { display: grid; grid-template-columns: 74px 1fr 44px; gap: 10px; align-items: center; font-size: 13px; }
.bar + .bar { margin-top: 6px; }
#trust p { margin: 8px 0 0; }
.bar i { height: 8px; border-radius: 4px; background: var(--track); overflow: hidden; }
.bar b { display: block; height: 100%; background: var(--accent); }
.bar.absent b { background: var(--absent); }
.bar span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
ul { margin: 0; padding-left: 18px; font-size: 13px; }
#downloads { margin-top: 14px; display: flex; gap: 10px; flex-wrap: wrap; }
#empty { display: grid; place-items: center; min-height: 420px; text-align: center; color: var(--muted); }
"""

_SCRIPT: Final = """
const limits = JSON.parse(document.getElementById("limits").textContent);
const at = id => document.getElementById(id);
let picture = null, running = null, camera = null, links = [];

function say(text, kind) {
  at("status").className = kind === "error" ? "error" : "";
  at("status").textContent = text;
  if (kind === "busy") at("status").prepend(Object.assign(document.createElement("span"), {className: "spin"}));
  reveal();
}

// On phones the results are far below the controls.
function reveal() {
  if (at("status").getBoundingClientRect().bottom < 0.6 * innerHeight) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  at("status").scrollIntoView({block: "start", behavior: calm ? "auto" : "smooth"});
}

// One picture at a time: a new request aborts the one in progress.
function begin() {
  running?.abort();
  return running = new AbortController();
}

async function errorOf(response) {
  try {
    return (await response.json()).error;
  } catch { return `the server responded with ${response.status} ${response.statusText}`; }
}

function failed(mine) {
  if (mine === running) say("the server did not respond; is it still running?", "error");
}

async function send(blob, name, mine = begin()) {
  picture = {blob, name};
  at("result").hidden = true;
  at("empty").hidden = false;
  if (blob.size > limits.upload_bytes) {
    const [most, size] = [limits.upload_bytes, blob.size].map(bytes => (bytes / 1e6).toFixed(1) + " MB");
    return say(`expected a picture of at most ${most}, got ${size}; use a smaller one`, "error");
  }
  say(`Looking for hands in ${name} …`, "busy");
  const query = new URLSearchParams({name, mirrored: at("mirrored").checked ? "1" : "0"});
  const body = await blob.arrayBuffer().catch(() => null);  // fetch would fail as if the server were gone
  if (mine !== running) return;
  if (!body) return say(`${name} cannot be read: it is a folder, or was moved or changed; choose it again`, "error");
  try {
    const response = await fetch("predict?" + query, {method: "POST", body, signal: mine.signal});
    const payload = response.ok ? await response.json() : {error: await errorOf(response)};
    if (mine !== running) return;
    if (payload.error) return say(payload.error, "error");
    show(payload, name);
  } catch { failed(mine); }
}

function link(id, text, kind, name) {
  const url = URL.createObjectURL(new Blob([text], {type: kind}));
  links.push(url);
  Object.assign(at(id), {href: url, download: name});
}

function bar(label, share, absent) {
  const row = Object.assign(document.createElement("div"), {className: absent ? "bar absent" : "bar"});
  const full = document.createElement("i"), part = document.createElement("b");
  part.style.width = 100 * share + "%";
  full.append(part);
  const [left, right] = [label, (100 * share).toFixed(0) + " %"].map(text => {
    return Object.assign(document.createElement("span"), {textContent: text});
  });
  row.append(left, full, right);
  return row;
}

function list(id, lines) {
  at(id).replaceChildren(...lines.map(text => Object.assign(document.createElement("li"), {textContent: text})));
}

function show(payload, name) {
  const result = JSON.parse(payload.result), stem = name.replace(/\\.[^.]*$/, "") || "hands";
  const sides = result.hands.map(hand => hand.side);
  links.splice(0).forEach(url => URL.revokeObjectURL(url));
  at("overlay").src = at("save-overlay").href = payload.overlay;
  at("overlay").alt = `${name} with the skeletons of ${sides.length} hands drawn over it`;
  at("save-overlay").download = stem + "-overlay.jpg";
  at("view").srcdoc = payload.view;
  link("save-json", payload.result, "application/json", stem + ".json");
  link("save-view", payload.view, "text/html", stem + ".html");
  at("presence").replaceChildren(
    ...Object.entries(result.presence).map(([side, share]) => bar(side + " hand", share, !sides.includes(side))));
  const withConfidence = result.hands.filter(hand => hand.confidence);
  at("trust").hidden = !withConfidence.length;
  at("joints").replaceChildren(...withConfidence.map(hand =>
    bar(hand.side + " hand", hand.confidence.reduce((sum, one) => sum + one, 0) / hand.confidence.length)));
  list("assumed", [result.camera.assumed, result.depth_assumed,
    result.image.mirrored ? "the picture is a mirror image: right and left are the person's own" :
      "the picture is not mirrored: if right and left are wrong, tick the box for selfies"].filter(Boolean));
  const doubted = result.hands.filter(hand => hand.doubted).map(hand => hand.side).join(" and ");
  const found = ["No hand", `A ${sides[0]} hand`, "Two hands"][sides.length] + (doubted && ` (${doubted} in doubt)`);
  const contact = result.contact?.likely ? ` They touch (${Math.round(100 * result.contact.probability)} %).` : "";
  const touching = (result.others || []).length ? " Grey, only over the picture: another's hand that touches it." : "";
  at("details").hidden = !sides.length;
  at("empty").hidden = true;
  at("result").hidden = false;
  say(`${found} in ${name}, ${result.image.width} × ${result.image.height} px, in ${payload.seconds.toFixed(2)} s.`
    + contact + touching);
}

function take(files) {
  const file = [...files].find(one => one.size !== undefined);
  if (file) send(file, file.name || "picture");
  return file;
}

at("file").onchange = event => { take(event.target.files); event.target.value = ""; };
at("mirrored").onchange = () => picture && send(picture.blob, picture.name);
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && !take(event.dataTransfer.files)) {
      say("no file was dropped, as from some web pages: save the picture first, and choose it here", "error");
    }
  });
}
document.onpaste = event => take(event.clipboardData.files);

for (const button of document.querySelectorAll("#examples button")) {
  button.onclick = async () => {
    const mine = begin(), name = button.dataset.name;
    say(`Fetching ${name} …`, "busy");
    try {
      const response = await fetch("examples/" + name, {signal: mine.signal});
      const example = response.ok ? {blob: await response.blob()} : {error: await errorOf(response)};
      if (mine !== running) return;
      if (example.error) return say(example.error, "error");
      send(example.blob, name, mine);
    } catch { failed(mine); }
  };
}

function stop() {
  camera?.getTracks().forEach(track => track.stop());
  camera = null;
  at("live").hidden = true;
  at("start").hidden = false;
}
at("start").onclick = async () => {
  if (!navigator.mediaDevices) {
    return say("browsers allow the webcam only on https pages and on pages of this computer: open 127.0.0.1", "error");
  }
  at("start").disabled = true;  // until permission is given: a second click would open a second stream
  stop();
  try {
    camera = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: 1280}}, audio: false});
  } catch (error) {
    return say(`the webcam cannot be used: ${error.message}`, "error");
  } finally {
    at("start").disabled = false;
  }
  at("video").srcObject = camera;
  at("live").hidden = false;
  at("start").hidden = true;
};
at("stop").onclick = stop;
at("snap").onclick = () => {
  const video = at("video"), canvas = document.createElement("canvas");
  if (!video.videoWidth) return say("the webcam has not shown a picture yet; try again in a moment", "error");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  at("mirrored").checked = false;  // browsers give the camera's picture, which is not mirrored
  const mine = begin();
  canvas.toBlob(blob => mine === running && send(blob, "webcam.jpg", mine), "image/jpeg", 0.92);
};
"""


def demo_page(*, upload_bytes: int, pixels: int, model: str) -> str:
    """Return the page as HTML.

    Args:
        upload_bytes: Largest picture file that the server accepts.
        pixels: Largest width × height that it accepts.
        model: Name of the weights.
    """
    data = json.dumps({"upload_bytes": upload_bytes, "pixels": pixels}).replace("<", r"\u003c")
    examples = "".join(
        f'<button type="button" data-name="{name}" title="{title}"><img src="examples/{name}" alt="{title}"></button>'
        for name, title in EXAMPLES.items()
    )
    bounds = f"JPEG, PNG, WebP, BMP, TIFF · up to {upload_bytes / 1e6:g} MB and {pixels / 1e6:g} megapixels"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>unclasp: two hands in 3D from one picture</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<header><h1>unclasp</h1><p>two hands in 3D from one picture</p>
<p class="muted">model {html.escape(model)} · pictures stay in this server's memory and are discarded afterwards</p>
</header>
<main>
<section id="ask">
<label id="drop"><input id="file" type="file" accept="image/jpeg,image/png,image/webp,image/bmp,image/tiff">
<strong>Choose a picture</strong><span>or drop or paste it here</span><span class="muted">{bounds}</span></label>
<label class="check"><input id="mirrored" type="checkbox"><span>mirrored (selfie)<br>
<span class="muted">the picture is a mirror image, as many phones save selfies</span></span></label>
<div><button id="start" type="button">Use the webcam</button>
<div id="live" hidden><video id="video" autoplay muted playsinline></video>
<button id="snap" type="button" class="main">Take a picture</button> <button id="stop" type="button">Stop</button>
</div></div>
<div><h2>Examples</h2><div id="examples">{examples}</div></div>
</section>
<section>
<div id="status" role="status" aria-live="polite">No picture yet.</div>
<div id="empty"><p>The hands will be shown here, over the picture and in 3D.</p></div>
<div id="result" hidden>
<div id="pictures">
<figure><figcaption>Over the picture</figcaption><img id="overlay" alt=""></figure>
<figure><figcaption>In 3D: drag to turn, wheel or two fingers to zoom</figcaption>
<iframe id="view" sandbox="allow-scripts" title="3D view of the hands"></iframe></figure>
</div>
<div id="details">
<div class="card"><h2>Hand presence</h2><div id="presence"></div></div>
<div class="card" id="trust"><h2>Confidence in the joints</h2><div id="joints"></div>
<p class="muted">hands with low confidence are in doubt, and drawn in dashed lines</p></div>
<div class="card"><h2>Assumptions</h2><ul id="assumed"></ul></div>
</div>
<div id="downloads"><a id="save-json" class="button main">Download JSON</a>
<a id="save-overlay" class="button">Download overlay</a> <a id="save-view" class="button">Download 3D view</a></div>
</div>
</section>
</main>
<script type="application/json" id="limits">{data}</script>
<script>{_SCRIPT}</script>
</body>
</html>
"""
