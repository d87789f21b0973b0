"""Renders part masks of InterHand2.6M from its MANO fits, with both hands in one depth buffer to occlude each other.

A picture gets a mask if there are fits of exactly its annotated hands; the published masks follow the same rule. Masks
are written to ROOT/parts/SPLIT, where `InterHand` finds them, with the classes of `hands.PART_NAMES`. Each file is
written atomically and existing ones are kept, so an interrupted run resumes where it stopped.
"""

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.arrays import Doubles, Ints, Pixels
from unclasp.data.annotations import USABLE
from unclasp.data.index import Index, open_index
from unclasp.data.json_file import MISFITS, parse_json
from unclasp.data.layout import Layout, parts_path
from unclasp.data.mano import ManoModel, mano_key, read_mano
from unclasp.data.progress import Progress
from unclasp.data.tables import BOTH_HANDS, FIT_SIZE, entries_by_frame, fit_of, parts_of_fit
from unclasp.errors import DataError, write_error
from unclasp.files import write_bytes
from unclasp.hands import SIDES, Side
from unclasp.synth.raster import project_to_grid, rasterize
from unclasp.synth.shade import label_parts

VERSION: Final = 1
"""Version of the rendering; masks of another version are not added to."""
_TASK_FRAMES: Final = 8
"""Time steps per task; the pictures of a time step share its meshes."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """The result of `write_parts`, in numbers of pictures."""

    written: int
    there: int
    """Pictures that already had a mask."""
    without: int
    """Pictures without fits of exactly their hands."""


class PartsRenderer:
    """Renders part masks from the meshes of the hands.

    Args:
        models: The models of both hands.
    """

    def __init__(self, models: dict[Side, ManoModel]) -> None:
        self.models = models
        self._probabilities = {side: models[side].part_probabilities for side in SIDES}

    def __call__(
        self, meshes: dict[Side, Doubles], focal: Doubles, princpt: Doubles, *, size: tuple[int, int]
    ) -> Pixels:
        """Return the (H, W) part classes.

        Args:
            meshes: For each hand that is present, (V + 1, 3) mm in the camera frame, ordered as `ManoModel.vertices`.
            focal: (2,) px.
            princpt: (2,) px.
            size: Width and height in px.
        """
        width, height = size
        if not meshes:
            return np.zeros((height, width), dtype=np.uint8)
        starts = np.cumsum([0, *(len(mesh) for mesh in meshes.values())])
        faces: list[Ints] = [self.models[side].faces + start for side, start in zip(meshes, starts[:-1], strict=True)]
        corners = np.ascontiguousarray(np.concatenate(faces), dtype=np.int32)
        left = np.concatenate([np.full(len(f), side == "left") for side, f in zip(meshes, faces, strict=True)])
        shares = np.ascontiguousarray(np.concatenate([self._probabilities[side] for side in meshes]))
        screen = project_to_grid(np.concatenate(list(meshes.values())), focal, princpt)
        raster = rasterize(screen, corners, width=width, height=height)
        rows = np.arange(len(shares), dtype=np.int32)
        return label_parts(raster, corners, left, rows, shares, shares.argmax(axis=1).astype(np.uint8))


def write_parts(layout: Layout, mano: Path | str, *, processes: int = 1, progress: Progress | None = None) -> Outcome:
    """Render and write the masks of a split.

    Args:
        layout: The split's annotations, with MANO fits.
        mano: Folder of the owners' MANO_RIGHT.pkl and MANO_LEFT.pkl.
        processes: Number of parallel processes.
        progress: Called after each task of a few time steps, with the number of pictures done and the total.

    Raises:
        DataError: Models or fits are missing or damaged, existing masks were made from other ones, or a mask cannot be
            written.
    """
    models = read_mano(mano)
    index = open_index(layout)
    if not index.has_mano:
        raise DataError(f"{layout.mano} is missing; part masks are drawn from the MANO fits in it")
    rows = rows_with_fits(index)
    without = int(((index.columns["flags"] & USABLE) > 0).sum()) - len(rows)
    _check_provenance(layout, mano_key(mano))
    fits = read_fits(layout, index)
    written = done = 0
    for count, new in _run_tasks(layout, models, _tasks(index, rows, fits), processes):
        done, written = done + count, written + new
        if progress is not None:
            progress(done, len(rows))
    return Outcome(written, len(rows) - written, without)


def rows_with_fits(index: Index) -> Rows:
    """Return the rows of an index that are usable and have fits of exactly their hands."""
    columns = index.columns
    fits = columns["frame_mano"][columns["frame"]] & BOTH_HANDS
    usable = (columns["flags"] & USABLE) > 0  # excludes images without a frame, whose row is -1
    return np.flatnonzero(usable & (fits == columns["hand_type"]))


def read_fits(layout: Layout, index: Index) -> Doubles:
    """Return the fits (frames, 2, `FIT_SIZE`) of both hands, as of `fit_of`; NaN without a fit."""
    columns = index.columns
    frames, first = np.unique(columns["frame"], return_index=True)
    keys = {
        f"{columns['capture'][row]}/{columns['frame_idx'][row]}": int(frame)
        for frame, row in zip(frames, first, strict=True)
        if frame >= 0
    }
    fits = np.full((len(columns["world"]), 2, FIT_SIZE), np.nan)
    for capture, frame, hands in entries_by_frame(layout.mano):
        row = keys.get(f"{capture}/{frame}")
        if row is None or not isinstance(hands, dict):
            continue
        for column, side in enumerate(SIDES):
            fit = fit_of(hands.get(side))
            if fit is not None:
                fits[row, column] = fit
    return fits


@dataclass(frozen=True)
class _Task:
    """The pictures of a few time steps."""

    rows: Rows
    fits: dict[int, Doubles]
    """(2, `FIT_SIZE`) by frame."""


def _tasks(index: Index, rows: Rows, fits: Doubles) -> Iterator[_Task]:
    frames = index.columns["frame"]
    rows = rows[np.argsort(frames[rows], kind="stable")]
    starts = np.unique(frames[rows], return_index=True)[1]
    for task_rows in np.split(rows, starts[_TASK_FRAMES::_TASK_FRAMES]) if len(rows) else ():
        yield _Task(task_rows, {frame: fits[frame] for frame in np.unique(frames[task_rows]).tolist()})


def _run_tasks(
    layout: Layout, models: dict[Side, ManoModel], tasks: Iterator[_Task], processes: int
) -> Iterator[tuple[int, int]]:
    """Yield, for each task, its number of pictures and how many masks were written."""
    if processes <= 1:
        _start_process(layout, models)
        yield from map(_render_task, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(processes, _start_process, (layout, models)) as pool:
        yield from pool.imap_unordered(_render_task, tasks)


_shared: dict[str, Any] = {}
"""Layout, index and renderer of each rendering process."""


def _start_process(layout: Layout, models: dict[Side, ManoModel]) -> None:
    _shared.update(layout=layout, index=open_index(layout), renderer=PartsRenderer(models))


def _render_task(task: _Task) -> tuple[int, int]:
    layout, index, renderer = _shared["layout"], _shared["index"], _shared["renderer"]
    columns, meshes, written = index.columns, {}, 0
    for row, frame in zip(task.rows, columns["frame"][task.rows].tolist(), strict=True):
        path = parts_path(layout.root, layout.split, index.file_name(row))
        if path.exists():
            continue
        if frame not in meshes:
            meshes = {frame: _meshes(renderer.models, task.fits[frame])}
        camera = columns["camera"][row]
        in_camera = {
            side: geometry.camera_from_world(mesh, columns["camrot"][camera], columns["campos"][camera])
            for side, mesh in meshes[frame].items()
        }
        width, height = columns["size"][row].tolist()
        parts = renderer(in_camera, columns["focal"][camera], columns["princpt"][camera], size=(width, height))
        _write(path, cv2.imencode(".png", parts)[1].tobytes())
        written += 1
    return len(task.rows), written


def _meshes(models: dict[Side, ManoModel], fits: Doubles) -> dict[Side, Doubles]:
    """Return the vertices of each hand that has a fit, in mm in the world frame."""
    return {
        side: models[side].vertices(*parts_of_fit(fit))
        for side, fit in zip(SIDES, fits, strict=True)
        if np.isfinite(fit).all()
    }


def _check_provenance(layout: Layout, mano: str) -> None:
    """Check that existing masks were made from the same models and fits, and record those of the new masks.

    Raises:
        DataError: The existing masks were made from others, or their origin is unknown.
    """
    folder = layout.root / "parts" / layout.split
    note = folder.with_name(f"{layout.split}.made.json")
    source, size = layout.mano.parent.name, layout.mano.stat().st_size  # in the older layout, each subset has its fits
    known: Any = {"version": VERSION, "mano": mano, "fits": {}}
    if note.exists():
        try:
            known = parse_json(note.read_bytes(), note)
            same = (known["version"], known["mano"]) == (VERSION, mano) and known["fits"].get(source, size) == size
        except (OSError, *MISFITS):
            same = False
        if not same:
            raise DataError(
                f"{folder} holds part masks drawn from other models or fits; delete it and {note.name} first"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} holds part masks that come from elsewhere; move them away to draw new ones")
    known["fits"][source] = size
    _write(note, json.dumps(known).encode())


def _write(path: Path, data: bytes) -> None:
    try:
        write_bytes(path, data)
    except OSError as error:
        raise write_error(path, error) from error
