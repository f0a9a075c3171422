"""Numerical derivatives that share no code with the tape, and checks of claimed gradients against them.

Two methods. The complex step, Im f(x + ih) / h, is exact to rounding for functions that are analytic and whose code
accepts complex arrays without conjugating. Central differences serve everything else; they are taken at two steps, so
that each comes with an estimate of its own error (Richardson).

Functions take NumPy arrays and need no knowledge of the tape. Where several arrays go in, they come as a dict, tuple or
list of arrays, and gradients come back in the same container.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = Any
"""An array, or a dict, tuple or list of arrays."""
Function = Callable[[Any], Any]
Kinks = Sequence[float] | Function | None

FULL_LIMIT = 400
"""Largest number of entries of which a check compares every one; of larger inputs it takes directions and samples."""
SAMPLES = 40
DIRECTIONS = 4
COMPLEX_RTOL = 1e-12
CENTRAL_RTOL = {"float32": 3e-3, "complex64": 3e-3, "float64": 1e-6, "complex128": 1e-6}


class GradientMismatch(AssertionError):
    """A claimed derivative that differs from the numerical one."""


def complex_step_gradient(f: Function, x: Array, h: float = 1e-20) -> Array:
    """Return the gradient of a real scalar function by the complex step.

    Parameters
    ----------
    f : analytic function from a complex128 array shaped like ``x`` to a complex scalar
    x : array of any shape, real
    h : step; rounding plays no role, so it may be tiny

    Returns
    -------
    array of the shape of ``x``, float64

    Raises
    ------
    TypeError
        If ``x`` is complex, or if ``f`` returns a real number and so has dropped the imaginary part.
    """
    point = _complex_point(x)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        shifted = point.copy()
        shifted[index] += 1j * h
        gradient[index] = float(_imaginary(f(shifted))) / h
    return gradient


def complex_step_directional(f: Function, x: Array, u: Array, h: float = 1e-20) -> Array:
    """Return J(x) u of a real function by the complex step: one evaluation, whatever the size of ``x``.

    Parameters
    ----------
    f : analytic function from a complex128 array shaped like ``x`` to a complex array of any shape
    x, u : real arrays of one shape

    Returns
    -------
    array of the shape of ``f(x)``, float64

    Raises
    ------
    TypeError
        As :func:`complex_step_gradient`.
    """
    return np.asarray(_imaginary(f(_complex_point(x) + 1j * h * u))) / h


def central_gradient(
    f: Function, x: Array, step: float | None = None, only: Sequence[tuple[int, ...]] | None = None
) -> tuple[Array, Array]:
    """Return the gradient of a real scalar function by central differences, and an estimate of its error.

    Parameters
    ----------
    f : function from an array shaped like ``x``, of the dtype of ``x``, to a real scalar
    x : array of any shape, float or complex
    step : relative step; eps**(1/3) of the dtype by default. An entry moves by ``step * max(1, |entry|)``
    only : indices to visit; the other entries of both results are zero

    Returns
    -------
    gradient : array of the shape of ``x``
        For complex ``x`` it is df/dRe + i df/dIm.
    error : array of the shape of ``x``, float
        The difference between the steps h and 2h, a third of it truncation error, plus the rounding of ``f``.
    """
    wide = np.result_type(x.dtype, np.float64)
    gradient, error = np.zeros(x.shape, wide), np.zeros(x.shape)
    parts: tuple[complex, ...] = (1.0, 1j) if np.iscomplexobj(x) else (1.0,)
    for index in np.ndindex(x.shape) if only is None else only:
        for part in parts:
            unit = np.zeros(x.shape, x.dtype)
            unit[index] = part
            slope, own_error = central_directional(f, x, unit, step)
            gradient[index] += part * slope
            error[index] += float(own_error)
    return gradient, error


def central_directional(f: Function, x: Array, u: Array, step: float | None = None) -> tuple[Array, Array]:
    """Return J(x) u by central differences, and an estimate of its error.

    Parameters
    ----------
    f : function from an array shaped like ``x`` to an array of any shape
    x, u : arrays of one shape; ``x + t u`` is what is visited
    step : relative step, eps**(1/3) of the dtype of ``x`` by default, scaled by ``max(1, |x|)`` where u is
        not zero and by the largest entry of u

    Returns
    -------
    derivative : array of the shape of ``f(x)``, the differences of steps h and 2h extrapolated
    error : array of the same shape, float
    """
    h = _step(x, u, step)
    near, near_size = _difference(f, x, u, h)
    far, _ = _difference(f, x, u, 2 * h)
    rounding = float(np.finfo(x.dtype).eps) * near_size / h
    return np.asarray((4 * near - far) / 3), np.asarray(np.abs(near - far) / 3 + rounding)


def check_gradient(
    f: Function,
    gradient: Function,
    x: Inputs,
    *,
    method: str = "auto",
    kinks: Kinks = None,
    rtol: float | None = None,
    atol: float = 0.0,
    rng: int = 0,
) -> None:
    """Compare a claimed gradient with the numerical one.

    Every entry is compared up to ``FULL_LIMIT`` entries an input; larger inputs are compared along random directions,
    and in a random sample of entries.

    Parameters
    ----------
    f : function from ``x`` to a real scalar
    gradient : function from ``x`` to its gradient, in the container of ``x``; df/dRe + i df/dIm for complex arrays
    x : an array, or a dict, tuple or list of arrays
    method : "complex", "central", or "auto", which takes the complex step where ``f`` keeps an imaginary part and no
        kinks are given
    kinks : where the derivative jumps: numbers that entries of ``x`` must not be near, or a function from ``x`` to an
        array whose signs change at a kink (pre-activations, say). Entries whose difference would cross one are left out
    rtol : allowed error relative to the largest entry of the gradient of one input; 1e-12 for the complex step, 1e-6
        for central differences in double and 3e-3 in single precision
    atol : allowed absolute error
    rng : seed of the samples and directions

    Raises
    ------
    GradientMismatch
        Naming the input, the index, both values, both errors and the seed; also for a wrong shape, and where
        kinks leave nothing to compare.
    """
    claimed = dict(_named(gradient(x)))
    if claimed.keys() != dict(_named(x)).keys():
        raise GradientMismatch(f"the gradient has parts {list(claimed)}, the input {list(dict(_named(x)))}")
    for name, part in _named(x):
        got = np.asarray(claimed[name])
        if got.shape != part.shape:
            raise GradientMismatch(f"the gradient of {name} has shape {got.shape}, its input {part.shape}")
        one = _replaced(f, x, name)
        judge = _judge(method, one, part, kinks, rtol, atol)
        label = f"{name}; to repeat: rng={rng}"
        _Alone(one, part, label, judge, _sides(kinks, x, name), np.random.default_rng(rng)).compare(got)


def check_vjp(
    f: Function,
    pullback: Function,
    x: Inputs,
    *,
    method: str = "auto",
    rtol: float | None = None,
    atol: float = 0.0,
    rng: int = 0,
    repeats: int = 3,
) -> None:
    """Compare <v, J u> by numerical differentiation with <J^H v, u>, for random u and v.

    Parameters
    ----------
    f : function from ``x`` to an array of any shape
    pullback : function from a cotangent, shaped like ``f(x)``, to the cotangents of ``x`` in the container of ``x``
    x, method, rtol, atol, rng : as for :func:`check_gradient`; the error is relative to ``|J^H v| |u|``
    repeats : number of pairs (u, v)

    Raises
    ------
    GradientMismatch
        Naming the input, both inner products, both errors and the seed.
    """
    source = np.random.default_rng(rng)
    value = np.asarray(f(x))
    for repeat in range(repeats):
        v = _normal(source, value)
        pulled = dict(_named(pullback(v)))
        for name, part in _named(x):
            u = _normal(source, part)
            got = np.asarray(pulled[name])
            if got.shape != part.shape:
                raise GradientMismatch(f"the cotangent of {name} has shape {got.shape}, its input {part.shape}")
            one = _replaced(f, x, name)
            judge = _judge(method, one, part, None, rtol, atol)
            slope, error = _directional(one, part, u, judge.method)
            where = f"<v, J u> for {name}, pair {repeat}; to repeat: rng={rng}"
            scale = float(np.linalg.norm(got) * np.linalg.norm(u))
            judge.compare(where, _real_inner(got, u), _real_inner(v, slope), scale, _real_inner(np.abs(v), error))


@dataclass(frozen=True)
class _Judge:
    """What is allowed between a claimed number and a numerical one."""

    rtol: float
    atol: float
    method: str

    def compare(self, where: str, got: float, expected: float, scale: float, error: float) -> None:
        """Raise GradientMismatch unless ``got`` is ``expected`` within the tolerance."""
        allowed = self.atol + self.rtol * max(scale, abs(expected))
        off = abs(got - expected)
        if off <= allowed:
            return
        relative = off / max(abs(expected), 1e-300)
        coarse = f"; the difference is only known to {error:.3g}, too coarse to judge by" if error > off else ""
        raise GradientMismatch(
            f"{where}: got {got!r}, expected {expected!r} by {self.method}, absolute error {off:.3g}, "
            f"relative error {relative:.3g}, allowed {allowed:.3g}{coarse}"
        )


def _judge(method: str, f: Function, x: Array, kinks: Kinks, rtol: float | None, atol: float) -> _Judge:
    """Resolve "auto" (the complex step where ``f`` is real and keeps an imaginary part) and the default tolerance."""
    if method not in ("auto", "complex", "central"):
        raise ValueError(f"method is {method!r}; allowed: auto, complex, central")
    if method == "auto":
        method = "complex" if kinks is None and x.dtype == np.float64 and _keeps_imaginary(f, x) else "central"
    if rtol is None:
        rtol = COMPLEX_RTOL if method == "complex" else CENTRAL_RTOL[x.dtype.name]
    return _Judge(rtol, atol, method)


def _keeps_imaginary(f: Function, x: Array) -> bool:
    """Return whether ``f`` maps real arrays to real ones and complex arrays to complex ones."""
    try:
        return not np.iscomplexobj(f(x)) and np.iscomplexobj(f(x.astype(np.complex128)))
    except TypeError:
        return False


@dataclass(frozen=True)
class _Alone:
    """The check of one input of a function, the others held."""

    f: Function
    part: Array
    label: str
    judge: _Judge
    sides: Callable[[Array], Array] | None
    rng: np.random.Generator

    def compare(self, got: Array) -> None:
        """Compare all entries, or directions and a sample of entries."""
        indices = list(np.ndindex(self.part.shape))
        visited = 0
        if len(indices) > FULL_LIMIT:
            for number in range(DIRECTIONS):
                u = _normal(self.rng, self.part)
                scale = float(np.linalg.norm(got) * np.linalg.norm(u))
                visited += self.along(u, f"along random direction {number}", _real_inner(got, u), scale)
            indices = [indices[i] for i in self.rng.choice(len(indices), SAMPLES, replace=False)]
        scale = float(np.abs(got).max(initial=0.0))
        for index in indices:
            for part in (1.0, 1j) if np.iscomplexobj(self.part) else (1.0,):
                unit = np.zeros(self.part.shape, self.part.dtype)
                unit[index] = part
                where = f"at index {index}{'' if part == 1.0 else ', imaginary part,'}"
                visited += self.along(unit, where, _real_inner(got, unit), scale)
        if indices and not visited:
            raise GradientMismatch(f"every entry of {self.label} lies too near a kink; nothing was compared")

    def along(self, u: Array, where: str, got: float, scale: float) -> bool:
        """Compare one directional derivative; return False where a kink is too near to do so."""
        if self.sides is not None and self.crosses(u, self.sides):
            return False
        slope, error = _directional(self.f, self.part, u, self.judge.method)
        self.judge.compare(f"{where} of {self.label}", got, float(slope), scale, float(error))
        return True

    def crosses(self, u: Array, sides: Callable[[Array], Array]) -> bool:
        """Return whether the stencil along ``u``, five times as wide, meets a kink."""
        reach = 10 * _step(self.part, u, None)
        here = sides(self.part)
        ends = [(self.part + t * u).astype(self.part.dtype) for t in (reach, -reach)]
        return not all(np.array_equal(here, sides(end)) for end in ends)


def _directional(f: Function, x: Array, u: Array, method: str) -> tuple[Array, Array]:
    if method == "complex":
        slope = complex_step_directional(f, x, u)
        return slope, np.zeros(slope.shape)
    return central_directional(f, x, u)


def _difference(f: Function, x: Array, u: Array, h: float) -> tuple[Array, Any]:
    """Return (f(x + hu) - f(x - hu)) / 2h and the size of f; divides by the step that rounding made of h."""
    ahead, behind = (x + h * u).astype(x.dtype), (x - h * u).astype(x.dtype)
    along = ahead.astype(np.result_type(x.dtype, np.float64)) - behind
    width = float(_real_inner(along, u) / max(_real_inner(u, u), 1e-300))
    plus, minus = np.asarray(f(ahead)), np.asarray(f(behind))
    wide = np.result_type(plus.dtype, np.float64)
    return (plus.astype(wide) - minus) / (width or 1.0), np.abs(plus)


def _step(x: Array, u: Array, step: float | None) -> float:
    relative = float(np.finfo(x.dtype).eps) ** (1 / 3) if step is None else step
    touched = np.abs(x[u != 0]).max(initial=1.0)
    return relative * float(touched) / float(np.abs(u).max(initial=0.0) or 1.0)


def _complex_point(x: Array) -> Array:
    if np.iscomplexobj(x):
        raise TypeError("the complex step needs real arrays; use central differences for complex ones")
    return x.astype(np.complex128)


def _imaginary(y: Any) -> Any:
    if not np.iscomplexobj(y):
        raise TypeError("the function dropped the imaginary part, so the complex step cannot see its derivative")
    return np.imag(y)


def _named(x: Inputs) -> Iterator[tuple[str, Array]]:
    if isinstance(x, dict):
        yield from ((f"x[{key!r}]", np.asarray(part)) for key, part in x.items())
    elif isinstance(x, (tuple, list)):
        yield from ((f"x[{i}]", np.asarray(part)) for i, part in enumerate(x))
    else:
        yield "x", np.asarray(x)


def _with(x: Inputs, name: str, part: Array) -> Inputs:
    if isinstance(x, dict):
        return {key: part if f"x[{key!r}]" == name else other for key, other in x.items()}
    if isinstance(x, (tuple, list)):
        return type(x)(part if f"x[{i}]" == name else other for i, other in enumerate(x))
    return part


def _replaced(f: Function, x: Inputs, name: str) -> Function:
    return lambda part: f(_with(x, name, part))


def _sides(kinks: Kinks, x: Inputs, name: str) -> Callable[[Array], Array] | None:
    """Return the function from one input to the signs that change where a kink is crossed."""
    if kinks is None:
        return None
    if callable(kinks):
        sign = kinks
        return lambda part: np.sign(np.asarray(sign(_with(x, name, part))))
    points = np.asarray(kinks, dtype=np.float64)
    return lambda part: np.sign(part[..., None] - points)


def _normal(rng: np.random.Generator, x: Array) -> Array:
    drawn = rng.standard_normal(x.shape)
    if np.iscomplexobj(x):
        drawn = drawn + 1j * rng.standard_normal(x.shape)
    return np.asarray(drawn).astype(x.dtype)


def _real_inner(a: Array, b: Array) -> float:
    return float(np.sum(np.conj(a) * b).real)
