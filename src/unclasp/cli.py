"""The command line: which command was meant, its arguments, and what to say when it fails. No logic."""

import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Final, NoReturn

from unclasp import __version__
from unclasp.errors import UnclaspError

COMMANDS: Final = {
    "predict": "Find the hands in pictures: an overlay and a JSON file for each.",
    "demo": "Serve a web page that finds the hands in pictures and from the webcam.",
    "evaluate": "Score a model on a data set under InterHand2.6M's protocol.",
    "measure": "Measure models on rendered pictures, real frames and photos: one table.",
    "gallery": "Draw a model's results beside the truth on random pictures.",
    "train": "Train a preset.",
    "average": "Average the weights of several stages of a training.",
    "calibrate": "Fit how far each joint of a trained model can be trusted.",
    "landmarks": "Convert MediaPipe's landmark network, which touches up predictions.",
    "palms": "Convert MediaPipe's palm detector, which spots hands where the finder is not enough.",
    "fusion look": "Write what the pose network and the landmark network say of the hands in a data set.",
    "fusion train": "Train the network that makes one of the two.",
    "linearise": "Make a trained model's part segmentation head linear: cheaper, and a little less exact.",
    "export": "Write a model for ONNX Runtime or OpenVINO, and check that it answers the same.",
    "synth preview": "Draw a contact sheet of synthetic pictures: picture, skeleton, parts.",
    "synth write": "Write synthetic pictures to disk in InterHand2.6M's layout, with part masks.",
    "finder render": "Render whole pictures with regions of hands, for training the finder.",
    "finder train": "Train the finder of hands on them.",
    "finder average": "Average several stages of a training of the finder.",
    "bench latency": "Time a network in each engine beside its bare backbone.",
    "bench pieces": "Tell what each piece of a network costs in ONNX Runtime.",
    "bench finder": "Time the finder of hands, in each engine.",
    "bench train": "Time a training step beside the backbone's own.",
    "bench predict": "Time a prediction from file to overlay, by stage.",
    "bench synth": "Measure how fast the engine renders.",
    "bench index": "Measure what the index of a data set costs, on made-up annotations of InterHand2.6M's size.",
    "bench data": "Measure how fast a loader process makes training crops, and the memory it needs.",
    "data check": "Tell what is there of InterHand2.6M, and what to fetch.",
    "data index": "Make the index that InterHand2.6M is read through.",
    "data parts": "Draw part masks from the MANO fits, with your own files of MANO.",
    "data show": "Draw a sheet of a data set's pictures with their joints on them.",
    "presets": "List the presets, among them each row of the paper's Tables 1-3.",
}
_INTERRUPTED = 130
_FAILED = 2


def help_text() -> str:
    """Return what `unclasp --help` prints."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items())
    return "\n".join([
        "usage: unclasp COMMAND [ARGUMENTS]   (unclasp COMMAND --help tells them)",
        "",
        "The 3D pose of two interacting hands from one RGB picture.",
        "",
        *lines,
        "",
        f"unclasp {__version__}",
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 some sources failed, 2 wrong use or data, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not fit its encoding
    if not words or words[0] in ("-h", "--help"):
        print(help_text())
        sys.exit(0 if words else _FAILED)
    if words[0] == "--version":
        print(__version__)
        sys.exit(0)
    try:
        sys.exit(_run(words))
    except UnclaspError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_FAILED)
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "unclasp":
            raise
        print(f"error: {words[0]} needs the package {error.name}: pip install {error.name}", file=sys.stderr)
        sys.exit(_FAILED)
    except OSError as error:  # a file that cannot be written or read, a full disk
        reason = error.strerror or str(error) or type(error).__name__
        print(f"error: {error.filename}: {reason}" if error.filename else f"error: {reason}", file=sys.stderr)
        sys.exit(_FAILED)


def _run(words: list[str]) -> int:
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            module = import_module(f"unclasp.commands.{words[0]}")
            run = getattr(module, name.split()[-1])
            return int(run(words[length:]))
    from difflib import get_close_matches

    if Path(words[0]).exists():
        raise UnclaspError(f"there is no command {words[0]!r}; did you mean unclasp predict {words[0]}?")
    alike = [name for each in (" ".join(words[:2]), words[0]) for name in get_close_matches(each, COMMANDS, 1)]
    meant = f"did you mean {alike[0]}?" if alike else f"the commands are {', '.join(COMMANDS)}"
    raise UnclaspError(f"there is no command {words[0]!r}; {meant}")
