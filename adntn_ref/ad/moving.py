"""Moving trees of arrays between backends: only ever because somebody said so."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of, is_array
from adntn_ref.ad.tape import Var, stop_gradient
from adntn_ref.ad.trees import Tree, map_leaves
from adntn_ref.backend import Backend, chosen_name, get_backend
from adntn_ref.errors import ArrayError, BackendUnavailable, TapeError


def to_backend(tree: Tree, backend: str) -> Tree:
    """Return a tree with all its arrays on a backend, of the same shapes, dtypes and bits.

    Parameters
    ----------
    tree : array, or nested dicts, tuples and lists of arrays; numbers, texts and None in it stay as they are
    backend : name of a backend, ``"numpy"`` or ``"cupy"`` or one that another package offers

    Returns
    -------
    tree
        Arrays that are there already are not copied.

    Raises
    ------
    BackendUnavailable
        For an unknown name, a library that is not installed, or one without its device.
    TapeError
        For a tape variable, whose gradient a move would lose.

    Examples
    --------
    >>> to_backend({"a": np.ones(2), "b": [np.zeros(1), 3.0]}, "numpy")
    {'a': array([1., 1.]), 'b': [array([0.]), 3.0]}
    """
    target = available(backend)
    return map_leaves(lambda x: move(x, target), tree)


def available(name: str) -> Backend:
    """Return the backend called ``name``, or raise BackendUnavailable where it or its device is missing."""
    if not isinstance(name, str):
        raise BackendUnavailable(f"a backend is given by its name, got a {type(name).__name__}")
    backend = get_backend(name)
    backend.require_available()
    return backend


def move(x: Any, target: Backend) -> Any:
    """Return one array on a backend, by way of the host where two devices are concerned; anything else as it is."""
    if isinstance(x, Var):
        raise TapeError("a tape variable cannot be moved to another backend, its gradient would be lost")
    if not is_array(x) or isinstance(x, np.generic):
        return x
    source = backend_of(x)
    if source is target:
        return x
    host = x if isinstance(x, np.ndarray) else source.to_host(x)
    return host if target.name == "numpy" else target.asarray(host)


def on_host(x: Array) -> Any:
    """Return an array as a NumPy array: itself if it is one, else a copy, for which its device is waited for."""
    return move(x, get_backend("numpy"))


def choose_backend(explicit: str | None, arrays: Iterable[Any] = ()) -> Backend:
    """Return the backend to work on: an explicit name, else the environment's, else that of the arrays, else NumPy.

    Raises
    ------
    ArrayError
        Where it is left to the arrays and they are of several backends.
    BackendUnavailable
        For an unknown name, a library that is not installed, or one without its device.
    """
    name = chosen_name(explicit)
    if name is not None:
        return available(name)
    raw = [x for x in map(stop_gradient, arrays) if is_array(x)]
    found = {backend_of(x).name: backend_of(x) for x in raw}
    if len(found) > 1:
        raise ArrayError(
            f"the arrays given are of the backends {', '.join(sorted(found))}; say which one to use (backend=...)"
        )
    return next(iter(found.values()), get_backend("numpy"))


def require_together(arrays: Iterable[tuple[str, Array]]) -> None:
    """Refuse named raw arrays of different backends, or that their backend cannot work on here.

    Raises
    ------
    ArrayError
        Naming the first that differs.
    """
    kind: type | None = None
    first, backend, require = "", get_backend("numpy"), None
    for name, x in arrays:
        if kind is None:
            kind, first, backend = type(x), name, backend_of(x)
            require = getattr(backend, "require", None)
        if type(x) is not kind and backend_of(x) is not backend:
            raise ArrayError(
                f"{name} is an array of the backend {backend_of(x).name}, {first} of {backend.name}; nothing is moved"
                f' silently: ar.to_backend(..., "{backend.name}") moves a tree'
            )
        if require is not None:
            require(x, name)
