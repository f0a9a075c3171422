"""The activations by name: sigma, its first and second derivative, and where they have kinks.

Formulas are written in the differentiable functions, so they run on raw arrays and on variables. ``first(z, x)`` is
sigma'(z) and ``second(z, x)`` is sigma''(z), both given x = sigma(z) as well, because tanh' = 1 - x^2 needs no second
tanh.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array
from adntn_ref.errors import SpecError

LEAKY_SLOPE = 0.01


@dataclass(frozen=True)
class Activation:
    """One activation function.

    ``kinks`` are the points where sigma' jumps; ``analytic`` says that sigma extends to complex numbers near the real
    line, so that the complex step applies.
    """

    name: str
    sigma: Callable[[Array], Array]
    first: Callable[[Array, Array], Array]
    second: Callable[[Array, Array], Array]
    kinks: tuple[float, ...] = ()

    @property
    def analytic(self) -> bool:
        """Whether sigma has no kink."""
        return not self.kinks


def _zero(z: Array, x: Array) -> Array:
    return 0 * ops.positive(z)


def _one(z: Array, x: Array) -> Array:
    return 1 + _zero(z, x)


def _leaky_first(z: Array, x: Array) -> Array:
    on = ops.positive(z)
    return on + LEAKY_SLOPE * (1 - on)


def _density(z: Array) -> Array:
    """Normal density, e^{-z^2/2} / sqrt(2 pi)."""
    return ops.exp(-0.5 * z * z) * (1 / sqrt(2 * pi))


def _distribution(z: Array) -> Array:
    """Normal distribution function, (1 + erf(z / sqrt 2)) / 2."""
    return 0.5 * (1 + ops.erf(z * ops.SQRT_HALF))


def _silu_first(z: Array, x: Array) -> Array:
    s = ops.sigmoid(z)
    return s + x * (1 - s)


def _silu_second(z: Array, x: Array) -> Array:
    s = ops.sigmoid(z)
    return s * (1 - s) * (2 + z * (1 - 2 * s))


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("identity", lambda z: z, _one, _zero),
        Activation("relu", ops.relu, lambda z, x: ops.positive(z), _zero, kinks=(0.0,)),
        Activation("leaky_relu", ops.leaky_relu, _leaky_first, _zero, kinks=(0.0,)),
        Activation("tanh", ops.tanh, lambda z, x: 1 - x * x, lambda z, x: -2 * x * (1 - x * x)),
        Activation("sigmoid", ops.sigmoid, lambda z, x: x * (1 - x), lambda z, x: x * (1 - x) * (1 - 2 * x)),
        Activation(
            "gelu",
            ops.gelu,
            lambda z, x: _distribution(z) + z * _density(z),
            lambda z, x: _density(z) * (2 - z * z),
        ),
        Activation("silu", ops.silu, _silu_first, _silu_second),
        Activation("sin", ops.sin, lambda z, x: ops.cos(z), lambda z, x: -x),
    )
}
"""Activation by name; relu'(0) = 0, leaky_relu has slope 0.01, gelu is the exact one (erf)."""


def get_activation(name: str) -> Activation:
    """Return the activation called ``name``.

    Raises
    ------
    SpecError
        For an unknown name, listing those there are.

    Examples
    --------
    >>> get_activation("relu").kinks
    (0.0,)
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        got = repr(name) if isinstance(name, (str, int, float, type(None))) else f"a {type(name).__name__}"
        raise SpecError(f"no activation is called {got}; allowed: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
