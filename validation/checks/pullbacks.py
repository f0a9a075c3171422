"""Checks of a claimed pullback v -> J^H v (a VJP) against the numerical Jacobian, and against a claimed u -> J u."""

from typing import Any

import numpy as np

from .comparing import Column, Comparison
from .containers import (
    Array,
    Function,
    Inputs,
    alone,
    mapped,
    named,
    normal,
    real_inner,
    units,
    units_at,
    widened,
    with_part,
)
from .differentiator import Differentiator
from .frameworks import adopt, arguments
from .judging import (
    FULL_LIMIT,
    NEAR_KINKS,
    ROUNDING,
    SAMPLES,
    GradientMismatch,
    Report,
    Tolerance,
    check_shape,
    mismatch,
)


def check_vjp(
    f: Function,
    pullback: Any = None,
    x: Inputs = None,
    *,
    jvp: Function | None = None,
    framework: str | None = None,
    method: str = "auto",
    near_kinks: float = NEAR_KINKS,
    rtol: float | None = None,
    atol: float = 0.0,
    full: int = FULL_LIMIT,
    widen: bool = True,
    rng: int = 0,
    repeats: int = 3,
) -> Report:
    """Compare a claimed pullback with the numerical Jacobian.

    Three comparisons: <v, J u> by numerical differentiation with <J^H v, u>, for random u and v; where an input and the
    value both have at most ``full`` entries, every entry of the Jacobian (the pullback of every unit cotangent against
    the derivative along every unit direction), else a sample of rows and columns; and, where ``jvp`` is given,
    <v, jvp(u)> with <J^H v, u>, which needs no differences.

    Parameters
    ----------
    f : function from ``x`` to an array of any shape
    pullback : function from a cotangent, shaped like ``f(x)``, to the cotangents of ``x`` in the container of ``x``.
        Left out, as in ``check_vjp(f, x)``: the pullback of the tape, PyTorch or JAX
    x, framework, method, near_kinks, full, widen, rng : as for :func:`~adntn_ref.validation.check_gradient`
    jvp : function from directions, in the container of ``x``, to J u
    rtol, atol : as for :func:`~adntn_ref.validation.check_gradient`; relative to ``|J^H v| |u|`` for random pairs, and
        to the largest entry of the row for entries of the Jacobian
    repeats : number of pairs (u, v)

    Returns
    -------
    Report
        How many numbers were compared, and what was left out for kinks.

    Raises
    ------
    GradientMismatch
        Naming the input, the cotangent's and the input's index, both values, both errors and the seed.
    TypeError, ValueError
        For a call that makes no sense.

    Examples
    --------
    >>> A, x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([1.0, -1.0])
    >>> check_vjp(lambda x: A @ x, lambda v: v @ A, x).compared
    9
    """
    pullback, x = arguments(pullback, x, "check_vjp", "pullback")
    derived = pullback is None
    f, pullback, x = adopt(f, pullback, x, framework, lambda own: own.pullback)
    if derived:
        pullback = pullback(x)
    value, source = np.asarray(f(x)), np.random.default_rng(rng)
    pulled = _Pulled(pullback, x)
    cotangents = [normal(source, value) for _ in range(repeats)]
    if jvp is not None:
        _check_adjoint(pulled, jvp, value, x, rng)
    report = Report()
    for name, part in named(x):
        by = Differentiator(_flat(alone(f, x, name)), part, method, widen, source)
        tolerance = Tolerance(rtol, atol, part.dtype.name, by.coarse)
        label = f"{name}; to repeat: rng={rng}"
        pairs = _pairs(pulled, name, part, cotangents, label, source)
        if max(part.size, value.size) <= full:
            entries = _every_entry(pulled, name, part, value, label)
        else:
            entries = _sample(pulled, name, part, value, cotangents, label, source)
        mine = _run(Comparison(by, tolerance), pairs, entries)
        mine.settle(label, near_kinks, mine.compared + len(mine.left_out))
        mine.methods[name] = by.method
        report.merge(mine)
    return report


class _Pulled:
    """The claimed cotangents of one input for a cotangent of the value, checked for parts, shape and side effects."""

    def __init__(self, pullback: Function, x: Inputs) -> None:
        self.pullback, self.x = pullback, x

    def __call__(self, v: Array, name: str) -> Array:
        parts = dict(named(self.x))
        given = v.copy()
        pulled = dict(named(self.pullback(given)))
        if not np.array_equal(given, v):
            raise GradientMismatch("the pullback changes the cotangent that it is given, in place")
        if pulled.keys() != parts.keys():
            raise GradientMismatch(f"the pullback gives parts {list(pulled)}, the input has {list(parts)}")
        check_shape("cotangent", name, pulled[name], parts[name])
        return pulled[name]


