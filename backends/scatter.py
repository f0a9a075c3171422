"""Adding values at repeated places, in an order that is always the same and without waiting for a device.

Atomic additions of threads arrive in any order, so their sums differ from run to run. Here the places are sorted, and
the values of one place, now neighbours, are added two and two, four and four, and so on: about log2(n) passes over the
n values (a segmented scan: Hillis and Steele, Communications of the ACM 29, 1986).
"""

from math import prod
from typing import Any

from .numpy_backend import is_basic

Array = Any


def ordered_scatter_add(xp: Any, values: Array, index: Any, shape: tuple[int, ...], distinct: bool = False) -> Array:
    """Return zeros of ``shape`` with ``values`` added at ``index``; repeated indices add up.

    Parameters
    ----------
    xp : namespace of the arrays
    values : array, shape of ``zeros(shape)[index]``
    index : basic or advanced, of arrays of the same library
    distinct : whether no entry is named twice, so that nothing has to be sorted
    """
    out = xp.zeros(shape, dtype=values.dtype)
    if distinct or is_basic(index):
        out[index] = values
        return out
    size = prod(shape)
    places = xp.arange(size).reshape(shape)[index].reshape(-1)
    return _add_sorted(xp, values.reshape(-1), places, size).reshape(shape)


def _add_sorted(xp: Any, values: Array, places: Array, size: int) -> Array:
    """Return a vector of ``size`` with the sum of all values of each place."""
    order = xp.argsort(places, kind="stable")
    places, sums, n = places[order], values[order], int(places.shape[0])
    step = 1
    while step < n:
        mine = xp.where(places[step:] == places[:-step], sums[:-step], 0)
        sums = xp.concatenate([sums[:step], sums[step:] + mine])
        step *= 2
    # The last value of a place holds its sum; all others go to an entry behind the end, which is dropped.
    last = xp.concatenate([places[1:] != places[:-1], xp.ones(min(n, 1), dtype=bool)])
    out = xp.zeros(size + 1, dtype=values.dtype)
    out[xp.where(last, places, size)] = sums
    return out[:size]
