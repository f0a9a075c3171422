r"""Arithmetic in 100 decimal digits on arrays of objects, and the activations in it.

Every number of the vectors is computed here and rounded once, at the end, to the nearest double. What is shipped is
therefore the exact result for the exact inputs, correctly rounded, and does not depend on the machine, its BLAS, its
mathematical library or the number of threads: another order of summation moves the 100th digit, not the 17th.

Why so many: the inputs are short numbers of 21 bits, so that a product of three or four of them ends soon after the
last bit of a double, and now and then exactly in the middle between two doubles. With 100 digits such numbers are
exact, and the rule for the middle (to the even one) decides; with 50 digits 86 of 3,640 arrays differ in a last bit.

Python's ``decimal`` gives +, -, *, /, square root, exponential and logarithm; sine, cosine and erf are their power
series, with as many digits more as the terms cancel.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_EVEN, Context, Decimal, getcontext, localcontext
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DIGITS = 100
ZERO, ONE, TWO = Decimal(0), Decimal(1), Decimal(2)
SLOPE = Decimal.from_float(0.01)
"""The slope of leaky relu: the double nearest to 0.01, as in any program that works in double precision."""


@contextmanager
def digits(count: int = DIGITS) -> Iterator[None]:
    """Work with so many digits, whatever context the caller has set."""
    with localcontext(Context(prec=count, rounding=ROUND_HALF_EVEN, Emin=-999999, Emax=999999)):
        yield


class Complex:
    """A complex number of two decimals: just what products, sums and conjugates need."""

    __slots__ = ("imag", "real")

    def __init__(self, real: Decimal, imag: Decimal = ZERO) -> None:
        self.real, self.imag = real, imag

    def __add__(self, other: "Complex | Decimal") -> "Complex":
        return Complex(self.real + other.real, self.imag + other.imag)

    __radd__ = __add__

    def __sub__(self, other: "Complex | Decimal") -> "Complex":
        return Complex(self.real - other.real, self.imag - other.imag)

    def __mul__(self, other: "Complex | Decimal") -> "Complex":
        a, b, c, d = self.real, self.imag, other.real, other.imag
        return Complex(a * c - b * d, a * d + b * c)

    __rmul__ = __mul__

    def conjugate(self) -> "Complex":
        """Return the complex conjugate."""
        return Complex(self.real, -self.imag)


def exact(array: Any) -> Array:
    """Return an array of numbers as one of decimals (of pairs of them where it is complex), without any rounding."""
    given = np.asarray(array)
    found = np.empty(given.size, object)
    for place, number in enumerate(given.reshape(-1).tolist()):
        if isinstance(number, complex):
            found[place] = Complex(Decimal(number.real), Decimal(number.imag))
        else:
            found[place] = Decimal(number)
    return found.reshape(given.shape)


def rounded(array: Any) -> Array:
    """Return the nearest doubles; never a negative zero."""
    given = np.asarray(array, object)
    complex_ = any(isinstance(number, Complex) for number in given.flat)
    numbers = [complex(float(n.real), float(n.imag)) if complex_ else float(n) for n in given.flat]
    return (np.array(numbers, np.complex128 if complex_ else np.float64) + 0.0).reshape(given.shape)


def each(function: Callable[[Decimal], Decimal], array: Array) -> Array:
    """Apply a function of a decimal to every entry."""
    found = np.empty(array.size, object)
    for place, number in enumerate(array.flat):
        found[place] = function(number)
    return found.reshape(array.shape)


def conj(array: Array) -> Array:
    """Return the conjugates."""
    return np.asarray(np.conjugate(array), object)


def inner(a: Array, b: Array) -> Decimal:
    """Return ``Re sum conj(a) b``."""
    return sum((x.real * y.real + x.imag * y.imag for x, y in zip(a.flat, b.flat, strict=True)), ZERO)


@lru_cache
def _pi(count: int) -> Decimal:
    with localcontext() as context:  # Machin: pi / 4 = 4 atan(1/5) - atan(1/239)
        context.prec = count + 10
        return 4 * (4 * _atan_of_one_over(5) - _atan_of_one_over(239))


def _atan_of_one_over(n: int) -> Decimal:
    x = ONE / n
    return _series(x, x, lambda term, k: -term * x * x * (2 * k - 1) / (2 * k + 1))


def pi() -> Decimal:
    """Return pi with the digits that are worked with."""
    return +_pi(getcontext().prec)


def sine(z: Decimal) -> Decimal:
    """Return sin z by its power series."""
    return _series(z, z, lambda term, n: -term * z * z / ((2 * n) * (2 * n + 1)))


def cosine(z: Decimal) -> Decimal:
    """Return cos z by its power series."""
    return _series(z, ONE, lambda term, n: -term * z * z / ((2 * n - 1) * (2 * n)))


def erf(z: Decimal) -> Decimal:
    """Return erf z = 2 / sqrt(pi) sum_n (-1)^n z^(2n+1) / (n! (2n+1)) by that series."""
    if z * z > 3 * getcontext().prec:  # what is missing to 1 is below e^(-z^2)
        return ONE.copy_sign(z)
    return _series(z, z, lambda term, n: -term * z * z * (2 * n - 1) / (n * (2 * n + 1)), 2 / pi().sqrt())


def _series(z: Decimal, first: Decimal, next_: Callable[[Decimal, int], Decimal], factor: Decimal = ONE) -> Decimal:
    with localcontext() as context:
        context.prec += 15 + int(abs(z)) + int(z * z / 2)  # the largest term is below e^(z^2) for erf, e^z for others
        total, term, n = first, first, 1
        while term and (n < z * z + 2 or abs(term) > Decimal(10) ** (-context.prec) * abs(total)):
            term = next_(term, n)
            total += term
            n += 1
    return total * factor


def tanh(z: Decimal) -> Decimal:
    """Return tanh z."""
    if abs(z) < Decimal("1e-3"):  # 1 - exp(-2z) would cancel
        with localcontext() as context:
            context.prec += 60
            e = (-2 * z).exp()
            return (1 - e) / (1 + e)
    e = (-2 * abs(z)).exp()
    return ((1 - e) / (1 + e)).copy_sign(z)


def logistic(z: Decimal) -> Decimal:
    """Return 1 / (1 + exp(-z))."""
    return 1 / (1 + (-z).exp())


def _cdf(z: Decimal) -> Decimal:
    if abs(z) > 50:
        return ONE if z > 0 else ZERO  # the difference is no double
    with localcontext() as context:
        context.prec += 20 + int(z * z / 4)  # where z is far below zero the two cancel
        return (1 + erf(z / TWO.sqrt())) / 2


def _density(z: Decimal) -> Decimal:
    return (-z * z / 2).exp() / (2 * pi()).sqrt()


Elementwise = Callable[[Decimal], Decimal]
ACTIVATIONS: dict[str, tuple[Elementwise, Elementwise]] = {
    "identity": (lambda z: z, lambda z: ONE),
    "relu": (lambda z: z if z > 0 else ZERO, lambda z: ONE if z > 0 else ZERO),
    "leaky_relu": (lambda z: z if z > 0 else SLOPE * z, lambda z: ONE if z > 0 else SLOPE),
    "tanh": (tanh, lambda z: 1 - tanh(z) ** 2),
    "sigmoid": (logistic, lambda z: logistic(z) * (1 - logistic(z))),
    "gelu": (lambda z: z * _cdf(z), lambda z: _cdf(z) + z * _density(z)),
    "silu": (lambda z: z * logistic(z), lambda z: logistic(z) * (1 + z * (1 - logistic(z)))),
    "sin": (sine, cosine),
}
"""Activation by name: sigma and sigma'."""
