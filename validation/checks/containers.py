"""Arrays that go into a function one by one or in a dict, tuple or list: their names, directions and inner products."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = Any
"""An array, or a dict, tuple or list of arrays."""
Function = Callable[[Any], Any]


def named(x: Inputs) -> Iterator[tuple[str, Array]]:
    """Yield every array with the name that messages give it: ``x``, ``x[0]`` or ``x['core']``."""
    if isinstance(x, dict):
        yield from ((f"x[{key!r}]", np.asarray(part)) for key, part in x.items())
    elif isinstance(x, (tuple, list)):
        yield from ((f"x[{i}]", np.asarray(part)) for i, part in enumerate(x))
    else:
        yield "x", np.asarray(x)


def mapped(change: Callable[[str, Any], Any], x: Inputs) -> Inputs:
    """Return the same container with ``change(name, part)`` in place of every part."""
    if isinstance(x, dict):
        return {key: change(f"x[{key!r}]", part) for key, part in x.items()}
    if isinstance(x, (tuple, list)):
        return type(x)(change(f"x[{i}]", part) for i, part in enumerate(x))
    return change("x", x)


def with_part(x: Inputs, name: str, part: Array) -> Inputs:
    """Return ``x`` with the array called ``name`` replaced."""
    return mapped(lambda other, old: part if other == name else old, x)


def alone(f: Function, x: Inputs, name: str) -> Function:
    """Return ``f`` as a function of the one array called ``name``, the others held.

    Where that array comes in double although ``x`` holds single precision, the others are widened with it.
    """

    def one(part: Array) -> Any:
        if part.dtype.itemsize <= dict(named(x))[name].dtype.itemsize or not isinstance(x, (dict, tuple, list)):
            return f(with_part(x, name, part))
        return f(mapped(lambda other, old: part if other == name else widened(np.asarray(old)), x))

    return one


def widened(x: Array) -> Array:
    """Return single precision as double, and everything else as it is."""
    return x.astype({"float32": np.float64, "complex64": np.complex128}.get(x.dtype.name, x.dtype), copy=False)


def units(x: Array) -> Iterator[tuple[tuple[int, ...], str, Array]]:
    """Yield (index, "" or ", imaginary part,", unit array): a basis over the real numbers of arrays like ``x``."""
    for index in np.ndindex(x.shape):
        yield from units_at(x, index)


def units_at(x: Array, index: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], str, Array]]:
    """Yield the one unit array of ``index``, or the two of a complex entry."""
    for part in (1.0, 1j) if np.iscomplexobj(x) else (1.0,):
        unit = np.zeros(x.shape, x.dtype)
        unit[index] = part
        yield index, "" if part == 1.0 else ", imaginary part,", unit


def normal(rng: np.random.Generator, x: Array) -> Array:
    """Draw an array like ``x`` from the standard normal distribution."""
    drawn = rng.standard_normal(x.shape)
    if np.iscomplexobj(x):
        drawn = drawn + 1j * rng.standard_normal(x.shape)
    return np.asarray(drawn).astype(x.dtype)


def real_inner(a: Array, b: Array) -> float:
    """Return Re sum conj(a) b, in double precision, over the entries where b is not zero (a may be NaN elsewhere)."""
    a, b = widened(np.asarray(a)), widened(np.asarray(b))
    if np.isfinite(a).all():
        return float(np.sum(np.conj(a) * b).real)
    with np.errstate(invalid="ignore"):
        return float(np.sum(np.conj(a[b != 0]) * b[b != 0]).real)
