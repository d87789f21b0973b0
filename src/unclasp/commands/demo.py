"""`unclasp demo`."""

import math
import sys
from dataclasses import dataclass

from unclasp.commands.arguments import OptionalPath, need_positive, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class DemoArguments:
    """Serve a web page that predicts the hands in uploaded and webcam pictures: overlay, 3D view and JSON.

    Pictures are processed in memory, one at a time, and not stored. Ctrl-C stops the server.
    """

    host: str = "127.0.0.1"
    """Address to listen on. By default only this computer can open the page; 0.0.0.0 opens it to the whole network."""
    port: int = 7860
    """Port to listen on; 0 chooses a free one."""
    weights: OptionalPath = None
    """A weights file, or an .onnx or .xml of `unclasp export`; the shipped model, small, if not given."""
    device: str = "cpu"
    """Device of the network: cpu, cuda or mps."""
    max_upload_mb: float = 20.0
    """Maximum size of a picture file in megabytes."""
    max_megapixels: float = 50.0
    """Maximum size of a picture in millions of pixels."""
    queue: int = 8
    """Maximum number of pictures waiting or in progress; further requests are refused."""


def demo(words: list[str]) -> int:
    """Run `unclasp demo`."""
    arguments = parse(DemoArguments, words, "demo")
    for flag, value in (("max-upload-mb", arguments.max_upload_mb), ("max-megapixels", arguments.max_megapixels)):
        if not 0 < value < math.inf:
            raise UnclaspError(f"--{flag} must be a positive number, got {value:g}")
    need_positive(queue=arguments.queue)
    if not arguments.host.strip():
        raise UnclaspError("--host must be an address to listen on, got an empty string; 0.0.0.0 means all addresses")
    from unclasp.predictor import Predictor
    from unclasp.web.server import DemoServer, Limits

    limits = Limits(
        upload_bytes=round(arguments.max_upload_mb * 1e6),
        pixels=round(arguments.max_megapixels * 1e6),
        queue=arguments.queue,
    )
    predictor = Predictor.load(arguments.weights, device=arguments.device)
    with DemoServer(arguments.host, arguments.port, predictor, limits) as server:
        print(f"open {server.url} (Ctrl-C stops it)", flush=True)
        if not server.is_local:
            print(f"warning: anyone who reaches {arguments.host} can use it, without a password", file=sys.stderr)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
