"""`unclasp data check`, `unclasp data index`, `unclasp data parts` and `unclasp data show`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from unclasp.commands.arguments import need_positive, need_synth, parse
from unclasp.errors import UnclaspError

if TYPE_CHECKING:
    from unclasp.data.layout import Layout

Root = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class CheckArguments:
    """Tell what is there of InterHand2.6M, against its annotations and the published counts.

    Exit code: 0 everything that the annotations name is there, 1 something is missing, 2 nothing can be used.
    """

    root: Root
    """Folder with annotations/ and images/."""
    opened: int = 500
    """Pictures of each split to decode, evenly spread, to find black and broken ones."""
    open_all: bool = False
    """Decode every picture."""
    json: bool = False
    """Print JSON instead of the table."""


def check(words: list[str]) -> int:
    """Run `unclasp data check`."""
    arguments = parse(CheckArguments, words, "data check")
    from unclasp.data.check import check as run
    from unclasp.data.findings import EXIT_CODES

    if arguments.opened < 0:
        raise UnclaspError(f"--opened must be at least 0, got {arguments.opened}")
    with _progress() as tell:
        result = run(arguments.root, opened=None if arguments.open_all else arguments.opened, progress=tell)
    print(result.to_json() if arguments.json else result)
    return EXIT_CODES[result.verdict]


@dataclass(frozen=True)
class IndexArguments:
    """Make the index of each split, which is what the data set is read through.

    Opening a data set makes it too; here one sees how far it is. An index that is up to date is left as it is.
    """

    root: Root
    """Folder with annotations/ and images/."""
    split: str | None = None
    """Only this split; all that are there if not given."""
    filtered: bool = False
    """Also read the pictures of the filtered two-hand set (IntagHand, DIR), and tell how many belong to it."""
    force: bool = False
    """Make it anew in any case."""


def index(words: list[str]) -> int:
    """Run `unclasp data index`."""
    arguments = parse(IndexArguments, words, "data index")
    from unclasp.data.filtered import filtered_rows
    from unclasp.data.index import build_index, fresh_index

    with _progress() as tell:
        for name, layout in _layouts(arguments.root, arguments.split):
            known = None if arguments.force else fresh_index(layout)
            made = known or build_index(layout, lambda *done, name=name: tell(name, *done), anew=arguments.force)
            state = "up to date" if known else "made"
            print(f"{name}: {len(made):,} images, {state}: {made.path}")
            for line in made.problems.lines():
                print(f"{name}: noticed {line}")
            if arguments.filtered:
                kept = filtered_rows(made, layout, lambda *done, name=name: tell(f"{name}: pictures", *done))
                print(f"{name}: {int(kept.sum()):,} images in the filtered two-hand set")
    return 0


@dataclass(frozen=True)
class PartsArguments:
    """Draw part masks from the MANO fits, with your own files of MANO, to ROOT/parts, where they are read from.

    Masks that are there are left as they are, so that an interrupted run goes on where it stopped.
    """

    root: Root
    """Folder with annotations/ and images/."""
    mano: Path
    """Folder with MANO_RIGHT.pkl and MANO_LEFT.pkl, as their owners distribute them."""
    split: str | None = None
    """Only this split; all that are there if not given."""
    processes: int = 1
    """How many draw at the same time."""


def parts(words: list[str]) -> int:
    """Run `unclasp data parts`."""
    arguments = parse(PartsArguments, words, "data parts")
    need_positive(processes=arguments.processes)
    need_synth()
    from unclasp.data.mano_parts import write_parts

    with _progress() as tell:
        for name, layout in _layouts(arguments.root, arguments.split):
            done = write_parts(
                layout, arguments.mano, processes=arguments.processes,
                progress=lambda *done, name=name: tell(f"{name}: part masks", *done),
            )  # fmt: skip
            print(
                f"{name}: {done.written:,} part masks written, {done.there:,} were there, {done.without:,} images "
                "without MANO fits of exactly their hands"
            )
    return 0


@dataclass(frozen=True)
class ShowArguments:
    """Draw a sheet of pictures with their joints and boxes, to see that they lie on the hands."""

    root: Root
    """Folder with annotations/ and images/."""
    split: str | None = None
    """The first one that is there if not given."""
    count: int = 12
    """How many pictures, evenly spread."""
    columns: int = 4
    """Pictures per row."""
    hands: Literal["all", "single", "interacting"] = "all"
    """Only pictures of one hand, or of two."""
    out: Path = Path("sheet.png")
    """Picture to write."""


def show(words: list[str]) -> int:
    """Run `unclasp data show`."""
    arguments = parse(ShowArguments, words, "data show")
    import cv2
    import numpy as np

    from unclasp.data.interhand import InterHand
    from unclasp.data.layout import splits_in
    from unclasp.data.show import contact_sheet
    from unclasp.files import write_bytes

    need_positive(count=arguments.count, columns=arguments.columns)
    split = arguments.split or next(iter(splits_in(arguments.root)), "train")
    dataset = InterHand(arguments.root, split, hands=arguments.hands)
    count = min(arguments.count, len(dataset))
    indices = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
    sheet = contact_sheet(dataset, indices, columns=arguments.columns)
    try:
        drawn = cv2.imencode(arguments.out.suffix or ".png", sheet[..., ::-1])[1].tobytes()
        write_bytes(arguments.out, drawn)
    except (OSError, cv2.error) as error:
        raise UnclaspError(f"{arguments.out} cannot be written ({' '.join(str(error).split())})") from error
    print(f"{count} of {len(dataset):,} pictures of {split}: {arguments.out}")
    return 0


def _layouts(root: Path, split: str | None) -> "list[tuple[str, Layout]]":
    """Return the splits that are there, or the one asked for, by the names that users know them by."""
    from unclasp.data.layout import find_layout, layouts_in

    layouts = [layout for layout in layouts_in(root) if split in (None, layout.split)]
    if not layouts:
        find_layout(root, split or "train")  # says what is wrong
    return [(one.split if one.subset == "all" else f"{one.split} ({one.subset})", one) for one in layouts]


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show bars on a terminal's error stream, one for each thing that is being done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield tell
