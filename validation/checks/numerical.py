"""Numerical derivatives of functions on NumPy arrays, that share no code with the tape.

Two methods. The complex step, Im f(x + ih) / h (Squire and Trapp, SIAM Review 40, 1998), is exact to rounding for
functions that are analytic and whose code accepts complex arrays without conjugating. Central differences serve
everything else; they are taken at two steps, so that each comes with an estimate of its own error (Richardson).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .containers import Array, Function, real_inner


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

    Examples
    --------
    >>> complex_step_gradient(lambda x: np.sum(x**3), np.array([1.0, 2.0]))
    array([ 3., 12.])
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

    Examples
    --------
    >>> complex_step_directional(lambda x: x**2, np.array([1.0, 2.0]), np.array([1.0, 10.0]))
    array([ 2., 40.])
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

    Examples
    --------
    >>> gradient, error = central_gradient(lambda x: np.sum(np.abs(x) ** 3), np.array([1.0, -2.0]))
    >>> gradient.round(6), bool(error.max() < 1e-8)
    (array([  3., -12.]), True)
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
    error : array of the same shape, float; blind to a kink that lies exactly at ``x`` (the checks are not)

    Examples
    --------
    >>> value, error = central_directional(np.abs, np.array([2.0, -3.0]), np.array([1.0, 1.0]))
    >>> value.round(9)
    array([ 1., -1.])
    """
    h = step_along(x, u, step)
    near, near_size = _difference(f, x, u, h)
    far, _ = _difference(f, x, u, 2 * h)
    rounding = float(np.finfo(x.dtype).eps) * near_size / h
    return np.asarray((4 * near - far) / 3), np.asarray(np.abs(near - far) / 3 + rounding)


def step_along(x: Array, u: Array, step: float | None = None) -> float:
    """Return the h for which ``x + h u`` is a step of the right size for the dtype and magnitude of ``x``."""
    relative = float(np.finfo(x.dtype).eps) ** (1 / 3) if step is None else step
    touched = np.abs(x[u != 0]).max(initial=1.0)
    return relative * float(touched) / float(np.abs(u).max(initial=0.0) or 1.0)


def moved(x: Array, u: Array, h: float) -> tuple[Array, float]:
    """Return ``x + h u`` in the dtype of ``x``, and the h that rounding made of it."""
    there = (x + h * u).astype(x.dtype)
    along = there.astype(np.result_type(x.dtype, np.float64)) - x
    return there, float(real_inner(u, along) / max(real_inner(u, u), 1e-300))


def _difference(f: Function, x: Array, u: Array, h: float) -> tuple[Array, Any]:
    """Return (f(x + hu) - f(x - hu)) / 2h and the size of f; divides by the step that rounding made of h."""
    (ahead, forth), (behind, back) = moved(x, u, h), moved(x, u, -h)
    plus, minus = np.asarray(f(ahead)), np.asarray(f(behind))
    wide = np.result_type(plus.dtype, np.float64)
    return (plus.astype(wide) - minus) / (forth - back or 1.0), np.abs(plus)


def _complex_point(x: Array) -> Array:
    if np.iscomplexobj(x):
        raise TypeError("the complex step needs real arrays; use central differences for complex ones")
    return x.astype(np.complex128)


def _imaginary(y: Any) -> Any:
    if not np.iscomplexobj(y):
        raise TypeError("the function dropped the imaginary part, so the complex step cannot see its derivative")
    return np.imag(y)
