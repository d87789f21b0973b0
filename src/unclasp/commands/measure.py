"""`unclasp measure`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from unclasp.commands.arguments import OptionalInt, OptionalPath, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class MeasureArguments:
    """Measure models on rendered pictures, annotated real frames and photos: one table, one column per model.

    Photos are compared with another detector's 2D joints where that one found a hand.
    """

    weights: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Weights files; the shipped model, small, if none is given."""
    rendered: str | None = "synthetic:test"
    """Rendered pictures; None leaves them out."""
    limit: OptionalInt = None
    """Only the first so many of these."""
    frames: str | None = None
    """Annotated real pictures: interhand:ROOT:SPLIT."""
    photos: OptionalPath = None
    """A folder of photos."""
    references: OptionalPath = None
    """A folder with MediaPipe's joints for each of the photos: NAME.json."""
    flip_test: bool = False
    """Average photos with their mirror images."""
    landmarks: bool = True
    """Let the landmark network touch up whole pictures, as predict does. It is MediaPipe's: how far photos are from
    its joints says something only of --no-landmarks."""
    second_opinions: bool = True
    """Look at whole pictures that are in doubt in other ways, too, as predict does."""
    changed: bool = False
    """Measure on versions of the photos, too: mirrored, halved, turned, wider, darker, grey, and as a coarse JPEG."""
    json: bool = False
    """Print JSON instead of a Markdown table."""


def measure(words: list[str]) -> int:
    """Run `unclasp measure`."""
    arguments = parse(MeasureArguments, words, "measure")
    if (arguments.photos is None) != (arguments.references is None):
        raise UnclaspError("--photos and --references go together: a folder of pictures and one of their joints")
    from unclasp.data import open_dataset
    from unclasp.evaluation.measure import as_markdown, read_photos
    from unclasp.evaluation.measure import measure as run
    from unclasp.shipped import weights_file

    photos = []
    if arguments.photos is not None and arguments.references is not None:
        photos = read_photos(arguments.photos, arguments.references)
    rendered, frames = (None if name is None else open_dataset(name) for name in (arguments.rendered, arguments.frames))
    measured = []
    with Console(stderr=True).status("measure") as status:
        for weights in arguments.weights or (None,):
            path = weights_file(weights)
            status.update(f"measure {path}")
            figures = run(
                weights, rendered=rendered, limit=arguments.limit, frames=frames, photos=photos,
                flip_test=arguments.flip_test, landmarks=arguments.landmarks,
                second_opinions=arguments.second_opinions, changed=arguments.changed,
            )  # fmt: skip
            measured.append((f"{path.resolve().parent.name}/{path.stem}", figures))
    if arguments.json:
        told = [{"model": name, "figures": [asdict(figure) for figure in figures]} for name, figures in measured]
        print(json.dumps(told, allow_nan=False))
    else:
        print(as_markdown(measured))
    return 0
