"""A pool of large arrays: memory that was let go is handed out again instead of being asked of the system anew.

A fresh array of some megabytes costs a page fault for every 4 KiB when it is first written, which for the states of a
network takes as long as the arithmetic. An array from the pool holds a lease on its memory; when the array and every
view of it are gone, the lease gives the memory back.
"""

import os
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 2**17
"""Smaller arrays are left to the allocator, which keeps them at hand itself."""
MOST_BYTES = 2**29
"""Bytes that the pool holds on to at most; what was let go longest ago is dropped first."""

_free: OrderedDict[int, list[NDArray[Any]]] = OrderedDict()
_lock = threading.RLock()  # reentrant: the collector may end a lease while this very thread is in here


def _new_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_new_lock)  # another thread of the parent may have held it


class _Lease:
    """The right to some memory, as NumPy's array interface; the end of it gives the memory back."""

    __slots__ = ("memory",)

    def __init__(self, memory: NDArray[Any]) -> None:
        self.memory = memory

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.memory.__array_interface__

    def __del__(self) -> None:
        _give_back(self.memory)


def empty(entries: int, dtype: Any) -> NDArray[Any]:
    """Return an array of shape (entries,) whose values are anything.

    Examples
    --------
    >>> empty(2**20, "float32").shape
    (1048576,)
    """
    size = entries * np.dtype(dtype).itemsize
    if size < LEAST_BYTES:
        return np.empty(entries, dtype)
    with _lock:
        kept = _free.get(size)
        memory = kept.pop() if kept else None
    if memory is None:
        try:
            memory = np.empty(size, np.uint8)
        except MemoryError:  # what the pool holds may be what is missing
            release()
            memory = np.empty(size, np.uint8)
    return np.asarray(_Lease(memory)).view(dtype)


def held() -> int:
    """Return the bytes that the pool holds for the next array."""
    with _lock:
        return sum(size * len(kept) for size, kept in _free.items())


def release() -> None:
    """Let go of all memory that no array uses."""
    with _lock:
        _free.clear()


def _give_back(memory: NDArray[Any]) -> None:
    size = memory.nbytes
    with _lock:
        _free.setdefault(size, []).append(memory)
        _free.move_to_end(size)
        while _free and held() > MOST_BYTES:
            oldest, kept = next(iter(_free.items()))
            if kept:
                kept.pop()
            if not kept:
                _free.pop(oldest)
