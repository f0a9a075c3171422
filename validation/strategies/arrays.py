"""Arrays of entries of moderate size: neither overflow nor subnormal numbers."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

Array = NDArray[Any]

BOUND = 1.5
"""Entries of parameters and cotangents are at most this large: sigma bends, and nothing overflows."""
SMALLEST = 1e-5
"""And zero or at least this large: products of normal numbers may be subnormal, and lose digits."""


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
    seeded = st.integers(0, 2**32 - 1).map(lambda seed: normal(seed, shape, dtype))
    return st.one_of(seeded, seeded, chosen)


def normal(seed: int, shape: tuple[int, ...], dtype: str) -> Array:
    """Return normal numbers from a seed, none larger than ``BOUND`` (its real and imaginary part, where complex)."""
    rng = np.random.default_rng(seed)
    x = np.clip(0.7 * rng.standard_normal(shape), -BOUND, BOUND)
    if dtype.startswith("complex"):
        x = x + 1j * np.clip(0.7 * rng.standard_normal(shape), -BOUND, BOUND)
    return np.asarray(x, dtype)
