"""Progress bars of `unclasp predict`, for people who watch: nothing is drawn where stderr is no terminal."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from unclasp.sources import Source
    from unclasp.video import Video


def over_sources(sources: "list[Source]", console: Console) -> "Generator[Source, None, None]":
    """Yield the sources beside a bar of how many are done, for people who watch; a video has one of its own.

    The bar takes the place of stdout only where that is a terminal, too: what goes to a file or a pipe goes there.
    """
    many = len(sources) > 1 and not any(source.is_video for source in sources)
    columns = (TextColumn("predict"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=console,
        redirect_stdout=_is_terminal(sys.stdout),
        disable=not (many and _is_terminal(sys.stderr)),
    ) as progress:
        yield from progress.track(sources)


@contextmanager
def over_frames(video: "Video") -> Iterator[Callable[[Any], None]]:
    """Yield a function to call with each frame of a video, and show their number, speed and time left."""
    columns = (
        TextColumn("predict"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]} frames/s"),
        TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=Console(stderr=True), disable=not _is_terminal(sys.stderr), transient=True
    ) as progress:
        task = progress.add_task("predict", total=video.expected, rate="–")

        def advance(_: Any) -> None:
            speed = progress.tasks[task].speed
            progress.update(task, advance=1, rate="–" if speed is None else f"{speed:.1f}")

        yield advance


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # a process may have been started without it
