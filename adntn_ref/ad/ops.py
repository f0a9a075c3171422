"""The differentiable functions: each runs on raw arrays and on tape variables alike.

A primitive's body is its forward formula on raw arrays; ``xp`` is their namespace and is supplied by the tape.
Callers leave it out: ``exp(x)``. Functions at the end are compositions of primitives and need no rule of their own.
The adjoints stand in :mod:`adntn_ref.ad.rules`.

Dtypes follow NumPy 2: a Python number takes the dtype of the array beside it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import COMPLEX, REAL, Array, backend_of, is_complex, namespace
from adntn_ref.ad.tape import FUNCTIONS, Primitive, stop_gradient
from adntn_ref.errors import ArrayError, DTypeError

PRIMITIVES: dict[str, Primitive] = {}
"""Every primitive by name; a test asks that each has a rule and stands in the test harness."""


def primitive(forward: Callable[..., Any]) -> Primitive:
    """Make a forward formula a primitive and list it."""
    return register(Primitive(forward))


def register(made: Primitive) -> Primitive:
    """List a primitive under its name."""
    PRIMITIVES[made.name] = FUNCTIONS[made.name] = made
    return made


def function(composed: Callable[..., Any]) -> Callable[..., Any]:
    """List a composition of primitives under its name, so that methods of variables find it."""
    FUNCTIONS[composed.__name__] = composed
    return composed


# Arithmetic, with broadcasting


@primitive
def add(xp: Any, a: Array, b: Array) -> Array:
    """Y = a + b."""
    return a + b


@primitive
def subtract(xp: Any, a: Array, b: Array) -> Array:
    """Y = a - b."""
    return a - b


@primitive
def multiply(xp: Any, a: Array, b: Array) -> Array:
    """Y = a b, elementwise."""
    return a * b


@primitive
def divide(xp: Any, a: Array, b: Array) -> Array:
    """Y = a / b, elementwise."""
    return a / b


@primitive
def power(xp: Any, a: Array, b: Array) -> Array:
    """Y = a^b, elementwise."""
    return a**b


@primitive
def negative(xp: Any, x: Array) -> Array:
    """Y = -x."""
    return -x


@primitive
def matrix_product(xp: Any, a: Array, b: Array) -> Array:
    """Y[.., i, k] = sum_j a[.., i, j] b[.., j, k] for matrices and stacks of them."""
    return xp.matmul(a, b)


# Shape


@primitive
def reshape(xp: Any, x: Array, shape: tuple[int, ...]) -> Array:
    """Return the same entries in C order under another shape."""
    return xp.reshape(x, shape)


@primitive
def transpose(xp: Any, x: Array, axes: tuple[int, ...] | None = None) -> Array:
    """Permute the axes; reverse them by default."""
    return xp.transpose(x, axes)


@primitive
def broadcast_to(xp: Any, x: Array, shape: tuple[int, ...]) -> Array:
    """Repeat ``x`` along new axes and axes of length 1."""
    return xp.broadcast_to(x, shape)


@primitive
def join(xp: Any, *arrays: Array, axis: int = 0) -> Array:
    """Lay arrays end to end along ``axis``."""
    return xp.concatenate(arrays, axis=axis)


@primitive
def getitem(xp: Any, x: Array, index: Any) -> Array:
    """Y = x[index], basic or advanced."""
    return x[index]


@primitive
def scatter_add(xp: Any, values: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of ``shape`` with ``values`` added at ``index``: the adjoint of ``getitem``."""
    return backend_of(values).scatter_add(values, index, shape)


@primitive
def astype(xp: Any, x: Array, dtype: str) -> Array:
    """Cast to another floating or complex dtype (complex to real takes the real part)."""
    if dtype not in (*REAL, *COMPLEX):
        raise DTypeError(f"astype to {dtype}, which has no gradient; allowed: {', '.join((*REAL, *COMPLEX))}")
    real = x.real if is_complex(x) and not dtype.startswith("complex") else x
    return real.astype(dtype) if hasattr(real, "astype") else xp.asarray(real, dtype=dtype)


