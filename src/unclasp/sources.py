"""Finds the sources that users name, and chooses names for the outputs.

Files are not opened here; `picture` and `video` read them.
"""

import logging
import os
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from unclasp import heif
from unclasp.errors import advice_on_missing
from unclasp.marks import is_marked

_logger = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", *(heif.SUFFIXES if heif.is_installed() else ()),
})  # fmt: skip
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".3gp", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv",
    ".ogv", ".vob",
})  # fmt: skip
_RAW_SUFFIXES: Final = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef")
_OTHER_FORMATS: Final = {**heif.SUFFIXES, ".gif": "GIF", ".jxl": "JPEG XL", **dict.fromkeys(_RAW_SUFFIXES, "raw")}
"""Suffixes of picture formats that cannot be read, unless they are in `PICTURE_SUFFIXES`; such files are counted for a
warning."""
_EXPECTED = "a picture, video, folder or pattern"
PATIENCE: Final = 5.0
"""Seconds between messages that a folder search is still running."""


@dataclass(frozen=True)
class Source:
    """One thing to predict: a file, a camera, or the error to report in its place."""

    path: Path | None
    """The picture or video; None for a camera and for an error."""
    error: str | None
    """A one-line message that begins with `given`; None if there is something to predict."""
    given: str
    """The source as the caller wrote it."""
    camera: int | None = None
    """Number of the camera; None for files."""

    @property
    def is_video(self) -> bool:
        """Whether it has many frames: a video or a camera."""
        return self.camera is not None or (self.path is not None and self.path.suffix.lower() in VIDEO_SUFFIXES)

    @property
    def file_or_camera(self) -> Path | int:
        """What `video.Video` opens."""
        if self.camera is not None:
            return self.camera
        return self.path or Path(self.given)

    @property
    def name(self) -> str:
        """Name of the source in results."""
        return f"camera{self.camera}" if self.camera is not None else str(self.path or self.given)


def find_sources(sources: str | Path | int | Sequence[str | Path | int]) -> list[Source]:
    """Return the sources that files, folders, quoted globs and camera numbers stand for, without duplicates.

    Folders are searched recursively for pictures, by suffix; hidden files are skipped, and the result is sorted. Videos
    in them are skipped with a warning that tells their number, without those that are results of `unclasp`. Globs
    also match videos. A file given by name is always listed, even if its name is a camera number. A source that cannot
    be used becomes an entry with an error, in its place, so that the others can still be processed.

    Args:
        sources: Paths, patterns such as "photos/*.jpg", or numbers such as 0.
    """
    found: list[Source] = []
    seen: set[Path | int] = set()
    for given in [sources] if isinstance(sources, str | Path | int) else sources:
        for source in _expand(str(given)):
            resolved = source.path.resolve() if source.path else source.camera
            if resolved is None or resolved not in seen:
                found.append(source)
            if resolved is not None:
                seen.add(resolved)
    return found


def output_stems(paths: Sequence[Path | str]) -> list[str]:
    """Return an output name without suffix for each path; the names differ even if case is ignored.

    Paths with the same stem are prefixed with the names of as many parent folders as needed. If that is not enough, a
    number is appended.

    Examples:
        >>> output_stems(["a/hand.jpg", "b/hand.jpg", "b/hand.png", "wave.jpg"])
        ['a_hand', 'b_hand', 'b_hand_2', 'wave']
    """
    all_parts = [_folders_and_stem(Path(path)) for path in paths]
    names = {parts: parts[-1] for parts in all_parts}
    depth = 1
    while depth < max(map(len, all_parts), default=0):
        depth += 1
        uses = Counter(map(_as_stored, names.values()))
        names = {
            parts: "_".join(parts[-depth:]) if uses[_as_stored(name)] > 1 else name for parts, name in names.items()
        }
    return _number([names[parts] for parts in all_parts])


def _folders_and_stem(path: Path) -> tuple[str, ...]:
    return (*(part for part in path.parent.parts if part not in (path.anchor, "..")), path.stem)


def _number(names: Sequence[str]) -> list[str]:
    """Append _2, _3, … to repeated names."""
    wanted = set(map(_as_stored, names))
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, count = name, 1
        while _as_stored(candidate) in taken or (count > 1 and _as_stored(candidate) in wanted):
            count += 1
            candidate = f"{name}_{count}"
        taken.add(_as_stored(candidate))
        unique.append(candidate)
    return unique


def _as_stored(name: str) -> str:
    """Return a name in the form in which file systems compare it: some ignore case, or how letters are composed."""
    return unicodedata.normalize("NFC", name).casefold()


