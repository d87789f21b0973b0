"""The command line: dispatches to the commands, and turns errors into one-line messages and exit codes."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Final, NoReturn

from unclasp import __version__
from unclasp.errors import UnclaspError
from unclasp.pipes import discard

GROUPS: Final = {
    "On your own pictures": {
        "predict": "Predict the hands in pictures, videos and cameras: overlays and JSON.",
        "demo": "Serve a web page that predicts the hands in uploaded and webcam pictures.",
    },
    "Evaluation": {
        "evaluate": "Score a model on a data set under InterHand2.6M's protocol.",
        "measure": "Compare models on rendered pictures, real frames and photos in one table.",
        "gallery": "Draw predictions beside the ground truth for randomly chosen pictures.",
        "figures attention": "Draw where a joint looks in a picture, by appearance and by position.",
        "figures curves": "Draw the PCK curves of saved reports, with their AUC.",
    },
    "Data sets": {
        "data check": "Check an InterHand2.6M folder, and list what is missing.",
        "data index": "Build the index through which InterHand2.6M is read.",
        "data parts": "Draw part masks from the MANO fits, with your own MANO files.",
        "data show": "Draw a contact sheet of a data set's pictures with their joints.",
        "synth preview": "Draw a contact sheet of synthetic pictures: picture, skeleton, parts.",
        "synth write": "Write synthetic pictures to disk in InterHand2.6M's layout, with part masks.",
    },
    "Training": {
        "presets": "List the presets, which include each row of the paper's Tables 1-3.",
        "train": "Train a preset.",
        "average": "Average the weights of several stages of a training run.",
        "calibrate": "Fit a confidence for each joint of a trained model.",
        "adapt": "Adapt a trained model to pictures of your own kind, without annotations.",
        "label": "Write a data set to train on from pictures without annotations.",
        "linearise": "Fit a linear part segmentation head for a trained model: cheaper, slightly less accurate.",
        "export": "Export a model to ONNX or OpenVINO, and check that its outputs match the network's.",
    },
    "The other networks": {
        "finder render": "Render whole pictures with annotated hand regions, for training the hand finder.",
        "finder train": "Train the hand finder on them.",
        "finder average": "Average the weights of several stages of that training.",
        "fusion collect": "Run the pose and the landmark network on a data set, to train their fusion.",
        "fusion train": "Train the fusion network.",
        "fusion calibrate": "Fit the confidence in fused joints.",
        "landmarks": "Convert MediaPipe's landmark network, which corrects joints, to ONNX.",
        "palms": "Convert MediaPipe's palm detector to ONNX.",
        "faces": "Convert MediaPipe's face detector, which tells faces from hands, to ONNX.",
    },
    "Benchmarks": {
        "bench predict": "Time the stages of a prediction, from file to overlay.",
        "bench latency": "Time a network in each engine, beside its bare backbone.",
        "bench pieces": "Measure the cost of each part of a network in ONNX Runtime.",
        "bench finder": "Time the hand finder.",
        "bench train": "Time a training step, beside that of the backbone alone.",
        "bench synth": "Measure the speed of the rendering engine.",
        "bench index": "Measure the cost of a data set index, on synthetic annotations of InterHand2.6M's size.",
        "bench data": "Measure the speed and the memory of a loader process that makes training crops.",
    },
}
"""The commands with what they do, as in `unclasp --help`."""
COMMANDS: Final = {name: summary for group in GROUPS.values() for name, summary in group.items()}
_MODULES: Final = dict.fromkeys(("landmarks", "palms", "faces"), "mediapipe")
"""The modules of commands that share one; all others have the name of the first word of their commands."""
_DISTRIBUTIONS: Final = {"cv2": "opencv-python-headless", "lightning_fabric": "lightning-fabric"}
"""The names of packages that differ from those of their modules."""
_INTERRUPTED = 130
_FAILED = 2


def help_text() -> str:
    """Return what `unclasp --help` prints."""
    return "\n".join([
        "usage: unclasp COMMAND [OPTIONS]   (unclasp COMMAND --help describes a command)",
        "",
        "Predicts the 3D pose of two interacting hands from one RGB picture.",
        "",
        *(f"{title}:\n{_summaries(names)}\n" for title, names in GROUPS.items()),
        f"unclasp {__version__}",
    ])  # fmt: skip


def _summaries(names: Iterable[str]) -> str:
    """Return a line for each command with what it does, wrapped to the terminal's width."""
    column, columns = max(map(len, COMMANDS)), max(40, min(shutil.get_terminal_size().columns, 120))
    indent = " " * (column + 4)
    return "\n".join(
        textwrap.fill(
            f"  {name:<{column}}  {COMMANDS[name]}", columns, subsequent_indent=indent, break_on_hyphens=False
        )
        for name in names
    )


