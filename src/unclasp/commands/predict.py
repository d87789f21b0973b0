"""`unclasp predict`."""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import tyro
from rich.console import Console

from unclasp.commands.arguments import OptionalInt, OptionalPath, parse, with_numbers_last
from unclasp.commands.progress import over_frames, over_sources
from unclasp.errors import UnclaspError
from unclasp.files import check_writable, replaceable
from unclasp.marks import is_marked, is_result, marked

if TYPE_CHECKING:
    from unclasp.pose import HandPose
    from unclasp.predictor import Predictor
    from unclasp.sources import Source
    from unclasp.streaming import StreamOptions

_ENDS: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
Sources = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE ...", help_behavior_hint="")]
_Box = Annotated[tuple[float, float, float, float] | None, tyro.conf.arg(metavar="X1 Y1 X2 Y2", help_behavior_hint="")]
_Focal = Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="FX FY", help_behavior_hint="")]


@dataclass(frozen=True)
class PredictArguments:
    """Find the hands in pictures, videos and cameras.

    Each picture gets OUT/NAME.png, the overlay with 3D views, and OUT/NAME.json (docs/json-schema.md). Each video or
    camera gets OUT/NAME.mp4, the overlay, and OUT/NAME.jsonl, a line for each frame; Ctrl-C ends it and keeps both,
    and is how a camera ends.
    """

    sources: Sources
    """Pictures, videos, folders, globs, or the number of a camera."""
    out: Path = Path("unclasp-out")
    """Folder for the results."""
    weights: OptionalPath = None
    """A weights file, or an .onnx or .xml of `unclasp export`; the shipped model, small, if not given."""
    box: _Box = None
    """px around the hands, for every picture; they are looked for if not given."""
    detector: Literal["finder", "network", "none"] = "finder"
    """What looks for hands without a box: the finder, the pose network's own search, or nothing (the whole picture)."""
    landmarks: bool = True
    """Touch up the joints by MediaPipe's landmark network, which has seen real hands, and the fusion network.
    With the finder, spot hands by its palm detector, too. Without it all pictures are taken to have hands."""
    fusion: OptionalPath = None
    """A file of unclasp fusion train in place of the shipped one, which has learned the mistakes of small.
    For networks that unclasp fusion look takes; others are touched up by a rule."""
    second_opinions: bool = True
    """Look at pictures in doubt mirrored, turned, and all over, too; not with --box, and not in videos."""
    focal: _Focal = None
    """Focal length in px. If not given, that of a picture's EXIF block; otherwise a field of view of 60 degrees is
    assumed."""
    device: str = "cpu"
    """Where the network runs: cpu, cuda, mps."""
    threads: OptionalInt = None
    """How many cores to use; all if not given. One is best for many processes side by side."""
    flip_test: bool = False
    """Average over the picture and its mirror image."""
    mirrored: bool = False
    """The pictures are mirror images, such as selfies: right and left are exchanged to be the person's own."""
    everyone: bool = False
    """Find the hands of all people in pictures: those of others are drawn, too, and are `others` in the JSON.
    With --no-landmarks fewer of them are found."""
    html: bool = False
    """Write OUT/NAME.html, too: the hands of a picture in 3D, to turn in a browser."""
    smooth: bool = True
    """Filter the joints of videos over time."""
    every: int = 1
    """Of so many frames of a video, predict one."""
    max_frames: OptionalInt = None
    """Stop each video after so many predicted frames; at its end if not given."""
    rerun: bool = False
    """Write OUT/NAME.rrd, too: a video's frames and hands for the Rerun viewer."""
    json: bool = False
    """Print a JSON list of what was done instead of lines for people."""


