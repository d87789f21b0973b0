"""The index of a split: its annotations as a file of arrays that is made once and mapped by every process.

It lies beside the annotations, or in the user's cache where that folder cannot be written
($XDG_CACHE_HOME/unclasp, ~/.cache/unclasp), and is made anew when a source's size or time of change is another one,
or the format's version is.
"""

import errno
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from unclasp.data.annotations import read_annotations
from unclasp.data.container import open_arrays, write_arrays
from unclasp.data.layout import Layout, Subset
from unclasp.data.problems import Problems
from unclasp.errors import DataError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: two processes may index at once, and the later one's whole file stays
    fcntl = None  # type: ignore[assignment]

VERSION: Final = 1
"""Of what the arrays mean; an index of another version is made anew."""
LARGE: Final = 100_000_000
"""Bytes of annotations from which on indexing takes long enough to be told."""
_CLOCK: Final = 0.02
"""Seconds within which two changes of a file may bear the same time."""
_ABANDONED: Final = 3600.0
"""Seconds without a change after which an unfinished file is nobody's any more."""
_READ_ONLY: Final = (errno.EACCES, errno.EPERM, errno.EROFS)

Progress = Callable[[int, int], None]
"""Called with the bytes read and the bytes in all."""
_log = logging.getLogger(__name__)


class Index:
    """The mapped columns of `annotations.Annotations`, and what was noticed when they were read.

    A copy that is sent to another process maps the same file there instead of carrying the arrays along.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns, note = open_arrays(path)
        if note.get("version") != VERSION:
            raise DataError(f"{path} is an index of version {note.get('version')}, not {VERSION}; delete it")
        self.sources: dict[str, list[int] | None] = note["sources"]
        self.sequences: list[str] = note["sequences"]
        self.lists: list[Subset] = note["lists"]
        self.has_mano: bool = note["has_mano"]
        self.problems = Problems.from_json(note["problems"])

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "sources": self.sources}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Index.__init__(self, state["path"])
        if self.sources != state["sources"]:
            raise DataError(f"{self.path} was made anew while it was in use; start again")

    def file_name(self, row: int) -> str:
        """Return the name of an image's file, relative to images/SPLIT."""
        start, end = self.columns["name_starts"][row : row + 2]
        return self.columns["names"][start:end].tobytes().decode()


def open_index(layout: Layout, progress: Progress | None = None) -> Index:
    """Open the index of a split, and make it first where there is none that is up to date.

    Raises:
        DataError: The annotations are missing or damaged, or the index can be written nowhere.
    """
    found = fresh_index(layout)
    return found if found is not None else build_index(layout, progress)


def fresh_index(layout: Layout) -> Index | None:
    """Return the index of a split if there is one that is up to date."""
    for path in index_paths(layout):
        try:
            index = Index(path)
        except DataError:
            continue
        if index.sources == source_state(layout):
            return index
    return None


def build_index(layout: Layout, progress: Progress | None = None, *, anew: bool = False) -> Index:
    """Read the annotations and write the index; `anew`, also where there is one that is up to date.

    Of several processes that want to do this at the same time, the first one does, and the others wait and take what
    it has written.

    Raises:
        DataError: The annotations are damaged, or the index can be written nowhere.
    """
    refused = []
    for path in index_paths(layout):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path) as waited:
                found = None if anew and not waited else fresh_index(layout)
                return found if found is not None else _build(layout, path, progress)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise _unwritten(path, error) from error
            refused.append(f"{path.parent} ({error.strerror})")
    raise DataError(
        f"the index cannot be written to {' or '.join(refused)}; make one of them writable, or set XDG_CACHE_HOME"
    )


def index_paths(layout: Layout) -> list[Path]:
    """Return where an index of a split may lie: beside the annotations, or in the user's cache."""
    name = f"InterHand2.6M_{layout.split}.index"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unclasp"
    key = hashlib.sha256(str(layout.folder.resolve()).encode()).hexdigest()[:16]
    return [layout.folder / name, cache / f"{key}-{name}"]


def source_state(layout: Layout) -> dict[str, list[int] | None]:
    """Return size and time of change of each file that an index is made of; None for those that are not there."""
    state: dict[str, list[int] | None] = {}
    for path in layout.sources:
        try:
            told = path.stat()
        except OSError:
            state[path.name] = None
        else:
            state[path.name] = [told.st_size, told.st_mtime_ns]
    return state


def _build(layout: Layout, path: Path, progress: Progress | None) -> Index:
    state = _settled_state(layout)
    total = sum(entry[0] for entry in state.values() if entry)
    if total > LARGE and progress is None:
        _log.warning("indexing %s once: %.1f GB of annotations, some minutes", layout.folder, total / 1e9)
    done = 0

    def step(read: int) -> None:
        nonlocal done
        done += read
        if progress is not None:
            progress(min(done, total), total)

    annotations = read_annotations(layout, step)
    problems = annotations.problems
    if problems.fatal:
        more = f", and {len(problems.fatal) - 1} more kinds of damage" if len(problems.fatal) > 1 else ""
        raise DataError(
            f"{layout.folder}: the annotations do not fit together: {problems.line(problems.fatal[0])}{more}; fetch "
            f"them again (unclasp data check {layout.root} tells all of it)"
        )
    if source_state(layout) != state:
        raise DataError(f"{layout.folder}: the annotations changed while they were read; start again")
    note = {
        "version": VERSION, "sources": state, "sequences": annotations.sequences, "lists": annotations.lists,
        "has_mano": annotations.has_mano, "problems": problems.to_json(),
    }  # fmt: skip
    _sweep(path)
    write_arrays(path, annotations.columns, note)
    return Index(path)


def _sweep(path: Path) -> None:
    """Remove what a process left behind that was killed while it wrote; what is younger may be one that still does."""
    for partial in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        try:
            if time.time() - partial.stat().st_mtime > _ABANDONED:
                partial.unlink()
        except FileNotFoundError:  # another process was quicker
            continue


def _settled_state(layout: Layout) -> dict[str, list[int] | None]:
    """Return the sources' state once a later change is sure to bear a later time."""
    newest = max((entry[1] for entry in source_state(layout).values() if entry), default=0)
    if 0 <= time.time_ns() - newest < _CLOCK * 1e9:
        time.sleep(_CLOCK)
    return source_state(layout)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold the lock beside a file; yield whether another process held it until now."""
    if fcntl is None:
        yield False
        return
    lock = path.with_name(f".{path.name}.lock")
    with lock.open("w") as file:
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: each process does the work, the last one's whole file stays
            pass
        try:
            yield waited
        finally:
            # Whoever waits on the removed file finds the finished index.
            lock.unlink(missing_ok=True)


def _unwritten(path: Path, error: OSError) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"the disk is full: {path} could not be written, and nothing of it is left; make room for it")
    return DataError(f"{path} cannot be written ({error.strerror or error})")
