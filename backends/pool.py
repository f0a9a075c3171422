"""A pool of large arrays: memory that was let go is handed out again instead of being asked of the system anew.

A fresh array of some megabytes costs a page fault for every 4 KiB when it is first written, which for the states of a
network takes as long as the arithmetic. An array from the pool holds a lease on its memory; when the array and every
view of it are gone, the lease gives the memory back.
"""

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 2**17
"""Smaller arrays are left to the allocator, which keeps them at hand itself."""
MOST_BYTES = 2**29
"""Bytes that the pool holds on to at most; what was let go longest ago is dropped first."""

_free: OrderedDict[int, list[NDArray[Any]]] = OrderedDict()


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
    kept = _free.get(size)
    try:
        memory = kept.pop() if kept else np.empty(size, np.uint8)
    except IndexError:  # another thread took the last
        memory = np.empty(size, np.uint8)
    return np.asarray(_Lease(memory)).view(dtype)


def held() -> int:
    """Return the bytes that the pool holds for the next array."""
    return sum(size * len(kept) for size, kept in list(_free.items()))


def release() -> None:
    """Let go of all memory that no array uses."""
    _free.clear()


def _give_back(memory: NDArray[Any]) -> None:
    size = memory.nbytes
    _free.setdefault(size, []).append(memory)
    _free.move_to_end(size)
    while _free and held() > MOST_BYTES:
        oldest, kept = next(iter(_free.items()))
        if kept:
            kept.pop()
        if not kept:
            _free.pop(oldest, None)
