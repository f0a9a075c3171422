"""Checks of claimed gradients against numerical derivatives that share no code with the tape.

A ladder: the complex step where it can be trusted, else central differences that estimate their own error; every entry
of small inputs, random directions and a sample of entries of large ones. Kinks are found, kept at a distance by smaller
steps where that is possible, and else left out and counted; no tolerance is loosened for them.

The function may be plain NumPy with a gradient of its own, made of the operations of :mod:`adntn_ref.ad`, or PyTorch or
JAX code (:mod:`adntn_ref.validation.checks.frameworks`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .comparing import Column, Comparison
from .containers import Array, Function, Inputs, alone, named, normal, real_inner, units_at, with_part
from .differentiator import Differentiator
from .frameworks import adopt, arguments
from .judging import (
    COMPLEX_RTOL,
    DIRECTIONS,
    FULL_LIMIT,
    NEAR_KINKS,
    SAMPLES,
    GradientMismatch,
    Report,
    Tolerance,
    check_shape,
)
from .numerical import (
    central_directional,
    central_gradient,
    complex_step_directional,
    complex_step_gradient,
    step_along,
)

__all__ = [
    "COMPLEX_RTOL",
    "FULL_LIMIT",
    "GradientMismatch",
    "Report",
    "central_directional",
    "central_gradient",
    "check_gradient",
    "complex_step_directional",
    "complex_step_gradient",
]

Kinks = Sequence[float] | Function | None
Sides = Callable[[Array], Array]


def check_gradient(
    f: Function,
    gradient: Any = None,
    x: Inputs = None,
    *,
    framework: str | None = None,
    method: str = "auto",
    kinks: Kinks = None,
    near_kinks: float = NEAR_KINKS,
    rtol: float | None = None,
    atol: float = 0.0,
    full: int = FULL_LIMIT,
    widen: bool = True,
    rng: int = 0,
) -> Report:
    """Compare a claimed gradient with the numerical one.

    Every entry is compared up to ``full`` entries an input; larger inputs are compared along random directions, and in
    a random sample of entries.

    Parameters
    ----------
    f : function from ``x`` to a real scalar
    gradient : function from ``x`` to its gradient, in the container of ``x``; df/dRe + i df/dIm for complex arrays.
        Left out, as in ``check_gradient(f, x)``: what the tape, PyTorch or JAX gives for ``f``
    x : an array, or a dict, tuple or list of arrays: float32, float64, complex64 or complex128
    framework : what ``f`` is written in: "numpy", "tape", "torch" or "jax"; None to find out
    method : "complex", "central", or "auto", which takes the complex step where ``f`` keeps an imaginary part, the
        result agrees with differences and no kinks are given
    kinks : where the derivative jumps, if you want to say so: numbers that entries of ``x`` must not be near, or a
        function from ``x`` to an array whose signs change at a kink (pre-activations, say). Entries whose difference
        would cross one are left out. Without it kinks are found from the values of ``f``
    near_kinks : largest share of the comparisons that may be left out because of kinks that were found (one always may)
    rtol : allowed error relative to the largest entry of the gradient of one input. By default 1e-12 for the complex
        step; for central differences four times their own estimated error, and at most 1e-6 in double and 3e-3 in
        single precision; 1e-4 for single precision checked in double
    atol : allowed absolute error
    full : largest number of entries of an input of which every one is compared
    widen : whether single precision may be given to ``f`` as double, if it follows; the gradient is always asked for at
        ``x`` itself
    rng : seed of the samples and directions

    Returns
    -------
    Report
        How many derivatives were compared, which were left out for kinks, and how they were found.

    Raises
    ------
    GradientMismatch
        Naming the input, the index, both values, both errors and the seed; also for a wrong shape, and where
        kinks leave too little to compare.
    TypeError, ValueError
        For a call that makes no sense.

    Examples
    --------
    >>> report = check_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, np.array([1.0, 2.0]))
    >>> report.compared, report.methods
    (2, {'x': 'complex step'})
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 3 * x, np.array([1.0, 2.0]))
    Traceback (most recent call last):
    adntn_ref.validation.checks.judging.GradientMismatch: at index (1,) of x; to repeat: rng=0: got 6.0, expected
    12.0 by complex step, absolute error 6, relative error 0.5, allowed 1.2e-11
    """
    gradient, x = arguments(gradient, x, "check_gradient", "gradient")
    f, gradient, x = adopt(f, gradient, x, framework, lambda it: it.gradient)
    claimed = dict(named(gradient(x)))
    parts = dict(named(x))
    if claimed.keys() != parts.keys():
        several = "; a list or tuple is several inputs, so give one as np.array(...)" if list(claimed) == ["x"] else ""
        raise GradientMismatch(f"the gradient has parts {list(claimed)}, the input {list(parts)}{several}")
    report = Report()
    for name, part in parts.items():
        got = claimed[name]
        check_shape("gradient", name, got, part)
        source = np.random.default_rng(rng)
        usual = "central" if method == "auto" and kinks is not None else method
        by = Differentiator(_scalar(alone(f, x, name)), part, usual, widen, source)
        tolerance = Tolerance(rtol, atol, part.dtype.name, by.coarse)
        label = f"{name}; to repeat: rng={rng}"
        columns = _columns(got, part, label, full, source)
        sides = _sides(kinks, x, name)
        kept = [c for c in columns if sides is None or not _crosses(part, c.u, sides)]
        mine = _run(Comparison(by, tolerance), kept, got, label)
        mine.settle(label, near_kinks, len(columns))
        mine.left_out += [c.where(0) for c in columns if c not in kept]
        mine.methods[name] = by.method
        report.merge(mine)
    return report


def _scalar(f: Function) -> Function:
    """Return ``f`` as a function to a flat array of one number, loud about anything else."""

    def flat(x: Array) -> Array:
        value = np.asarray(f(x))
        if value.size != 1:
            raise TypeError(f"f returns an array of shape {value.shape}, not a scalar; check_vjp is for such functions")
        return value.reshape(1)

    return flat


def _columns(got: Array, part: Array, label: str, full: int, source: np.random.Generator) -> list[Column]:
    """Return the directions to compare: all entries, or random directions and a sample of entries."""
    if part.size <= full:
        return _entries(got, part, list(np.ndindex(part.shape)), label)
    columns = []
    for number in range(DIRECTIONS):
        u = normal(source, part)
        scale = float(np.linalg.norm(got) * np.linalg.norm(u))
        where = f"along random direction {number} of {label}"
        columns.append(Column(u, np.array([real_inner(got, u)]), _always(where), scale=scale))
    chosen = np.sort(source.choice(part.size, min(SAMPLES, part.size), replace=False))
    places = [tuple(int(i) for i in np.unravel_index(int(flat), part.shape)) for flat in chosen]
    return columns + _entries(got, part, places, label)


def _entries(got: Array, part: Array, places: list[tuple[int, ...]], label: str) -> list[Column]:
    units = [(which, place, u) for place in places for _, which, u in units_at(part, place)]
    return [
        Column(u, np.array([real_inner(got, u)]), _always(f"at index {place}{which} of {label}"))
        for which, place, u in units
    ]


def _always(where: str) -> Callable[[int], str]:
    return lambda _: where


def _run(comparison: Comparison, columns: list[Column], got: Array, label: str) -> Report:
    """Compare random directions, then entries; where a direction differs, an entry is looked for and named with it."""
    directions = [c for c in columns if c.scale is not None]
    try:
        report = comparison.run(directions)
    except GradientMismatch as first:
        at = _culprit(comparison, directions, got)
        try:
            comparison.run(_entries(got, comparison.by.x, [at], label))
        except GradientMismatch as second:
            raise GradientMismatch(f"{first}\n{second}") from None
        raise
    report.merge(comparison.run([c for c in columns if c.scale is None]))
    return report


def _culprit(comparison: Comparison, directions: list[Column], got: Array) -> tuple[int, ...]:
    """Return the index of an entry that makes a direction differ, found by halving."""
    worst = max(directions, key=lambda c: abs(c.got[0] - comparison.by.slope(c.u).value[0]))
    among = np.arange(got.size)
    while among.size > 1:
        halves = []
        for half in (among[: among.size // 2], among[among.size // 2 :]):
            u: Array = np.zeros(got.size, worst.u.dtype)
            u[half] = worst.u.reshape(-1)[half]
            u = np.asarray(u.reshape(got.shape))
            off = abs(real_inner(got, u) - comparison.by.slope(u).value[0])
            halves.append((np.inf if np.isnan(off) else off, half))
        among = halves[0][1] if halves[0][0] >= halves[1][0] else halves[1][1]
    return tuple(int(i) for i in np.unravel_index(int(among[0]), got.shape))


def _sides(kinks: Kinks, x: Inputs, name: str) -> Sides | None:
    """Return the function from one input to the signs that change where a kink is crossed."""
    if kinks is None:
        return None
    if callable(kinks):
        sign = kinks
        return lambda part: np.sign(np.asarray(sign(with_part(x, name, part))))
    points = np.asarray(kinks, dtype=np.float64)
    return lambda part: np.sign(part[..., None] - points)


def _crosses(part: Array, u: Array, sides: Sides) -> bool:
    """Return whether the stencil along ``u``, five times as wide, meets a kink."""
    reach = 10 * step_along(part, u)
    here = sides(part)
    ends = [(part + t * u).astype(part.dtype) for t in (reach, -reach)]
    return not all(np.array_equal(here, sides(end)) for end in ends)
