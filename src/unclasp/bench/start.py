"""Benchmark of a fresh process, from its start to the first pose, compared with importing the engine alone."""

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

from unclasp.errors import UnclaspError, check_at_least
from unclasp.shipped import exported_file

STAGES: Final = ("interpreter", "import unclasp", "engine and weights", "first picture")
_ENGINE_OF_SUFFIX: Final = {".onnx": "onnxruntime", ".xml": "openvino"}
_PREDICT_CODE: Final = """
import sys, time, json
marks = [time.time()]
from unclasp.picture import read_picture
from unclasp.predictor import Predictor
marks.append(time.time())
picture, weights, box = json.loads(sys.argv[1])
predictor = Predictor.load(weights)
marks.append(time.time())
image = read_picture(picture)
predictor(image, box)
marks.append(time.time())
predictor(image, box)
print(json.dumps([*marks, time.time()]))
"""
_IMPORT_CODE: Final = """
import time, json
start = time.time()
import {engine}
print(json.dumps([start, time.time()]))
"""


def start_speed(
    picture: Path, weights: Path | None, *, repeats: int, box: tuple[float, float, float, float] | None
) -> str:
    """Time fresh processes from start to first pose, in turn with processes that only import the engine.

    Args:
        picture: The picture file.
        weights: A weights file or exported model; None for the shipped model.
        repeats: Number of processes to time.
        box: Box of the hands, x1, y1, x2, y2 in px; if None, hands are detected.

    Returns:
        A table of the stages.

    Raises:
        UnclaspError: A process failed; the message is the last line of its standard error.
    """
    check_at_least(1, repeats=repeats)
    exported = weights if weights is not None and weights.suffix in _ENGINE_OF_SUFFIX else exported_file(weights)
    engine = "torch" if exported is None else _ENGINE_OF_SUFFIX[exported.suffix]
    arguments = json.dumps([str(picture), None if weights is None else str(weights), box])
    rows, imports = [], []
    for repeat in range(-1, repeats):  # the first fills the system's file cache
        start = time.time()
        marks = [start, *_run(_PREDICT_CODE, arguments)]
        import_start, import_end = _run(_IMPORT_CODE.format(engine=engine))
        if repeat >= 0:
            stages = [b - a for a, b in pairwise(marks)]
            rows.append((*stages[:4], marks[4] - start, stages[4]))
            imports.append(import_end - import_start)
    *stages, whole, second = (median(column) for column in zip(*rows, strict=True))
    name = "the shipped model" if weights is None else weights.name
    return "\n".join([
        f"{picture.name}, {name}, {'given box' if box else 'box found'}, medians of {repeats} fresh processes",
        *(f"  {stage:20}{seconds:7.2f} s" for stage, seconds in zip(STAGES, stages, strict=True)),
        f"  {'together':20}{whole:7.2f} s",
        f"  {'second picture':20}{second:7.2f} s",
        f"  {'import ' + engine:20}{median(imports):7.2f} s, in processes that do nothing else",
    ])  # fmt: skip


def _run(code: str, *arguments: str) -> list[float]:
    """Run code in a fresh interpreter, and return the time stamps that it prints as JSON."""
    process = subprocess.run(  # noqa: S603 (this interpreter, our own code)
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise UnclaspError((process.stderr.strip().splitlines() or ["a fresh process failed"])[-1])
    marks: list[float] = json.loads(process.stdout)
    return marks
