"""`unclasp synth preview` and `unclasp synth write`."""

from dataclasses import dataclass
from pathlib import Path

from unclasp.commands.arguments import need_folder, need_positive, need_seed, need_sheet, need_synth, parse
from unclasp.errors import UnclaspError


@dataclass(frozen=True)
class PreviewArguments:
    """Draw a contact sheet of synthetic pictures: picture, skeleton, parts."""

    out: Path = Path("sheet.png")
    """Output file: .png or .jpg."""
    count: int = 12
    """Number of samples."""
    seed: int = 0
    """Seed of the samples."""
    size: int = 256
    """Side of the pictures in px, at least 16."""
    columns: int = 2
    """Samples per row."""


def preview(words: list[str]) -> int:
    """Run `unclasp synth preview`."""
    arguments = parse(PreviewArguments, words, "synth preview")
    need_sheet(arguments.out)
    need_positive(count=arguments.count, columns=arguments.columns)
    _need_size(arguments.size)
    need_seed(arguments.seed)
    from unclasp.commands.progress import track
    from unclasp.commands.sheets import write_sheet

    need_synth()
    from unclasp.synth.generate import generate
    from unclasp.synth.preview import contact_sheet

    count = arguments.count
    samples = [generate(arguments.seed, i, size=arguments.size) for i in track(range(count), "render", total=count)]
    sheet = contact_sheet(samples, columns=arguments.columns)
    write_sheet(arguments.out, sheet)
    print(f"{arguments.count} samples: {arguments.out}")
    return 0


@dataclass(frozen=True)
class WriteArguments:
    """Write synthetic pictures in InterHand2.6M's layout, with part masks.

    An interrupted run resumes where it stopped.
    """

    out: Path
    """Output folder; train on it with --data interhand:OUT."""
    count: int = 1000
    """Number of pictures; with a larger count, pictures are added to those in the folder. A smaller one is refused."""
    seed: int = 1
    """Seed of the pictures, another one for each split. Do not train on seeds 2 and 3, those of synthetic:val and
    synthetic:test."""
    split: str = "train"
    """Name of the split on disk."""
    size: int = 256
    """Side of the pictures in px, at least 16."""
    processes: int = 1
    """Number of parallel processes."""


def write(words: list[str]) -> int:
    """Run `unclasp synth write`."""
    arguments = parse(WriteArguments, words, "synth write")
    need_folder(arguments.out)
    need_positive(count=arguments.count, processes=arguments.processes)
    _need_size(arguments.size)
    need_seed(arguments.seed)
    need_synth()
    from unclasp.commands.progress import track
    from unclasp.data.write import CAPTURE_SIZE, write_dataset

    written = write_dataset(
        arguments.out, arguments.count, seed=arguments.seed, split=arguments.split, image_size=arguments.size,
        processes=arguments.processes,
    )  # fmt: skip
    captures = -(-arguments.count // CAPTURE_SIZE)
    for _ in track(written, f"render ({CAPTURE_SIZE} a step)", total=captures):
        pass
    print(f"{arguments.count} pictures: {arguments.out}")
    return 0


def _need_size(size: int) -> None:
    """Raise an error if pictures of this side could not be read again."""
    from unclasp.picture_formats import MIN_SIDE

    if size < MIN_SIDE:
        raise UnclaspError(f"--size must be at least {MIN_SIDE} px, got {size}; choose a larger one")
