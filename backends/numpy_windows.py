"""One window, one activation, on a chunk of the state: the products that a plan consists of, with NumPy.

A chunk of some networks is an array of shape (networks, rows, middle, columns); a window reads it as (networks, L,
side, R). Products are cut into pieces that stay in the level-1 cache, and that BLAS leaves to the thread that asks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.ad.activations import Activation
from adntn_ref.program.plan import Placed

Array = NDArray[Any]
COLUMNS = 256
"""Columns of one matrix product, or its rows with a window on the last index: more leave the level-1 cache."""
LONGEST = 2**13
"""Entries of one factor of an environment's product."""
ALONE = 2**18
"""Multiplications of the largest product that OpenBLAS does not spread over its own threads (measured: 0.3.31)."""


def apply(matrix: Array, window: Placed, x: Array, room: Array) -> Array:
    """Return ``Y[n, L, a, R] = sum_c K[n, a, c] X[n, L, c, R]`` in ``room``; K has shape (networks, side, side)."""
    n, left, side, right = _read(window, x)
    block = min(COLUMNS, ALONE // side**2)
    if right == 1:
        block = block if block and left % block == 0 else left
        shape: tuple[int, ...] = (n, left // block, block, side)
        return np.matmul(x.reshape(shape), matrix.transpose(0, 2, 1)[:, None], out=room.reshape(shape))
    if not block or right % block or right == block:
        shape = (n, left, side, right)
        return np.matmul(matrix[:, None], x.reshape(shape), out=room.reshape(shape))
    shape = (n, left, side, right // block, block)
    y = room.reshape(shape).swapaxes(2, 3)
    return np.matmul(matrix[:, None, None], x.reshape(shape).swapaxes(2, 3), out=y).swapaxes(2, 3)


def environment(window: Placed, g: Array, x: Array) -> Array:
    """Return ``E[n, a, c] = sum_{L,R} G[n, L, a, R] conj(X[n, L, c, R])``, shape (networks, side, side)."""
    n, left, side, right = _read(window, x)
    found: Array
    longest = min(LONGEST // side, ALONE // side**2)
    if right == 1:
        block = longest if longest and left % longest == 0 else left
        shape: tuple[int, ...] = (n, left // block, block, side)
        found = np.matmul(g.reshape(shape).swapaxes(2, 3), conj(x.reshape(shape))).sum(axis=1)
        return found
    if copies(window, x.shape[3]):
        g, x = (part.reshape(n, left, side, right).swapaxes(1, 2).reshape(n, 1, side, -1) for part in (g, x))
        left, right = 1, left * right
    block = longest if longest and right % longest == 0 else right
    shape = (n, left, side, right // block, block)
    g, x = g.reshape(shape).swapaxes(2, 3), conj(x).reshape(shape).transpose(0, 1, 3, 4, 2)
    found = np.matmul(g, x).reshape(n, -1, side, side).sum(axis=1)
    return found


def copies(window: Placed, columns: int) -> bool:
    """Return whether the environment takes copies with the window's index in front: where the products are tiny."""
    return 1 < window.after * columns <= 2 * window.side


def _read(window: Placed, x: Array) -> tuple[int, int, int, int]:
    n, rows, _, columns = x.shape
    return n, rows * window.before, window.side, window.after * columns


def conj(x: Array) -> Array:
    """Return the conjugate; of a real array itself, where NumPy would make a copy."""
    return np.conj(x) if x.dtype.kind == "c" else x


IN_PLACE: dict[str, Any] = {
    "relu": lambda z, out: np.maximum(z, 0, out=out),
    "tanh": lambda z, out: np.tanh(z, out=out),
    "sin": lambda z, out: np.sin(z, out=out),
}
"""Activations that NumPy puts where it is told; the others make an array, and are the formulas of ``ad``."""


def sigma(activation: Activation, z: Array, room: Array) -> Array:
    """Return sigma(z), in ``room`` where that saves an array; ``room`` may be z itself."""
    if activation.name in IN_PLACE:
        x: Array = IN_PLACE[activation.name](z, room.reshape(z.shape))
        return x
    return np.asanyarray(activation.sigma(z))


def carry_back(activation: Activation, z: Array, x: Array, g: Array, out: Array) -> None:
    """Put the pre-activation adjoint ``conj(sigma'(z)) g`` into ``out``, which may be g; x is sigma(z)."""
    if activation.name == "relu":  # the mask as booleans: a quarter of the bytes, and the same bits
        np.multiply(g, z > 0, out=out)
    else:
        np.multiply(g, conj(activation.first(z, x)), out=out)
