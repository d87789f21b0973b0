"""`unclasp demo`."""

import math
import sys
from dataclasses import dataclass

from unclasp.commands.arguments import OptionalPath, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class DemoArguments:
    """Serve a web page: a picture from a file or the webcam, its hands as overlay, in 3D and as JSON.

    Pictures are worked on in memory, one at a time, and forgotten. Ctrl-C ends it.
    """

    host: str = "127.0.0.1"
    """Address to listen on: only this computer can open the page. 0.0.0.0 lets the whole network in."""
    port: int = 7860
    """Port to listen on; 0 picks a free one."""
    weights: OptionalPath = None
    """A weights file, or an .onnx or .xml of `unclasp export`; the shipped model, small, if not given."""
    device: str = "cpu"
    """Where the network runs: cpu, cuda, mps."""
    max_upload_mb: float = 20.0
    """Largest picture file in megabytes."""
    max_megapixels: float = 50.0
    """Largest picture in millions of pixels."""
    queue: int = 8
    """Pictures that wait or are worked on at a time; more are told to come again."""


def demo(words: list[str]) -> int:
    """Run `unclasp demo`."""
    arguments = parse(DemoArguments, words, "demo")
    for flag, value in (("max-upload-mb", arguments.max_upload_mb), ("max-megapixels", arguments.max_megapixels)):
        if not 0 < value < math.inf:
            raise UnclaspError(f"--{flag} must be a positive number, got {value:g}")
    if not arguments.host.strip():
        raise UnclaspError("--host must be an address to listen on, got an empty one; 0.0.0.0 is all of them")
    from unclasp.demo import DemoServer, Limits
    from unclasp.predictor import Predictor

    limits = Limits(
        upload_bytes=round(arguments.max_upload_mb * 1e6),
        pixels=round(arguments.max_megapixels * 1e6),
        queue=arguments.queue,
    )
    predictor = Predictor.load(arguments.weights, device=arguments.device)
    with DemoServer(arguments.host, arguments.port, predictor, limits) as server:
        print(f"open {server.url} (Ctrl-C ends it)", flush=True)
        if not server.is_local:
            print(f"warning: whoever reaches {arguments.host} can use it, without a password", file=sys.stderr)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