def _flat(f: Function) -> Function:
    """Return ``f`` as a function to a flat real array: of a complex value the real parts, then the imaginary parts.

    Where the value at ``x`` is real, the complex values that the complex step asks for are passed on as they are.
    """
    kind: list[bool] = []

    def flat(x: Array) -> Array:
        y = np.asarray(f(x))
        if not kind:
            kind.append(np.iscomplexobj(y))
        y = y.reshape(-1)
        return np.concatenate([y.real, y.imag]) if kind[0] else y

    return flat


def _flattened(v: Array) -> Array:
    v = widened(v).reshape(-1)
    return np.concatenate([v.real, v.imag]) if np.iscomplexobj(v) else v


def _pairs(
    pulled: _Pulled, name: str, part: Array, cotangents: list[Array], label: str, source: np.random.Generator
) -> list[Column]:
    columns = []
    for repeat, v in enumerate(cotangents):
        u, got = normal(source, part), pulled(v, name)
        where = f"<v, J u> for {name}, pair {repeat}; {label.partition('; ')[2]}"
        scale = float(np.linalg.norm(got) * np.linalg.norm(u))
        columns.append(_column(u, real_inner(got, u), where, v, scale))
    return columns


def _column(u: Array, got: float, where: str, v: Array, scale: float) -> Column:
    return Column(u, np.array([got]), lambda _: where, _flattened(v), scale)


def _every_entry(pulled: _Pulled, name: str, part: Array, value: Array, label: str) -> list[Column]:
    """Return the whole Jacobian: rows from unit cotangents, columns from unit directions."""
    rows = [(index, which, pulled(v, name)) for index, which, v in units(value)]
    rows.sort(key=lambda row: bool(row[1]))  # as in the flat value: first all real, then all imaginary parts
    columns = []
    for index, which, u in units(part):

        def where(row: int, index: tuple[int, ...] = index, which: str = which) -> str:
            out, of_out, _ = rows[row]
            return f"the Jacobian at cotangent index {out}{of_out} and index {index}{which} of {label}"

        columns.append(Column(u, np.array([real_inner(got, u) for _, _, got in rows]), where))
    return columns


def _sample(
    pulled: _Pulled,
    name: str,
    part: Array,
    value: Array,
    cotangents: list[Array],
    label: str,
    source: np.random.Generator,
) -> list[Column]:
    """Return some rows along a random direction, and some columns under a random cotangent."""
    columns = []
    u = normal(source, part)
    for place in _places(value, source):
        for index, which, v in units_at(value, place):
            got = pulled(v, name)
            where = f"at cotangent index {index}{which}, along a random direction, of {label}"
            scale = float(np.linalg.norm(got) * np.linalg.norm(u))
            columns.append(_column(u, real_inner(got, u), where, v, scale))
    if cotangents:
        v = cotangents[0]
        got = pulled(v, name)
        scale = float(np.abs(got).max(initial=0.0))
        for place in _places(part, source):
            for index, which, unit in units_at(part, place):
                where = f"at index {index}{which}, under a random cotangent, of {label}"
                columns.append(_column(unit, real_inner(got, unit), where, v, scale))
    return columns


def _places(a: Array, source: np.random.Generator) -> list[tuple[int, ...]]:
    chosen = np.sort(source.choice(a.size, min(SAMPLES, a.size), replace=False))
    return [tuple(int(i) for i in np.unravel_index(int(flat), a.shape)) for flat in chosen]


def _run(comparison: Comparison, pairs: list[Column], entries: list[Column]) -> Report:
    """Compare pairs, then entries; where a pair differs, the entry that differs most is named with it."""
    try:
        report = comparison.run(pairs)
    except GradientMismatch as first:
        try:
            comparison.run(entries)
        except GradientMismatch as second:
            raise GradientMismatch(f"{first}\n{second}") from None
        raise
    report.merge(comparison.run(entries))
    return report


def _check_adjoint(pulled: _Pulled, jvp: Function, value: Array, x: Inputs, rng: int) -> None:
    """Compare <v, jvp(u)> with <J^H v, u>: both are claimed, so only rounding stands between them."""
    source = np.random.default_rng([rng, 1])
    for name, part in named(x):
        for repeat in range(2):
            v, u = normal(source, value), normal(source, part)
            direction = with_part(mapped(lambda _, other: np.zeros_like(other), x), name, u)
            pushed, got = np.asarray(jvp(direction)), pulled(v, name)
            if pushed.shape != value.shape:
                raise GradientMismatch(f"jvp gives shape {pushed.shape}, the value has {value.shape}")
            left, right = real_inner(v, pushed), real_inner(got, u)
            scale = max(np.linalg.norm(got) * np.linalg.norm(u), np.linalg.norm(v) * np.linalg.norm(pushed))
            allowed = ROUNDING[part.dtype.name] * float(scale)
            if not abs(left - right) <= allowed:
                where = f"<J^H v, u> = <v, jvp(u)> for {name}, pair {repeat}; to repeat: rng={rng}"
                raise mismatch(where, right, left, "the jvp given", allowed)