def predict(words: list[str]) -> int:
    """Run `unclasp predict`."""
    arguments = parse(PredictArguments, with_numbers_last(words), "predict")
    from unclasp.predictor import Predictor
    from unclasp.sources import find_sources, output_stems

    _check(arguments)
    found = find_sources(arguments.sources)
    sources = [source for source in found if not _is_earlier_result(source, arguments.out)]
    if len(found) > len(sources) > 0:
        print(f"{len(found) - len(sources)} earlier results among the sources are left out", file=sys.stderr)
    if not sources:
        raise UnclaspError(f"the sources hold nothing but earlier results, as of {arguments.out}")
    usable = [source for source in sources if source.error is None]
    _tell_what_is_left_out(arguments, usable)
    stems = iter(output_stems([source.name for source in usable]))
    untouchable = {source.path.resolve() for source in usable if source.path is not None}
    predictor = Predictor.load(
        arguments.weights, device=arguments.device, flip_test=arguments.flip_test, detector=arguments.detector,
        landmarks=arguments.landmarks, fusion=arguments.fusion, second_opinions=arguments.second_opinions,
        threads=arguments.threads,
    )  # fmt: skip
    errors = Console(stderr=True)
    done: list[dict[str, Any]] = []
    try:
        with _ended_like_by_ctrl_c(), closing(over_sources(sources, errors)) as shown:  # closed before the list
            for source in shown:
                entry = _predict_source(predictor, source, stems, arguments, untouchable=untouchable)
                done.append(entry)
                if "error" in entry:
                    errors.print(f"error: {entry['error']}", markup=False, highlight=False, soft_wrap=True)
                if "overlay" in entry and not arguments.json:
                    print(_told(entry))
                if entry.get("interrupted"):
                    raise KeyboardInterrupt
    finally:  # Ctrl-C, too: what was done is told
        if arguments.json:
            print(json.dumps(done, indent=1))
    failed = sum("error" in entry for entry in done)
    if failed:
        errors.print(f"{failed} of {len(done)} sources failed", highlight=False)
    return 0 if not failed else 1 if failed < len(done) else 2


