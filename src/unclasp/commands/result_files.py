"""The files that `unclasp predict` writes: their names, what they may replace, and those of earlier runs."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unclasp.errors import UnclaspError
from unclasp.files import replaceable
from unclasp.marks import is_marked, is_result

if TYPE_CHECKING:
    from unclasp.sources import Source

_MAX_NAME_BYTES: Final = 255
"""Longest name of a file in most file systems."""


def suffixes_of(source: "Source", *, html: bool = False, rerun: bool = False) -> dict[str, str]:
    """Return the suffixes of a source's results by their names in the JSON list; optional ones as the options say."""
    if source.is_video:
        return {"overlay": ".mp4", "json": ".jsonl"} | ({"rerun": ".rrd"} if rerun else {})
    return {"overlay": ".png", "json": ".json"} | ({"html": ".html"} if html else {})


def result_path(stem: Path, suffix: str, protected: set[Path]) -> Path:
    """Return the path of a result; raise an error if it is a source, or exists and is not an earlier result."""
    path = stem.with_name(stem.name + suffix)
    if (length := len(os.fsencode(path.name))) > _MAX_NAME_BYTES:
        raise UnclaspError(
            f"{path.name}: this name of a result has {length} bytes, more than {_MAX_NAME_BYTES}; rename the source"
        )
    target = replaceable(path)
    if target.resolve() in protected:
        raise UnclaspError(f"{path} is one of the sources and is not overwritten; choose another --out")
    if target.exists() and not is_result(target):
        raise UnclaspError(
            f"{path} is not an earlier result and is not overwritten; choose another --out, or remove it"
        )
    return path


def without_results(given: tuple[str, ...], out: Path) -> "list[Source]":
    """Return the sources that were named, without results of earlier runs."""
    from unclasp.sources import find_sources

    found = find_sources(given)
    sources = [source for source in found if not _is_earlier_result(source, out)]
    if not sources:
        raise UnclaspError(
            f"expected pictures or videos, got only earlier results, such as those in {out}; name others"
        )
    if len(found) > len(sources):
        print(f"skipped {len(found) - len(sources)} earlier results among the sources", file=sys.stderr)
    return sources


def _is_earlier_result(source: "Source", out: Path) -> bool:
    """Return whether a folder search or a glob found a result of an earlier run.

    These are all files in the output folder, if it is inside the searched folder, and all files that are marked as
    results. A file that is given by name never counts as one.
    """
    if source.path is None or source.path == Path(source.given):
        return False
    out = out.resolve()
    inside = out in source.path.resolve().parents and Path(source.given).resolve() in out.parents
    return inside or is_marked(source.path)


def without_done(sources: "list[Source]", stems: "dict[Source, str]", out: Path) -> "list[Source]":
    """Return the sources that lack an overlay or a JSON file, which is a result's last. Cameras never have them."""
    remaining = []
    for source in sources:
        suffixes = suffixes_of(source).values()
        results = [out / (stems[source] + suffix) for suffix in suffixes] if source in stems else []
        if source.path is None or not results or not all(each.is_file() and is_result(each) for each in results):
            remaining.append(source)
    if len(remaining) < len(sources):
        skipped = len(sources) - len(remaining)
        print(f"skipped {skipped} of {len(sources)} sources, with results in {out}", file=sys.stderr)
    return remaining
