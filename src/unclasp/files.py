"""Files are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from unclasp.errors import UnclaspError

_LONGEST_STEM: Final = 200
"""Bytes; file systems take names of 255, and a temporary one adds some to that of its file."""


def temporary_beside(path: Path) -> Path:
    """Return where to write what shall take the place of `path` in the end: hidden, with the same suffix.

    Each call has another answer: threads, and processes of several machines, may write to one place.
    """
    stem = os.fsencode(path.stem)[:_LONGEST_STEM].decode(errors="ignore")
    return path.with_name(f".{stem}.{secrets.token_hex(6)}.partial{path.suffix}")


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` if the block succeeds, and is removed if it does not.

    The temporary file keeps the suffix, for writers that choose the format by it. Missing parent folders are made. Of a
    symbolic link, the file that it points to is replaced.

    Raises:
        UnclaspError: It is a device, a pipe or a folder, which a file must not replace.
        OSError: It cannot be written; the error names `path`, not the temporary file.
    """
    target = replaceable(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    try:
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None or str(error.filename or temporary) != str(temporary):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def check_writable(path: Path | str) -> None:
    """Check that a file can be written, before the work that it is for is done; missing parent folders are made.

    Raises:
        UnclaspError: It is a folder, a device or a pipe, or cannot be written.
    """
    target = temporary = Path(path)
    try:
        target = replaceable(path)
        temporary = temporary_beside(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        in_the_way = error.filename if error.filename not in (None, str(temporary)) else target
        raise UnclaspError(f"{in_the_way}: cannot be written ({reason}); choose another place") from None


def replaceable(path: Path | str) -> Path:
    """Return the file that writing to a path replaces: for a symbolic link, the one that it points to.

    Raises:
        UnclaspError: The path is something other than a file.
    """
    target = Path(path)
    if target.is_dir():
        raise UnclaspError(f"{target}: is a folder; give the name of a file in it")
    if target.exists() and not target.is_file():
        raise UnclaspError(f"{target}: is a device or a pipe, which a file would replace; give the name of a file")
    resolved = Path(os.path.realpath(target)) if target.is_symlink() else target
    if resolved.is_symlink():
        raise UnclaspError(f"{target}: is a link to itself; remove it, or give another name")
    return resolved


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text whole."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write bytes whole."""
    with whole(path) as temporary:
        temporary.write_bytes(data)