@contextmanager
def _ended_like_by_ctrl_c() -> Iterator[None]:
    """Let what asks a process to end, and the end of its terminal, keep a video up to there, too.

    What was ignored before, as nohup has it, still is; what comes again while files are put in their places is ignored.
    """
    is_main = threading.current_thread() is threading.main_thread()  # no other one may
    before = {each: handler for each in _ENDS if is_main and (handler := signal.getsignal(each)) == signal.SIG_DFL}

    def interrupt(*_: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in before:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _check(arguments: PredictArguments) -> None:
    """Refuse what cannot be done, before anything is loaded."""
    if not arguments.sources:
        raise UnclaspError("name at least one picture, video, folder, glob or camera number")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise UnclaspError(f"--out must be a folder, got the file {arguments.out}")
    above = next(path for path in (arguments.out, *arguments.out.absolute().parents) if path.exists())
    if not above.is_dir():
        raise UnclaspError(f"--out must be a folder, got one in the file {above}")
    _stream_options(arguments)
    if arguments.out.exists():  # otherwise it is made once there is a result
        check_writable(arguments.out / ".unclasp")
    if arguments.everyone and arguments.box is not None:
        raise UnclaspError("--everyone looks all over each picture, --box in one place: leave one of them out")
    if arguments.everyone and arguments.detector != "finder":
        raise UnclaspError(
            f"--everyone needs the finder, --detector {arguments.detector} finds one person's hands: leave one out"
        )


def _tell_what_is_left_out(arguments: PredictArguments, usable: "list[Source]") -> None:
    """Tell which options suit none of the sources."""
    for option, given, suits, kind in (
        ("--everyone", arguments.everyone, any(not source.is_video for source in usable), "pictures"),
        ("--html", arguments.html, any(not source.is_video for source in usable), "pictures"),
        ("--rerun", arguments.rerun, any(source.is_video for source in usable), "videos and cameras"),
    ):
        if given and usable and not suits:
            print(f"{option} is for {kind}, of which there are none here: it is left out", file=sys.stderr)


def _told(entry: dict[str, Any]) -> str:
    """Say what was done in a line for people."""
    if "frames" in entry:
        counts = entry["of_side"] | ({"both": entry["both"]} if len(entry["of_side"]) == 2 else {})
        what = ", ".join(f"{name} in {count}" for name, count in counts.items()) or "no hand in any"
        what += f" of {entry['frames']} frames"
        what += f", in doubt in {entry['in_doubt']}" if entry["in_doubt"] else ""
        what += f"; {entry['frames_per_second']} frames/s"
    else:
        what = "; ".join(map(_person, [entry, *entry.get("others", [])]))
    return f"{entry['source']}: {what} -> {entry['overlay']}"


def _person(entry: dict[str, Any]) -> str:
    """Say which hands somebody has."""
    hands = (f"{side} (in doubt)" if side in entry["doubted"] else side for side in entry["hands"])
    return " and ".join(hands) or "no hand"


def _is_earlier_result(source: "Source", out: Path) -> bool:
    """Tell whether a search led to what was written before.

    That is what lies in the folder of results where this lies inside of the searched one, and any overlay, which says
    so.
    """
    if source.path is None or source.path == Path(source.given):
        return False
    out = out.resolve()
    inside = out in source.path.resolve().parents and Path(source.given).resolve() in out.parents
    return inside or is_marked(source.path)


def _predict_source(
    predictor: "Predictor", source: "Source", stems: Iterator[str], arguments: PredictArguments, *,
    untouchable: set[Path],
) -> dict[str, Any]:  # fmt: skip
    if source.error is not None:
        return {"source": source.given, "error": source.error}
    one = _record_one if source.is_video else _predict_one
    return one(predictor, source, arguments.out / next(stems), arguments, untouchable=untouchable)


def _predict_one(
    predictor: "Predictor", source: "Source", stem: Path, arguments: PredictArguments, *, untouchable: set[Path]
) -> dict[str, Any]:
    import cv2

    from unclasp.files import write_bytes
    from unclasp.picture import read_photo

    try:
        results = {"overlay": ".png", "json": ".json"} | ({"html": ".html"} if arguments.html else {})
        told = {name: str(_result(stem, suffix, untouchable)) for name, suffix in results.items()}
        image, focal = read_photo(source.name)
        focal = arguments.focal or focal
        if arguments.everyone:
            poses = predictor.everyone(image, focal=focal, mirrored=arguments.mirrored)
        else:
            poses = [predictor(image, arguments.box, focal=focal, mirrored=arguments.mirrored)]
        pose, *others = (replace(each, source=source.name) for each in poses)
        drawn = marked(cv2.imencode(".png", pose.plot(others=others)[..., ::-1])[1].tobytes())
        write_bytes(told["overlay"], drawn)
        if arguments.html:
            pose.save_html(told["html"])
        # last: where there is a JSON, the result is whole
        pose.save_json(told["json"], others=others if arguments.everyone else None)
    except (UnclaspError, OSError, MemoryError, cv2.error) as error:
        return {"source": source.name, "error": _reason(error, source.name)}
    more = {"others": [_hands(other) for other in others]} if arguments.everyone else {}
    return {"source": source.name, **_hands(pose), **more, **told}


def _hands(pose: "HandPose") -> dict[str, list[str]]:
    return {"hands": list(pose.sides), "doubted": list(pose.doubted)}


def _record_one(
    predictor: "Predictor", source: "Source", stem: Path, arguments: PredictArguments, *, untouchable: set[Path]
) -> dict[str, Any]:
    """Predict a video or camera; what there is before a failure of the source is kept, and told with the error."""
    import cv2

    from unclasp.recording import record
    from unclasp.video import Video

    spoken = source.name if source.camera is None else f"camera {source.camera}"
    options = _stream_options(arguments)
    try:
        results = {"overlay": ".mp4", "json": ".jsonl"} | ({"rerun": ".rrd"} if arguments.rerun else {})
        told = {name: str(_result(stem, suffix, untouchable)) for name, suffix in results.items()}
        opened = source.file_or_camera
        with Video(opened, every=options.every, max_frames=options.max_frames) as video, over_frames(video) as on_frame:
            poses = predictor.video(video, options, focal=arguments.focal, mirrored=arguments.mirrored)
            started = time.monotonic()
            recorded = record(
                poses, stem, rate=video.rate / options.every, live=video.live, rerun=arguments.rerun, on_frame=on_frame
            )
            seconds = time.monotonic() - started
    except (UnclaspError, OSError, MemoryError, cv2.error) as error:
        return {"source": source.name, "error": _reason(error, spoken)}
    entry = {
        "source": source.name, "hands": list(recorded.of_side), "frames": recorded.frames, "both": recorded.both,
        "of_side": recorded.of_side, "in_doubt": recorded.doubted,
        "frames_per_second": round(recorded.frames / max(seconds, 1e-3), 1), **told,
    }  # fmt: skip
    if recorded.interrupted and source.camera is None:
        entry["interrupted"] = True
    return entry | ({"error": _reason(recorded.problem, spoken)} if recorded.problem else {})


def _stream_options(arguments: PredictArguments) -> "StreamOptions":
    from unclasp.streaming import StreamOptions

    return StreamOptions(
        box=arguments.box, smooth=arguments.smooth, every=arguments.every, max_frames=arguments.max_frames
    )


def _result(stem: Path, suffix: str, untouchable: set[Path]) -> Path:
    """Return the path of a result, which must be none of the sources, nor a file that is no earlier result."""
    path = stem.with_name(stem.name + suffix)
    if path.resolve() in untouchable:
        raise UnclaspError(f"{path} is one of the sources and is not overwritten; choose another --out")
    target = replaceable(path)
    if target.exists() and not is_result(target):
        raise UnclaspError(f"{path} is no earlier result and is not overwritten; choose another --out, or remove it")
    return path


def _reason(error: BaseException, source: str) -> str:
    """Return an error as one line that names its source."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if source in reason else f"{source}: {reason}"
