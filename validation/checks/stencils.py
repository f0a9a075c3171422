"""Central differences that know whether they can be trusted, and kinks told from curvature and from rounding.

Five values on a line, at -2h, -h, 0, h and 2h, give the derivative at two steps, its extrapolation, and an estimate of
its error that a kink cannot escape, wherever in the stencil it lies: two thirds of the difference of the two
derivatives, plus a quarter of the fourth difference over h. (For slopes that jump by J at the distance r h, the
extrapolated derivative is off by J |1.5 - 1.75 r| / 3 for r < 1 and J (2 - r) / 12 beyond; the estimate covers both.)

Where the estimate is too coarse, the step is varied (:func:`closer`). A kink nearby is kept at a distance by a step
that does not reach it. At a kink the slopes ahead and behind differ by the same amount at every step, while for a
smooth function they differ in proportion to the step: that alone decides, and the claimed derivative has no part in
it.
"""

from dataclasses import dataclass

import numpy as np

from .containers import Array, Function
from .numerical import moved, step_along

FACTOR = 4.0
WIDER, CLOSER = 2, {"float64": 6, "complex128": 6, "float32": 3, "complex64": 3}
"""How many steps are tried above and below the usual one, each four times the last."""
SIGNIFICANT = 20.0
"""A jump of the slope counts where it is so many times the rounding."""


@dataclass(frozen=True)
class Slope:
    """A numerical J(x) u: arrays of the shape of ``f(x)``."""

    value: Array
    error: Array
    noise: Array
    """The part of the error that is the rounding of ``f``."""
    jump: Array
    """The slope ahead less the slope behind, absolute."""
    fourth: Array
    """The fourth difference, absolute: for a smooth function nothing but rounding."""
    kink: Array
    """Where a kink was seen that no step could keep at a distance (only set by :func:`closer`)."""
    method: str = "central differences"


def five_points(f: Function, x: Array, u: Array, here: Array, h: float) -> Slope:
    """Return J(x) u by the differences of steps h and 2h; ``here`` is ``f(x)``."""
    wide = np.result_type(here.dtype, np.float64)
    steps, values = [], []
    for t in (-2 * h, -h, h, 2 * h):
        there, went = moved(x, u, t)
        steps.append(went)
        values.append(np.asarray(f(there)).astype(wide))
    (b2, b1, a1, a2), (low2, low, high, high2) = steps, values
    centre = here.astype(wide)
    near, far = (high - low) / (a1 - b1 or 1.0), (high2 - low2) / (a2 - b2 or 1.0)
    jump = np.abs((high - centre) / (a1 or 1.0) - (low - centre) / (b1 or 1.0))
    fourth = np.abs(high2 - 4 * high + 6 * centre - 4 * low + low2)
    eps = float(np.finfo(np.result_type(here.dtype, np.float16 if here.dtype.kind not in "fc" else here.dtype)).eps)
    size = float(np.abs(x[u != 0]).max(initial=0.0)) * float(np.abs(u).max(initial=0.0))
    noise = (eps * np.maximum(np.abs(high), np.abs(centre)) + float(np.finfo(x.dtype).eps) * size * np.abs(near)) / h
    error = 2 * np.abs(near - far) / 3 + fourth / (4 * h) + noise
    value = (4 * near - far) / 3
    return Slope(value, error, noise, jump, fourth, np.zeros(value.shape, bool))


def closer(f: Function, x: Array, u: Array, here: Array, enough: Array) -> Slope:
    """Return J(x) u by the best of several steps, and where a kink stands too near for all of them.

    Parameters
    ----------
    f, x, u, here : as for :func:`five_points`
    enough : array of the shape of ``f(x)``; errors up to it need no better step, and no kink is reported
    """
    h = step_along(x, u)
    orders = range(-WIDER, CLOSER[x.dtype.name] + 1)
    widths = [h / FACTOR**k for k in orders]
    tried = [five_points(f, x, u, here, width) for width in widths]
    # What f does in its last digits shows in the fourth difference where the step is smallest.
    rough = np.maximum(tried[-1].fourth, tried[-2].fourth) / 6
    noises = np.array([np.maximum(s.noise, rough / width) for s, width in zip(tried, widths, strict=True)])
    errors = np.array([s.error for s in tried])
    best = np.argmin(np.where(np.isnan(errors), np.inf, errors), axis=0)[None]

    def pick(arrays: list[Array]) -> Array:
        return np.asarray(np.take_along_axis(np.array(arrays), best, axis=0)[0])

    error = pick(list(errors))
    jumps = np.array([s.jump for s in tried])
    seen = np.array([_persists(j, n) for j, n in zip(_columns(jumps), _columns(noises), strict=True)], bool)
    return Slope(
        pick([s.value for s in tried]),
        error,
        pick(list(noises)),
        pick([s.jump for s in tried]),
        pick([s.fourth for s in tried]),
        seen.reshape(error.shape) & (error > enough),
    )


def _columns(stack: Array) -> Array:
    return stack.reshape(len(stack), -1).T


def _persists(jumps: Array, noises: Array) -> bool:
    """Return whether the slopes differ by the same amount at three successive steps.

    Steps that are too small to reach the kink come after them: there the difference drops to nothing at once, and not
    by a factor of four a step, as curvature does.
    """
    clear = jumps > SIGNIFICANT * noises
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = jumps[1:] / jumps[:-1]
    steady = clear[1:] & clear[:-1] & (ratio >= 0.6) & (ratio <= 2.5)
    runs = [i for i in range(len(steady) - 1) if steady[i] and steady[i + 1]]
    return bool(runs) and int(np.count_nonzero(clear[runs[-1] + 3 :])) <= 1
