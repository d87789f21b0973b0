"""Reports of a training run: a progress bar on stderr, if that is a terminal, and a log of JSON lines."""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self, SupportsFloat, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unclasp.data.json_file import MISFITS
from unclasp.errors import UnclaspError
from unclasp.files import write_text


class Reporter:
    """Shows and logs the loss terms, the share of time spent waiting for data, and the time left.

    Tensors are read only every `every` steps; in between, reporting does not wait for the device.

    Args:
        path: The log file; None on all ranks but the first, which then report nothing.
        first_step: Number of steps already done. Log lines up to this step are kept; later ones, of steps that were
            lost with an interrupted run, are removed.
        last_step: Number of the last step.
        batch_size: Samples per step, over all devices.
        every: Steps between reports.

    Raises:
        UnclaspError: The log file exists but is not a training log.
    """

    def __init__(self, path: Path | None, *, first_step: int, last_step: int, batch_size: int, every: int) -> None:
        self.step, self.last_step, self.batch_size, self.every = first_step, last_step, batch_size, every
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, "".join(_lines_until(path, first_step)))
            self._file = path.open("a", encoding="utf-8")
        is_shown = path is not None and sys.stderr is not None and sys.stderr.isatty()
        self._bar = Progress(
            TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[summary]}"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True),
            disable=not is_shown,
        )  # fmt: skip
        self._task = self._bar.add_task("train", total=last_step, completed=first_step, summary="")
        self._data_seconds, self._reported_step = 0.0, first_step
        self._reported_at = self._waiting_since = time.perf_counter()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # the terminal may have been closed
            self._bar.stop()
        if self._file is not None:
            self._file.close()

    def data_ready(self) -> None:
        """Record that a batch has arrived; the time since the last step counts as waiting for data."""
        self._data_seconds += time.perf_counter() - self._waiting_since

    def stepped(self, terms: Mapping[str, SupportsFloat], rate: float) -> None:
        """Record a step with its loss terms and learning rate."""
        self.step += 1
        if self._file is not None and (self.step % self.every == 0 or self.step == self.last_step):
            self._report(self._file, {name: float(term) for name, term in terms.items()}, rate)
        self._waiting_since = time.perf_counter()

    def _report(self, file: TextIO, terms: dict[str, float], rate: float) -> None:
        now = time.perf_counter()
        steps, seconds = self.step - self._reported_step, now - self._reported_at
        line = {
            "step": self.step, "learning_rate": rate, "samples_per_second": steps * self.batch_size / seconds,
            "data_share": self._data_seconds / seconds, "loss": terms,
        }  # fmt: skip
        file.write(json.dumps(line) + "\n")
        file.flush()
        summary = " ".join(f"{name} {value:.3g}" for name, value in terms.items())
        summary += f" | {line['samples_per_second']:.0f} samples/s, {line['data_share']:.0%} waiting for data"
        self._bar.update(self._task, completed=self.step, summary=summary)
        self._data_seconds, self._reported_step, self._reported_at = 0.0, self.step, now


def _lines_until(path: Path, step: int) -> list[str]:
    """Return the lines of a log up to a step, without a last line that is incomplete.

    Raises:
        UnclaspError: The file is not a training log.
    """
    kept: list[str] = []
    for line in path.read_text("utf-8", errors="replace").splitlines(keepends=True) if path.exists() else ():
        try:
            logged = int(json.loads(line)["step"])
        except (RecursionError, *MISFITS) as error:
            if not kept and line.endswith("\n"):
                raise UnclaspError(f"{path} is no log of a training and is not overwritten: move it away") from error
            break
        if logged > step or not line.endswith("\n"):
            break
        kept.append(line)
    return kept
