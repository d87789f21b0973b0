"""`unclasp predict`."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track

from unclasp.commands.arguments import parse
from unclasp.errors import UnclaspError

if TYPE_CHECKING:
    from unclasp.predictor import Predictor
    from unclasp.sources import Source

Sources = Annotated[tuple[str, ...], tyro.conf.Positional]


@dataclass(frozen=True)
class PredictArguments:
    """Find the hands in pictures.

    Each picture gets OUT/NAME.png, the overlay with 3D views, and OUT/NAME.json (docs/json-schema.md).
    """

    sources: Sources
    """Pictures, folders or globs."""
    out: Path = Path("unclasp-out")
    """Folder for the results."""
    weights: Path | None = None
    """A weights file; the shipped small model if not given."""
    box: tuple[float, float, float, float] | None = None
    """x1 y1 x2 y2 px around the hands, for every picture; looked for if not given."""
    focal: tuple[float, float] | None = None
    """Focal length fx fy in px; a field of view of 60 degrees is assumed if not given."""
    device: str = "cpu"
    """Where the network runs: cpu, cuda, mps."""
    flip_test: bool = False
    """Average over the picture and its mirror image."""
    json: bool = False
    """Print a JSON list of what was done instead of lines for people."""


def predict(words: list[str]) -> int:
    """Run `unclasp predict`."""
    arguments = parse(PredictArguments, words, "predict")
    from unclasp.predictor import Predictor
    from unclasp.sources import find_sources, output_stems

    if not arguments.sources:
        raise UnclaspError("name at least one picture, folder or glob")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise UnclaspError(f"--out must be a folder, got the file {arguments.out}")
    sources = [source for source in find_sources(arguments.sources) if not _is_earlier_result(source, arguments.out)]
    if not sources:
        raise UnclaspError(f"the sources hold nothing but the earlier results in {arguments.out}")
    paths = [source.path for source in sources if source.path is not None]
    stems = iter(output_stems(paths))
    untouchable = {path.resolve() for path in paths}
    predictor = Predictor.load(arguments.weights, device=arguments.device, flip_test=arguments.flip_test)
    done: list[dict[str, Any]] = []
    errors = Console(stderr=True)
    shown = track(sources, "predict", console=errors, disable=len(sources) == 1 or not sys.stderr.isatty())
    for source in shown:
        if source.path is None:
            entry: dict[str, Any] = {"source": source.given, "error": source.error}
        else:
            entry = _predict_one(predictor, source.path, next(stems), arguments, untouchable=untouchable)
        done.append(entry)
        if "error" in entry:
            errors.print(f"error: {entry['error']}", markup=False, highlight=False, soft_wrap=True)
        elif not arguments.json:
            print(f"{entry['source']}: {' and '.join(entry['hands']) or 'no hand'} -> {entry['overlay']}")
    if arguments.json:
        print(json.dumps(done, indent=1))
    failed = sum("error" in entry for entry in done)
    if failed:
        errors.print(f"{failed} of {len(done)} sources failed", highlight=False)
    return 0 if not failed else 1 if failed < len(done) else 2


def _is_earlier_result(source: "Source", out: Path) -> bool:
    """Tell whether a searched folder led into the folder of results that lies inside of it."""
    if source.path is None:
        return False
    out = out.resolve()
    return out in source.path.resolve().parents and Path(source.given).resolve() in out.parents


def _predict_one(
    predictor: "Predictor", path: Path, stem: str, arguments: PredictArguments, *, untouchable: set[Path]
) -> dict[str, Any]:
    import cv2

    from unclasp.files import write_bytes
    from unclasp.picture import read_picture

    try:
        image = read_picture(path)
        pose = replace(predictor(image, arguments.box, focal=arguments.focal), source=str(path))
        overlay, numbers = arguments.out / f"{stem}.png", arguments.out / f"{stem}.json"
        if overlay.resolve() in untouchable:
            raise UnclaspError(f"{overlay} is one of the sources and is not overwritten; choose another --out")
        drawn = cv2.imencode(".png", pose.plot(image)[..., ::-1])[1].tobytes()
        write_bytes(overlay, drawn)
        pose.save_json(numbers)  # last: where there is a JSON, the result is whole
    except (UnclaspError, OSError, MemoryError, cv2.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        told = reason if str(path) in reason else f"{path}: {reason}"
        return {"source": str(path), "error": told}
    return {"source": str(path), "hands": list(pose.sides), "overlay": str(overlay), "json": str(numbers)}
