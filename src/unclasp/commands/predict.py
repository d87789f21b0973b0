"""`unclasp predict`."""

import json
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console

from unclasp.commands.arguments import (
    OptionalBox,
    OptionalInt,
    OptionalPath,
    Sources,
    need_folder,
    need_positive,
    parse,
    with_numbers_last,
)
from unclasp.commands.progress import over_frames, over_sources, print_line
from unclasp.commands.result_files import result_path, suffixes_of, without_done, without_results
from unclasp.errors import UnclaspError
from unclasp.interruption import signals_as_interrupts
from unclasp.marks import marked
from unclasp.pipes import in_one_line

if TYPE_CHECKING:
    from unclasp.pose import HandPose
    from unclasp.predictor import Predictor
    from unclasp.sources import Source

_Focal = Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="FX FY", help_behavior_hint="")]


@dataclass(frozen=True)
class PredictArguments:
    """Predict the hands in pictures, videos and cameras.

    For each picture, writes OUT/NAME.png, the overlay with 3D views, and OUT/NAME.json (docs/json-schema.md). For each
    video or camera, writes OUT/NAME.mp4, the overlay, and OUT/NAME.jsonl, with a line for each frame. Prints a line for
    each source; a semicolon separates the hands of different people. Ctrl-C stops a video or camera and keeps both
    files; cameras run until then.
    """

    sources: Sources
    """Pictures, videos, folders, globs, or numbers of cameras."""
    out: Path = Path("unclasp-out")
    """Folder for the results; files that unclasp did not write are not overwritten."""
    weights: OptionalPath = None
    """A weights file, or an .onnx or .xml of `unclasp export`; the shipped model, small, if not given."""
    box: OptionalBox = None
    """Box around the hands in px, used for every picture; searched for if not given."""
    detector: Literal["finder", "network", "none"] = "finder"
    """How hands are searched for without a box: by the finder, the pose network, or not at all (whole picture)."""
    landmarks: bool = True
    """Refine the joints with MediaPipe's landmark network and the fusion network, tell faces from hands, and, with the
    finder, also detect palms. Without it every picture is assumed to show hands."""
    fusion: OptionalPath = None
    """A file of `unclasp fusion train` instead of the shipped one, which was trained on the errors of small. Only for
    pose networks that `unclasp fusion collect` accepts; for others a rule is used."""
    second_opinions: bool = True
    """Predict doubtful pictures also mirrored and turned, and sweep over them; not with --box, and not in videos."""
    focal: _Focal = None
    """Focal lengths in px; one number is for both. If not given, that of the picture's EXIF block is used, and without
    one a field of view of 60 degrees is assumed."""
    device: str = "cpu"
    """Device of the pose network: cpu, cuda or mps."""
    threads: OptionalInt = None
    """Number of CPU threads; all cores are used if not given. One is best for many parallel processes."""
    flip_test: bool = False
    """Average the predictions for the picture and its mirror image."""
    mirrored: bool = False
    """The pictures are mirror images, such as selfies: exchange right and left."""
    everyone: bool = False
    """Find the hands of all people in pictures; the JSON lists those of other people as `others`. With --no-landmarks
    fewer are found."""
    html: bool = False
    """Also write OUT/NAME.html, an interactive 3D view of the hands in a picture."""
    smooth: bool = True
    """Smooth the joints of videos, and their confidences, over time."""
    every: int = 1
    """Predict only every N-th frame of a video."""
    max_frames: OptionalInt = None
    """Stop each video after this many predicted frames; at its end if not given."""
    rerun: bool = False
    """Also write OUT/NAME.rrd, with the frames and hands of a video for the Rerun viewer."""
    skip_done: bool = False
    """Skip pictures and videos that have results in OUT, also if they are of other options or of part of a video."""
    json: bool = False
    """Print a JSON list with an entry for each source instead of lines of text."""


