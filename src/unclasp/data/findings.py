"""The findings of `check`, as data classes, JSON and text."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from unclasp.data.layout import PUBLISHED_MANO_FRAMES, SPLITS, Counts, Subset

Verdict = Literal["whole", "partial", "unusable"]
EXIT_CODES: Final[dict[Verdict, int]] = {"whole": 0, "partial": 1, "unusable": 2}

_MEANING: Final[dict[Verdict, str]] = {
    "whole": "all that the annotations name is there",
    "partial": "it can be used, but something is missing",
    "unusable": "no split has both annotations and pictures",
}

_IMAGES: Final = "the image archives of InterHand2.6M (44 parts at 5 fps, with CHECKSUM)"


@dataclass(frozen=True)
class Masks:
    """The part masks of the decoded pictures."""

    found: int
    """Number of pictures that have one; those of another size, or that cannot be decoded, do not count."""
    unreadable: int
    error: str | None
    """What is wrong with the first one that cannot be read, or with all of them."""


@dataclass(frozen=True)
class Pictures:
    """The picture files of a split, compared with its annotations."""

    present: int
    missing: int
    missing_by_capture: dict[str, int]
    missing_folders: int
    """Number of camera folders without a single picture."""
    opened: int
    """Number of present pictures that were decoded, evenly spaced over the sorted names."""
    black: list[str]
    """Decoded pictures with a mean pixel value below 10."""
    unreadable: list[str]
    """Pictures that could not be decoded."""
    resized: list[str]
    """Decoded pictures of another size than the annotated one, with both sizes."""
    masks: Masks | None
    """None without part masks."""


@dataclass(frozen=True)
class Mano:
    """The MANO fits of a split, per time step."""

    frames: int
    """Time steps with an entry in the MANO file."""
    without_entry: int
    """Time steps of joint_3d.json without one."""
    one_hand: int
    no_hand: int
    images_with_fit: int


@dataclass(frozen=True)
class SplitCheck:
    """One split, or one subset of it in the older layout."""

    split: str
    subset: Subset
    version: str
    fps: int | None
    """Frame rate according to the steps between frame numbers; None if no sequence of the first capture has two
    frames."""
    counts: dict[str, Counts]
    """Pictures per subset, for the subsets that can be told apart."""
    published: dict[str, Counts]
    """The owners' counts per subset."""
    problems: list[str]
    damaged: bool
    """Whether the annotations have faults that prevent an index."""
    pictures: Pictures
    mano: Mano | None
    """None without a MANO file."""
    index: str | None
    """Path of the up-to-date index; None if there is none."""
    index_damage: str | None
    """What is wrong with the up-to-date index, if it is damaged."""


