"""Honest implementations in every precision: each operation rounded, sums in many orders, with FMA and without.

They measure the margin of :func:`~adntn_ref.validation.tolerance.allowed_errors`; nothing in it is made from them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.activations import LEAKY_SLOPE, Activation
from adntn_ref.networks import Network

from .allowed import run
from .networks import PLAIN, Cores, Order
from .tape import Array

HOLDS = {"bfloat16": "float32"}
"""The dtype that holds the numbers of a precision that NumPy has not."""

SUMS = ("left", "right", "shuffled", "sorted", "largest", "smallest", "pairwise", "fma", "once", "matmul")
"""Orders of summation: from the left, from the right, shuffled, negative terms first, by falling and by growing size,
pairwise, from the left with fused multiply-add, exactly and then rounded once, NumPy's own product in the precision."""


@dataclass(frozen=True)
class Way:
    """A way of running a network honestly: an order of summation and one of contraction."""

    sums: str
    order: Order = PLAIN

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.sums + ", merged" * self.order.merged + ", backwards" * self.order.backwards


WAYS = (
    *(Way(sums) for sums in SUMS),
    *(Way(sums, Order(merged=True)) for sums in ("left", "fma", "matmul")),
    *(Way(sums, Order(backwards=True)) for sums in ("left", "matmul")),
    Way("matmul", Order(merged=True, backwards=True)),
)
"""All of them."""


def honest(net: Network, cores: Cores, cotangent: Any, dtype: str, way: Way, seed: int = 0) -> dict[str, Array]:
    """Return every quantity of a network as an honest implementation in ``dtype`` gives it.

    Parameters
    ----------
    net, cores, cotangent : numbers are rounded to ``dtype`` first, which changes nothing where they are of it
    dtype : as for ``allowed_errors``
    way : one of ``WAYS``
    seed : of the shuffling
    """
    with np.errstate(all="ignore"):
        found = run(net, cores, cotangent, Rounded(dtype, way.sums, seed), way.order)
    return {name: rows[0] for name, rows in found.items()}


def rounded(array: Array, dtype: str) -> Array:
    """Return numbers rounded to a precision, in a dtype that holds them.

    Examples
    --------
    >>> float(rounded(np.array(1.003), "bfloat16"))
    1.0
    """
    if dtype != "bfloat16":
        return np.asarray(array).astype(dtype)
    single = np.asarray(array, np.float32)
    bits = single.view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)  # ties go to the even one
    whole = ((bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isfinite(single), whole, single)


class Rounded:
    """The arithmetic of one precision, with one order of summation."""

    def __init__(self, dtype: str, sums: str, seed: int = 0) -> None:
        self._dtype, self._sums = dtype, sums
        self._rng = np.random.default_rng(seed)

    def _round(self, array: Array) -> Array:
        return rounded(array, self._dtype)

    def leaf(self, array: Array, core: bool) -> Array:
        """Return the number, rounded."""
        return self._round(np.asarray(array))[None]

    def add(self, a: Array, b: Array) -> Array:
        """Return a + b."""
        return self._round(a + b)

    def multiply(self, a: Array, b: Array) -> Array:
        """Return a b."""
        return self._round(self._round(a) * self._round(b))

    def matmul(self, a: Array, b: Array) -> Array:
        """Return the product of matrices, its terms added up in the given order."""
        a, b = self._round(a), self._round(b)
        if self._sums == "matmul" and self._dtype != "bfloat16":
            product: Array = np.matmul(a, b)
            return product
        if self._sums == "once":
            wide = np.complex128 if np.iscomplexobj(a) else np.float64
            return self._round(np.matmul(a.astype(wide), b.astype(wide)))
        if self._sums == "fma":
            return self._fused(a, b)
        terms = self._round(np.swapaxes(a, -1, -2)[..., :, :, None] * b[..., :, None, :])
        terms = np.moveaxis(terms, -3, 0)
        return self._sum(self._ordered(terms))

    def _ordered(self, terms: Array) -> Array:
        match self._sums:
            case "right":
                return terms[::-1]
            case "shuffled":
                return self._rng.permuted(terms, axis=0)
            case "sorted":
                return np.sort(terms, axis=0)
            case "largest" | "smallest":
                size = np.argsort(np.abs(terms), axis=0)
                return np.take_along_axis(terms, size if self._sums == "smallest" else size[::-1], axis=0)
        return terms

    def _sum(self, terms: Array) -> Array:
        if self._sums == "pairwise":
            while len(terms) > 1:
                odd = terms[len(terms) & ~1 :]
                terms = np.concatenate([self._round(terms[0 : len(terms) & ~1 : 2] + terms[1::2]), odd])
            return np.asarray(terms[0])
        total = terms[0]
        for term in terms[1:]:
            total = self._round(total + term)
        return np.asarray(total)

    def _fused(self, a: Array, b: Array) -> Array:
        """Return the product with one rounding for each multiplication and addition together."""
        wide = np.complex128 if np.iscomplexobj(a) else np.float64
        total: Array = np.zeros((), self._dtype if self._dtype != "bfloat16" else "float32")
        for k in range(a.shape[-1]):
            term = a[..., :, k, None].astype(wide) * b[..., k, None, :].astype(wide)
            total = self._round(total.astype(wide) + term)
        return total

    def activate(self, z: Array, activation: Activation) -> tuple[Array, Array]:
        """Return sigma(z) and sigma'(z), every operation of their formulas rounded."""
        z = self._round(z)
        return FORMULAS[activation.name](z, self._round)


Round = Callable[[Array], Array]
Both = tuple[Array, Array]


def _function(f: Callable[[Array], Array], z: Array, r: Round) -> Array:
    return r(np.asarray(f(z.astype(np.float64))))


def _sigmoid(z: Array, r: Round) -> Array:
    return r(1 / r(1 + _function(np.exp, -z, r)))


def _tanh(z: Array, r: Round) -> Both:
    x = _function(np.tanh, z, r)
    return x, r(1 - r(x * x))


def _logistic(z: Array, r: Round) -> Both:
    x = _sigmoid(z, r)
    return x, r(x * r(1 - x))


def _silu(z: Array, r: Round) -> Both:
    s = _sigmoid(z, r)
    x = r(z * s)
    return x, r(s + r(x * r(1 - s)))


def _gelu(z: Array, r: Round) -> Both:
    part = r(1 + _function(ops.erf, r(z * r(np.asarray(sqrt(0.5)))), r))
    half = r(z * z.dtype.type(0.5))
    density = r(_function(np.exp, -r(half * z), r) * r(np.asarray(1 / sqrt(2 * pi))))
    return r(half * part), r(r(part * z.dtype.type(0.5)) + r(z * density))


def _leaky(z: Array, r: Round) -> Both:
    slope = r(np.where(z > 0, 1.0, LEAKY_SLOPE).astype(z.dtype))
    return r(z * slope), slope


FORMULAS: dict[str, Callable[[Array, Round], Both]] = {
    "identity": lambda z, r: (z, np.ones_like(z)),
    "relu": lambda z, r: (np.maximum(z, 0), (z > 0).astype(z.dtype)),
    "leaky_relu": _leaky,
    "tanh": _tanh,
    "sigmoid": _logistic,
    "gelu": _gelu,
    "silu": _silu,
    "sin": lambda z, r: (_function(np.sin, z, r), _function(np.cos, z, r)),
}
"""The usual formula of each activation and its derivative."""