def predict(words: list[str]) -> int:
    """Run `unclasp predict`."""
    arguments = parse(PredictArguments, with_numbers_last(words), "predict")
    from unclasp.predictor import Predictor
    from unclasp.sources import output_stems

    _check(arguments)
    sources = without_results(arguments.sources, arguments.out)
    usable = [source for source in sources if source.error is None]
    _report_unused_options(arguments, usable)
    stems = dict(zip(usable, output_stems([source.name for source in usable]), strict=True))
    remaining = without_done(sources, stems, arguments.out) if arguments.skip_done else sources
    if not remaining:
        if arguments.json:
            print("[]")
        return 0
    predictor = Predictor.load(
        arguments.weights, device=arguments.device, flip_test=arguments.flip_test, detector=arguments.detector,
        landmarks=arguments.landmarks, fusion=arguments.fusion, second_opinions=arguments.second_opinions,
        threads=arguments.threads,
    )  # fmt: skip
    done = _predict_all(predictor, remaining, stems, arguments)
    failed = sum("error" in entry for entry in done)
    if failed:
        Console(stderr=True).print(f"{failed} of {len(sources)} sources failed", highlight=False)
    return 0 if not failed else 1 if failed < len(sources) else 2


def _predict_all(
    predictor: "Predictor", sources: "list[Source]", stems: "dict[Source, str]", arguments: PredictArguments
) -> list[dict[str, Any]]:
    """Predict the sources, print what was found when it is found, and return the entries of the JSON list."""
    errors = Console(stderr=True)
    protected = {source.path.resolve() for source in stems if source.path is not None}  # also those that are skipped
    done: list[dict[str, Any]] = []
    try:
        with signals_as_interrupts(), closing(over_sources(sources, errors)) as shown:  # closed before the list
            for source in shown:
                entry = _predict_source(predictor, source, stems, arguments, protected=protected)
                done.append(entry)
                if "error" in entry:
                    errors.print(in_one_line(f"error: {entry['error']}"), markup=False, highlight=False, soft_wrap=True)
                if "overlay" in entry and not arguments.json:
                    print_line(summary_of(entry))
                if entry.get("interrupted"):
                    raise KeyboardInterrupt
    finally:  # also after Ctrl-C: list what was done
        if arguments.json:
            print(json.dumps(done, indent=1))
    return done


def _check(arguments: PredictArguments) -> None:
    """Raise an error for invalid arguments, before anything is loaded."""
    if not arguments.sources:
        raise UnclaspError("name at least one picture, video, folder, glob or camera number")
    need_folder(arguments.out)
    need_positive(every=arguments.every, max_frames=1 if arguments.max_frames is None else arguments.max_frames)
    if arguments.everyone and arguments.box is not None:
        raise UnclaspError("--everyone searches the whole picture, --box only one place: use one of them")
    if arguments.everyone and arguments.detector != "finder":
        raise UnclaspError(
            f"--everyone needs the finder, --detector {arguments.detector} finds one person's hands: use one of them"
        )


def _report_unused_options(arguments: PredictArguments, usable: "list[Source]") -> None:
    """Print a note for each option that applies to none of the sources."""
    of_pictures = {"--everyone": arguments.everyone, "--html": arguments.html}
    of_videos = {
        "--rerun": arguments.rerun, "--no-smooth": not arguments.smooth, "--every": arguments.every != 1,
        "--max-frames": arguments.max_frames is not None,
    }  # fmt: skip
    for options, kind, are_videos in (of_pictures, "pictures", False), (of_videos, "videos and cameras", True):
        if usable and not any(source.is_video == are_videos for source in usable):
            for option in (name for name, is_set in options.items() if is_set):
                print(f"{option} is only for {kind}, and none are given: it is ignored", file=sys.stderr)


def summary_of(entry: dict[str, Any]) -> str:
    """Return a one-line summary of an entry of the JSON list."""
    if "frames" in entry:
        counts = entry["of_side"] | ({"both": entry["both"]} if len(entry["of_side"]) == 2 else {})
        result = ", ".join(f"{name} in {count}" for name, count in counts.items()) or "no hand in any"
        result += f" of {entry['frames']} frames"
        result += f", in contact in {entry['in_contact']}" if entry["in_contact"] else ""
        result += f", in doubt in {entry['in_doubt']}" if entry["in_doubt"] else ""
        result += f"; {entry['frames_per_second']} frames/s"
    else:
        result = "; ".join(map(_hands_text, [entry, *entry.get("others", [])]))
    return f"{entry['source']}: {result} -> {entry['overlay']}"


def _hands_text(entry: dict[str, Any]) -> str:
    """Return one person's hands as text."""
    hands = (f"{side} (in doubt)" if side in entry["doubted"] else side for side in entry["hands"])
    return (" and ".join(hands) or "no hand") + (" in contact" if entry["in_contact"] else "")


