"""Profile of a network by its parts: MACs and time in ONNX Runtime.

Parts are identified by the node names from tracing. Times are sums of medians over the calls of each node, so that
other load on the machine hardly affects them; time spent between nodes is not included.
"""

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unclasp.bench.latency import write_bare
from unclasp.engines.onnx_session import INPUT, open_session
from unclasp.errors import check_at_least
from unclasp.model import DFL
from unclasp.model.deploy import optimise

PIECES: Final = {
    "encoder.backbone": "backbone",
    "encoder.lateral": "pyramid, 1x1",
    "encoder.output.4": "pyramid, 3x3 at stride 4",
    "encoder.output": "pyramid, 3x3 at strides 8 to 32",
    "encoder.segmentation": "part segmentation",
    "decoder": "decoder",
}
"""Modules of an optimised network, and their names in the table. For a node, the first match counts."""
REST: Final = "the rest"
"""Everything else: input normalisation, softmax and pooling of the part probabilities, optional heads."""


@dataclass(frozen=True)
class Piece:
    """Cost of one part."""

    name: str
    macs: int
    ms: float


def pieces(model: DFL, *, threads: int, repeats: int) -> tuple[Piece, ...]:
    """Measure the parts of the optimised network on one crop.

    Raises:
        UnclaspError: The packages for the export are missing, or an argument is below 1.
    """
    check_at_least(1, threads=threads, repeats=repeats)
    lean, size = optimise(model), model.normalise.image_size
    macs, times = piece_macs(lean, size), _times(lean, size, threads, repeats)
    return tuple(Piece(name, macs.get(name, 0), times.get(name, 0.0)) for name in (*PIECES.values(), REST))


def summary(name: str, measured: Iterable[Piece], *, threads: int, repeats: int) -> str:
    """Return a table of the parts and their total."""
    rows = list(measured)
    rows.append(Piece("together", sum(row.macs for row in rows), sum(row.ms for row in rows)))
    return "\n".join([
        f"{name}, batch 1, ONNX Runtime, {threads} threads, medians of {repeats} calls",
        f"{'':34}{'GMAC':>8}{'ms':>9}",
        *(f"{row.name:34}{row.macs / 1e9:8.3f}{row.ms:9.2f}" for row in rows),
    ])  # fmt: skip


def piece_macs(lean: nn.Module, size: int) -> dict[str, int]:
    """Count the MACs of each part for one crop."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        lean(torch.zeros(1, 3, size, size))
    counts = {module: sum(by.values()) // 2 for module, by in counter.get_flop_counts().items()}
    root = type(lean).__name__
    macs = {name: counts.get(f"{root}.{piece}", 0) for piece, name in PIECES.items()}
    # The modules of single levels are called, but never their containers.
    for container in ("encoder.lateral", "encoder.output"):
        level = re.compile(re.escape(f"{root}.{container}.") + r"\d+")
        macs[PIECES[container]] = sum(count for module, count in counts.items() if level.fullmatch(module))
    macs[PIECES["encoder.output"]] -= macs[PIECES["encoder.output.4"]]
    return {**macs, REST: counts["Global"] - sum(macs.values())}


def _times(lean: DFL, size: int, threads: int, repeats: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_bare(lean, size, Path(folder))
        package = import_module("onnxruntime")
        session = open_session(
            package, path, threads=threads, enable_profiling=True, profile_file_prefix=str(Path(folder) / "profile")
        )
        crop = np.zeros((1, 3, size, size), np.float32)
        for _ in range(repeats + 1):
            session.run(None, {INPUT: crop})
        return piece_times(json.loads(Path(session.of_process.end_profiling()).read_text()))


def piece_times(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Sum the median times of the nodes of each part, in ms, from the events of ONNX Runtime's profiler."""
    calls: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            calls[event["name"].removesuffix("_kernel_time")].append(event["dur"] / 1e3)
    times: dict[str, float] = defaultdict(float)
    for node, durations in calls.items():
        times[_piece_of(node)] += median(durations)
    return dict(times)


def _piece_of(node: str) -> str:
    # The last convolution is named after its output, because it ends the graph.
    dotted = "encoder.segmentation" if node.startswith("part_logits") else node.replace("/", ".")
    for piece, name in PIECES.items():
        if f".{piece}." in f".{dotted}." or f".{piece}." in dotted:
            return name
    return REST