@dataclass
class Check:
    """The result of `check`."""

    root: str
    release: str
    splits: list[SplitCheck] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Annotation files that cannot be read."""
    fetch: list[str] = field(default_factory=list)
    """What is missing or damaged and has to be downloaded."""

    @property
    def verdict(self) -> Verdict:
        """`unusable`: no split can be trained on; `partial`: something is missing; `whole`: everything is there."""
        if not any(split.pictures.present and not split.damaged for split in self.splits):
            return "unusable"
        return "partial" if self.fetch else "whole"

    def to_json(self) -> str:
        """Return everything as JSON."""
        splits = [
            {**asdict(split), "counts": _named(split.counts), "published": _named(split.published)}
            for split in self.splits
        ]
        return json.dumps({"verdict": self.verdict, **asdict(self), "splits": splits}, indent=1)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def to_fetch(result: Check) -> list[str]:
    """List what has to be downloaded to complete the splits."""
    fetch = [item for split in result.splits for item in _to_fetch_of(split)]
    if any(split.version.startswith("v1.0") for split in result.splits):
        there = {split.split for split in result.splits}
        fetch += [f"{name}: annotations and pictures" for name in SPLITS if name not in there]
    return fetch


def _to_fetch_of(split: SplitCheck) -> Iterator[str]:
    where, pictures = _title(split), split.pictures
    if split.damaged:
        yield f"{where}: the annotations, again"
    if pictures.missing:
        captures = ", ".join(f"{capture} ({count:,})" for capture, count in pictures.missing_by_capture.items())
        yield f"{where}: {pictures.missing:,} pictures, of {captures}; each of {_IMAGES} holds some of every split"
    if pictures.unreadable:
        shown = ", ".join(pictures.unreadable[:3])
        yield f"{where}: {len(pictures.unreadable):,} pictures that cannot be decoded: {shown}"
    if pictures.resized:
        shown = ", ".join(pictures.resized[:3])
        yield f"{where}: {len(pictures.resized):,} pictures of another size than annotated, in the original: {shown}"
    if pictures.masks is not None and pictures.masks.error:
        number = f"{pictures.masks.unreadable:,} of the" if pictures.masks.unreadable else "the"
        yield f"{where}: {number} part masks, again, or remove them: {pictures.masks.error}"
    if split.index_damage:
        yield f"{where}: no file, but the index anew, by unclasp data index: {split.index_damage}"
    if split.version.startswith("v1.0") and split.mano is None:
        yield f"{where}: InterHand2.6M_{split.split}_MANO_NeuralAnnot.json, for part masks and the filtered set"
    if split.version.startswith("v0.0"):
        yield f"{where}: the annotations of v1.0"


def _title(split: SplitCheck) -> str:
    return split.split if split.subset == "all" else f"{split.split} ({split.subset})"


def _named(counts: dict[str, Counts]) -> dict[str, dict[str, int]]:
    return {name: {**count._asdict(), "total": count.total} for name, count in counts.items()}


def _lines(result: Check) -> Iterator[str]:
    layout = {"v1.0": "the layout of v1.0", "older": "the older layout (all, human_annot, machine_annot)"}
    yield f"{result.root}: {layout[result.release]}"
    yield f"  {'split':<6} {'subset':<8} {'single':>8} {'two':>8} {'images':>10}   {'published':>10}  version"
    for split in result.splits:
        for name, count in split.counts.items():
            published = split.published.get(name)
            stated = f"{published.total:>10,}" if published else f"{'':>10}"
            version = split.version + (
                f", frame numbers of {split.fps} fps" if split.fps and "fps" not in split.version else ""
            )
            shown_version = version if name == split.subset else ""
            yield (
                f"  {split.split:<6} {name:<8} {count.single:>8,} {count.interacting:>8,} {count.total:>10,}   "
                f"{stated}  {shown_version}".rstrip()
            )
    for split in result.splits:
        yield from _split_lines(split, by_folder=result.release == "older")
    for error in result.errors:
        yield f"  error: {error}"
    for item in result.fetch:
        yield f"  fetch: {item}"
    yield f"{result.verdict}: {_MEANING[result.verdict]}"


def _split_lines(split: SplitCheck, *, by_folder: bool) -> Iterator[str]:
    """Yield the lines of a split; `by_folder` if each subset has a folder of its own, as in the older layout."""
    pictures = split.pictures
    bad = len(pictures.black) + len(pictures.unreadable) + len(pictures.resized)
    yield (
        f"{_title(split)}: {pictures.present:,} pictures there, {pictures.missing:,} missing, "
        f"{pictures.missing_folders:,} camera folders empty; of {pictures.opened:,} decoded "
        f"{len(pictures.black)} black, {len(pictures.unreadable)} unreadable, {len(pictures.resized)} of another size, "
        f"{pictures.opened - bad:,} good"
    )
    if pictures.black:
        yield f"  black: {', '.join(pictures.black[:3])}{', …' if len(pictures.black) > 3 else ''}"
    if pictures.masks is not None:
        yield f"  part masks: of {pictures.masks.found:,} decoded {pictures.masks.unreadable} unreadable"
    if split.mano is None:
        yield "  MANO fits: no file"
    else:
        mano, stated = split.mano, PUBLISHED_MANO_FRAMES.get(split.split)
        against = f" (v1.0 at 5 fps: {stated:,})" if stated else ""
        yield (
            f"  MANO fits: {mano.frames:,} time steps{against}, {mano.without_entry:,} have no entry, "
            f"{mano.one_hand:,} one hand only, {mano.no_hand:,} none; {mano.images_with_fit:,} images with a fit"
        )
    if "human" not in split.counts and not by_folder and split.split != "val":
        yield "  subsets: H cannot be told without its list of annotation ids"
    for line in split.problems:
        yield f"  noticed: {line}"
    yield f"  index: {split.index or 'none that is up to date; unclasp data index makes it'}"
