"""Threads over the chunks of an array, and memory that each of them uses again.

NumPy releases the interpreter's lock in its loops and products, so chunks run at the same time. As many threads are
used as BLAS would take: what ``OPENBLAS_NUM_THREADS``, ``MKL_NUM_THREADS`` or ``OMP_NUM_THREADS`` say, at most the
cores this process may run on; ``ADNTN_REF_THREADS`` overrides them.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adntn_ref.program.workers import threads_for

LARGEST_SCRATCH = 2**19
"""Entries of the largest scratch array that a thread keeps; larger ones are made anew."""

T = TypeVar("T")
R = TypeVar("R")
_mine = threading.local()
_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pools.clear)  # a fork takes no threads along


def spread(task: Callable[[T], R], chunks: Sequence[T], entries: int) -> list[R]:
    """Return ``[task(chunk) for chunk in chunks]``, on several threads where the array has many entries."""
    threads = threads_for(entries, len(chunks))
    if threads < 2:
        return [task(chunk) for chunk in chunks]
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="adntn_ref")
    return list(_pools[threads].map(task, chunks))


def scratch(slot: int, entries: int, dtype: Any) -> NDArray[Any]:
    """Return memory for ``entries`` numbers that this thread alone uses; the same slot gives the same memory again."""
    if entries > LARGEST_SCRATCH:
        return np.empty(entries, dtype)
    kept: dict[tuple[int, Any], NDArray[Any]] = _mine.__dict__.setdefault("kept", {})
    key = (slot, np.dtype(dtype))
    if key not in kept or kept[key].size < entries:
        kept[key] = np.empty(entries, dtype)
    return kept[key][:entries]


def release() -> None:
    """Let go of this thread's scratch memory."""
    _mine.__dict__.pop("kept", None)
