"""Claimed derivatives along many directions against numerical ones: the part that all checks share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .containers import Array
from .differentiator import Differentiator
from .judging import SAFETY, GradientMismatch, Report, Tolerance, mismatch
from .numerical import step_along
from .stencils import Slope

SMALL_ROW = 1e-4
"""Rows of a Jacobian smaller than this, relative to the largest, are allowed the rounding of one of this size."""


@dataclass(frozen=True, eq=False)
class Column:
    """A claimed J(x) u: one direction, one number for each entry of the (flat) function."""

    u: Array
    got: Array
    where: Callable[[int], str]
    """From the number of a row to the words that say which derivative this is."""
    weights: Array | None = None
    """Rows to add up with these weights (a cotangent), so that ``got`` is one number; None to compare every row."""
    scale: float | None = None
    """What the error is relative to; None for the largest of the row over all columns."""


@dataclass(frozen=True)
class _Judged:
    """A column with its numerical derivative, row by row."""

    got: Array
    expected: Array
    allowed: Array
    error: Array
    untrusted: Array
    kink: Array
    method: str

    @property
    def suspicion(self) -> Array:
        """By how much each is wrong; 0 where it is not, infinite for NaN."""
        with np.errstate(invalid="ignore"):
            off = np.abs(self.got - self.expected)
        return np.where(self.wrong, np.where(np.isnan(off), np.inf, off), 0.0)

    @property
    def wrong(self) -> Array:
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(self.got - self.expected) <= self.allowed) & ~self.kink
        return np.asarray(off | ~np.isfinite(self.got))


@dataclass
class Comparison:
    """Compares columns of one input with its numerical derivative.

    Every column is first taken at the usual step. Where that disagrees, or shows that it cannot be trusted, the
    derivative is found again with all care; what then differs is a mismatch, and what stands at a kink is left out.
    """

    by: Differentiator
    tolerance: Tolerance

    def run(self, columns: Sequence[Column]) -> Report:
        """Return what was compared; raise GradientMismatch at the worst disagreement."""
        report = Report()
        slopes = [self.by.slope(column.u) for column in columns]
        rough = np.median([s.fourth for s in slopes], axis=0) / 6 if slopes else np.zeros(self.by.here.shape)
        scale = self._scale(
            [s.value for c, s in zip(columns, slopes, strict=True) if c.weights is None and c.scale is None]
        )
        judged = [self._judge(c, s, scale, rough) for c, s in zip(columns, slopes, strict=True)]
        order = list(range(len(columns)))
        if any(column.scale is None for column in columns):  # the worst entry first; random directions as they come
            order.sort(key=lambda i: -float(judged[i].suspicion.max(initial=0.0)))
        suspects = sum(int(np.count_nonzero(one.wrong)) for one in judged)
        for i in order:
            one = judged[i]
            if (one.wrong | one.untrusted).any():
                one = self._again(columns[i], scale)
                self._raise_if_wrong(columns[i], one, suspects)
            for row in range(one.got.size):
                where = columns[i].where(row)
                if one.kink[row]:
                    report.left_out.append(where)
                else:
                    report.add(where, float(abs(one.got[row] - one.expected[row])), float(one.allowed[row]))
        return report

    def _scale(self, values: Sequence[Array]) -> Array:
        if not values:
            return np.zeros(self.by.here.shape)
        rows = np.abs(np.array(values)).max(axis=0)
        return np.asarray(np.maximum(rows, SMALL_ROW * rows.max(initial=0.0)))

    def _judge(self, column: Column, slope: Slope, scale: Array, rough: Array) -> _Judged:
        value, noise, kink = slope.value, slope.noise, slope.kink
        floor = np.abs(self.by.here) * SAFETY * float(np.finfo(self.tolerance.dtype).eps)  # terms may cancel
        error = slope.error
        if slope.method != "complex step":
            noise = noise + rough / step_along(self.by.x, column.u)
            error = error + rough / step_along(self.by.x, column.u)
        if column.weights is not None:
            w = column.weights
            value, error, noise, floor = w @ value, np.abs(w) @ error, np.abs(w) @ noise, np.abs(w) @ floor
            kink = (kink & (w != 0)).any()
        value, error, noise, kink, floor = (np.atleast_1d(a) for a in (value, error, noise, kink, floor))
        size = np.maximum(
            scale if column.scale is None else column.scale, np.abs(value) if column.scale is not None else 0
        )
        floor = floor if self.tolerance.rtol is None else 0 * floor
        cap = np.broadcast_to(self.tolerance.cap(size, slope.method), value.shape)
        allowed = np.broadcast_to(self.tolerance.allowed(size, error, slope.method), value.shape) + floor
        return _Judged(column.got, value, allowed, error, error - noise > cap + floor, kink, slope.method)

    def _again(self, column: Column, scale: Array) -> _Judged:
        size = scale if column.scale is None else np.broadcast_to(column.scale, self.by.here.shape)
        if column.weights is not None:
            size = size / max(float(np.linalg.norm(column.weights)), 1e-300)
        cap = np.asarray(self.tolerance.cap(size, self.by.method))
        loose = np.asarray(self.tolerance.cap(size, "central differences"))
        return self._judge(column, self.by.closer(column.u, cap, loose), scale, np.zeros(self.by.here.shape))

    @staticmethod
    def _raise_if_wrong(column: Column, one: _Judged, suspects: int) -> None:
        if not one.wrong.any():
            return
        row = int(np.argmax(np.where(one.wrong, one.suspicion, -1.0)))
        got, expected, allowed, error = (float(a[row]) for a in (one.got, one.expected, one.allowed, one.error))
        error_of_ours = mismatch(column.where(row), got, expected, one.method, allowed, error)
        others = f"; {suspects - 1} more differ by more than is allowed" if suspects > 1 else ""
        raise GradientMismatch(f"{error_of_ours}{others}")
