"""What the fused kernels do with vectors: the start state, sums of the blocks' parts, Adam."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adntn_ref.ad.arrays import Array, dtype_name

from .launch import Instance, Launcher

if TYPE_CHECKING:
    from adntn_ref.compression.optimisers import Adam

BLOCKS = 1024
"""Most blocks of a kernel that goes through a vector."""
THREADS = 256


def product_start(launcher: Launcher, start: Array, factors: Sequence[tuple[int, int, int]], size: int) -> Array:
    """Return the product state of ``size`` entries.

    Parameters
    ----------
    launcher : who runs kernels
    start : the entries of all named factors, end to end
    factors : for each factor where its entries begin (-1: a unit vector), its lowest bit, its bits
    size : entries of the state, a power of two
    """
    y = launcher.xp.empty(size, start.dtype)
    table = launcher.constant(np.array(factors, dtype=np.int32))
    instance, grid = Instance("vectors", dtype_name(start)), (min(BLOCKS, -(-size // THREADS)), 1)
    launcher.launch(instance, "product_start", grid, THREADS, 0, (y, start, table, len(factors), size))
    return y


def sum_partials(launcher: Launcher, partials: Array, blocks: int, entries: int) -> Array:
    """Return the sum of the blocks' parts, shape (entries,), in an order that depends on nothing but their number."""
    found = launcher.xp.empty(entries, partials.dtype)
    instance, grid = Instance("vectors", dtype_name(partials)), (-(-entries // 16), 1)
    shared = THREADS * int(partials.dtype.itemsize)
    launcher.launch(instance, "sum_partials", grid, THREADS, shared, (partials, found, blocks, entries))
    return found


def adam_step(
    launcher: Launcher, adam: "Adam", vector: Array, g: Array, state: dict[str, Array], step: int, rate: Array
) -> None:
    """Do what ``adam.update`` does, in one kernel: change ``vector`` and ``state`` in place.

    ``step`` counts from 0; ``rate`` is an array of float64, of one entry or as many as ``vector``. The rates are
    divided by the correction of the first moment in float64 and rounded once.
    """
    size, instance = int(vector.size), Instance("vectors", dtype_name(vector))
    unbias = 1 - adam.beta1 ** (step + 1), (1 - adam.beta2 ** (step + 1)) ** 0.5
    numbers = (int(rate.size > 1), size, adam.beta1, adam.beta2, *unbias, adam.epsilon)
    grid = (min(BLOCKS, -(-size // THREADS)), 1)
    launcher.launch(instance, "adam", grid, THREADS, 0, (vector, g, state["first"], state["second"], rate, *numbers))
