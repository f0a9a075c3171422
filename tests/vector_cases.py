"""The shipped vectors, the entries that they are made from, and how the tests compare numbers."""

from typing import Any

import numpy as np

from adntn_ref.validation.vectors import load
from adntn_ref.validation.vectors.cases import entries

VECTORS = load()
ENTRIES = {entry.name: entry for entry in entries()}


def close(got: Any, expected: Any, tolerance: float = 1e-12) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    off, size = np.max(np.abs(got - expected), initial=0), np.max(np.abs(expected), initial=0)
    assert off <= tolerance * size, f"off by {off:.3g} of {size:.3g}"
