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
  const result = JSON.parse(payload.result), stem = name.replace(/\.[^.]*$/, "") || "hands";
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
