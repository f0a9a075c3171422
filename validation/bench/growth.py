"""Growth: time against Q and against M, with the fitted exponent."""

from collections.abc import Callable
from dataclasses import replace
from math import log2

import numpy as np

from . import walls
from .candidate import Candidate
from .plan import Plan
from .row import measure
from .table import Row, Table
from .workload import brickwall

NAMES = ("ours", "numpy (L,4,R)", "torch author", "torch rotation", "jax (L,4,R)")


def _candidates() -> tuple[Candidate, ...]:
    return tuple(candidate for candidate in walls.CANDIDATES if candidate.name in NAMES)


def _rows(plan: Plan, sizes: list[tuple[int, int]], label: Callable[[int, int], str]) -> list[Row]:
    """Measure brick-walls of sizes (Q, M), with half the rounds: a trend needs less than a ratio."""
    plan = replace(plan, rounds=max(1, (plan.rounds + 1) // 2))
    rows = []
    for q, layers in sizes:
        plan.say(f"growth, 2^{q} entries, {layers} layers")
        row = Row(label(q, layers), {"q": q, "layers": layers, "dtype": plan.dtype})
        rows.append(measure(row, brickwall(q, layers, plan.dtype), _candidates(), plan.timing(15.0)))
    return rows


def growth_q(plan: Plan) -> Table:
    """Measure time against Q; from the larger sizes on it should double with every index, times Q's own growth."""
    sizes = [6, 8, 10] if plan.quick else [10, 12, 14, 16, 18, 20, 22]
    table = Table("growth-q", f"Growth with Q, {plan.layers} layers, {plan.dtype}, ms (ours / theirs)", "ms", "Q")
    table.rows = _rows(plan, [(q, plan.layers) for q in sizes], lambda q, _: str(q))
    since = 6 if plan.quick else 16
    for name in table.columns:
        points = [(row.facts["q"], row.values[name]) for row in table.rows if name in row.values]
        slope = fitted([(q, log2(ms / (q - 1))) for q, ms in points if q >= since])
        if slope is not None:
            table.rows[-1].numbers[f"exponent {name}"] = slope
            table.notes.append(f"{name}: from Q = {since}, time / (Q - 1) grows by 2^{slope:.2f} an index")
    return table


def growth_m(plan: Plan) -> Table:
    """Measure time against the number of layers M; it should grow in proportion."""
    q = 8 if plan.quick else 16
    layers = [1, 2, 4] if plan.quick else [1, 2, 3, 4, 6, 8]
    table = Table("growth-m", f"Growth with M, 2^{q} entries, {plan.dtype}, ms (ours / theirs)", "ms", "M")
    table.rows = _rows(plan, [(q, m) for m in layers], lambda _, m: str(m))
    for name in table.columns:
        points = [(row.facts["layers"], row.values[name]) for row in table.rows if name in row.values]
        slope = fitted([(log2(m), log2(ms)) for m, ms in points if m >= 2])
        if slope is not None:
            table.rows[-1].numbers[f"exponent {name}"] = slope
            table.notes.append(f"{name}: from M = 2, time grows as M^{slope:.2f}")
    return table


def fitted(points: list[tuple[float, float]]) -> float | None:
    """Return the slope of the straight line through points by least squares; None for fewer than two.

    Examples
    --------
    >>> fitted([(1, 2.0), (2, 4.0), (3, 6.0)])
    2.0
    """
    if len(points) < 2:
        return None
    x, y = np.array(points).T
    return round(float(np.polyfit(x, y, 1)[0]), 6)
