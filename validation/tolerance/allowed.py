"""How large an error an honest implementation may show, entry by entry."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from adntn_ref.errors import SpecError
from adntn_ref.networks import Network, Stack
from adntn_ref.networks.programmed import ProgramNetwork

from ..case import cores_of, network_of
from .networks import PLAIN, Cores, Order, build
from .noise import Noise
from .precision import Precision, precision_of
from .tape import Arithmetic, Array, Tape

SAFETY = 8.0
"""Allowed error over its root mean square."""
ROWS = 32
"""Noisy runs that the root mean square is taken over."""
FLIPPED = 3.0
"""Allowed effect of kinks over the largest seen in ``ROWS`` runs with random choices."""
ORDERS = (PLAIN, Order(backwards=True))
"""Orders of contraction that the noise is put into: partial results differ in size, and small ones may be lost."""
MAGNIFIED = 2.0**17
"""In double precision the noise is made so many times larger, so that the rounding of the simulation is lost in it."""


def allowed_errors(
    spec: Mapping[str, Any],
    params: Mapping[str, Array],
    cotangent: Any,
    dtype: str,
    quantities: Sequence[str] | None = None,
    *,
    inputs_rounded: bool = False,
) -> dict[str, Array]:
    """Return the largest error of every entry that an honest implementation working in ``dtype`` may show.

    ``allowed = max(8 rms, 4 largest) + kinks + u |value| + smallest number``: rms and largest of the errors in runs of
    the program with rounding noise after every operation, whose size holds for every order of summation, with FMA or
    without; ``kinks`` is what changes where the argument of relu or leaky_relu is so near 0 that rounding decides on
    which side it lies; the last two terms are for storing the result. See ``docs/tolerances.md``.

    Parameters
    ----------
    spec : specification of the network
    params : core name -> array, and ``"frozen/" + sha256`` -> frozen weight of a delta; taken as exact
    cotangent : array of the weight's shape, or for a stack a dict of arrays; taken as exact
    dtype : float64, float32, float16, bfloat16, complex64 or complex128
    quantities : names as in :mod:`adntn_ref.validation.case`; default: all there are
    inputs_rounded : whether the implementation rounds parameters and cotangent to ``dtype`` itself, so that this is
        part of its error

    Returns
    -------
    dict
        Quantity -> float64 array of its shape. ``inf`` where the precision overflows: there nothing is asked, not even
        a finite number. Exactly 0 but for the smallest number where all that is summed is 0.

    Raises
    ------
    DTypeError
        For another dtype.
    SpecError
        For a quantity that the network has not.

    Examples
    --------
    >>> import numpy as np
    >>> spec = {"network": "lowrank", "shape": [2, 2], "rank": 1}
    >>> params = {"left": np.ones((2, 1)), "right": np.ones((1, 2))}
    >>> bound = allowed_errors(spec, params, np.ones((2, 2)), "float32")
    >>> sorted(bound), bool((bound["weight"] < 1e-5).all())
    (['gradient/left', 'gradient/right', 'weight'], True)
    """
    net, precision = network_of(spec, params), precision_of(dtype)
    allowed = _allowed(net, cores_of(params), cotangent, precision, inputs_rounded)
    if quantities is None:
        return allowed
    if missing := [name for name in quantities if name not in allowed]:
        raise SpecError(f"{net!r} has no quantity {', '.join(missing)}; it has {', '.join(allowed)}")
    return {name: allowed[name] for name in quantities}


def _allowed(
    net: Network, cores: Cores, cotangent: Any, precision: Precision, inputs_rounded: bool
) -> dict[str, Array]:
    """Return the allowed error of every quantity: the larger one of two orders of contraction."""
    fine = precision.unit < 2.0**-50
    magnified = MAGNIFIED if fine else 1.0
    # In double precision the reference is rounded as well as the implementation.
    factor = SAFETY / magnified * (2 if fine else 1)
    allowed: dict[str, Array] = {}
    uncertain: list[Array] = []
    for order in ORDERS:
        noise = Noise(precision, ROWS, SAFETY, magnified, inputs_rounded)
        for name, rows in run(net, cores, cotangent, noise, order).items():
            allowed[name] = np.maximum(_stored(rows, factor, precision), allowed.get(name, 0.0))
        uncertain = [a | b for a, b in zip(uncertain or noise.uncertain, noise.uncertain, strict=True)]
    if any(near.any() for near in uncertain):
        flipping = Noise(precision, ROWS, SAFETY, 1.0, inputs_rounded, flips=uncertain)
        for name, rows in run(net, cores, cotangent, flipping).items():
            allowed[name] = allowed[name] + FLIPPED * _largest(rows)
    return allowed


def _stored(rows: Array, factor: float, precision: Precision) -> Array:
    """Return the allowed error of a quantity from its noisy runs, row 0 the exact one."""
    with np.errstate(all="ignore"):
        error = np.sqrt(np.mean(np.abs(rows[1:] - rows[0]) ** 2, axis=0))
        error = np.maximum(error, _largest(rows) / 2)
        bound = factor * error + precision.unit * np.abs(rows[0]) + precision.least
    return np.asarray(np.where(np.isnan(bound) | (np.abs(rows[0]) > precision.most), np.inf, bound), np.float64)


def _largest(rows: Array) -> Array:
    """Return the largest change of every entry, inf where a row is not finite."""
    with np.errstate(all="ignore"):
        change = np.max(np.abs(rows[1:] - rows[0]), axis=0)
    return np.asarray(np.where(np.isnan(change), np.inf, change))


def run(net: Network, cores: Cores, cotangent: Any, arithmetic: Arithmetic, order: Order = PLAIN) -> dict[str, Array]:
    """Return every quantity of a network by an arithmetic, with the axis of rows in front."""
    tape = Tape(arithmetic)
    weight = build(tape, net, cores, order)
    pieces: dict[str, tuple[int, ...]] = {"weight": weight.shape}
    if isinstance(net, Stack):
        pieces = {f"weight/{name}": shape for name, shape in net.shapes}
        cotangent = np.concatenate([np.ravel(cotangent[name]) for name, _ in net.shapes])
    tape.backward([(weight, np.asarray(cotangent))])
    flat = weight.value.reshape(len(weight.value), -1)
    found, first = {}, 0
    for name, shape in pieces.items():
        found[name] = flat[:, first : first + prod(shape)].reshape(-1, *shape)
        first += prod(shape)
    for name, core in tape.cores.items():
        found[f"gradient/{name}"] = core.slot.get()
    if isinstance(net, ProgramNetwork):
        dims = {step.name: step.out_dims for step in net.program.all_steps}
        found |= {f"state/{n}": x.value.reshape(-1, *dims[n]) for n, x in tape.marked.items()}
        found |= {f"adjoint/{n}": x.slot.get().reshape(-1, *dims[n]) for n, x in tape.marked.items()}
    return found
