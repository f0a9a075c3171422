"""Hypothesis strategies for networks small enough for the dense oracle, their parameters and cotangents."""

from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from adntn_ref.networks import MPO, BrickWall, Network

Array = NDArray[Any]

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "sin")
ANALYTIC = ("identity", "tanh", "sigmoid", "gelu", "silu", "sin")
LARGEST = 512
BOUND = 1.5
"""Entries of parameters and cotangents are at most this large: sigma bends, and nothing overflows."""
SMALLEST = 1e-5
"""And zero or at least this large: products of normal numbers may be subnormal, and lose digits."""


def modes(least: int = 2, most: int = 8, limit: int = LARGEST) -> st.SearchStrategy[tuple[int, ...]]:
    """Return mode sizes 1..4 (mostly 2) whose product is at most ``limit``.

    Parameters
    ----------
    least, most : smallest and largest number of modes
    limit : largest product
    """
    sizes = st.lists(st.sampled_from([2, 2, 2, 3, 1, 4]), min_size=least, max_size=most)
    return sizes.map(lambda chosen: _shortened(chosen, least, limit))


def _shortened(sizes: list[int], least: int, limit: int) -> tuple[int, ...]:
    """Drop the last modes, and then shrink the largest, until the product is within the limit."""
    kept = list(sizes)
    while prod(kept) > limit:
        if len(kept) > least:
            kept.pop()
        else:
            kept[kept.index(max(kept))] -= 1
    return tuple(kept)


@st.composite
def _flat(draw: st.DrawFn, limit: int) -> dict[str, Any]:
    """Draw shape and modes of the layout "flat", with padding where it so happens."""
    chosen = draw(modes(limit=limit))
    full = prod(chosen)
    rows = draw(st.integers(1, full))
    ways = [(rows,), (rows, full // rows), (1, rows), (max(1, full // 2), 1, 2 if full > 1 else 1)]
    shape = draw(st.sampled_from([(full,), *ways]))
    if draw(st.booleans()):
        return {"shape": shape, "modes": chosen}
    return {"shape": shape} if 2 ** max(2, (prod(shape) - 1).bit_length()) <= limit else {"shape": (5,)}


@st.composite
def _matrix(draw: st.DrawFn, limit: int) -> dict[str, Any]:
    """Draw shape, row and column modes of a matrix, with padding where it so happens."""
    side = int(limit**0.5)
    shape: tuple[int, ...]
    row, column = draw(modes(1, 4, side)), draw(modes(1, 5, side))
    shape = (draw(st.integers(1, prod(row))), draw(st.integers(1, prod(column))))
    if draw(st.booleans()) and shape[1] % 2 == 0:
        shape = (shape[0], 2, shape[1] // 2)
    if draw(st.integers(0, 3)):
        return {"shape": shape, "row_modes": row, "col_modes": column}
    small = (min(shape[0], 12), min(prod(shape[1:]), 15))
    return {"shape": small}


@st.composite
def brickwalls(
    draw: st.DrawFn,
    activations: tuple[str, ...] = ACTIVATIONS,
    limit: int = LARGEST,
    most_layers: int = 4,
) -> BrickWall:
    """Draw a brick-wall: every layout, boundary, activation and place of the activation; at most ``limit`` entries."""
    layout = draw(st.sampled_from(["flat", "flat", "axes", "interleaved"]))
    place = draw(_flat(limit)) if layout == "flat" else draw(_matrix(limit))
    return BrickWall(
        **place,
        layout=layout,
        layers=draw(st.integers(1, most_layers)),
        activation=draw(st.sampled_from(activations)),
        boundary=draw(st.sampled_from(["constant", "trainable"])),
        activation_every=draw(st.sampled_from(["layer", "column"])),
    )


@st.composite
def mpos(draw: st.DrawFn, limit: int = LARGEST) -> MPO:
    """Draw a matrix product operator of at most ``limit`` generated entries."""
    return MPO(**draw(_matrix(limit)), chi=draw(st.integers(1, 6)))


def networks(activations: tuple[str, ...] = ACTIVATIONS, limit: int = LARGEST) -> st.SearchStrategy[Network]:
    """Return brick-walls (three in four) and matrix product operators."""
    walls: st.SearchStrategy[Network] = brickwalls(activations, limit)
    return st.one_of(walls, walls, walls, mpos(limit))


def arrays(shape: tuple[int, ...], dtype: str) -> st.SearchStrategy[Array]:
    """Return arrays of entries of moderate size or zero: chosen one by one, or normal from a seed.

    Parameters
    ----------
    shape : shape of the arrays
    dtype : floating or complex dtype
    """
    entries: st.SearchStrategy[complex]
    if dtype.startswith("complex"):
        entries = st.complex_numbers(
            max_magnitude=BOUND, allow_subnormal=False, width=64 if dtype == "complex64" else 128
        )
    else:
        entries = st.floats(-BOUND, BOUND, allow_subnormal=False, width=32 if dtype == "float32" else 64)
    chosen = npst.arrays(dtype, shape, elements=entries).map(lambda x: np.where(np.abs(x) < SMALLEST, 0, x))
    seeded = st.integers(0, 2**32 - 1).map(lambda seed: _normal(seed, shape, dtype))
    return st.one_of(seeded, seeded, chosen)


def _normal(seed: int, shape: tuple[int, ...], dtype: str) -> Array:
    rng = np.random.default_rng(seed)
    x = np.clip(0.7 * rng.standard_normal(shape), -BOUND, BOUND)
    if dtype.startswith("complex"):
        x = x + 1j * np.clip(0.7 * rng.standard_normal(shape), -BOUND, BOUND)
    return np.asarray(x, dtype)


@st.composite
def parameters(draw: st.DrawFn, net: Network, dtype: str = "float64") -> dict[str, Array]:
    """Draw parameters for a network; one core may be chosen entry by entry, the others are normal from a seed."""
    names = list(net.core_shapes)
    special = draw(st.sampled_from(names))
    seed = draw(st.integers(0, 2**32 - 1))
    cores = {name: _normal(seed + k, shape, dtype) for k, (name, shape) in enumerate(net.core_shapes.items())}
    if cores[special].size <= 64:
        cores[special] = draw(arrays(cores[special].shape, dtype))
    return cores


def cotangents(net: Network, dtype: str = "float64") -> st.SearchStrategy[Array]:
    """Return cotangents of a network's weight."""
    return st.integers(0, 2**32 - 1).map(lambda seed: _normal(seed, net.placement.shape, dtype))
