"""Sources of part masks: our own files, or the published masks as PNG files or in LMDB.

    ours        ROOT/parts/SPLIT/….png    of `unclasp data parts` and `unclasp synth write`, as in `hands.PART_NAMES`
    published   ROOT/segm_32.lmdb         a database; the keys are SPLIT/CaptureC/SEQUENCE/camCAMERA/imageFRAME.png
                ROOT/segms/SPLIT/….png    the same as files, as DIGIT's renderer writes them

The published masks number the parts in another order, which is not documented by name; `PUBLISHED_PARTS` was derived
from the bone nearest to each part of the mesh. Where there are MANO fits, the published masks are used only for
pictures with fits of exactly the annotated hands.
"""

import os
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from unclasp.arrays import Pixels
from unclasp.data.pictures import decode_parts, read_parts
from unclasp.errors import DataError
from unclasp.hands import HAND_PART_NAMES, PARTS_PER_HAND

PUBLISHED_ORDER: Final = (
    "ring_proximal", "index_middle", "pinky_proximal", "middle_proximal", "middle_distal", "ring_distal",
    "pinky_distal", "thumb_proximal", "palm", "thumb_middle", "index_proximal", "index_distal", "thumb_distal",
    "pinky_middle", "middle_middle", "ring_middle",
)  # fmt: skip
"""The published order of a hand's 16 parts, by our names."""
_OURS: Final = np.array([HAND_PART_NAMES.index(name) for name in PUBLISHED_ORDER])
PUBLISHED_PARTS: Final = np.zeros(256, dtype=np.uint8)
"""Maps published classes to ours; unknown values stay as they are, so that they are noticed."""
PUBLISHED_PARTS[:] = np.arange(256)
PUBLISHED_PARTS[1 : 1 + 2 * PARTS_PER_HAND] = np.concatenate([1 + _OURS, 1 + PARTS_PER_HAND + _OURS])
_DATABASE: Final = "segm_32.lmdb"


class PartMasks(Protocol):
    """Returns the part classes of a picture."""

    published: bool
    """Whether these are the published masks, whose use depends on the MANO fits."""

    def __call__(self, name: str, image: Pixels) -> Pixels | None:
        """Return the (H, W) part classes of the picture `name`, relative to images/SPLIT; None if it has none."""


def open_part_masks(root: Path, split: str, source: str | None = None) -> PartMasks | None:
    """Return the masks of a split, or None if there are none.

    Args:
        root: Folder of the data set.
        split: Which split.
        source: A database or a folder of published masks (with a folder for each split); `none` for no masks. By
            default, the first that exists of ROOT/parts/SPLIT, ROOT/segm_32.lmdb and ROOT/segms/SPLIT.

    Raises:
        DataError: The source does not exist, or a database cannot be opened.
    """
    if source == "none":
        return None
    if source is not None:
        named = Path(source)
        if not named.exists():
            raise DataError(f"there are no part masks at {named}; name a folder or an LMDB database, or none")
        return Database(named, split) if _is_database(named) else Files(named / split, published=True)
    if (root / "parts" / split).is_dir():
        return Files(root / "parts" / split, published=False)
    if (root / _DATABASE).exists():
        return Database(root / _DATABASE, split)
    return Files(root / "segms" / split, published=True) if (root / "segms" / split).is_dir() else None


def _is_database(path: Path) -> bool:
    return path.is_file() or (path / "data.mdb").exists()


class Files:
    """Masks as PNG files, one per picture, with the picture's name."""

    def __init__(self, folder: Path, *, published: bool) -> None:
        if not folder.is_dir():
            raise DataError(f"{folder} is missing; published part masks lie in a folder for each split")
        self.folder, self.published = folder, published

    def __call__(self, name: str, image: Pixels) -> Pixels | None:
        """Return the mask of a picture."""
        return read_parts(
            (self.folder / name).with_suffix(".png"), image, table=PUBLISHED_PARTS if self.published else None
        )


class Database:
    """The published masks in LMDB."""

    published = True

    def __init__(self, path: Path, split: str) -> None:
        self.path, self.split = path, split
        if _handle(path).stat()["entries"] == 0:
            raise DataError(f"{path} is an empty database; make it again")

    def __call__(self, name: str, image: Pixels) -> Pixels | None:
        """Return the mask of a picture."""
        key = f"{self.split}/{name.rpartition('.')[0]}.png"
        with _handle(self.path).begin(buffers=True) as reading:
            found = reading.get(key.encode())
            if found is None:
                return None
            return decode_parts(bytes(found), f"{self.path}: {key}", image, table=PUBLISHED_PARTS)


_handles: dict[Path, tuple[int, Any]] = {}
"""Per database, the process that opened it and its handle: LMDB allows one handle per process, not its parent's."""


def _handle(path: Path) -> Any:
    opened_by, handle = _handles.get(path, (0, None))
    if handle is None or opened_by != os.getpid():
        if handle is not None:
            handle.close()
        handle = _open(path)
        _handles[path] = (os.getpid(), handle)
    return handle


def _open(path: Path) -> Any:
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise DataError(f"{path} needs lmdb to be read: pip install 'unclasp[lmdb]'") from error
    try:
        return lmdb.open(
            str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False, meminit=False, create=False
        )
    except lmdb.Error as error:
        raise DataError(f"{path} is not an LMDB database that can be read ({error}); copy it again") from error
