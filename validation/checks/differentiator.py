"""The numerical derivative of one input of a function: which method can be trusted, and what to do near a kink."""

import warnings
from dataclasses import replace

import numpy as np

from .containers import Array, Function, normal, units_at, widened
from .judging import CENTRAL_RTOL
from .numerical import complex_step_directional, step_along
from .stencils import Slope, closer, five_points

METHODS = ("auto", "complex", "central")
NAMES = {"complex": "complex step", "central": "central differences"}
TRIALS = 4


class Differentiator:
    """J(x) u of one function of one array, by the method asked for or the best that can be trusted.

    The ladder of "auto": the complex step, if ``f`` maps real to real and keeps an imaginary part, *and* agrees with
    central differences along a random direction (code that conjugates keeps complex arrays and is still wrong); else
    central differences. Single precision is given to ``f`` as double where ``f`` then answers in double: the
    derivative at those very numbers, without the rounding; else differences are taken in single precision.
    """

    def __init__(self, f: Function, x: Array, method: str, widen: bool, rng: np.random.Generator) -> None:
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; allowed: {', '.join(METHODS)}")
        if x.dtype.name not in CENTRAL_RTOL:
            raise TypeError(f"x has dtype {x.dtype}; derivatives are for {', '.join(CENTRAL_RTOL)}")
        self.f, self.x = f, x
        self.here = np.asarray(f(x))
        if widen and widened(x).dtype != x.dtype:
            self._widen(rng)
        self.coarse = self.x.dtype.name in ("float32", "complex64")
        self.asked = method
        if method == "auto":
            method = "complex" if self._analytic(rng) else "central"
        self.method = NAMES[method]

    def slope(self, u: Array) -> Slope:
        """Return J(x) u at the usual step."""
        if self.method == "complex step":
            return self._complex(u)
        return five_points(self.f, self.x, u.astype(self.x.dtype), self.here, step_along(self.x, u))

    def closer(self, u: Array, cap: Array, loose: Array) -> Slope:
        """Return J(x) u again, with all that can be done to know it, and where a kink stands in the way.

        Parameters
        ----------
        u : direction
        cap : errors that matter for this method, shaped like ``f(x)``
        loose : errors that matter for central differences
        """
        u = u.astype(self.x.dtype)
        if self.method != "complex step":
            return closer(self.f, self.x, u, self.here, cap)
        slope = self._complex(u)
        jumps = [np.abs(self._complex(u, t).value - self._complex(u, -t).value) for t in self._nearby(u)]
        kink = (jumps[0] > cap) & (jumps[0] > 0.5 * jumps[1])
        slope = replace(slope, kink=kink)
        if self.asked == "complex" or kink.all():
            return slope
        other = closer(self.f, self.x, u, self.here, loose)
        contradicted = (other.error <= loose) & (np.abs(other.value - slope.value) > 10 * other.error + loose) & ~kink
        return other if contradicted.any() else slope

    def _nearby(self, u: Array) -> tuple[float, float]:
        """Return two distances of a few roundings: a slope that jumps over the smaller one does so at a kink."""
        unit = float(np.finfo(self.x.dtype).eps) * step_along(self.x, u, 1.0)
        return 8 * unit, 64 * unit

    def _complex(self, u: Array, away: float = 0.0) -> Slope:
        value = complex_step_directional(self.f, self.x + away * u, u)
        zero = np.zeros(value.shape)
        return Slope(value, zero, zero, zero, zero, np.zeros(value.shape, bool), NAMES["complex"])

    def _widen(self, rng: np.random.Generator) -> None:
        """Go over to double precision if ``f`` follows."""
        wide = widened(self.x)
        u = widened(normal(rng, self.x))
        try:
            here = np.asarray(self.f(wide))
            if here.dtype.name not in ("float64", "complex128") or here.shape != self.here.shape:
                return
            usual = five_points(self.f, wide, u, here, step_along(wide, u)).value
            small = five_points(self.f, wide, u, here, step_along(wide, u, 1e-8)).value
        except Exception:  # whatever f raises, it does not take double precision
            return
        # Code that rounds to single precision inside answers to so small a step by nothing, or by a whole rounding.
        if _largest(small - usual) <= 1e-2 * _largest(usual) + 1e-6 * _largest(here):
            self.x, self.here = wide, here

    def _analytic(self, rng: np.random.Generator) -> bool:
        """Return whether the complex step can be taken, and agrees with central differences where these can tell."""
        if np.iscomplexobj(self.x) or self.coarse or np.iscomplexobj(self.here):
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                if not np.iscomplexobj(self.f(self.x.astype(np.complex128))):
                    return False
        except Exception:  # whatever f raises, it does not take complex arrays
            return False
        for trial in range(TRIALS if self.x.size else 0):
            if trial == 0:
                u = normal(rng, self.x)
            else:
                place = np.unravel_index(int(rng.integers(self.x.size)), self.x.shape)
                u = next(iter(units_at(self.x, tuple(int(i) for i in place))))[2]
            exact = self._complex(u)
            rough = five_points(self.f, self.x, u, self.here, step_along(self.x, u))
            loose = CENTRAL_RTOL["float64"] * _largest(rough.value)
            known = rough.error - rough.noise <= loose
            if known.all():
                return bool((np.abs(exact.value - rough.value) <= 10 * rough.error + loose).all())
        return True


def _largest(a: Array) -> float:
    return float(np.abs(a).max(initial=0.0))
