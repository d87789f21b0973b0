"""Writes files atomically: completely or not at all."""

import hashlib
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from unclasp.errors import UnclaspError, VideoError, is_address

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

_MAX_STEM_BYTES: Final = 200
"""Bytes; file names may have 255, and a temporary name is longer than that of its file."""


def temporary_beside(path: Path) -> Path:
    """Return a hidden temporary path beside `path`, with the same suffix, whose file is to replace it.

    Each call returns a different path, because several threads or machines may write to the same place.
    """
    stem = os.fsencode(path.stem)[:_MAX_STEM_BYTES].decode(sys.getfilesystemencoding(), errors="ignore")
    return path.with_name(f".{stem}.{secrets.token_hex(6)}.partial{path.suffix}")


def begin(temporary: Path, path: Path) -> None:
    """Make the empty temporary file of a recording, which is to replace `path`, and missing parent folders.

    Raises:
        VideoError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise VideoError(str(_unwritable(error, path, temporary))) from None


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path, whose file replaces `path` if the block succeeds and is removed otherwise.

    The temporary file has the same suffix, for writers that derive the format from it. Missing parent folders are made.
    If `path` is a symbolic link, the file that it points to is replaced.

    Raises:
        UnclaspError: `path` is a device, a pipe or a folder, which must not be replaced, or not local (`check_local`).
        OSError: The file cannot be written; the error names `path`, not the temporary file.
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
    """Check that a file can be written, before its content is computed; missing parent folders are created.

    Raises:
        UnclaspError: `path` is a folder, a device or a pipe, not local (`check_local`), or cannot be written.
    """
    target = temporary = Path(path)
    try:
        target = replaceable(path)
        temporary = temporary_beside(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise _unwritable(error, target, temporary) from None


def _unwritable(error: OSError, target: Path, temporary: Path | None = None) -> UnclaspError:
    """Return the error that says that and why a file could not be written, and names no temporary one."""
    reason = error.strerror or type(error).__name__
    obstacle = Path(target if error.filename in (None, str(temporary)) else error.filename)
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "it is a file, not a folder"
        obstacle = next((path for path in (obstacle, *obstacle.parents) if path.is_file()), obstacle)
    return UnclaspError(f"{obstacle}: cannot be written ({reason}); choose another place")


def write_together(contents: Mapping[Path | str, bytes]) -> None:
    """Write files of one result, each whole or not at all.

    The last one is away while the others are replaced, so that it implies that they belong to it. If there is no space
    for all, none is replaced.

    Raises:
        OSError: A file cannot be written.
    """
    *_, last = contents
    with ExitStack() as stack:
        for path, data in reversed(list(contents.items())):  # they are placed in the opposite order
            stack.enter_context(whole(path)).write_bytes(data)
        replaceable(last).unlink(missing_ok=True)


@contextmanager
def only_one(folder: Path, stems: Sequence[str]) -> Iterator[None]:
    """Make a folder, and hold it against other processes that want it by this function.

    Without locks, as on Windows and some network drives, nothing is held or removed.

    Args:
        folder: The folder.
        stems: Patterns of the names, without suffix, of files that only holders of the folder write. Those that a
            killed process has left half-written there are removed.

    Raises:
        UnclaspError: Another process holds the folder, or its path is not local (`check_local`).
    """
    check_local(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    held, process = os.open(folder, os.O_RDONLY), os.getpid()
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another process is writing to {folder}: choose another --out, or wait for it"
            raise UnclaspError(message) from None
        except OSError:  # this file system has no locks
            stems = ()
        for stem in stems:
            for left in folder.glob(f".{stem}.{'[0-9a-f]' * 12}.partial*"):
                left.unlink(missing_ok=True)
        yield
    finally:
        if os.getpid() == process:  # a fork must not give up its parent's lock, nor keep it
            with suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_UN)
        os.close(held)


@contextmanager
def locked_beside(path: Path) -> Iterator[bool]:
    """Hold a lock beside a file that is to be written; yield whether another process had to be waited for."""
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
        except OSError:  # this file system has no locks: each process writes the file, and the last one's wins
            pass
        try:
            yield waited
        finally:
            # A process that waits on the removed lock finds the finished file.
            lock.unlink(missing_ok=True)


def check_local(path: Path | str) -> None:
    """Check that the path of an output neither begins with ~ nor is an address: folders of such names would be made.

    Raises:
        UnclaspError: It does, or is.
    """
    if is_address(path):
        raise UnclaspError(
            f"{path}: results are not sent to addresses; give a path on this machine, an absolute one if a folder is "
            "really called like that"
        )
    if Path(path).parts[:1] == ("~",):
        raise UnclaspError(
            f"{path}: ~ is not expanded here; in Python use Path({str(path)!r}).expanduser(), in a shell leave a space "
            "before it, as in --out ~/poses, and for a folder that is really called ~ give the absolute path"
        )


def replaceable(path: Path | str) -> Path:
    """Return the file that writing to a path replaces: for a symbolic link, the one that it points to.

    Raises:
        UnclaspError: The path is something other than a file, or not local (`check_local`).
    """
    check_local(path)
    target = Path(path)
    if target.is_dir():
        raise UnclaspError(f"{target}: is a folder; give the name of a file in it")
    if target.exists() and not target.is_file():
        raise UnclaspError(f"{target}: is a device or a pipe, which a file would replace; give the name of a file")
    resolved = Path(os.path.realpath(target)) if target.is_symlink() else target
    if resolved.is_symlink():
        raise UnclaspError(f"{target}: is a link to itself; remove it, or give another name")
    return resolved


def digest(*paths: Path) -> str:
    """Return a SHA-256 hash of the content of some files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def write_text(path: Path | str, text: str) -> None:
    """Write text as UTF-8, atomically."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_text(path: Path | str, text: str) -> None:
    """Write text as UTF-8, atomically, to a path of the caller's own.

    Raises:
        UnclaspError: The file cannot be written.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise _unwritable(error, Path(path)) from error


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write bytes atomically."""
    with whole(path) as temporary:
        temporary.write_bytes(data)
