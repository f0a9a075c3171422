"""What the machine can do, measured in the same run: products of large matrices, and copies."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .timing import Rounds, alternate

SIDE = 2048
"""Rows and columns of the product whose rate is the limit."""


def gemm(dtype: str, side: int = SIDE) -> tuple[Callable[[], Any], float]:
    """Return a function that multiplies two square matrices into a third, and how many operations that is."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((side, side), dtype=np.float32).astype(dtype) for _ in range(2))
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out), 2.0 * side**3


def copy_rates(entries: tuple[int, ...], dtype: str, plan: Rounds) -> dict[int, float]:
    """Return the bytes a second (read and written) of a copy on one core, for arrays of these sizes."""
    runs: dict[str, Callable[[], Any]] = {}
    for count in entries:
        source, target = np.ones(count, dtype), np.zeros(count, dtype)
        runs[str(count)] = lambda source=source, target=target: np.copyto(target, source)  # type: ignore[misc]
    seconds = alternate(runs, plan, time.perf_counter).medians
    return {count: 2 * count * np.dtype(dtype).itemsize / seconds[str(count)] for count in entries}
