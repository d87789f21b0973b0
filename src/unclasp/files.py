"""Files are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` when the block ends well, and vanishes when it does not.

    The temporary file keeps the suffix, for writers that choose the format by it. Missing parent folders are made.

    Raises:
        OSError: It cannot be written; the error names `path`, not the temporary file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
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
