"""Checks of claimed Hessian-vector products: symmetry, and the numerical derivative of the gradient."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .comparing import Column, Comparison
from .containers import Array, Function, Inputs, alone, mapped, named, normal, units, units_at
from .differentiator import Differentiator
from .frameworks import adopt, adopted_framework, arguments
from .gradients import check_gradient
from .judging import (
    FULL_LIMIT,
    NEAR_KINKS,
    ROUNDING,
    SAFETY,
    SAMPLES,
    GradientMismatch,
    Report,
    Tolerance,
    check_shape,
    mismatch,
)

PAIRS = 3


def check_hvp(
    f: Function,
    hvp: Any = None,
    x: Inputs = None,
    *,
    gradient: Function | None = None,
    framework: str | None = None,
    method: str = "auto",
    near_kinks: float = NEAR_KINKS,
    rtol: float | None = None,
    atol: float = 0.0,
    full: int = FULL_LIMIT,
    widen: bool = True,
    rng: int = 0,
) -> Report:
    """Compare claimed Hessian-vector products with the numerical derivative of the gradient.

    First the gradient itself is checked against ``f``. Then symmetry, <u, H v> = <v, H u>, of which no difference is
    taken; then H v along every unit direction up to ``full`` entries in all, along random directions beside them. The
    Hessian is that of all inputs together, so that the blocks between two inputs are checked as well.

    Parameters
    ----------
    f : function from ``x`` to a real scalar
    hvp : function from a direction v, in the container of ``x``, to H(x) v in the same container. Left out, as in
        ``check_hvp(f, x)``: that of the tape, PyTorch or JAX
    gradient : function from ``x`` to the gradient of ``f``; may be left out for functions of the tape, PyTorch or JAX
    x, framework, method, near_kinks, full, widen, rng : as for :func:`~adntn_ref.validation.check_gradient`
    rtol, atol : as for :func:`~adntn_ref.validation.check_gradient`; relative to the largest entry of the row

    Returns
    -------
    Report
        How many numbers were compared, those of the gradient included, and what was left out for kinks.

    Raises
    ------
    GradientMismatch
        For a wrong gradient, for a Hessian that is not symmetric (said so), and for wrong entries, naming the inputs,
        both indices, both values, both errors and the seed.
    TypeError, ValueError
        For a call that makes no sense.

    Examples
    --------
    >>> x = np.array([1.0, 2.0])
    >>> report = check_hvp(lambda x: np.sum(x**3), lambda v: 6 * x * v, x, gradient=lambda x: 3 * x**2)
    >>> report.compared
    14
    """
    hvp, x = arguments(hvp, x, "check_hvp", "hvp")
    if framework is None and gradient is None:
        framework = adopted_framework(f, x)
    derived, original = hvp is None, f
    f, product, x = adopt(original, hvp, x, framework, lambda own: own.hvp)
    slope = adopt(original, gradient, x, framework, lambda own: own.gradient)[1]
    report = check_gradient(
        f, slope, x, method=method, near_kinks=near_kinks, rtol=rtol, atol=atol, full=full, widen=widen, rng=rng
    )
    claim = _Claim((lambda v: product(x, v)) if derived else product, x, f"; to repeat: rng={rng}")
    source = np.random.default_rng(rng)
    small = sum(part.size for _, part in named(x)) <= full
    report.compared += _check_symmetry(claim, small, source, rtol, atol + _rounding(slope, x, rtol))
    for name, part in named(x):
        by = Differentiator(_rows(slope, x, name), part, method, widen, source)
        comparison = Comparison(by, Tolerance(rtol, atol, part.dtype.name, by.coarse))
        mine = comparison.run([claim.column(*one) for one in _entries(name, part, small, source)])
        mine.merge(comparison.run([claim.column(*one) for one in _random(name, part, source)]))
        mine.settle(f"the Hessian of {name}{claim.repeat}", near_kinks, mine.compared + len(mine.left_out))
        mine.methods[f"Hessian, {name}"] = by.method
        report.merge(mine)
    return report


class _Claim:
    """The claimed H v of all inputs, as a flat real array, checked for parts, shapes and side effects."""

    def __init__(self, product: Function, x: Inputs, repeat: str) -> None:
        self.product, self.x, self.repeat = product, x, repeat
        self.parts = dict(named(x))
        self.rows = [(name, f"index {index}{which} of {name}", u) for name, index, which, u in _basis(self.parts)]

    def times(self, direction: dict[str, Array]) -> Array:
        """Return H v for the direction with these arrays, zero in the other inputs."""
        filled = {name: direction.get(name, np.zeros_like(part)) for name, part in self.parts.items()}
        given = {name: part.copy() for name, part in filled.items()}
        got = dict(named(self.product(mapped(lambda name, _: given[name], self.x))))
        if got.keys() != self.parts.keys():
            raise GradientMismatch(f"the Hessian product has parts {list(got)}, the input {list(self.parts)}")
        for name, part in self.parts.items():
            check_shape("Hessian product", name, got[name], part)
            if not np.array_equal(given[name], filled[name]):
                raise GradientMismatch("the Hessian product changes the direction that it is given, in place")
        return _flat(got)

    def column(self, name: str, words: str, u: Array) -> Column:
        """Return the claimed H u, with words for every row."""
        ends = [f"the Hessian at {row} along {words}{self.repeat}" for _, row, _ in self.rows]
        return Column(u, self.times({name: u}), lambda row: ends[row])


def _basis(parts: dict[str, Array]) -> Iterator[tuple[str, tuple[int, ...], str, Array]]:
    """Yield (input, index, which part, unit array) in the order of :func:`_flat`."""
    for name, part in parts.items():
        every = list(units(part))
        every.sort(key=lambda one: bool(one[1]))  # all real parts, then all imaginary parts
        yield from ((name, *one) for one in every)


def _flat(parts: dict[str, Array]) -> Array:
    """Return one flat array of all parts; of a complex one, first its real parts, then its imaginary parts."""
    pieces = [piece.reshape(-1) for part in parts.values() for piece in _real_pieces(part)]
    return np.concatenate(pieces).astype(np.float64)


def _real_pieces(part: Array) -> list[Array]:
    return [part.real, part.imag] if np.iscomplexobj(part) else [part]


def _rows(slope: Function, x: Inputs, name: str) -> Function:
    """Return the gradient by all inputs, flat, as a function of one of them."""
    kinds = {other: np.iscomplexobj(part) for other, part in named(x)}
    gradient = alone(slope, x, name)

    def rows(part: Array) -> Array:
        got = dict(named(gradient(part)))
        pieces = [
            piece.reshape(-1)
            for other, complex_input in kinds.items()
            for piece in (_real_pieces(got[other]) if complex_input else [got[other]])
        ]
        return np.concatenate(pieces)

    return rows


def _random(name: str, part: Array, source: np.random.Generator) -> Iterator[tuple[str, str, Array]]:
    """Yield (input, words, direction) for random directions."""
    for number in range(PAIRS):
        yield name, f"random direction {number} of {name}", normal(source, part)


def _entries(name: str, part: Array, small: bool, source: np.random.Generator) -> Iterator[tuple[str, str, Array]]:
    """Yield (input, words, direction) for every unit direction, or a sample of them."""
    for index, which, u in units(part) if small else _some_units(part, source):
        yield name, f"index {index}{which} of {name}", u


def _some_units(part: Array, source: np.random.Generator) -> Iterator[tuple[tuple[int, ...], str, Array]]:
    for flat in np.sort(source.choice(part.size, min(SAMPLES, part.size), replace=False)):
        yield from units_at(part, tuple(int(i) for i in np.unravel_index(int(flat), part.shape)))


def _rounding(slope: Function, x: Inputs, rtol: float | None) -> float:
    """Return what an honest Hessian may be off beside its own size: the last digits of the gradient.

    Where the terms of a Hessian cancel (a saturated softmax), what is left of it is of the size of their rounding.
    """
    if rtol is not None:
        return 0.0
    parts = [
        (np.abs(g).max(initial=0.0), np.finfo(part.dtype).eps)
        for (_, g), (_, part) in zip(named(slope(x)), named(x), strict=True)
    ]
    return SAFETY * float(max(size for size, _ in parts)) * float(max(eps for _, eps in parts))


def _check_symmetry(claim: _Claim, small: bool, source: np.random.Generator, rtol: float | None, atol: float) -> int:
    """Compare <u, H v> with <v, H u>, for unit directions where there are few, else for random ones."""
    relative = max(ROUNDING[part.dtype.name] for part in claim.parts.values()) if rtol is None else rtol
    if small:
        left = np.array([claim.times({name: u}) for name, _, u in claim.rows])
        words = [row for _, row, _ in claim.rows]
    else:
        drawn = [{name: normal(source, part) for name, part in claim.parts.items()} for _ in range(PAIRS)]
        left = np.array([claim.times(u) for u in drawn]) @ np.array([_flat(u) for u in drawn]).T
        words = [f"random direction {i}" for i in range(PAIRS)]
    off = np.abs(left - left.T)
    allowed = atol + relative * float(np.abs(left).max(initial=0.0))
    if not (off <= allowed).all():
        u, v = (int(i) for i in np.unravel_index(int(np.argmax(np.where(np.isnan(off), np.inf, off))), off.shape))
        where = f"the Hessian is not symmetric: <u, H v> and <v, H u> for u = {words[u]}, v = {words[v]}{claim.repeat}"
        raise mismatch(where, float(left[v, u]), float(left[u, v]), "symmetry", allowed)
    return int(off.size) // 2
