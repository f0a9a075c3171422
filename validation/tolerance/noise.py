"""Arithmetic that stands for every honest one: exact in row 0, with the noise of rounding in the others.

After each operation every entry of a row is moved by an amount that no honest implementation exceeds in the mean
square, with a random sign; see ``docs/tolerances.md`` for where each amount comes from.
"""

from collections.abc import Sequence

import numpy as np

from adntn_ref.ad.activations import Activation

from .precision import Precision
from .signs import Signs
from .tape import Array

ROUNDING = 0.6
"""Root mean square of one rounding error over u: uniform errors have 1/sqrt(3)."""
COMPLEX = 1.0
"""The same for a product of complex numbers, two products and a sum in each part."""
FUNCTION = 2.0
"""Root mean square error of an activation or its derivative, over u times its scale: libraries are good to 1-2 u."""
COMMON = 1.0
"""Root mean square of the relative error that all entries of a result share, over u."""
DRIFT = 1.5
"""Largest error of a sum of n terms over n u times the sum of their sizes; the theorem says 1, products counted in."""
OVERFLOW = 0.9
"""From this power of the largest number on, partial results in another order of contraction may overflow."""
LOST = 0.25
"""Where the argument of a curved activation is off by this in the mean, first order says nothing any more."""


class Noise:
    """Rounding noise of a precision.

    Parameters
    ----------
    precision : whose
    rows : number of noisy runs beside the exact one
    safety : by which the root mean square error is multiplied in the end
    magnified : how much larger the noise is made than it is, for a precision as fine as that of the simulation
    inputs_rounded : whether given numbers are rounded before use
    flips : for each activation with a kink, in order, where the slope of the other side is taken at random; None for
        the slopes of the exact run everywhere
    """

    def __init__(
        self,
        precision: Precision,
        rows: int,
        safety: float,
        magnified: float = 1.0,
        inputs_rounded: bool = False,
        flips: Sequence[Array] | None = None,
    ) -> None:
        self.precision, self.rows, self.safety = precision, rows, safety
        self.magnified, self.inputs_rounded = magnified, inputs_rounded
        self.uncertain: list[Array] = []
        """For each activation with a kink, in order: where its argument is within its own error of the kink."""
        self._flips = None if flips is None else iter(flips)
        self._unit = precision.unit * magnified
        self._least = precision.least * magnified
        self._product = COMPLEX if precision.complex else ROUNDING
        self._signs = Signs(precision, rows, seed=int(flips is not None))
        self._first_key = self._signs.key()

    def leaf(self, array: Array, core: bool) -> Array:
        """Return the number in all rows. That of a core carries one rounding: Kronecker products of cores do."""
        wide = np.asarray(array, np.complex128 if self.precision.complex else np.float64)
        y = np.repeat(wide[None], self.rows + 1, axis=0)
        amount = self._product * self._unit * np.abs(wide)
        if core:
            y = self._moved(y, amount, wide)
        if self.inputs_rounded:  # equal numbers are rounded alike, in whatever core
            y[1:] += amount * self._signs.of(wide, self._first_key)
        return y

    def matmul(self, a: Array, b: Array) -> Array:
        """Return the product; a sum of n terms is off by ``0.6 sqrt(n) u sum |a b|`` in any order."""
        with np.errstate(all="ignore"):
            y, scale = np.matmul(a, b), np.matmul(size(a), size(b))
        return self._rounded(np.broadcast_to(y, (self.rows + 1, *y.shape[1:])), scale, a.shape[-1])

    def add(self, a: Array, b: Array) -> Array:
        """Return the sum, rounded once."""
        return self._rounded(a + b, size(a) + size(b), 1)

    def multiply(self, a: Array, b: Array) -> Array:
        """Return the elementwise product, rounded once."""
        with np.errstate(all="ignore"):
            y, scale = a * b, size(a) * size(b)
        return self._rounded(y, scale, 1)

    def activate(self, z: Array, activation: Activation) -> tuple[Array, Array]:
        """Return sigma(z) and sigma'(z), each off by ``2 u`` times its scale."""
        if activation.kinks:
            return self._kinked(z, activation)
        with np.errstate(all="ignore"):
            x = np.asarray(activation.sigma(z))
            slope = np.asarray(activation.first(z, x))
            lost = self._spread(z) > LOST
        if activation.name == "identity":
            return x, slope
        unit = FUNCTION * self._unit
        moved = self._moved(x, unit * value_scale(activation.name, size(z), size(x)), x[0])
        slope = self._moved(slope, unit * np.ones(x.shape[1:]), x[0])
        for rows in (moved, slope):
            rows[1:, lost] = np.inf
        return moved, slope

    def _kinked(self, z: Array, activation: Activation) -> tuple[Array, Array]:
        """As ``activate``; the slopes are those of the exact run, and noise near a kink passes by the steepest one."""
        exact = z[0]
        with np.errstate(all="ignore"):
            change, spread = z - exact, self._spread(z)
            near = np.zeros(exact.shape, bool)
            for kink in activation.kinks:
                near |= (np.abs(exact - kink) <= self.safety * spread) & (spread > 0)
            x, slope = np.asarray(activation.sigma(exact)), np.asarray(activation.first(exact, activation.sigma(exact)))
            passing = np.where(near, max(abs(s) for s in sides(activation)), slope)
            moved = x + np.where(passing == 0, 0, passing * change)
        self.uncertain.append(near)
        slopes = np.repeat(slope[None], self.rows + 1, axis=0)
        if self._flips is not None and (flips := next(self._flips)).any():
            flipped = self._signs.independent((self.rows, int(flips.sum()))) > 0
            slopes[1:, flips] = np.where(flipped, sum(sides(activation)) - slope[flips], slope[flips])
        if activation.name == "relu":  # it is exact
            return moved, slopes
        return self._rounded(moved, size(moved), 1), self._moved(slopes, self._unit * np.abs(slope), slope)

    def _spread(self, z: Array) -> Array:
        """Return the root mean square error of every entry, as it is and not magnified."""
        return np.asarray(np.sqrt(np.mean(np.abs(z[1:] - z[0]) ** 2, axis=0)) / self.magnified)

    def _rounded(self, y: Array, scale: Array, n: int) -> Array:
        """Add the noise of a sum of n products whose absolute values add up to ``scale``."""
        # A bound once the safety factor is on it: equal terms added one by one all err to one side.
        relative = max(self._product * np.sqrt(n), DRIFT * n / self.safety) * self.precision.unit
        relative = min(relative, 2 / self.safety) * self.magnified
        tiny = max(np.sqrt(n), n / self.safety) * self._least
        with np.errstate(all="ignore"):
            y = self._moved(y, relative * scale + np.where(scale > 0, tiny, 0.0), y[0])
            y[1:] *= 1 + COMMON * self._unit * self._signs.independent((self.rows,) + (1,) * (y.ndim - 1))
        if (over := scale >= self.precision.most**OVERFLOW).any():
            y[1:, over] = np.inf
        return y

    def _moved(self, y: Array, amount: Array, like: Array) -> Array:
        """Return a copy with every entry of the noisy rows moved up or down, alike where ``like`` is equal."""
        y = np.array(y)
        with np.errstate(all="ignore"):
            y[1:] += amount * self._signs.of(like, self._signs.key())
        return y


def size(rows: Array) -> Array:
    """Return the root mean square over the rows: where terms cancel exactly, their noise alone has a size."""
    if len(rows) == 1:
        return np.asarray(np.abs(rows[0]))
    with np.errstate(all="ignore"):
        return np.asarray(np.sqrt(np.mean((rows * np.conj(rows)).real, axis=0)))


def value_scale(name: str, z: Array, x: Array) -> Array:
    """Return what the error of sigma(z) is relative to, for any sound way of computing it.

    sigma itself for tanh; what it is made of where terms cancel: ``z (1 + erf) / 2`` and ``(1 + tanh(z / 2)) / 2``.
    """
    if name in ("gelu", "silu"):
        return np.asarray(np.abs(z))
    if name == "sigmoid":
        return np.ones_like(x)
    if name == "sin":
        return np.minimum(1.0, np.abs(z))
    return np.asarray(np.abs(x))


def sides(activation: Activation) -> tuple[float, float]:
    """Return the slopes on the two sides of the kink at 0."""
    points = np.array([-1.0, 1.0])
    low, high = np.asarray(activation.first(points, activation.sigma(points)))
    return float(low), float(high)
