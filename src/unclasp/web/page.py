"""The page that `server` serves: a single HTML document that loads nothing from other servers.

Its style and its script are in `page.css` and `page.js`.
"""

import html
import json
from pathlib import Path
from typing import Final

from unclasp import heif

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
    formats, accepted = ["JPEG", "PNG", "WebP", "BMP", "TIFF"], ["image/jpeg,image/png,image/webp,image/bmp,image/tiff"]
    if heif.is_installed():  # by suffix, too, as some browsers do not know these types
        formats, accepted = [*formats, "HEIC", "AVIF"], [*accepted, "image/heic,image/heif,image/avif", *heif.SUFFIXES]
    bounds = f"{', '.join(formats)} · up to {upload_bytes / 1e6:g} MB and {pixels / 1e6:g} megapixels"
    style, script = (Path(__file__).with_suffix(kind).read_text(encoding="utf-8") for kind in (".css", ".js"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>unclasp: two hands in 3D from one picture</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header><h1>unclasp</h1><p>two hands in 3D from one picture</p>
<p class="muted">model {html.escape(model)} · pictures stay in this server's memory and are discarded afterwards</p>
</header>
<main>
<section id="ask">
<label id="drop"><input id="file" type="file" accept="{",".join(accepted)}">
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
<script>
{script}</script>
</body>
</html>
"""