@primitive
def conj_complex(xp: Any, x: Array) -> Array:
    """Complex conjugate of a complex array; :func:`conj` leaves real ones alone."""
    return xp.conj(x)


@primitive
def real_part(xp: Any, x: Array) -> Array:
    """Real part of a complex array."""
    return xp.real(x)


@primitive
def imag_part(xp: Any, x: Array) -> Array:
    """Imaginary part of a complex array."""
    return xp.imag(x)


# Choice


@primitive
def where(xp: Any, condition: Array, a: Array, b: Array) -> Array:
    """Y = a where the condition holds, else b; the condition is an array of booleans without a gradient."""
    return xp.where(condition, a, b)


@primitive
def maximum(xp: Any, a: Array, b: Array) -> Array:
    """Y = max(a, b), elementwise; at a tie each gets half of the cotangent."""
    return xp.maximum(a, b)


@primitive
def minimum(xp: Any, a: Array, b: Array) -> Array:
    """Y = min(a, b), elementwise; at a tie each gets half of the cotangent."""
    return xp.minimum(a, b)


# Reductions


@primitive
def sum(xp: Any, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """Sum over ``axis`` (all by default)."""
    return xp.sum(x, axis=axis, keepdims=keepdims)


@primitive
def max(xp: Any, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """Maximum over ``axis`` (all by default); ties share the cotangent equally."""
    return xp.max(x, axis=axis, keepdims=keepdims)


@primitive
def cumulative_sum(xp: Any, x: Array, axis: int) -> Array:
    """Y_i = x_0 + ... + x_i along ``axis``."""
    return xp.cumsum(x, axis=axis)


# Elementwise functions


@primitive
def exp(xp: Any, x: Array) -> Array:
    """Y = e^x."""
    return xp.exp(x)


@primitive
def log(xp: Any, x: Array) -> Array:
    """Natural logarithm."""
    return xp.log(x)


@primitive
def sqrt(xp: Any, x: Array) -> Array:
    """Square root."""
    return xp.sqrt(x)


@primitive
def sin(xp: Any, x: Array) -> Array:
    """Sine of an angle in radians."""
    return xp.sin(x)


@primitive
def cos(xp: Any, x: Array) -> Array:
    """Cosine of an angle in radians."""
    return xp.cos(x)


@primitive
def tanh(xp: Any, x: Array) -> Array:
    """Hyperbolic tangent."""
    return xp.tanh(x)


@primitive
def erf(xp: Any, x: Array) -> Array:
    """Error function, (2 / sqrt(pi)) times the integral of exp(-t^2) from 0 to x."""
    return backend_of(x).erf(x)


@primitive
def abs(xp: Any, x: Array) -> Array:
    """Absolute value; its derivative at 0 is taken as 0."""
    return xp.abs(x)


# Activations (conventions: relu'(0) = 0; gelu is the exact one)


@primitive
def relu(xp: Any, x: Array) -> Array:
    """max(x, 0)."""
    return xp.maximum(x, 0)


@primitive
def leaky_relu(xp: Any, x: Array) -> Array:
    """X where x > 0, else 0.01 x."""
    return xp.maximum(x, 0.01 * x)


@primitive
def sigmoid(xp: Any, x: Array) -> Array:
    """1 / (1 + e^-x), as (1 + tanh(x/2)) / 2, which overflows nowhere."""
    return 0.5 + 0.5 * xp.tanh(0.5 * x)


@primitive
def gelu(xp: Any, x: Array) -> Array:
    """X Phi(x) with Phi the normal distribution function: 0.5 x (1 + erf(x / sqrt 2))."""
    return 0.5 * x * (1 + backend_of(x).erf(x * SQRT_HALF))


@primitive
def silu(xp: Any, x: Array) -> Array:
    """X sigmoid(x)."""
    return x * (0.5 + 0.5 * xp.tanh(0.5 * x))


SQRT_HALF = 0.5**0.5


# Compositions


@function
def conj(x: Array) -> Array:
    """Complex conjugate; a real array or variable is returned as it is."""
    return conj_complex(x) if is_complex(stop_gradient(x)) else x


@function
def real(x: Array) -> Array:
    """Real part; a real array or variable is returned as it is."""
    return real_part(x) if is_complex(stop_gradient(x)) else x


@function
def imag(x: Array) -> Array:
    """Imaginary part; zeros for a real array."""
    return imag_part(x) if is_complex(stop_gradient(x)) else 0 * x


@function
def matmul(a: Array, b: Array) -> Array:
    """Matrix product; vectors and stacks of matrices as in NumPy."""
    shape_a, shape_b = (tuple(getattr(x, "shape", ())) for x in (a, b))
    if not shape_a or not shape_b:
        raise ArrayError(f"matmul needs arrays with axes, got shapes {shape_a} and {shape_b}")
    if len(shape_a) > 1 and len(shape_b) > 1:
        return matrix_product(a, b)
    row = reshape(a, shape=(1, *shape_a)) if len(shape_a) == 1 else a
    column = reshape(b, shape=(*shape_b, 1)) if len(shape_b) == 1 else b
    y = matrix_product(row, column)
    shape = list(stop_gradient(y).shape)
    if len(shape_b) == 1:
        del shape[-1]
    if len(shape_a) == 1:
        del shape[-1 if len(shape_b) == 1 else -2]
    return reshape(y, shape=tuple(shape))


@function
def concatenate(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Lay a sequence of arrays end to end along ``axis``."""
    return join(*arrays, axis=axis)


@function
def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Lay arrays of one shape side by side along a new ``axis``."""
    shapes = {tuple(stop_gradient(a).shape) for a in arrays}
    if len(shapes) != 1:
        raise ArrayError(f"stack needs arrays of one shape, got {sorted(shapes)}")
    shape = list(shapes.pop())
    shape.insert(axis % (len(shape) + 1), 1)
    return join(*(reshape(a, shape=tuple(shape)) for a in arrays), axis=axis)


@function
def mean(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """Mean over ``axis`` (all by default)."""
    total = sum(x, axis=axis, keepdims=keepdims)
    shape, reduced = stop_gradient(x).shape, stop_gradient(total).shape
    if 0 in shape:
        raise ArrayError(f"mean of an array without entries, of shape {tuple(shape)}")
    count = int(np.prod(shape, dtype=np.int64)) / int(np.prod(reduced, dtype=np.int64))
    return multiply(total, 1.0 / count)


@function
def square(x: Array) -> Array:
    """Y = x x (not |x|^2 for complex x)."""
    return multiply(x, x)


@function
def cumsum(x: Array, axis: int | None = None) -> Array:
    """Running sum along ``axis``; without one, over all entries in C order."""
    return cumulative_sum(reshape(x, shape=(-1,)) if axis is None else x, axis=axis or 0)


@function
def clip(x: Array, low: Any = None, high: Any = None) -> Array:
    """Return x where low <= x <= high, else the bound; at a bound, as at any tie, half of the cotangent is x's."""
    raised = x if low is None else maximum(x, low)
    return raised if high is None else minimum(raised, high)


@function
def positive(x: Array) -> Array:
    """1 where x > 0, else 0, in the dtype of x: the derivative of relu, itself without a gradient."""
    raw = stop_gradient(x)
    return astype(raw.real > 0 if is_complex(raw) else raw > 0, dtype=raw.dtype.name)


def unit_vector(length: int, like: Array) -> Array:
    """Return (1, 0, ..., 0), raw, in the array library and dtype of ``like``."""
    raw = stop_gradient(like)
    return namespace(raw).eye(1, length, dtype=raw.dtype)[0]


def unit_matrix(size: int, like: Array) -> Array:
    """Return the unit matrix, raw, in the array library and dtype of ``like``."""
    raw = stop_gradient(like)
    return namespace(raw).eye(size, dtype=raw.dtype)
