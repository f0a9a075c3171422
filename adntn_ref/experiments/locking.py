"""A lock on a folder: held by one process, let go of by the system when that process ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from adntn_ref.compression.atomic import writing
from adntn_ref.errors import OutputError, RecordError

LOCK = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make ``folder`` if it is not there, hold its lock, and clear away what a killed process left half-written.

    Raises
    ------
    RecordError
        If another process holds the lock.
    OutputError
        If the folder cannot be made or written to.
    """
    try:
        fcntl: Any = import_module("fcntl")  # of Python itself, on every system but Windows
    except ImportError as error:
        raise OutputError(f"{folder} cannot be locked: this system has no flock, which records need") from error
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RecordError(f"{folder} is in use by another process; wait for it or choose another folder") from error
        for left in folder.rglob(".*.part"):
            left.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)
