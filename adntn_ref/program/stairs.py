"""Stairs: the bricks of a whole layer as a few small matrices on overlapping ranges of indices.

Two columns of bricks in a row need two passes over the state if each column is applied by itself. But a brick of the
second column needs only the two bricks of the first that it touches, so a window on the indices [a, b) may hold every
brick whose past lies inside it or is done already, of both columns; the next window starts at the first index where a
brick is left, one index before the end of the last: a staircase (after the light cones of brick-wall circuits; ours).
For binary modes: a window of four indices with three bricks, then windows of three indices with two bricks each.

A window's matrix is the product of its bricks, each padded with unit matrices: a small program that starts at the unit
matrix. Its environment is split by the adjoint of that same small program.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array

Cores = dict[str, Array]
Pairs = Sequence[tuple[int, str]]
"""The bricks of a column: (left index, core name)."""

LARGEST = 64
"""Side of the largest window of several bricks; a single larger brick is a window of its own."""


@dataclass(frozen=True)
class Gate:
    """A brick within a window: on ``size`` entries, with ``before`` to its left and ``after`` to its right."""

    before: int
    size: int
    after: int


@dataclass(frozen=True)
class Stair:
    """A window on the indices [first, last), and its bricks in the order of application."""

    first: int
    last: int
    side: int
    names: tuple[str, ...]
    gates: tuple[Gate, ...]


def stairs_of(dims: tuple[int, ...], columns: Sequence[Pairs]) -> tuple[Stair, ...]:
    """Cover the bricks of some columns, given in order, with windows, so that the estimated time is least."""
    bricks = [brick for pairs in columns for brick in pairs]

    def windows(done: frozenset[str]) -> tuple[float, tuple[Stair, ...]]:
        left = [brick for brick in bricks if brick[1] not in done]
        if not left:
            return 0.0, ()
        if done in known:
            return known[done]
        first = min(q for q, _ in left)
        q = left[0][0]
        options = [(_window(dims, left[:1], q, q + 2))]  # the first brick that is left can always be applied alone
        for last in range(first + 2, len(dims) + 1):
            side = prod(dims[first:last])
            if side > LARGEST and last > first + 2:
                break
            stair = _window(dims, left, first, last)
            if stair.gates:
                options.append(stair)
        found = []
        for stair in options:
            rest_time, rest = windows(done | set(stair.names))
            found.append((_time(stair.side, prod(dims[stair.last :])) + rest_time, (stair, *rest)))
        known[done] = min(found, key=lambda option: option[0])
        return known[done]

    known: dict[frozenset[str], tuple[float, tuple[Stair, ...]]] = {}
    return windows(frozenset())[1]


def _window(dims: tuple[int, ...], bricks: Pairs, first: int, last: int) -> Stair:
    """Return the window on [first, last) with every brick, of those left, that can be applied in it."""
    blocked: set[int] = set()
    names, gates = [], []
    for q, name in bricks:
        if first <= q and q + 2 <= last and not blocked & {q, q + 1}:
            names.append(name)
            gates.append(Gate(prod(dims[first:q]), dims[q] * dims[q + 1], prod(dims[q + 2 : last])))
        else:
            blocked |= {q, q + 1}
    return Stair(first, last, prod(dims[first:last]), tuple(names), tuple(gates))


def _time(side: int, right: int) -> float:
    """Estimate the time of one window, in multiplications an entry at the rate of large matrix products.

    The rates are rough: with NumPy's matmul, float32, one core, products with a side of 8 run at about half the rate
    of those with 16 or 32, and products of few columns lose in proportion.
    """
    rate = 0.25 if side <= 4 else 0.75 if side <= 8 else 1.0
    if right == 1:
        rate *= min(1.0, side / 32)
    elif right < 32:
        rate *= right / 32
    return side / rate


def is_brick(gates: tuple[Gate, ...], side: int) -> bool:
    """Return whether windows of this pattern are one brick and nothing else: its matrix is theirs."""
    return len(gates) == 1 and gates[0].size == side


def stair_matrices(gates: tuple[Gate, ...], side: int, cores: list[Array], unit: Array) -> list[Array]:
    """Return the partial products of n windows of one pattern, ``S_0 = 1, S_j = G_j S_{j-1}``; the last is K.

    Parameters
    ----------
    gates : the pattern
    side : of the windows
    cores : for each gate the bricks of all windows as matrices, shape (n, size, size)
    unit : array of shape (n, side, side), the unit matrices

    Returns
    -------
    list of arrays of shape (n, side, side)
    """
    if is_brick(gates, side):
        return cores
    n = unit.shape[0]
    partial = [unit]
    for gate, core in zip(gates, cores, strict=True):
        s = partial[-1].reshape(n, gate.before, gate.size, gate.after * side)
        partial.append((core.reshape(n, 1, gate.size, gate.size) @ s).reshape(n, side, side))
    return partial


def stair_environments(gates: tuple[Gate, ...], cores: list[Array], partial: list[Array], e: Array) -> list[Array]:
    """Split the environments E of n windows of one pattern among their bricks, by the adjoint of the small program.

    ``dG_j = g_j S_{j-1}^H`` summed over the other indices, ``g_{j-1} = G_j^H g_j``, ``g_last = E``.
    """
    n, side = e.shape[0], e.shape[1]
    if is_brick(gates, side):
        return [e]
    found = []
    for k in range(len(gates) - 1, -1, -1):
        gate = gates[k]
        shape = (n, gate.before, gate.size, gate.after * side)
        g, s = e.reshape(shape), ops.conj(partial[k]).reshape(shape)
        found.append((g @ s.transpose(0, 1, 3, 2)).sum(axis=1))
        if k:
            back = ops.conj(cores[k]).transpose(0, 2, 1).reshape(n, 1, gate.size, gate.size)
            e = (back @ g).reshape(n, side, side)
    return found[::-1]
