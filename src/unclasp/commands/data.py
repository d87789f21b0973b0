"""`unclasp data check`, `unclasp data index`, `unclasp data parts` and `unclasp data show`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unclasp.commands.arguments import OptionalName, need_positive, need_sheet, need_synth, parse
from unclasp.errors import DataError, UnclaspError

if TYPE_CHECKING:
    from unclasp.data.index import Index
    from unclasp.data.layout import Layout
    from unclasp.data.progress import Progress

Root = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class CheckArguments:
    """Check a folder against its annotations and the published counts.

    Exit code: 0 complete, 1 something is missing, 2 unusable.
    """

    root: Root
    """Folder with annotations/ and images/."""
    opened: int = 500
    """Number of pictures of each split, evenly spread, that are decoded to find black and broken ones."""
    open_all: bool = False
    """Decode every picture."""
    json: bool = False
    """Print JSON instead of the table."""


def check(words: list[str]) -> int:
    """Run `unclasp data check`."""
    arguments = parse(CheckArguments, words, "data check")
    from unclasp.commands.progress import named_bars
    from unclasp.data.check import check as run
    from unclasp.data.findings import EXIT_CODES

    if arguments.opened < 0:
        raise UnclaspError(f"--opened must be at least 0, got {arguments.opened}")
    with named_bars() as update:
        result = run(arguments.root, opened=None if arguments.open_all else arguments.opened, progress=update)
    print(result.to_json() if arguments.json else result)
    return EXIT_CODES[result.verdict]


@dataclass(frozen=True)
class IndexArguments:
    """Build the index of each split.

    Opening a data set does this too; this command shows the progress. Up-to-date indices are kept, unless damaged.
    """

    root: Root
    """Folder with annotations/ and images/."""
    split: OptionalName = None
    """Only this split; all splits of the folder if not given."""
    filtered: bool = False
    """Also read the pictures to select the filtered two-hand set (IntagHand, DIR), and print its size."""
    force: bool = False
    """Rebuild even if it is up to date."""


def index(words: list[str]) -> int:
    """Run `unclasp data index`."""
    arguments = parse(IndexArguments, words, "data index")
    from unclasp.commands.progress import named_bars
    from unclasp.data.filtered import filtered_rows

    with named_bars() as update:
        for name, layout in _layouts(arguments.root, arguments.split):
            built, state = _index_of(layout, lambda *done, name=name: update(name, *done), anew=arguments.force)
            print(f"{name}: {len(built):,} images, {state}: {built.path}")
            for line in built.problems.lines():
                print(f"{name}: noticed {line}")
            if arguments.filtered:
                selected = filtered_rows(built, layout, lambda *done, name=name: update(f"{name}: pictures", *done))
                print(f"{name}: {int(selected.sum()):,} images in the filtered two-hand set")
    return 0


def _index_of(layout: "Layout", progress: "Progress", *, anew: bool) -> "tuple[Index, str]":
    """Return the index of a split and what was done for it: it is built if there is none, or with `anew`."""
    from unclasp.data.index import build_index, verified_index

    done = "built"
    if not anew:
        try:
            if current := verified_index(layout):
                return current, "up to date"
        except DataError:
            anew, done = True, "was damaged, built anew"
    return build_index(layout, progress, anew=anew), done


@dataclass(frozen=True)
class PartsArguments:
    """Draw part masks from the MANO fits, with your own MANO files, into ROOT/parts, from where they are read.

    Existing masks are kept, so an interrupted run resumes where it stopped.
    """

    root: Root
    """Folder with annotations/ and images/."""
    mano: Path
    """Folder with MANO_RIGHT.pkl and MANO_LEFT.pkl, as the authors of MANO distribute them."""
    split: OptionalName = None
    """Only this split; all splits of the folder if not given."""
    processes: int = 1
    """Number of parallel processes."""


def parts(words: list[str]) -> int:
    """Run `unclasp data parts`."""
    arguments = parse(PartsArguments, words, "data parts")
    need_positive(processes=arguments.processes)
    need_synth()
    from unclasp.commands.progress import named_bars
    from unclasp.data.mano_parts import write_parts

    with named_bars() as update:
        for name, layout in _layouts(arguments.root, arguments.split):
            done = write_parts(
                layout, arguments.mano, processes=arguments.processes,
                progress=lambda *done, name=name: update(f"{name}: part masks", *done),
            )  # fmt: skip
            print(
                f"{name}: {done.written:,} part masks written, {done.there:,} existed, {done.without:,} images "
                "without MANO fits of exactly their hands"
            )
    return 0


@dataclass(frozen=True)
class ShowArguments:
    """Draw a contact sheet of pictures with their joints and boxes, to check that these match the hands."""

    root: Root
    """Folder with annotations/ and images/."""
    split: OptionalName = None
    """Split to draw from; the first one in the folder if not given."""
    count: int = 12
    """Number of pictures, evenly spread over the split."""
    columns: int = 4
    """Pictures per row."""
    hands: Literal["all", "single", "interacting"] = "all"
    """Draw from all pictures, only those of one hand, or only those of two."""
    out: Path = Path("sheet.png")
    """Output file: .png or .jpg."""


def show(words: list[str]) -> int:
    """Run `unclasp data show`."""
    arguments = parse(ShowArguments, words, "data show")
    need_sheet(arguments.out)
    need_positive(count=arguments.count, columns=arguments.columns)
    import numpy as np

    from unclasp.commands.sheets import write_sheet
    from unclasp.data.interhand import InterHand
    from unclasp.data.layout import splits_in
    from unclasp.data.show import contact_sheet

    split = arguments.split or next(iter(splits_in(arguments.root)), "train")
    dataset = InterHand(arguments.root, split, hands=arguments.hands)
    count = min(arguments.count, len(dataset))
    indices = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
    sheet = contact_sheet(dataset, indices, columns=arguments.columns)
    write_sheet(arguments.out, sheet)
    print(f"{count} of {len(dataset):,} pictures of {split}: {arguments.out}")
    return 0


def _layouts(root: Path, split: str | None) -> "list[tuple[str, Layout]]":
    """Return the splits of a folder, or only the given one, with their display names."""
    from unclasp.data.layout import find_layout, layouts_in

    layouts = [layout for layout in layouts_in(root) if split in (None, layout.split)]
    if not layouts:
        find_layout(root, split or "train")  # raises an error that says what is missing
    return [
        (layout.split if layout.subset == "all" else f"{layout.split} ({layout.subset})", layout) for layout in layouts
    ]
