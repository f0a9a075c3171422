"""What every harness shares: the promise that is checked, and a file in memory to read from."""

import functools
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adntn_ref.errors import AdntnError
from fuzz.mutate import Mutate, of_bytes

SECONDS = 1.0
"""CPU time that any input may take."""
BASE_BYTES = 4 * 2**20
"""What a reader may hold whatever it reads: modules, tables, a buffer of 1 MiB."""
TIMES = 4
"""Beyond that, at most so many times what the input holds (unpacked, where it is packed)."""
LONGEST_MESSAGE = 4000


class Finding(Exception):
    """A promise that was broken without an exception: time, memory, or a message."""


@dataclass(frozen=True)
class Target:
    """A reader under test.

    ``one(data)`` reads some bytes; what it refuses it refuses by an AdntnError. ``seeds()`` are valid inputs,
    ``unpacked`` is how many bytes one byte of input may stand for, ``words`` go into the fuzzer's
    dictionary, ``mutate`` makes changes that keep the input's form, and ``covered`` are the modules whose coverage
    guides the fuzzer: to instrument more takes time at every start.
    """

    name: str
    one: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    unpacked: int = 1
    longest: int = 4096
    words: tuple[str, ...] = ()
    mutate: Mutate = of_bytes
    covered: tuple[str, ...] = ("adntn_ref",)


@dataclass(frozen=True)
class Outcome:
    """Whether an input was accepted, the CPU seconds it took, and the most bytes held (0 where not measured)."""

    accepted: bool
    seconds: float
    peak: int


def check(target: Target, data: bytes, memory: bool = True) -> Outcome:
    """Give an input to a target.

    Raises
    ------
    Finding
        For too much time or memory (measured with ``memory`` alone), a MemoryError under a refusal, a message without
        end or with what a terminal would obey.
    Exception
        Whatever the reader raised that is no error of ours.
    """
    if not memory:
        started = time.process_time()
        accepted = _taken(target, data)
        return _in_time(Outcome(accepted, time.process_time() - started, 0), data)
    tracemalloc.start()
    started = time.process_time()
    try:
        accepted = _taken(target, data)
    finally:
        seconds = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    allowed = BASE_BYTES + TIMES * target.unpacked * len(data)
    if peak > allowed:
        raise Finding(f"{peak:,} bytes held for an input of {len(data):,}, allowed are {allowed:,}")
    return _in_time(Outcome(accepted, seconds, peak), data)


def _in_time(outcome: Outcome, data: bytes) -> Outcome:
    if outcome.seconds > SECONDS:
        raise Finding(f"{outcome.seconds:.1f} s for an input of {len(data):,} bytes")
    return outcome


def _taken(target: Target, data: bytes) -> bool:
    try:
        target.one(data)
    except AdntnError as error:
        text = str(error)
        if len(text) > LONGEST_MESSAGE:
            raise Finding(f"a message of {len(text):,} characters") from error
        if not text.replace("\n", "").isprintable():
            raise Finding("a message with control characters of the input in it") from error
        if any(isinstance(cause, MemoryError) and not isinstance(cause, AdntnError) for cause in _causes(error)):
            raise Finding("memory was asked for that is not there before the input was refused") from error
        return False
    return True


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@functools.cache
def folder() -> Path:
    """Return a folder of this process, in memory where the system has such."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="adntn-fuzz-", dir=shared if shared.is_dir() else None))


def file_of(data: bytes, name: str) -> Path:
    """Return the path of a file with these bytes, which the next call may overwrite."""
    path = folder() / name
    path.write_bytes(data)
    return path


def parts_of(data: bytes, count: int) -> list[bytes]:
    """Cut an input at its first zero bytes into so many parts, for readers of several files."""
    found = data.split(b"\0", count - 1)
    return found + [b""] * (count - len(found))
