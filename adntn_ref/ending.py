"""How a command ends when it is told to, or cannot go on: one line on standard error, an exit code, no traceback.

===== ===================================================================================
code  when
===== ===================================================================================
1     work that was begun and failed: a full disk, no memory left, a file that cannot be read
130   interrupted (SIGINT, Ctrl-C)
143   asked to end (SIGTERM, as ``kill`` sends it)
===== ===================================================================================
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """The process was asked to end: whatever cleans up after Ctrl-C does so now too."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, where nobody else has taken the signal; for commands, not libraries."""

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        raise Terminated

    free = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if free:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def ended(command: str, error: BaseException) -> int:
    """Say how a command ended by an exception that is none of ours, and return its exit code.

    Raises
    ------
    BaseException
        The exception itself, if it is a mistake of the program.
    """
    if isinstance(error, Terminated):
        print("terminated", file=sys.stderr)
        return TERMINATED
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        # An interrupt that passed through text that was run (some packages make classes so, as they are imported) has
        # Python die of the signal at its end, whatever the exit code: its note of that is wiped by running another.
        exec("pass")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        leave_stdout()
        return 1
    if isinstance(error, MemoryError):
        said = f": {error}" if str(error) else ""
        print(f"{command}: the memory was full in the middle of the work{said}", file=sys.stderr)
        return 1
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename is not None else ""
        print(f"{command}: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    raise error


def flush_stdout() -> None:
    """Bring what was printed to its reader; where that fails the rest goes nowhere, or Python complains as it ends.

    Raises
    ------
    OSError
        If standard output is full, or its reader has gone.
    """
    try:
        sys.stdout.flush()
    except OSError:
        leave_stdout()
        raise


def leave_stdout() -> None:
    """Send what is still buffered nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
