"""The activations with their derivatives, right and wrong."""

from collections.abc import Callable
from math import pi, sqrt

import numpy as np
from scipy.special import erf

from .parts import Array, Sigma, Wrong

Pair = tuple[Callable[[Array], Array], Callable[[Array], Array]]


def sigma_of(name: str, wrong: Wrong) -> Sigma:
    """Return sigma and the derivative that the backward pass takes, as functions of the pre-activation.

    Parameters
    ----------
    name : name of the activation
    wrong : names of mistakes
    """
    for always in ("relu", "tanh"):
        if f"activation-always-{always}" in wrong and name != "identity":
            name = always
    sigma, derivative = _functions(name, wrong)
    if "derivative-missing" in wrong:
        return Sigma(sigma, np.ones_like)
    if "gradient-stops-at-activation" in wrong and name != "identity":
        return Sigma(sigma, np.zeros_like)
    if "derivative-formula-at-input" in wrong and name in ("tanh", "sigmoid"):
        # tanh' = 1 - x^2 and sigmoid' = x (1 - x) are formulas in x = sigma(z); here z stands in them
        return Sigma(sigma, (lambda z: 1 - z * z) if name == "tanh" else (lambda z: z * (1 - z)))
    kinked = name in ("relu", "leaky_relu")
    if "derivative-at-output" in wrong:
        return Sigma(sigma, lambda z: derivative(sigma(z)), kinked)
    return Sigma(sigma, derivative, kinked)


def _functions(name: str, wrong: Wrong) -> Pair:
    slope = 0.1 if "leaky-slope-tenth" in wrong else 0.2 if "leaky-slope-fifth" in wrong else 0.01
    at_zero = 1.0 if "relu-at-zero-one" in wrong else 0.5 if "relu-at-zero-half" in wrong else 0.0
    table: dict[str, Pair] = {
        "identity": (lambda z: z, np.ones_like),
        "relu": (lambda z: np.maximum(z, 0.0), lambda z: np.heaviside(z, at_zero)),
        "leaky_relu": (
            lambda z: np.where(z > 0, z, slope * z),
            lambda z: slope + (1 - slope) * np.heaviside(z, at_zero),
        ),
        "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "sigmoid": (_logistic, lambda z: _logistic(z) * _logistic(-z)),
        "gelu": _gelu_tanh() if "gelu-tanh" in wrong else _gelu(),
        "silu": (
            lambda z: z * _logistic(z),
            lambda z: _logistic(z) * (1 + z * _logistic(-z)),
        ),
        "sin": (np.sin, np.cos),
    }
    return table[name]


def _logistic(z: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * z))


def _gelu() -> Pair:
    def share(z: Array) -> Array:
        return 0.5 * (1 + np.asarray(erf(z / sqrt(2))))

    return lambda z: z * share(z), lambda z: share(z) + z * np.exp(-z * z / 2) / sqrt(2 * pi)


def _gelu_tanh() -> Pair:
    """``z (1 + tanh u) / 2`` with ``u = sqrt(2 / pi) (z + 0.044715 z^3)``: an approximation, off by up to 5e-4."""
    scale, cubic = sqrt(2 / pi), 0.044715

    def turn(z: Array) -> Array:
        return np.tanh(scale * (z + cubic * z**3))

    def derivative(z: Array) -> Array:
        inner = scale * (1 + 3 * cubic * z * z)
        return np.asarray(0.5 * (1 + turn(z)) + 0.5 * z * (1 - turn(z) ** 2) * inner)

    return lambda z: 0.5 * z * (1 + turn(z)), derivative
