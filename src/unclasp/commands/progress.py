"""Progress bars of the commands, drawn on stderr, and only if that is a terminal, and lines of results beside them."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from unclasp.pipes import discard, in_one_line

if TYPE_CHECKING:
    from unclasp.sources import Source
    from unclasp.video import Video

_Item = TypeVar("_Item")
_MIN_WIDTH = 75
"""Narrower terminals show less of a video's progress: what does not fit would be cut."""


@contextmanager
def bar(task: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with the amount done and the total of a task."""
    with _bars() as bars:
        number = bars.add_task(task, total=None)
        yield lambda done, total: bars.update(number, completed=done, total=total)


@contextmanager
def named_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function to call with the name of a task, the amount done and the total; each task has its bar."""
    with _bars() as bars:
        tasks: dict[str, Any] = {}

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield update


def track(items: Iterable[_Item], task: str, *, total: int | None) -> Iterator[_Item]:
    """Yield the items of a task, of which there are `total`, if that is known."""
    with _bars() as bars:
        yield from bars.track(items, total=total, description=task)


def _bars() -> Progress:
    return Progress(console=Console(stderr=True), transient=True, disable=not _is_terminal(sys.stderr))


def over_sources(sources: "list[Source]", console: Console) -> "Generator[Source, None, None]":
    """Yield the sources, with a progress bar if stderr is a terminal; videos have bars of their own.

    Stdout is redirected through the bar only if it is a terminal as well.
    """
    has_bar = len(sources) > 1 and not any(source.is_video for source in sources)
    columns = (TextColumn("predict"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=console,
        redirect_stdout=_is_terminal(sys.stdout),
        disable=not (has_bar and _is_terminal(sys.stderr)),
    ) as progress:
        yield from progress.track(sources)


@contextmanager
def over_frames(video: "Video") -> Iterator[Callable[[Any], None]]:
    """Yield a function to call with each frame of a video; a bar shows their number, the speed and the time left."""
    console = Console(stderr=True)
    counts = (MofNCompleteColumn(), TextColumn("{task.fields[rate]} frames/s"))
    left = (TextColumn("left"), TimeRemainingColumn())
    elapsed = (TextColumn("elapsed"), TimeElapsedColumn())
    is_wide = console.width >= _MIN_WIDTH
    columns = (TextColumn("predict"), BarColumn(), *counts, *elapsed, *left) if is_wide else (*counts, *left)
    with Progress(*columns, console=console, disable=not _is_terminal(sys.stderr), transient=True) as progress:
        task = progress.add_task("predict", total=video.expected, rate="–")

        def advance(_: Any) -> None:
            speed = progress.tasks[task].speed
            progress.update(task, advance=1, rate="–" if speed is None else f"{speed:.1f}")

        yield advance


def print_line(line: str) -> None:
    """Print a line at once, or nothing if nobody reads any more."""
    try:
        print(in_one_line(line), flush=True)
    except BrokenPipeError:
        discard(sys.stdout)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None if the process was started without the stream
