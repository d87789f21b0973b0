"""Reads the annotation files of a split in one pass, into arrays with one row per image, camera and frame.

Only files that are not JSON or have a different structure are rejected. Faulty entries are counted in `Problems`, and
their images are marked as unusable.
"""

from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Final

import numpy as np

from unclasp.arrays import Array
from unclasp.data.fields import HAND_TYPES, annotation_fault, image_fault, leaves_folder, whole_number
from unclasp.data.json_file import MISFITS
from unclasp.data.jsonstream import JsonStream
from unclasp.data.layout import Layout, Subset
from unclasp.data.problems import Problems
from unclasp.data.progress import Progress
from unclasp.data.tables import BOTH_HANDS, Columns, OnRead, file_names, misfit, read_cameras, read_frames, read_mano
from unclasp.errors import DataError
from unclasp.hands import NUM_JOINTS

TYPE_VALID, USABLE = 1, 2
"""Bits of the column `flags`."""
SUBSET_BITS: Final[dict[Subset, int]] = {"human": 4, "machine": 8}
"""Further bits of `flags`, of the subsets whose lists of annotation ids exist."""
_KIND_VALID: Final = 4
"""Bit of the column `kind` of annotations, beside those of the hands: the hand type is valid."""
_TYPE_BITS: Final = {name: right + 2 * left for name, (right, left) in HAND_TYPES.items()}
_NUMBERS: Final = {
    "id": np.int64, "capture": np.int32, "frame_idx": np.int64, "sequence": np.int32, "camera": np.int32,
    "frame": np.int32,
}  # fmt: skip
"""Types of the columns of numbers of `images`."""
_ROWS: Final = 4096
"""Number of entries that are converted to arrays at a time."""


@dataclass
class Annotations:
    """The contents of a split's annotation files.

    Columns with one row per image, in the file's order: `id`, `annotation_id`, `capture`, `frame_idx`, `sequence` (row
    of `sequences`), `camera` and `frame` (rows of the tables, -1 if missing), `size` (width, height), `box` (x1, y1,
    x2, y2 px), `valid` (42 bits in 6 bytes), `hand_type` (bit 0 right, bit 1 left), `flags`; the file name of row i is
    `names[name_starts[i]:name_starts[i + 1]]` in UTF-8. Per camera: `camrot`, `campos`, `focal`, `princpt`. Per frame:
    `world` (42, 3) mm and `frame_mano`.
    """

    columns: Columns
    sequences: list[str]
    """CAPTURE/SEQUENCE of each row of `sequence`."""
    problems: Problems
    has_mano: bool
    lists: list[Subset]
    """The subsets whose lists of annotation ids exist."""


