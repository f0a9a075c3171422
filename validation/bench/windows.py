"""Why the walls reach no more of the limit: the rate of each kind of window's products, beside a large product's.

A window is a small matrix on a chunk of the state. Its products are short in one direction, so that they are bound by
loading and storing as much as by arithmetic.
"""

from collections.abc import Callable
from importlib import import_module
from itertools import cycle
from statistics import median
from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref.program.plan import Phase, Placed, plan_of

from . import limits
from .plan import Plan
from .table import Row, Table
from .timing import alternate

ARRAYS = 8
"""Chunks that are used in turn, as the states between windows are."""


def windows(plan: Plan) -> Table:
    """Time the products of one layer's windows on one chunk, on one thread."""
    plan.say("products of windows")
    entries = 2**12 if plan.quick else 2**20
    title = (
        f"Products of a layer's windows on one chunk, 2^{entries.bit_length() - 1} entries, {plan.dtype}, one thread"
    )
    table = Table("windows", title, "Gflop/s", "window")
    runs: dict[str, Callable[[], Any]] = {}
    product, large = limits.gemm(plan.dtype, 256)  # small enough that BLAS leaves it to one thread, or nearly
    flops = {"large product": large}
    runs["large product"] = product
    rows: dict[str, Row] = {}
    for phase, window in _kinds(entries):
        size = phase.chunk[0] * phase.middle * phase.chunk[1]
        label = f"side {window.side}, {window.after * phase.chunk[1]} columns"
        apply, environment = _products(phase, window, plan.dtype)
        runs |= {f"{label}: apply": apply, f"{label}: environment": environment}
        flops |= dict.fromkeys((f"{label}: apply", f"{label}: environment"), 2.0 * window.side * size)
        rows[label] = Row(label, {"side": window.side, "entries": size, "dtype": plan.dtype})
    for run in runs.values():
        run()
    timed = alternate(runs, plan.timing(30.0))
    for label, row in rows.items():
        for what in ("apply", "environment"):
            name = f"{label}: {what}"
            row.samples[what] = [flops[name] / s / 1e9 for s in timed.samples.get(name, ())]
        row.samples["product of 256 x 256"] = [large / s / 1e9 for s in timed.samples["large product"]]
        row.values = {what: median(found) for what, found in row.samples.items() if found}
        table.rows.append(row)
    table.notes.append("a window of side 8 holds two bricks: no operation more than theirs; larger ones do up to twice")
    return table


def _kinds(entries: int) -> list[tuple[Phase, Placed]]:
    """Return one window of each shape in the second layer of a brick-wall."""
    program: Any = ar.BrickWall((entries,), layers=2).program
    made = plan_of(program)
    if made is None:
        return []
    found: dict[tuple[int, int], tuple[Phase, Placed]] = {}
    for phase in made.stages[-1].phases:
        for window in phase.windows:
            found.setdefault((window.side, window.after * phase.chunk[1]), (phase, window))
    return list(found.values())


def _products(phase: Phase, window: Placed, dtype: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return functions that apply a window to a chunk, and that take its environment."""
    numpy_windows: Any = import_module("adntn_ref.backends.numpy_windows")
    rows, columns = phase.chunk
    rng = np.random.default_rng(0)
    matrix = np.linalg.qr(rng.standard_normal((window.side, window.side)))[0].astype(dtype)[None]
    shape = (1, rows, phase.middle, columns)
    chunks = [rng.standard_normal(shape).astype(dtype) for _ in range(ARRAYS)]
    turn = cycle(range(ARRAYS))

    def apply() -> Any:
        k = next(turn)
        return numpy_windows.apply(matrix, window, chunks[k], chunks[(k + 1) % ARRAYS])

    def environment() -> Any:
        k = next(turn)
        return numpy_windows.environment(window, chunks[k], chunks[(k + 1) % ARRAYS])

    return apply, environment
