"""The index of a split: its annotations as a file of arrays, built once and memory-mapped by every process.

It is stored beside the annotations, or in the user's cache ($XDG_CACHE_HOME/unclasp, ~/.cache/unclasp) if their folder
is not writable. It is rebuilt when the size or modification time of a source changes, or the format's version.
"""

import errno
import hashlib
import logging
import os
import time
from pathlib import Path
from typing import Any, Final

from unclasp.data.annotations import read_annotations
from unclasp.data.container import open_arrays, verify_arrays, write_arrays
from unclasp.data.layout import Layout, Subset
from unclasp.data.problems import Problems
from unclasp.data.progress import Progress
from unclasp.errors import DataError, write_error
from unclasp.files import locked_beside
from unclasp.hands import NUM_JOINTS

VERSION: Final = 4
"""Version of the arrays' meaning and of what is checked; an index of another version is rebuilt."""
SLOW_FROM_BYTES: Final = 100_000_000
"""Above this total size of the annotations, building an index is announced in the log."""
_CLOCK_SECONDS: Final = 0.02
"""Two changes of a file within this time may have the same modification time."""
_ABANDONED_SECONDS: Final = 3600.0
"""An unfinished file that has not changed for this long is removed as abandoned."""
_NOTE: Final = {"sources": dict, "sequences": list, "lists": list, "has_mano": bool, "problems": dict}
"""Types of the note's values, beside the version."""
_COLUMNS: Final[dict[str, tuple[str, tuple[int, ...]]]] = {
    "id": ("i8", ()), "annotation_id": ("i8", ()), "capture": ("i4", ()), "frame_idx": ("i8", ()),
    "sequence": ("i4", ()), "camera": ("i4", ()), "frame": ("i4", ()), "size": ("i4", (2,)), "box": ("f4", (4,)),
    "valid": ("u1", (6,)), "hand_type": ("u1", ()), "flags": ("u1", ()), "names": ("u1", ()),
    "name_starts": ("i8", ()), "camrot": ("f8", (3, 3)), "campos": ("f8", (3,)), "focal": ("f8", (2,)),
    "princpt": ("f8", (2,)), "world": ("f8", (NUM_JOINTS, 3)), "frame_mano": ("u1", ()),
}  # fmt: skip
"""Types and shapes of the columns' rows (`annotations.Annotations`)."""
_READ_ONLY: Final = (errno.EACCES, errno.EPERM, errno.EROFS)

_log = logging.getLogger(__name__)


class Index:
    """The memory-mapped columns of `annotations.Annotations`, and the problems found when they were read.

    Pickling stores the path and the state of the sources: a copy in another process maps the same file, or fails if it
    has been rebuilt since.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns, note = open_arrays(path)
        version = note.get("version") if isinstance(note, dict) else "none"
        if version != VERSION:
            raise DataError(f"{path} is an index of version {version}, not {VERSION}; delete it")
        columns = {name: column for name, column in self.columns.items() if column.ndim}
        found: dict[str, Any] = {name: (column.dtype, column.shape[1:]) for name, column in columns.items()}
        if found != _COLUMNS or any(not isinstance(note.get(key), kind) for key, kind in _NOTE.items()):
            raise DataError(f"{path} lacks columns of an index, or has others; delete it")
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
        """Return an image's file name, relative to images/SPLIT."""
        start, end = self.columns["name_starts"][row : row + 2]
        return self.columns["names"][start:end].tobytes().decode()


def open_index(layout: Layout) -> Index:
    """Open the index of a split; build it first if there is no up-to-date one.

    Raises:
        DataError: The annotations are missing or damaged, or the index cannot be written anywhere.
    """
    found = fresh_index(layout)
    return found if found is not None else build_index(layout)


def fresh_index(layout: Layout) -> Index | None:
    """Return the up-to-date index of a split, or None if there is none."""
    for path in index_paths(layout):
        try:
            index = Index(path)
        except DataError:
            continue
        if index.sources == source_state(layout):
            return index
    return None


def verified_index(layout: Layout) -> Index | None:
    """Return the up-to-date index of a split after reading all of it, or None if there is none.

    Raises:
        DataError: It is not as it was written.
    """
    index = fresh_index(layout)
    if index is not None:
        verify_arrays(index.path)
    return index


def build_index(layout: Layout, progress: Progress | None = None, *, anew: bool = False) -> Index:
    """Read the annotations and write the index; with `anew`, even if there is an up-to-date one.

    If several processes do this at the same time, the first one builds the index; the others wait and open it.
    `progress` is told bytes.

    Raises:
        DataError: The annotations are damaged, or the index cannot be written anywhere.
    """
    not_writable = []
    for path in index_paths(layout):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked_beside(path) as waited:
                found = None if anew and not waited else fresh_index(layout)
                return found if found is not None else _build(layout, path, progress)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise write_error(path, error) from error
            not_writable.append(f"{path.parent} ({error.strerror})")
    raise DataError(
        f"the index cannot be written to {' or '.join(not_writable)}; make one of them writable, or set XDG_CACHE_HOME"
    )


def index_paths(layout: Layout) -> list[Path]:
    """Return the possible paths of a split's index: beside the annotations, and in the user's cache."""
    name = f"InterHand2.6M_{layout.split}.index"
    beside, key = layout.folder / name, hashlib.sha256(str(layout.folder.resolve()).encode()).hexdigest()[:16]
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home folder, as of a foreign user in a container
        return [beside]
    return [beside, cache / "unclasp" / f"{key}-{name}"]


def source_state(layout: Layout) -> dict[str, list[int] | None]:
    """Return the size and modification time (ns) of each source file of an index; None for missing files."""
    state: dict[str, list[int] | None] = {}
    for path in layout.sources:
        try:
            status = path.stat()
        except OSError:
            state[path.name] = None
        else:
            state[path.name] = [status.st_size, status.st_mtime_ns]
    return state


def _build(layout: Layout, path: Path, progress: Progress | None) -> Index:
    state = _settled_state(layout)
    total = sum(entry[0] for entry in state.values() if entry)
    if total > SLOW_FROM_BYTES and progress is None:
        _log.warning("indexing %s once: %.1f GB of annotations, some minutes", layout.folder, total / 1e9)
    annotations = read_annotations(layout, progress)
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
    _remove_abandoned(path)
    write_arrays(path, annotations.columns, note)
    return Index(path)


def _remove_abandoned(path: Path) -> None:
    """Remove the partial files of killed processes; younger ones may still be in use."""
    for partial in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        try:
            if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
                partial.unlink()
        except FileNotFoundError:  # another process removed it first
            continue


def _settled_state(layout: Layout) -> dict[str, list[int] | None]:
    """Return the sources' state, once any later change is certain to get a later modification time."""
    newest = max((entry[1] for entry in source_state(layout).values() if entry), default=0)
    if 0 <= time.time_ns() - newest < _CLOCK_SECONDS * 1e9:
        time.sleep(_CLOCK_SECONDS)
    return source_state(layout)
