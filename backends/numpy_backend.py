"""The NumPy backend: the reference every other backend is compared with."""

from typing import Any

import numpy as np

from adntn_ref.program.memory import free_bytes

from .numpy_runner import NumpyRun


class NumpyBackend:
    """NumPy on the CPU, with SciPy for the error function."""

    name = "numpy"
    on_host = True
    plan_run = NumpyRun

    def require_available(self) -> None:
        """NumPy is always there."""

    def free_bytes(self) -> int:
        """Return the memory that is free for this process now, in bytes."""
        return free_bytes()

    def asarray(self, host: Any) -> Any:
        """Copy ``host`` into a new C-contiguous NumPy array of the same shape and dtype."""
        return np.array(host, order="C")

    def to_host(self, x: Any) -> Any:
        """Copy ``x`` into a new C-contiguous NumPy array of the same shape and dtype."""
        return np.array(x, order="C")

    def erf(self, x: Any) -> Any:
        """Return erf(x), elementwise, in the dtype of ``x`` (real or complex)."""
        from scipy.special import erf  # imported here: SciPy doubles the import time and only gelu needs it

        return erf(x)

    def scatter_add(self, values: Any, index: Any, shape: tuple[int, ...], distinct: bool = False) -> Any:
        """Return zeros of ``shape`` with ``values`` added at ``index``; repeated indices add up, in their order."""
        out = np.zeros(shape, dtype=values.dtype)
        if is_basic(index):
            out[index] = values  # a basic index names no entry twice, and assignment is ten times faster
        else:
            np.add.at(out, index, values)
        return out


def is_basic(index: Any) -> bool:
    """Return whether ``index`` holds only integers, slices, ``None`` and ``...`` (NumPy's basic indexing)."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in parts)


NUMPY = NumpyBackend()
