"""Random signs for rounding errors: in half of the rows independent, in the others alike for equal numbers.

Equal numbers that come from the same operations are rounded alike, and their errors add up; those from the same terms
in another order are not, and their errors do not cancel where the numbers would.
"""

import numpy as np

from .precision import Precision
from .tape import Array

_MIX = np.uint64(0x9E3779B97F4A7C15)


class Signs:
    """Draws signs; for complex numbers (+-1 +- i) / sqrt(2).

    Parameters
    ----------
    precision : in which numbers count as equal
    rows : of signs
    seed : of the generator
    """

    def __init__(self, precision: Precision, rows: int, seed: int = 0) -> None:
        self._precision, self._rows = precision, rows
        self._rng = np.random.default_rng(seed)

    def key(self) -> Array:
        """Return a key for each row: one rounding of one array."""
        return self._rng.integers(0, 2**64, self._rows, dtype=np.uint64) | np.uint64(1)

    def independent(self, shape: tuple[int, ...]) -> Array:
        """Return signs that have nothing to do with one another."""
        signs: Array = self._rng.integers(0, 2, shape, dtype=np.int8) * np.int8(2) - np.int8(1)
        return signs

    def of(self, values: Array, key: Array) -> Array:
        """Return signs of shape (rows, *shape of values).

        In the first half of the rows they are alike for equal values and opposite for opposite ones, unless a value is
        0, by cancellation; all others are independent.
        """
        if np.iscomplexobj(values):
            real, imaginary = (self.of(part, key) for part in (values.real + values.imag, values.real - values.imag))
            return np.asarray((real + 1j * imaginary) * np.sqrt(0.5))
        signs = self.independent((self._rows, *values.shape)).astype(np.float64)
        half = self._rows // 2
        bits = self._bits(values) * _MIX
        bits = (bits ^ (bits >> np.uint64(29))) * _MIX
        bits ^= bits >> np.uint64(32)
        alike = 1.0 - 2.0 * ((bits * key[:half].reshape(-1, *(1,) * values.ndim)) >> np.uint64(63))
        np.copyto(signs[:half], alike * np.sign(values), where=values != 0)
        return signs

    def _bits(self, values: Array) -> Array:
        """Return the absolute values, rounded to the precision, or to 24 digits where it has more, as integers."""
        with np.errstate(all="ignore"):
            if self._precision.name == "float16":
                return np.abs(values).astype(np.float16).view(np.uint16).astype(np.uint64)
            bits = np.abs(values).astype(np.float32).view(np.uint32).astype(np.uint64)
        return (bits + np.uint64(0x8000)) >> np.uint64(16) if self._precision.name == "bfloat16" else bits
