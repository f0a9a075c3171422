"""The tape's variable as an array library of autoray's, so that whatever is written with autoray runs on it.

cotengra's ``array_contract`` and quimb's tensor networks, for instance, contract variables and are differentiated.
autoray looks functions up in this library's module, :mod:`adntn_ref.ad`; what neighbours ask for besides stands here.
Those that have no derivative (comparisons, counts) return raw arrays; arrays made from nothing are NumPy's.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from adntn_ref.ad import linalg, ops
from adntn_ref.ad.arrays import Array, namespace, register_library
from adntn_ref.ad.tape import Var, stop_gradient

NAME = "adntn_ref.ad"
"""What autoray calls the library: the module with its functions."""


def _raw(name: str) -> Callable[..., Any]:
    """Return a function without a derivative, of the raw arrays' own library."""

    def call(*args: Any, **options: Any) -> Any:
        raw = [stop_gradient(x) for x in args]
        library = next((namespace(x) for x in raw if hasattr(x, "dtype")), np)
        return getattr(library, name)(*raw, **options)

    return call


def _log10(x: Array) -> Array:
    return ops.log(x) * (1 / np.log(10.0))


def _log2(x: Array) -> Array:
    return ops.log(x) * (1 / np.log(2.0))


def _ravel(x: Array) -> Array:
    return ops.reshape(x, shape=(-1,))


def _squeeze(x: Array, axis: Any = None) -> Array:
    shape = tuple(x.shape)
    chosen = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = {a % len(shape) for a in chosen}
    return ops.reshape(x, shape=tuple(n for i, n in enumerate(shape) if not (i in gone and n == 1)))


def _expand_dims(x: Array, axis: int) -> Array:
    shape = list(x.shape)
    shape.insert(axis % (len(shape) + 1), 1)
    return ops.reshape(x, shape=tuple(shape))


def _swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    order = list(range(len(x.shape)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return ops.transpose(x, axes=tuple(order))


def _dot(a: Array, b: Array) -> Array:
    return ops.matmul(a, b) if len(a.shape) and len(b.shape) else ops.multiply(a, b)


def _outer(a: Array, b: Array) -> Array:
    return ops.multiply(ops.reshape(a, shape=(-1, 1)), ops.reshape(b, shape=(1, -1)))


def _asarray(x: Any, **options: Any) -> Any:
    return x if isinstance(x, Var) else np.asarray(x, **options)


WITHOUT_A_DERIVATIVE = (
    *("all", "any", "allclose", "argmax", "argmin", "argsort", "array_equal", "count_nonzero", "equal", "greater"),
    *("greater_equal", "isclose", "isfinite", "isnan", "less", "less_equal", "not_equal", "ones_like", "round", "sign"),
    *("floor", "zeros_like"),
)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _raw(name) for name in WITHOUT_A_DERIVATIVE},
    **{name: getattr(np, name) for name in ("arange", "eye", "identity", "linspace", "ones", "zeros")},
    "array": _asarray,
    "asarray": _asarray,
    "dot": _dot,
    "expand_dims": _expand_dims,
    "linalg.norm": linalg.norm,
    "linalg.qr": linalg.qr,
    "linalg.solve": linalg.solve,
    "linalg.svd": linalg.svd,
    "log10": _log10,
    "log2": _log2,
    "outer": _outer,
    "ravel": _ravel,
    "squeeze": _squeeze,
    "swapaxes": _swapaxes,
    "true_divide": ops.divide,
}
"""What autoray finds under other names than :mod:`adntn_ref.ad` has, or only here."""

register_library(Var, NAME, FUNCTIONS, any_of_three=("where", "maximum", "minimum", "power", "linalg.solve"))
