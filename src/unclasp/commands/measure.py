"""`unclasp measure`."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro
from rich.console import Console

from unclasp.commands.arguments import Files, OptionalData, OptionalInt, OptionalPath, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class MeasureArguments:
    """Compare models on rendered pictures, annotated real frames and photos, in a table with one column per model.

    Photos are compared with MediaPipe's 2D joints, for the hands that MediaPipe found.
    """

    weights: Files = ()
    """Weights files; the shipped model, small, if none is given."""
    rendered: Annotated[str | None, tyro.conf.arg(metavar="DATA")] = "synthetic:test"
    """Data set of rendered pictures; None for none."""
    limit: OptionalInt = None
    """Use only the first N pictures of it."""
    frames: OptionalData = None
    """Data set of annotated real pictures: interhand:ROOT:SPLIT."""
    photos: OptionalPath = None
    """A folder of photos."""
    references: OptionalPath = None
    """A folder with MediaPipe's joints for each photo: NAME.json."""
    flip_test: bool = False
    """On photos, average the predictions for the picture and its mirror image."""
    landmarks: bool = True
    """In whole pictures, correct joints with the landmark network, as predict does. MediaPipe made it, so distances to
    MediaPipe's joints are only meaningful with --no-landmarks."""
    second_opinions: bool = True
    """Predict doubtful whole pictures again in several variants, as predict does."""
    changed: bool = False
    """Also measure on variants of the photos: mirrored, halved, turned, wider, darker, grey, and as a coarse JPEG."""
    json: bool = False
    """Print JSON instead of a Markdown table."""


def measure(words: list[str]) -> int:
    """Run `unclasp measure`."""
    arguments = parse(MeasureArguments, words, "measure")
    _check(arguments)
    from unclasp.checkpoint import load_model
    from unclasp.data import open_dataset
    from unclasp.evaluation.measure import as_markdown
    from unclasp.evaluation.measure import measure as run
    from unclasp.evaluation.reference_photos import read_photos
    from unclasp.model.deploy import optimise
    from unclasp.predictor import Predictor
    from unclasp.shipped import model_name, weights_file

    photos = []
    if arguments.photos is not None and arguments.references is not None:
        photos = read_photos(arguments.photos, arguments.references)
    rendered, frames = (
        None if name is None else open_dataset(name, default_split=None)
        for name in (arguments.rendered, arguments.frames)
    )  # fmt: skip
    measured = []
    with Console(stderr=True).status("measure") as status:
        for weights in arguments.weights or (None,):
            path = weights_file(weights)
            status.update(f"measure {path}")
            predictor = Predictor.load(
                weights, flip_test=arguments.flip_test, landmarks=arguments.landmarks,
                second_opinions=arguments.second_opinions,
            )  # fmt: skip
            figures = run(
                optimise(load_model(weights)[0]), predictor, rendered=rendered, limit=arguments.limit, frames=frames,
                photos=photos, changed=arguments.changed,
            )  # fmt: skip
            measured.append((model_name(path, in_folder=True), figures))
    if arguments.json:
        entries = [{"model": name, "figures": [asdict(figure) for figure in figures]} for name, figures in measured]
        print(json.dumps(entries, allow_nan=False))
    else:
        print(as_markdown(measured))
    return 0


def _check(arguments: MeasureArguments) -> None:
    if (arguments.photos is None) != (arguments.references is None):
        raise UnclaspError("--photos and --references go together: a folder of photos, and one of their joints")
    if arguments.changed and arguments.photos is None:
        raise UnclaspError("--changed is for photos: add --photos and --references")
    if arguments.limit is not None and arguments.rendered is None:
        raise UnclaspError("--limit is for rendered pictures, and there are none: leave it out, or give --rendered")
