"""Writing files so that a reader sees the old content or the new one, never half of either."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from adntn_ref.errors import OutputError


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it to ``path``.

    Raises
    ------
    OutputError
        If the folder is missing or the file cannot be written; what was there before is untouched.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        # Opened by name, not by mkstemp, so that the process's umask decides who may read the file, as for any other.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)  # safetensors' writer puts a file of its own there, for its owner alone
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
        raise OutputError(f"{target} cannot be written: no permission in {folder}")