def _predict_source(
    predictor: "Predictor", source: "Source", stems: "dict[Source, str]", arguments: PredictArguments, *,
    protected: set[Path],
) -> dict[str, Any]:  # fmt: skip
    """Return the entry of the JSON list for a source; if it fails, with the error."""
    import cv2

    if source.error is not None:
        return {"source": source.given, "error": source.error}
    stem, suffixes = arguments.out / stems[source], suffixes_of(source, html=arguments.html, rerun=arguments.rerun)
    try:
        outputs = {name: str(result_path(stem, suffix, protected)) for name, suffix in suffixes.items()}
        if source.is_video:
            return _predict_video(predictor, source, stem, outputs, arguments)
        return _predict_picture(predictor, source, outputs, arguments)
    except (UnclaspError, OSError, MemoryError, cv2.error) as error:
        return {"source": source.name, "error": _reason(error, source)}


def _predict_picture(
    predictor: "Predictor", source: "Source", outputs: dict[str, str], arguments: PredictArguments
) -> dict[str, Any]:
    import cv2

    from unclasp.files import write_together
    from unclasp.picture import read_photo
    from unclasp.view3d import page

    image, focal = read_photo(source.name)
    focal = arguments.focal or focal
    if arguments.everyone:
        found, *others = predictor.everyone(image, focal=focal, mirrored=arguments.mirrored)
    else:
        found = predictor(image, arguments.box, focal=focal, mirrored=arguments.mirrored)
        others = list(found.touching)
    pose = replace(found, source=source.name)
    overlay = marked(cv2.imencode(".png", cv2.cvtColor(pose.plot(others=others), cv2.COLOR_RGB2BGR))[1].tobytes())
    contents: dict[Path | str, bytes] = {outputs["overlay"]: overlay}
    if arguments.html:
        contents[outputs["html"]] = page(pose.to_dict()).encode()
    contents[outputs["json"]] = pose.to_json(others=others if arguments.everyone else None).encode()
    write_together(contents)
    others_entry = {"others": [_hands_entry(other) for other in others]} if arguments.everyone or others else {}
    return {"source": source.name, **_hands_entry(pose), **others_entry, **outputs}


def _hands_entry(pose: "HandPose") -> dict[str, Any]:
    in_contact = pose.contact is not None and pose.contact.is_likely
    return {"hands": list(pose.sides), "doubted": list(pose.doubted), "in_contact": in_contact}


def _predict_video(
    predictor: "Predictor", source: "Source", stem: Path, outputs: dict[str, str], arguments: PredictArguments
) -> dict[str, Any]:
    """Predict a video or camera. Frames before a failure of the source are kept, and reported beside the error."""
    from unclasp.recording import record
    from unclasp.streaming import StreamOptions
    from unclasp.video import Video

    options = StreamOptions(box=arguments.box, smooth=arguments.smooth)
    opened = Video(source.file_or_camera, every=arguments.every, max_frames=arguments.max_frames)
    with opened as video, over_frames(video) as on_frame:
        poses = predictor.video(video, options, focal=arguments.focal, mirrored=arguments.mirrored)
        rate, started = video.rate / arguments.every, time.monotonic()
        recorded = record(poses, stem, rate=rate, live=video.live, rerun=arguments.rerun, on_frame=on_frame)
        seconds = time.monotonic() - started
    entry = {
        "source": source.name, "hands": list(recorded.of_side), "frames": recorded.frames, "both": recorded.both,
        "of_side": recorded.of_side, "in_contact": recorded.in_contact, "in_doubt": recorded.doubted,
        "frames_per_second": round(recorded.frames / max(seconds, 1e-3), 1), **outputs,
    }  # fmt: skip
    if recorded.interrupted and source.camera is None:
        entry["interrupted"] = True
    return entry | ({"error": _reason(recorded.problem, source)} if recorded.problem else {})


def _reason(error: BaseException, source: "Source") -> str:
    """Return an error as a single line that names its source."""
    label = source.name if source.camera is None else f"camera {source.camera}"
    name = in_one_line(label)
    lines = str(error).replace(label, name).splitlines()
    reason = " ".join(line.strip() for line in lines) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        reason = in_one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return reason if name in reason else f"{name}: {reason}"