def _expand(given: str) -> Iterator[Source]:
    """Yield the sources that one argument stands for; at least one."""
    path = Path(given)
    try:
        if given and path.is_dir():
            yield from _search_folder(path, given)
            return
        if given and (path.exists() or path.is_symlink()):
            yield _source_of(path, given)
            return
        if given.isascii() and given.isdigit():
            yield Source(None, None, given, camera=int(given))
            return
        if any(letter in given for letter in "*?["):
            matched = sorted(_matches(path))
            found, unsupported = [match for match in matched if _is_source(match)], _unsupported_in(matched)
            if found and unsupported:
                _logger.warning("%s: skipped %s", given, _told(unsupported))
            yield from (_source_of(match, given) for match in found)
            if found:
                return
            advice = advice_on_missing(given, "check it, or give a folder", has_frames=True)
            error = f"the pattern matches no pictures or videos; {advice}"
            if unsupported:
                error = f"the pattern matches only {_told(unsupported)}"
        else:
            otherwise = "standard input is not read: save it to a file" if given == "-" else "check the spelling"
            advice = advice_on_missing(given, otherwise, has_frames=True)
            error = f"expected {_EXPECTED}, found nothing of this name; {advice}"
    except PermissionError:
        error = f"expected {_EXPECTED}, got a path that may not be read; check its permissions"
    except (OSError, ValueError) as problem:
        error = f"expected {_EXPECTED}, got a name that cannot be used ({problem}); check the spelling"
    yield Source(None, f"{given or repr(given)}: {error}", given)


def _search_folder(folder: Path, given: str) -> Iterator[Source]:
    """Yield the pictures under a folder, then an error for each unreadable folder, or one error if there is neither."""
    problems: list[OSError] = []
    found: list[Path] = []
    unsupported, videos = Counter[str](), 0
    last_message = time.monotonic()
    for root, folders, files in os.walk(folder, onerror=problems.append):
        if time.monotonic() - last_message >= PATIENCE:
            last_message = time.monotonic()
            _logger.warning(
                "%s: still searching, now in %s; %d pictures so far (Ctrl-C stops)", given, root, len(found)
            )
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(root, name) for name in files if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES and _is_file_or_dead_link(path)]
        videos += sum(
            path.suffix.lower() in VIDEO_SUFFIXES and _is_file_or_dead_link(path) and not is_marked(path)
            for path in paths
        )
        unsupported += _unsupported_in(paths)
    if unsupported:
        _logger.warning("%s: skipped %s", given, _told(unsupported))
    if found and videos:
        _logger.warning("%s: skipped videos: %d; name them, or use a pattern: folders are for pictures", given, videos)
    yield from (_source_of(path, given) for path in sorted(found))
    for problem in problems:
        error = f"{problem.filename}: the folder cannot be opened ({problem.strerror}); check its permissions"
        yield Source(None, error, given)
    if not found and not problems:
        error = f"expected a folder with pictures ({' '.join(sorted(PICTURE_SUFFIXES))}), found none; check the folder"
        if videos:
            error = f"expected a folder with pictures, got one with videos only ({videos}); name them, or use a pattern"
        yield Source(None, f"{given}: {error}", given)


def _unsupported_in(paths: Sequence[Path]) -> Counter[str]:
    """Return how many pictures there are of each kind that cannot be read."""
    unreadable = _OTHER_FORMATS.keys() - PICTURE_SUFFIXES
    suffixes = (path.suffix.lower() for path in paths if not path.name.startswith("."))
    return Counter(_OTHER_FORMATS[suffix] for suffix in suffixes if suffix in unreadable)


def _told(unsupported: Counter[str]) -> str:
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(unsupported.items()))
    install = "" if unsupported.keys().isdisjoint(heif.SUFFIXES.values()) else f"{heif.INSTALL} for HEIC and AVIF, or "
    return f"pictures in formats that cannot be read: {counts}; {install}convert them to JPEG"


def _matches(pattern: Path) -> Iterator[Path]:
    """Yield what matches a pattern, without files in hidden folders, unless the pattern names these."""
    named = [part for part in pattern.parts if part.startswith(".")]
    for match in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))):
        hidden = [part for part in match.parent.parts if part.startswith(".")]
        if all(any(fnmatchcase(part, name) for name in named) for part in hidden):
            yield match


def _is_source(path: Path) -> bool:
    is_hidden, suffix = path.name.startswith("."), path.suffix.lower()
    return suffix in PICTURE_SUFFIXES | VIDEO_SUFFIXES and not is_hidden and _is_file_or_dead_link(path)


def _is_file_or_dead_link(path: Path) -> bool:
    return path.is_file() or (path.is_symlink() and not path.exists())


def _source_of(path: Path, given: str) -> Source:
    """Return a picture or video that a search found; a link to nothing with its error."""
    error = None if path.exists() else f"{path}: this link leads to nothing; remove it"
    return Source(path, error, given)
