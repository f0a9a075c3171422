"""Arrays that count what is done with them, and the functions that a call calls and the memory that it holds."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest

from adntn_ref.backends import pool, threads
from adntn_ref.backends.numpy_backend import NumpyBackend


class Counting(np.ndarray):
    """An array that counts: 2 a term of a product's sum, 1 an entry of any other function, or that goes into a sum."""

    operations = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(x) for x in inputs]
        kwargs["out"] = tuple(np.asarray(x) for x in kwargs["out"]) if "out" in kwargs else None
        out = getattr(ufunc, method)(*plain, **kwargs)
        each = 2 * plain[0].shape[-1] if ufunc is np.matmul else 1
        Counting.operations += np.size(plain[0]) if method == "reduce" else each * np.size(out)
        return np.asarray(out).view(Counting)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        out = super().__array_function__(func, types, args, kwargs)
        return out.view(Counting) if isinstance(out, np.ndarray) else out


def counting(shape: tuple[int, ...], seed: int = 0) -> Counting:
    """Return normal numbers that count."""
    return np.random.default_rng(seed).standard_normal(shape).view(Counting)


def count(run: Callable[[], Any]) -> tuple[int, Any]:
    """Return the operations of a call, and its value; copies go on counting, where NumPy would return plain arrays."""
    copy, scatter = np.ascontiguousarray, NumpyBackend.scatter_add
    Counting.operations = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "ascontiguousarray", lambda x: copy(x).view(type(x)))
        patch.setattr(NumpyBackend, "scatter_add", lambda self, x, *where: scatter(self, x, *where).view(type(x)))
        value = run()
    return Counting.operations, value


def held(run: Callable[[], Any], anew: bool = False) -> int:
    """Return the bytes that a call holds at its worst moment, besides what was there before.

    With ``anew`` the arrays and the scratch memory that are kept for the next run are let go first, and so counted.
    """
    run()
    if anew:
        threads.release()
        pool.release()
    tracemalloc.start()
    run()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@contextmanager
def little(calls: int = 200_000, kibibytes: int = 2048) -> Iterator[None]:
    """Fail as soon as more functions are called inside, or at the end where more memory was held.

    What is refused or described at once does little; a clock would also count what else the machine does.
    """
    counted = 0

    def counter(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")
        if counted > calls:
            sys.setprofile(None)
            pytest.fail(f"more than {calls} functions were called", pytrace=False)

    tracemalloc.start()
    sys.setprofile(counter)
    try:
        yield
    finally:
        sys.setprofile(None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= 1024 * kibibytes, f"{peak} bytes were held"
