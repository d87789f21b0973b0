"""Part masks of InterHand2.6M, drawn from its MANO fits: both hands in one buffer, so that they hide each other.

A picture has a mask where there are fits of exactly the hands that it is said to show; the published masks were used by
the same rule. Masks lie where `InterHand` looks for them, in ROOT/parts/SPLIT, with the classes of `hands.PART_NAMES`.
Each is written whole, and what is there is left as it is, so that an interrupted run goes on where it stopped.
"""

import errno
import json
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from unclasp import geometry
from unclasp.data.annotations import USABLE
from unclasp.data.index import Index, open_index
from unclasp.data.jsonstream import JsonStream
from unclasp.data.layout import Layout, parts_path
from unclasp.data.mano import Doubles, Ints, ManoModel, mano_key, read_mano
from unclasp.data.tables import fit_of
from unclasp.errors import DataError
from unclasp.files import write_bytes
from unclasp.hands import SIDES, Side
from unclasp.synth.raster import project_to_grid, rasterize
from unclasp.synth.shade import View, label_parts

VERSION: Final = 1
"""Of how masks are drawn; those of another version are not added to."""
_FRAMES: Final = 8
"""Time steps of a piece of work: all their pictures share the meshes."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

Progress = Callable[[int, int], None]
"""Called with the pictures done and the pictures in all."""
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What `write_parts` did, in numbers of pictures."""

    written: int
    there: int
    """Had a mask of an earlier run."""
    without: int
    """Have no fits of exactly their hands."""


class PartsRenderer:
    """Draws part masks of the two hands' meshes.

    Args:
        models: Both hands.
    """

    def __init__(self, models: dict[Side, ManoModel]) -> None:
        self.models = models
        self._probabilities = {side: models[side].part_probabilities for side in SIDES}

    def __call__(
        self, meshes: dict[Side, Doubles], focal: Doubles, princpt: Doubles, *, size: tuple[int, int]
    ) -> npt.NDArray[np.uint8]:
        """Return the (H, W) part classes.

        Args:
            meshes: For each hand that is there (V + 1, 3) mm in the camera's frame, ordered as `ManoModel.vertices`.
            focal: (2,) px.
            princpt: (2,) px.
            size: Width and height in px.
        """
        width, height = size
        parts = np.zeros((height, width), dtype=np.uint8)
        if not meshes:
            return parts
        starts = np.cumsum([0, *(len(mesh) for mesh in meshes.values())])
        faces: list[Ints] = [self.models[side].faces + start for side, start in zip(meshes, starts[:-1], strict=True)]
        corners = np.ascontiguousarray(np.concatenate(faces), dtype=np.int32)
        left = np.concatenate([np.full(len(f), side == "left") for side, f in zip(meshes, faces, strict=True)])
        shares = np.ascontiguousarray(np.concatenate([self._probabilities[side] for side in meshes]))
        screen = project_to_grid(np.concatenate(list(meshes.values())), focal, princpt)
        seen = rasterize(screen, corners, width=width, height=height)
        rows = np.arange(len(shares), dtype=np.int32)
        view = View(screen.points, screen.keys, seen.face, seen.key)
        label_parts(view, corners, left, rows, shares, shares.argmax(axis=1).astype(np.uint8), parts)
        return parts


def write_parts(layout: Layout, mano: Path | str, *, processes: int = 1, progress: Progress | None = None) -> Outcome:
    """Draw and write the masks of a split.

    Args:
        layout: The split's annotations, with MANO fits.
        mano: Folder of the owners' MANO_RIGHT.pkl and MANO_LEFT.pkl.
        processes: How many draw at the same time.
        progress: Told after each piece.

    Raises:
        DataError: Model or fits are missing or damaged, the masks that are there were not made of them, or a mask
            cannot be written.
    """
    models = read_mano(mano)
    index = open_index(layout)
    if not index.has_mano:
        raise DataError(f"{layout.mano} is missing; part masks are drawn from the MANO fits in it")
    rows = rows_with_fits(index)
    without = int(((index.columns["flags"] & USABLE) > 0).sum()) - len(rows)
    if (index.columns["size"][rows] <= 0).any():
        raise DataError(f"{layout.path('data')} does not tell the width and height of every image; fetch it again")
    _settle_note(layout, mano_key(mano))
    fits = read_fits(layout, index)
    written = done = 0
    for count, new in _drawn(layout, models, _pieces(index, rows, fits), processes):
        done, written = done + count, written + new
        if progress is not None:
            progress(done, len(rows))
    return Outcome(written, len(rows) - written, without)


def rows_with_fits(index: Index) -> Rows:
    """Return the rows of an index that can be read and have fits of exactly their hands."""
    columns = index.columns
    fits = columns["frame_mano"][columns["frame"]] & 3
    usable = (columns["flags"] & USABLE) > 0  # without a frame, the row -1 does not count
    return np.flatnonzero(usable & (fits == columns["hand_type"]))


