"""The Protocol of an array backend, and finding one by name.

Almost everything runs on any array library that autoray knows, through its NumPy-like namespace. A backend adds the few
things that no common namespace has. The seam's rules:

- An array never leaves its backend by itself: ``to_host`` is called where a person or a file asks for numbers.
- A backend never changes a dtype: float32 in, float32 out.
- Random numbers are drawn on the host, so that every backend starts from the same bits.
- Inputs are never written to.

Backends are found through the entry-point group ``adntn_ref.backends``; the name is autoray's name of the array
library.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from adntn_ref.errors import BackendUnavailable

ENTRY_POINT_GROUP = "adntn_ref.backends"

# Ours are found without installed metadata too, so that a plain checkout on the path works.
_OURS = {"numpy": "adntn_ref.backends.numpy_backend:NUMPY"}


class Backend(Protocol):
    """What an array library must offer beyond a NumPy-like namespace."""

    name: str

    def asarray(self, host: Any) -> Any:
        """Copy a NumPy array of any shape and dtype to this backend."""
        ...

    def to_host(self, x: Any) -> Any:
        """Copy an array of this backend to a NumPy array of the same shape and dtype."""
        ...

    def erf(self, x: Any) -> Any:
        """Return the error function of a real or complex array, elementwise, in its dtype."""
        ...

    def scatter_add(self, values: Any, index: Any, shape: tuple[int, ...]) -> Any:
        """Return zeros of ``shape`` with ``values`` added at ``index``; repeated indices add up."""
        ...


@cache
def get_backend(name: str) -> Backend:
    """Return the backend called ``name``.

    Raises
    ------
    BackendUnavailable
        If no installed package offers a backend of that name.

    Examples
    --------
    >>> get_backend("numpy").name
    'numpy'
    """
    target = _OURS.get(name)
    if target is not None:
        module, attribute = target.split(":")
        return cast(Backend, getattr(import_module(module), attribute))
    offered = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in offered:
        known = ", ".join(sorted({*offered, *_OURS}))
        raise BackendUnavailable(f"no array backend is called {name!r}; installed: {known}")
    return cast(Backend, offered[name].load())
