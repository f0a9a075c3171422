"""Writing files so that a reader sees the old content or the new one, never half of either."""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from adntn_ref.errors import OutputError, WriteError

_DURING_WORK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENODEV, errno.ESTALE}
"""Errors that no better choice of the path would have spared: a full disk, a quota, a device that fails."""


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it to ``path``.

    The temporary file is locked meanwhile, so that what a killed process left half-written is known by its lock being
    free, and is cleared away by the next write to the same path.

    Raises
    ------
    OutputError
        If the folder is missing or the file cannot be written; what was there before is untouched. It is
        :class:`~adntn_ref.errors.WriteError` where the disk is full or fails.
    """
    target = Path(path)
    with writing(target):
        _clear_left(target)
        with _temporary(target) as temporary:
            write(temporary)
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.replace(target)
        _sync_folder(target.parent)


@contextlib.contextmanager
def writing(target: Path, what: str = "written") -> Iterator[None]:
    """Turn what the system says about a file into one error of ours.

    Raises
    ------
    OutputError, WriteError
    """
    try:
        yield
    except (OutputError, BrokenPipeError):
        raise
    except OSError as error:
        kind = WriteError if error.errno in _DURING_WORK else OutputError
        raise kind(f"{target} cannot be {what}: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, if need be.

    Raises
    ------
    OutputError, WriteError
    """
    with writing(folder, "made"):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Give a new, empty, locked file beside ``target``, which is gone at the end."""
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        # Opened by name, not by mkstemp, so that the process's umask decides who may read the file, as for any other.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        held = _lock(handle, wait=True)
        if not held:
            os.close(handle)  # Windows renames no file that is open
        try:
            if path.exists():
                yield path
                return
            # Another process took it for one that was left, before the lock was ours: once more.
        finally:
            path.unlink(missing_ok=True)
            if held:
                os.close(handle)


def _clear_left(target: Path) -> None:
    """Remove temporary files of this target that nobody holds: the processes that wrote them were killed."""
    ours = re.compile(re.escape(f".{target.name}.") + r"[0-9a-f]{12}\.part")
    for entry in os.scandir(target.parent):
        if ours.fullmatch(entry.name):
            with contextlib.suppress(OSError):  # gone meanwhile, or of another user: whoever wrote it sees to it
                handle = os.open(entry.path, os.O_RDWR)
                try:
                    if _lock(handle, wait=False):
                        Path(entry.path).unlink()
                finally:
                    os.close(handle)


def _lock(handle: int, wait: bool) -> bool:
    """Lock an open file; False where another process holds it, or where the system has no such locks."""
    try:
        fcntl: Any = import_module("fcntl")
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Bring the rename itself to the disk; where a system has no handle for a folder it is left to the system."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        # Some network file systems refuse it for folders; the file is whole either way.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def require_new(path: str | os.PathLike[str], force: bool) -> None:
    """Refuse an output path that cannot be used, before any work starts.

    Raises
    ------
    OutputError
        If the path exists and ``force`` is not set, is a folder, or its folder is missing or not writable.
    """
    target = Path(path)
    try:
        is_folder, exists = target.is_dir(), target.exists()
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error
    if is_folder:
        raise OutputError(f"{target} is a folder; name a file")
    if exists and not force:
        raise OutputError(f"{target} exists already; choose another path or pass --force")
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"{target} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{target} cannot be written: {_refusal(folder)}")


def _refusal(folder: Path) -> str:
    """Return why nothing can be written into a folder that ``os.access`` says is closed."""
    with contextlib.suppress(OSError, AttributeError):  # no statvfs on Windows
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f"Read-only file system: {folder}"
    return f"no permission in {folder}"