def read_fits(layout: Layout, index: Index) -> Doubles:
    """Return (frames, 2, 61) pose, shape and place of both hands in each of the index's frames; NaN without a fit."""
    columns = index.columns
    frames, first = np.unique(columns["frame"], return_index=True)
    keys = {
        f"{columns['capture'][row]}/{columns['frame_idx'][row]}": int(frame)
        for frame, row in zip(frames, first, strict=True)
        if frame >= 0
    }
    fits = np.full((len(columns["world"]), 2, 61), np.nan)
    with JsonStream(layout.mano) as stream:
        for capture in stream.members():
            for frame in stream.members():
                hands, row = stream.value(), keys.get(f"{capture}/{frame}")
                if row is None or not isinstance(hands, dict):
                    continue
                for column, side in enumerate(SIDES):
                    fit = fit_of(hands.get(side))
                    if fit is not None:
                        fits[row, column] = fit
        stream.end()
    return fits


@dataclass(frozen=True)
class _Piece:
    """Some time steps' pictures."""

    rows: Rows
    frames: Rows
    """Of the rows."""
    fits: dict[int, Doubles]
    """(2, 61) by frame."""


def _pieces(index: Index, rows: Rows, fits: Doubles) -> Iterator[_Piece]:
    frames = index.columns["frame"][rows]
    order = np.argsort(frames, kind="stable")
    rows, frames = rows[order], frames[order]
    named, starts = np.unique(frames, return_index=True)
    for first in range(0, len(named), _FRAMES):
        some = named[first : first + _FRAMES].tolist()
        end = starts[first + _FRAMES] if first + _FRAMES < len(named) else len(rows)
        here = slice(int(starts[first]), int(end))
        yield _Piece(rows[here], frames[here], {frame: fits[frame] for frame in some})


def _drawn(
    layout: Layout, models: dict[Side, ManoModel], pieces: Iterator[_Piece], processes: int
) -> Iterator[tuple[int, int]]:
    """Yield for each piece its pictures, and how many masks were written."""
    if processes <= 1:
        _start(layout, models)
        yield from map(_draw, pieces)
        return
    with multiprocessing.get_context("spawn").Pool(processes, _start, (layout, models)) as pool:
        yield from pool.imap_unordered(_draw, pieces)


_shared: dict[str, Any] = {}
"""What each drawing process has once."""


def _start(layout: Layout, models: dict[Side, ManoModel]) -> None:
    _shared.update(layout=layout, index=open_index(layout), renderer=PartsRenderer(models))


def _draw(piece: _Piece) -> tuple[int, int]:
    layout, index, renderer = _shared["layout"], _shared["index"], _shared["renderer"]
    columns, meshes, written = index.columns, {}, 0
    for row, frame in zip(piece.rows, piece.frames, strict=True):
        path = parts_path(layout.root, layout.split, index.file_name(row))
        if path.exists():
            continue
        if frame not in meshes:
            meshes = {frame: _meshes(renderer.models, piece.fits[int(frame)])}
        camera = columns["camera"][row]
        seen = {
            side: geometry.camera_from_world(mesh, columns["camrot"][camera], columns["campos"][camera])
            for side, mesh in meshes[frame].items()
        }
        width, height = columns["size"][row].tolist()
        parts = renderer(seen, columns["focal"][camera], columns["princpt"][camera], size=(width, height))
        _write(path, cv2.imencode(".png", parts)[1].tobytes())
        written += 1
    return len(piece.rows), written


def _meshes(models: dict[Side, ManoModel], fits: Doubles) -> dict[Side, Doubles]:
    """Return the vertices, in mm of the world, of each hand that has a fit."""
    return {
        side: models[side].vertices(fit[:48], fit[48:58], fit[58:])
        for side, fit in zip(SIDES, fits, strict=True)
        if np.isfinite(fit).all()
    }


def _settle_note(layout: Layout, mano: str) -> None:
    """Make sure that the masks that are there were made of the same, and note what those to come are made of."""
    folder = layout.root / "parts" / layout.split
    note = folder.with_name(f"{layout.split}.made.json")
    source, size = layout.mano.parent.name, layout.mano.stat().st_size  # in the older layout, each subset has its fits
    known: Any = {"version": VERSION, "mano": mano, "fits": {}}
    if note.exists():
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
            same = (known["version"], known["mano"]) == (VERSION, mano) and known["fits"].get(source, size) == size
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
        if error.errno in _FULL:
            raise DataError(f"the disk is full: {path} could not be written; make room, and run it again") from error
        raise DataError(f"{path} cannot be written ({error.strerror or error})") from error
