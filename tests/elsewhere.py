"""Calls on the array backend of ``--backend NAME``, NumPy arrays in and NumPy arrays out: no test is written twice.

Without the option :func:`there` returns the function that it was given, and the tests run on NumPy as they stand.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref.ad.trees import map_leaves

chosen = "numpy"
"""Where :func:`there` calls; set once, before tests are collected."""

calls = 0
"""How often it has called elsewhere than on NumPy; a test that adds nothing has not run there."""


def there(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` called on the chosen backend: its arguments are moved there, and its results back.

    A function that comes back, a pullback for one, is called there too.
    """
    if chosen == "numpy":
        return function

    def call(*args: Any, **options: Any) -> Any:
        global calls
        calls += 1
        args, options = map_leaves(_moved, (args, options))
        return map_leaves(_back, function(*args, **options))

    return call


def _moved(x: Any) -> Any:
    # NumPy's numbers, 0-d arrays after some arithmetic, stay on the host else.
    return ar.to_backend(np.asarray(x) if isinstance(x, np.generic) else x, chosen)


def _back(x: Any) -> Any:
    return there(x) if callable(x) else ar.to_backend(x, "numpy")


def place(constant: Any) -> Any:
    """Return what a function given to :func:`there` reads besides its arguments, on the chosen backend."""
    return constant if chosen == "numpy" else ar.to_backend(constant, chosen)


def alike(a: Any, b: Any) -> bool:
    """Return whether arrays made in two ways hold the same bits; elsewhere than on NumPy, the same up to rounding."""
    if chosen == "numpy":
        return np.array_equal(a, b)
    rtol = 1e-5 if b.dtype in ("float32", "complex64") else 1e-12
    size = float(np.abs(b).max(initial=0.0))
    return np.shape(a) == np.shape(b) and float(np.abs(a - b).max(initial=0.0)) <= rtol * max(size, 1e-200)
