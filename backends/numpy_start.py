"""The start state of a plan for several networks at once: outer products, and their adjoint.

The formulas are those of :class:`adntn_ref.program.steps.Product`, with a leading axis for the networks. Sums over many
entries are cut into pieces that BLAS leaves to the thread that asks: its own threads would go on spinning on the cores
that the chunks of the next stage want.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.program.steps import Product

from . import pool

Array = NDArray[Any]
PIECE = 2**11
"""Columns of one matrix-vector product."""


def factors_of(start: Product, cores: dict[str, Array], networks: int) -> list[Array]:
    """Return the factors as arrays of shape (networks, entries of the factor)."""
    dtype = next(iter(cores.values())).dtype
    found = []
    for factor in start.factors:
        if factor.name is not None:
            found.append(cores[factor.name].reshape(networks, -1))
        else:
            unit = np.zeros((1, factor.dims[0]), dtype)
            unit[0, 0] = 1
            found.append(np.broadcast_to(unit, (networks, factor.dims[0])))
    return found


def product_state(factors: list[Array]) -> Array:
    """Return the outer products, shape (networks, entries)."""
    if len(factors) == 1:
        return factors[0].copy()
    state = factors[-1]
    for vector in factors[-2:0:-1]:
        state = _outer(vector, state)
    first, networks = factors[0], state.shape[0]
    room = pool.empty(first.size * state.shape[1], np.result_type(first, state))  # the one that lives on
    whole: Array = np.multiply(first[:, :, None], state[:, None, :], out=room.reshape(networks, -1, state.shape[1]))
    return whole.reshape(networks, -1)


def product_adjoint(start: Product, factors: list[Array], g: Array) -> dict[str, Array]:
    """Return the environments of the factors, shape (networks, *dims), given g of shape (networks, entries)."""
    vectors = [np.conj(f) if np.iscomplexobj(f) else f for f in factors]
    behind = [vectors[-1]]  # behind[-1 - k]: outer product of factors k, k+1, ...
    for vector in reversed(vectors[1:-1]):
        behind.append(_outer(vector, behind[-1]))
    found: dict[str, Array] = {}
    networks, last = g.shape[0], len(factors) - 1
    for k, factor in enumerate(start.factors):
        size = prod(factor.dims)
        if factor.name is not None:
            mine = g.copy() if k == last else _times(g.reshape(networks, size, -1), behind[-1 - k])
            found[factor.name] = mine.reshape(networks, *factor.dims)
        if k < last:
            g = _weighted(vectors[k], g.reshape(networks, size, -1))
    return found


def _outer(a: Array, b: Array) -> Array:
    """Return the outer product of each row of a with the same row of b, shape (networks, entries of both)."""
    both: Array = a[:, :, None] * b[:, None, :]
    return both.reshape(a.shape[0], -1)


def _times(g: Array, vector: Array) -> Array:
    """Return ``sum_j g[n, i, j] vector[n, j]``, shape (networks, i)."""
    networks, rows, columns = g.shape
    piece = PIECE if columns % PIECE == 0 else columns
    pieces = g.reshape(networks, rows, columns // piece, piece).swapaxes(1, 2)
    found: Array = np.matmul(pieces, vector.reshape(networks, -1, piece, 1)).sum(axis=1)
    return found[..., 0]


def _weighted(vector: Array, g: Array) -> Array:
    """Return ``sum_i vector[n, i] g[n, i, j]``, shape (networks, j)."""
    networks, rows, columns = g.shape
    piece = PIECE if columns % PIECE == 0 else columns
    pieces = g.reshape(networks, rows, columns // piece, piece).swapaxes(1, 2)
    found: Array = np.matmul(vector.reshape(networks, 1, 1, rows), pieces)
    return found.reshape(networks, columns)