def read_annotations(layout: Layout, progress: Progress | None) -> Annotations:
    """Read the annotations of a split; memory grows with the number of images and frames, not with the files.

    Args:
        layout: Locates the files.
        progress: Called after each read, with the amount done and the size of all files in bytes.

    Raises:
        DataError: A file is missing, is not complete JSON, has a different structure, or lists no image.
    """
    total, done = sum(path.stat().st_size for path in layout.sources if path.exists()), 0

    def on_read(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(min(done, total), total)

    problems = Problems()
    camera_rows, columns = read_cameras(layout.path("camera"), on_read)
    frame_rows, frames, finite = read_frames(layout.path("joint_3d"), problems, on_read)
    mano = layout.mano
    frames["frame_mano"] = read_mano(mano, frame_rows, len(frames["world"]), problems, on_read)
    images = _Images(camera_rows, frame_rows, problems)
    boxes = _Boxes(problems)
    _read_data(layout.path("data"), images, boxes, on_read)
    table = images.columns()
    _join(table, boxes.columns(), finite, problems)
    lists = _mark_subsets(layout, table, problems)
    return Annotations({**table, **columns, **frames}, list(images.sequences), problems, mano.exists(), lists)


def _read_data(path: Path, images: "_Images", boxes: "_Boxes", on_read: OnRead) -> None:
    found = []
    with JsonStream(path, on_read) as stream:
        for key in stream.members():
            if key in ("images", "annotations"):
                table: _Images | _Boxes = images if key == "images" else boxes
                for entry in stream.values():
                    table.add(entry)
                table.flush()
                found.append(key)
            else:
                stream.value()
        stream.end()
    for key in ("images", "annotations"):
        if key not in found:
            raise misfit(path, f"there is no list '{key}'")
    if not images.count:
        raise DataError(f"{path} names no image; fetch it again")
    if images.count == images.problems.counts.get("image"):
        raise misfit(path, images.problems.line("image"))


class _Table:
    """Columns that grow in chunks."""

    def __init__(self, problems: Problems) -> None:
        self.problems, self.count = problems, 0
        self._chunks: dict[str, list[Array]] = {}

    def _grow(self, **columns: Array) -> None:
        for name, values in columns.items():
            self._chunks.setdefault(name, []).append(values)

    def columns(self) -> Columns:
        """Return the joined columns and free the chunks."""
        joined = {}
        for name in list(self._chunks):
            joined[name] = np.concatenate(self._chunks.pop(name))
        return joined


class _Images(_Table):
    """The entries of `images`."""

    def __init__(self, cameras: dict[str, int | str], frames: dict[str, int | str], problems: Problems) -> None:
        super().__init__(problems)
        self.cameras, self.frames = cameras, frames
        self.sequences: dict[str, int] = {}
        self._numbers: list[tuple[int, ...]] = []
        self._names: list[bytes] = []

    def add(self, image: Any) -> None:
        self.count += 1
        try:
            capture, camera, frame = image["capture"], image["camera"], image["frame_idx"]
            file_name, width, height = image["file_name"], image["width"], image["height"]
            size = whole_number(width, 32), whole_number(height, 32)
            if min(size) < 1 or leaves_folder(file_name):
                raise ValueError
            name = file_name.encode()
            sequence = f"{capture}/{image.get('seq_name', '')}"
            self._numbers.append((
                whole_number(image["id"], 64), whole_number(capture, 32), whole_number(frame, 64),
                self.sequences.setdefault(sequence, len(self.sequences)),
                self._look_up("camera", self.cameras, capture, camera),
                self._look_up("frame", self.frames, capture, frame),
                *size,
            ))  # fmt: skip
        except MISFITS:
            self.problems.add("image", f"number {self.count}: {image_fault(image)}")
            return
        self._names.append(name)
        if len(self._names) == _ROWS:
            self.flush()

    def _look_up(self, kind: str, rows: dict[str, int | str], capture: Any, name: Any) -> int:
        row = rows.get(f"{capture}/{name}", "is missing")
        if isinstance(row, int):
            return row
        self.problems.add(kind, f"capture '{capture}' {kind} '{name}': {row}")
        return -1

    def flush(self) -> None:
        """Convert the collected entries to arrays."""
        if not self._names:
            return
        numbers = np.array(self._numbers, dtype=np.int64)
        self._grow(**{name: numbers[:, i].astype(kind) for i, (name, kind) in enumerate(_NUMBERS.items())})
        lengths = np.array([len(name) for name in self._names], dtype=np.int64)
        names = np.frombuffer(b"".join(self._names), dtype=np.uint8)
        self._grow(size=numbers[:, len(_NUMBERS) :].astype(np.int32), name_starts=lengths, names=names)
        self._numbers, self._names = [], []

    def columns(self) -> Columns:
        joined = super().columns()
        joined["name_starts"] = np.concatenate([[0], np.cumsum(joined["name_starts"])]).astype(np.int64)
        return joined


class _Boxes(_Table):
    """The entries of `annotations`."""

    def __init__(self, problems: Problems) -> None:
        super().__init__(problems)
        self._numbers: list[tuple[int, int, int]] = []
        self._boxes: list[list[float]] = []
        self._valid: list[list[Any]] = []
        self._grow(  # so that a file without entries has the columns, too
            image_id=np.empty(0, np.int64), annotation_id=np.empty(0, np.int64), kind=np.empty(0, np.uint8),
            box=np.empty((0, 4), np.float32), valid=np.empty((0, (NUM_JOINTS + 7) // 8), np.uint8),
        )  # fmt: skip

    def add(self, annotation: Any) -> None:
        self.count += 1
        try:
            box, valid = annotation["bbox"], annotation["joint_valid"]
            if not (isinstance(box, list) and len(box) == 4 and len(valid) == NUM_JOINTS):
                raise ValueError
            kind = _TYPE_BITS[annotation["hand_type"]]
            image_id = whole_number(annotation["image_id"], 64)
            number = whole_number(annotation.get("id", image_id), 64)
            numbers = (image_id, number, _KIND_VALID * bool(annotation["hand_type_valid"]) + kind)
        except MISFITS:
            self.problems.add("annotation", f"number {self.count}: {annotation_fault(annotation)}")
            return
        self._numbers.append(numbers)
        self._boxes.append(box)
        self._valid.append(valid)
        if len(self._numbers) == _ROWS:
            self.flush()

    def flush(self) -> None:
        """Convert the collected entries to arrays."""
        if not self._numbers:
            return
        try:
            self._convert(self._numbers, self._boxes, self._valid)
        except MISFITS:
            self._convert_one_by_one()
        self._numbers, self._boxes, self._valid = [], [], []

    def _convert(self, numbers: list[tuple[int, int, int]], boxes: list[Any], valid: list[Any]) -> None:
        box = np.array(boxes, dtype=np.float64)
        flags = np.array(valid, dtype=np.float32).reshape(len(valid), NUM_JOINTS)
        if box.shape != (len(boxes), 4) or not ((flags == 0) | (flags == 1)).all():
            raise ValueError
        box[:, 2:] += box[:, :2]
        whole = np.array(numbers, dtype=np.int64)
        self._grow(
            image_id=whole[:, 0].copy(), annotation_id=whole[:, 1].copy(), kind=whole[:, 2].astype(np.uint8),
            box=box.astype(np.float32), valid=np.packbits(flags > 0, axis=1),
        )  # fmt: skip

    def _convert_one_by_one(self) -> None:
        """Convert a chunk entry by entry, and report those that do not hold what they should."""
        for numbers, box, valid in zip(self._numbers, self._boxes, self._valid, strict=True):
            try:
                self._convert([numbers], [box], [valid])
            except MISFITS:
                fault = annotation_fault({"image_id": numbers[0], "bbox": box, "joint_valid": valid})
                self.problems.add("annotation", f"of image {numbers[0]}: {fault}")


def _join(images: Columns, annotations: Columns, finite: Array, problems: Problems) -> None:
    """Join each image with its annotation by `image_id`, and mark the usable images."""
    rows = _rows_of_annotations(images["id"], annotations, problems)
    annotated = rows >= 0
    for name, empty in (("annotation_id", -1), ("box", 0), ("valid", 0), ("kind", 0)):
        source = annotations[name]
        images[name] = np.full((len(rows), *source.shape[1:]), empty, dtype=source.dtype)
        images[name][annotated] = source[rows[annotated]]
    _mark_usable(images, annotated, finite, problems)
    _report_duplicate_names(images, problems)


def _rows_of_annotations(ids: Array, annotations: Columns, problems: Problems) -> Array:
    """Return the row of each image's annotation, -1 where there is none."""
    wanted = annotations["image_id"]
    order = np.argsort(ids, kind="stable")
    _report(_repeated(ids), "image twice", problems, "{}")
    position = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
    known = ids[order][position] == wanted
    _report(wanted[~known], "orphan", problems, "of image {}")
    _report(_repeated(wanted[known]), "annotation twice", problems, "{}")
    rows = np.full(len(ids), -1, dtype=np.int64)
    rows[order[position[known]]] = np.flatnonzero(known)
    _report(ids[rows < 0], "unannotated", problems, "image {}")
    _report(wanted[wanted != annotations["annotation_id"]], "id", problems, "of image {}")
    if len(wanted) == len(ids) and (moved := np.flatnonzero(wanted != ids)).size:
        problems.add("order", f"from number {moved[0] + 1} on", len(moved))
    return rows


def _mark_usable(images: Columns, annotated: Array, finite: Array, problems: Problems) -> None:
    """Replace the column `kind` by `hand_type` and `flags`; joints that are not `finite` become invalid."""
    ids, kind = images["id"], images.pop("kind")
    with np.errstate(invalid="ignore"):
        boxed = np.isfinite(images["box"]).all(axis=1) & (images["box"][:, 2:] > images["box"][:, :2]).all(axis=1)
    _report(ids[annotated & ~boxed], "box", problems, "image {}")
    if len(finite) and not finite.all():
        images["valid"] &= np.packbits(finite, axis=1)[images["frame"]]
    jointless = annotated & ~images["valid"].any(axis=1)
    _report(ids[jointless], "no joint at all" if jointless.all() else "no joint", problems, "image {}")
    usable = annotated & boxed & (images["camera"] >= 0) & (images["frame"] >= 0)
    images["hand_type"] = (kind & BOTH_HANDS).astype(np.uint8)
    flags = np.where(kind & _KIND_VALID, TYPE_VALID, 0) | np.where(usable, USABLE, 0)
    images["flags"] = flags.astype(np.uint8)


def _report(ids: Array, kind: str, problems: Problems, text: str) -> None:
    for value in ids[:3]:
        problems.add(kind, text.format(value))
    if len(ids) > 3:
        problems.add(kind, "", len(ids) - 3)


def _report_duplicate_names(images: Columns, problems: Problems) -> None:
    """Report file names that two images share; comparing hashes first saves memory."""
    hashes = np.fromiter(map(hash, file_names(images)), dtype=np.int64, count=len(images["id"]))
    suspects = np.isin(hashes, _repeated(hashes))
    seen: set[bytes] = set()
    for name in compress(file_names(images), suspects):
        if name in seen:
            problems.add("name twice", name.decode())
        seen.add(name)


def _repeated(values: Array) -> Array:
    """Return the values that occur again, sorted, once per repetition."""
    ordered = np.sort(values)
    return np.asarray(ordered[1:][ordered[1:] == ordered[:-1]])


def _mark_subsets(layout: Layout, images: Columns, problems: Problems) -> list[Subset]:
    """Set the subset bits from the lists of annotation ids; in the older layout, a file holds just one subset."""
    if layout.release == "older":
        return []
    found: list[Subset] = []
    for subset, bit in SUBSET_BITS.items():
        path = layout.id_list(subset)
        if path.exists():
            listed = _read_ids(path)
            images["flags"][np.isin(images["annotation_id"], listed)] |= bit
            _report(np.setdiff1d(listed, images["annotation_id"]), "listed", problems, f"{path.name}: {{}}")
            found.append(subset)
    return found


def _read_ids(path: Path) -> Array:
    try:
        return np.array(path.read_text(encoding="utf-8").split(), dtype=np.int64)
    except (OSError, *MISFITS) as error:
        raise DataError(f"{path} must hold one annotation id a line ({error}); fetch it again") from error
