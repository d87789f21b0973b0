"""Files are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LONGEST_STEM: Final = 200
"""Bytes; file systems take names of 255, and a temporary one adds some to that of its file."""


def temporary_beside(path: Path) -> Path:
    """Return where to write what shall take the place of `path` in the end: hidden, with the same suffix."""
    stem = os.fsencode(path.stem)[:_LONGEST_STEM].decode(errors="ignore")
    return path.with_name(f".{stem}.{os.getpid()}.partial{path.suffix}")


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` when the block ends well, and vanishes when it does not.

    The temporary file keeps the suffix, for writers that choose the format by it. Missing parent folders are made.

    Raises:
        OSError: It cannot be written; the error names `path`, not the temporary file.
    """
    target = Path(path)
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


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text whole."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write bytes whole."""
    with whole(path) as temporary:
        temporary.write_bytes(data)