def module_of(command: str) -> str:
    """Return the name of the module with a command's function, which is called like its last word."""
    first = command.partition(" ")[0]
    return f"unclasp.commands.{_MODULES.get(first, first)}"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 some sources failed or data missing, 2 wrong usage or data, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may not be encodable
    try:
        code = _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()  # what cannot be written fails here, not at the interpreter's exit
        sys.exit(code)
    except UnclaspError as error:
        _end(f"error: {error}", _FAILED)
    except (KeyboardInterrupt, SystemError) as error:
        _end_interrupted(error)
    except BrokenPipeError as error:  # a reader such as `head` has had enough
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                discard(stream)
        _end("", _INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else 0)
    except ModuleNotFoundError as error:
        name = (error.name or "unclasp").partition(".")[0]
        if name == "unclasp":
            raise
        if name in sys.stdlib_module_names:
            _end(f"error: {words[0]} needs Python's module {name}, which this installation or system lacks", _FAILED)
        name = _DISTRIBUTIONS.get(name, name)
        _end(f"error: {words[0]} needs the package {name}: pip install {name}", _FAILED)
    except OSError as error:  # for example a file that cannot be read or written, or a full disk
        reason = error.strerror or str(error) or type(error).__name__
        _end(f"error: {error.filename}: {reason}" if error.filename else f"error: {reason}", _FAILED)


def _end_interrupted(error: KeyboardInterrupt | SystemError) -> NoReturn:
    """End after Ctrl-C, of which numba's compiled code makes a SystemError; any other one is raised again."""
    if isinstance(error, SystemError) and not isinstance(error.__cause__, KeyboardInterrupt):
        raise error
    told = "" if isinstance(error, SystemError) else str(error)
    _end(told or "interrupted; what was finished is kept", _INTERRUPTED)


def _end(message: str, code: int) -> NoReturn:
    """Print a message, if the terminal or the reader of stderr is still there, and exit."""
    try:
        if message and sys.stderr is not None:
            print(message, file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)
    sys.exit(code)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(help_text())
        return 0 if words else _FAILED
    if words[0] == "--version":
        print(__version__)
        return 0
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            if os.environ.get("NO_COLOR"):  # tyro has a variable of its own, which it reads when it is imported
                os.environ.setdefault("PYTHON_TYRO_ANSI_CODES", "False")
            run = getattr(import_module(module_of(name)), name.split()[-1])
            return int(run(words[length:]))
    from difflib import get_close_matches

    group = {name.partition(" ")[2]: name for name in COMMANDS if name.startswith(f"{words[0]} ")}
    if not group and Path(words[0]).exists():
        raise UnclaspError(f"there is no command {words[0]!r}; did you mean unclasp predict {words[0]}?")
    called = words[0]
    if group:
        if words[1:] and words[1] in ("-h", "--help"):
            print(f"usage: unclasp {words[0]} COMMAND [OPTIONS]", "", _summaries(group.values()), sep="\n")
            return 0
        if len(words) == 1 or words[1].startswith("-"):
            raise UnclaspError(f"name a command of {words[0]}: {', '.join(group.values())}")
        called = " ".join(words[:2])
        similar = [group[name] for name in get_close_matches(" ".join(words[1:2]), group, 1)]
        others = f"those of {words[0]} are {', '.join(group.values())}"
    else:
        similar = get_close_matches(" ".join(words[:2]), COMMANDS, 1) or get_close_matches(words[0], COMMANDS, 1)
        others = f"the commands are {', '.join(COMMANDS)}"
    hint = f"did you mean {similar[0]}?" if similar else others
    raise UnclaspError(f"there is no command {called!r}; {hint}")
